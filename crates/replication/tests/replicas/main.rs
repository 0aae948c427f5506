//! Three replicas of one partition in a world of their own: scripts, and random histories.

mod model;
mod random;
mod scripts;
