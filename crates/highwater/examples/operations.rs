//! Writes the table of the configuration file's keys into docs/OPERATIONS.md.

use highwater::config::{in_page, reference};
use std::io::{Error, Result};
use std::path::Path;

fn main() -> Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATIONS.md");
    let text = std::fs::read_to_string(&page)?;
    let old = in_page(&text).ok_or_else(|| Error::other("the page has no place for the table"))?;
    std::fs::write(&page, text.replacen(old, &reference(), 1))
}
