//! Scenario files, as they lie in folders. What they say is read by `highwater_faults`.

use anyhow::{Context, Result, bail, ensure};
use highwater_faults::ScenarioFile;
use std::path::{Path, PathBuf};

/// Reads one file.
pub fn read(path: &Path) -> Result<ScenarioFile> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(ScenarioFile::parse(&text, &path.to_string_lossy())?)
}

/// A scenario, and the file that it was read from.
#[derive(Clone, Debug)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub file: ScenarioFile,
}

/// Reads files, and all files of folders by name.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Found>> {
    let mut all: Vec<Found> = Vec::new();
    for path in paths {
        for path in files(path)? {
            let file = read(&path)?;
            let twin = all.iter().find(|found| found.file.name() == file.name());
            if let Some(twin) = twin {
                bail!("{} and {} have the same name", twin.path.display(), path.display());
            }
            all.push(Found { path, file });
        }
    }
    Ok(all)
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    ensure!(!paths.is_empty(), "{} has no scenarios", path.display());
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenarios_of_the_repository_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        for (part, least) in [("fast", 8), ("slow", 1)] {
            let scenarios = read_all(&[folder.join(part)]).unwrap();
            assert!(scenarios.len() >= least, "{part} has {} scenarios", scenarios.len());
        }
    }
}
