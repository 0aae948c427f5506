//! The workspace on disk: its packages and its files.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's root folder.
pub struct Workspace {
    root: PathBuf,
}

/// A package: its folder, relative to the root, and its manifest.
pub struct Package {
    /// The folder, as `crates/log`.
    pub folder: String,
    /// The manifest, parsed.
    pub manifest: toml::Table,
}

impl Package {
    /// `package.name`.
    pub fn name(&self) -> &str {
        self.manifest.get("package").and_then(|package| package.get("name")?.as_str()).unwrap_or_default()
    }
}

impl Workspace {
    /// The workspace that the package in `folder` belongs to.
    pub fn around(folder: &str) -> Result<Self> {
        let root = Path::new(folder).parent().context("a package stands in its workspace's root folder")?;
        Ok(Self { root: root.to_owned() })
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo builds, as it decides by itself.
    pub fn target(&self) -> PathBuf {
        let chosen =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
        self.root.join(chosen)
    }

    /// Every package, sorted by folder.
    pub fn packages(&self) -> Result<Vec<Package>> {
        let mut packages = Vec::new();
        for path in self.files()? {
            if let Some(folder) = path.strip_suffix("/Cargo.toml") {
                let manifest = self.read(&path)?.parse().with_context(|| path.clone())?;
                packages.push(Package { folder: folder.to_owned(), manifest });
            }
        }
        Ok(packages)
    }

    /// Every file that git tracks or would track, relative to the root and sorted.
    pub fn files(&self) -> Result<Vec<String>> {
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&self.root)
            .output()
            .context("git ls-files")?;
        ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
        let mut files: Vec<String> = String::from_utf8(output.stdout)
            .context("a file name that is not UTF-8")?
            .split_terminator('\0')
            .map(str::to_owned)
            // A file that was removed and not yet committed is still listed.
            .filter(|path| self.root.join(path).is_file())
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// A file's text.
    pub fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.root.join(path)).with_context(|| path.to_owned())
    }
}
