//! The store on simulated disks, in one program: linking it takes longer than running it.

mod common;
mod compact;
mod inspect;
mod log;
mod recovery;
mod repair;
mod replica;
mod retention;
mod runs;
mod verify;
