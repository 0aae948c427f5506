//! The machine's memory, before something is measured that fills it.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// What is written at once.
const PIECE_BYTES: usize = 1 << 20;
/// How much more is written than asked for, in parts of it.
const SPARE: u64 = 8;

/// Has so much of the page cache in hand: writes a file of that size into a folder, and removes it.
///
/// On a virtual machine the first touch of memory that the hypervisor has not supplied yet, or has taken back, costs
/// many times what the write itself does, and the next one into the same memory nothing. Who is measured first would
/// pay for it, and who writes most.
pub fn supply(dir: &Path, bytes: u64) -> Result<()> {
    let path = dir.join("supply");
    let mut file = File::create(&path).with_context(|| path.display().to_string())?;
    // Removed at once: nothing of it is ever written to the disk unless the kernel is short of memory.
    fs::remove_file(&path)?;
    let piece = vec![1; PIECE_BYTES];
    for _ in 0..(bytes + bytes / SPARE).div_ceil(PIECE_BYTES as u64) {
        file.write_all(&piece)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_in_the_folder() {
        let dir = std::env::temp_dir().join(format!("highwater-supply-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        supply(&dir, 3 << 20).unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        fs::remove_dir(&dir).unwrap();
    }
}
