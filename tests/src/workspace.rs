//! Where things lie: the sources, what was installed, what a run leaves behind.

use crate::process;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of this package's sources.
pub fn package_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Cargo's target folder: the one this program was built into.
pub fn target_dir() -> Result<PathBuf> {
    let own = std::env::current_exe().context("the path of this program")?;
    let target = own.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.map(Path::to_path_buf).with_context(|| format!("{} is not in a target folder", own.display()))
}

/// What is installed once and kept.
pub fn cache_dir() -> Result<PathBuf> {
    made(target_dir()?.join("stock-clients"))
}

/// A fresh folder for what one run leaves behind.
pub fn run_dir(name: &str) -> Result<PathBuf> {
    let dir = target_dir()?.join("runs").join(format!("{name}-{}", std::process::id()));
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    }
    made(dir)
}

fn made(dir: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    Ok(dir)
}

/// The release binary of the node: `given`, or freshly built.
pub fn binary(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        if !given.is_file() {
            bail!("there is no binary {}", given.display());
        }
        return Ok(given.to_path_buf());
    }
    let target = target_dir()?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--package", "highwater", "--bin", "highwater", "--target-dir"]);
    cargo.arg(&target).current_dir(package_dir());
    process::run(cargo, "building the release binary")?;
    Ok(target.join("release").join("highwater"))
}
