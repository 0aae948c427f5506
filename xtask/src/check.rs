//! `cargo xtask check`: the layers.

use crate::workspace::Workspace;
use crate::{layers, names};
use anyhow::Result;

/// The one place where the standard maps are given a fixed order.
const MAPS: &str = "crates/types/src/maps.rs";

/// What breaks the layers, as `file:line: message`.
pub fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let files = workspace.files()?;
    for package in workspace.packages()? {
        findings.extend(layers::check(&package));
        if !layers::is_confined(package.name()) {
            continue;
        }
        let sources = format!("{}/src/", package.folder);
        for file in files.iter().filter(|file| file.starts_with(&sources) && is_product(file)) {
            findings.extend(names::check(file, &workspace.read(file)?));
        }
    }
    Ok(findings)
}

/// Whether a file is compiled into the product, and not into tests alone.
fn is_product(file: &str) -> bool {
    file.ends_with(".rs") && !file.ends_with("/tests.rs") && !file.contains("/tests/") && file != MAPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_keeps_its_layers() {
        let workspace = Workspace::around(env!("CARGO_MANIFEST_DIR")).unwrap();
        let findings = check(&workspace).unwrap();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}
