//! Scenario files, as they lie in folders. What they say is read by `highwater_faults`.

use anyhow::{Context, Result, ensure};
use highwater_faults::ScenarioFile;
use std::path::{Path, PathBuf};

/// Reads one file.
pub fn read(path: &Path) -> Result<ScenarioFile> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(ScenarioFile::parse(&text, &path.to_string_lossy())?)
}

/// Reads a file, or all files of a folder by name.
pub fn read_all(path: &Path) -> Result<Vec<ScenarioFile>> {
    if path.is_file() {
        return Ok(vec![read(path)?]);
    }
    let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    ensure!(!paths.is_empty(), "{} has no scenarios", path.display());
    paths.iter().map(|path| read(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenarios_of_the_repository_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        for (part, least) in [("fast", 8), ("slow", 1)] {
            let scenarios = read_all(&folder.join(part)).unwrap();
            assert!(scenarios.len() >= least, "{part} has {} scenarios", scenarios.len());
        }
    }
}
