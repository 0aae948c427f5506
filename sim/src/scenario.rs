//! Scenario files: TOML that says what is run.

use crate::logs::Regime;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What a scenario file says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Kind,
}

/// The kinds of scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Kind {
    /// Random histories of a store on a disk that fails.
    Disk {
        /// What the disk may do.
        disk: Disk,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Disk {
    Honest,
    Lying,
}

/// A scenario that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Its file's name, without the ending.
    pub name: String,
    /// What the disk may do.
    pub regime: Regime,
}

impl Scenario {
    /// Reads one file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let file: File = toml::from_str(&text).with_context(|| path.display().to_string())?;
        let Kind::Disk { disk } = file.scenario;
        let regime = match disk {
            Disk::Honest => Regime::Honest,
            Disk::Lying => Regime::Lying,
        };
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, regime })
    }

    /// Reads a file, or all files of a folder by name.
    pub fn read_all(path: &Path) -> Result<Vec<Self>> {
        if path.is_file() {
            return Ok(vec![Self::read(path)?]);
        }
        let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
        let mut paths: Vec<PathBuf> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
        paths.sort();
        ensure!(!paths.is_empty(), "{} has no scenarios", path.display());
        paths.iter().map(|path| Self::read(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenarios_of_the_repository_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/fast");
        let scenarios = Scenario::read_all(&folder).unwrap();
        let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
        assert_eq!(names, ["disk-honest", "disk-lying"]);
    }

    #[test]
    fn unknown_words_are_refused() {
        for text in [
            "[scenario]\nkind = \"disk\"",
            "[scenario]\nkind = \"disk\"\ndisk = \"honest\"\nspeed = 1",
            "[x]",
        ] {
            assert!(toml::from_str::<File>(text).is_err(), "{text}");
        }
    }
}
