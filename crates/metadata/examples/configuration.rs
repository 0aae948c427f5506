//! Prints docs/CONFIGURATION.md.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    io::stdout().write_all(highwater_metadata::configs::reference().as_bytes())
}
