//! A real text to fill topics with: whatever lies on this machine.

use anyhow::{Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines longer than this are left out, in bytes.
const LONGEST_LINE: usize = 4096;
/// Files larger than this are left out, in bytes.
const LARGEST_FILE: u64 = 8 << 20;
/// A text with fewer lines is no text.
const FEWEST_LINES: usize = 1000;
const ENDINGS: &[&str] = &["txt", "md", "py", "rs", "h", "pl", "pm", "pod", "html"];

/// At least `wanted` lines of text, without tabs and control characters; empty lines are among them. If this machine
/// has less text than that, it is used again from the start.
pub fn lines(wanted: usize) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for root in roots() {
        collect(&root, wanted, &mut lines);
        if lines.len() >= wanted {
            break;
        }
    }
    if lines.len() < FEWEST_LINES {
        bail!("found only {} lines of text on this machine", lines.len());
    }
    let found = lines.len();
    for again in found..wanted {
        lines.push(lines[again % found].clone());
    }
    lines.truncate(wanted);
    Ok(lines)
}

/// Folders that hold text, the most literary first; the last one is this project's own.
fn roots() -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> =
        ["/usr/share/dict", "/usr/share/common-licenses", "/usr/share/perl"].map(PathBuf::from).to_vec();
    if let Ok(output) = Command::new("rustc").args(["--print", "sysroot"]).output() {
        let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        roots.push(sysroot.join("share/doc"));
        roots.push(sysroot.join("lib/rustlib/src"));
    }
    if let Ok(output) =
        Command::new("python3").args(["-c", "import os; print(os.path.dirname(os.__file__))"]).output()
    {
        roots.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    roots.push(PathBuf::from("/usr/include"));
    roots.push(crate::workspace::package_dir().join(".."));
    roots.retain(|root| root.is_absolute() && root.is_dir());
    roots
}

fn collect(dir: &Path, wanted: usize, lines: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if lines.len() >= wanted {
            return;
        }
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target" && name != ".git") {
                collect(&path, wanted, lines);
            }
        } else if is_text(&path)
            && let Ok(text) = fs::read_to_string(&path)
        {
            lines.extend(text.lines().filter(|line| fits(line)).map(str::to_owned));
        }
    }
}

fn is_text(path: &Path) -> bool {
    let known = match path.extension() {
        Some(ending) => ENDINGS.iter().any(|known| ending == *known),
        None => true,
    };
    known && fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= LARGEST_FILE)
}

fn fits(line: &str) -> bool {
    line.len() <= LONGEST_LINE && !line.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_text_on_this_machine() {
        let lines = lines(20_000).unwrap();
        assert_eq!(lines.len(), 20_000);
        assert!(lines.iter().all(|line| fits(line)));
        let different: std::collections::BTreeSet<_> = lines.iter().collect();
        assert!(different.len() > 1000, "{} different lines", different.len());
    }
}
