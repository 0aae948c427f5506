//! Who may depend on whom.

use crate::workspace::Package;

/// From the bottom up: a crate depends only on crates above it in this list.
pub const ORDER: &[&str] = &[
    "highwater-types",
    "highwater-wire-derive",
    "highwater-wire",
    "highwater-records",
    "highwater-env",
    "highwater-env-tokio",
    "highwater-log",
    "highwater-metadata",
    "highwater-quorum",
    "highwater-replication",
    "highwater-assign",
    "highwater-groups",
    "highwater-transactions",
    "highwater-broker",
    "highwater-client",
    "highwater-faults",
    "highwater",
];

/// Crates that test or measure the others: they may depend on any, and none of the others on them.
pub const OUTSIDE: &[&str] =
    &["highwater-sim", "highwater-bench", "highwater-fuzz", "highwater-tests", "xtask"];

/// Crates without async, input and output, clock or randomness: events and `now` come in, actions come out.
const PURE: &[&str] = &[
    "highwater-types",
    "highwater-wire-derive",
    "highwater-wire",
    "highwater-records",
    "highwater-metadata",
    "highwater-replication",
    "highwater-assign",
    "highwater-groups",
    "highwater-transactions",
];

/// Crates that reach their machine through `Env` alone.
const OVER_ENV: &[&str] =
    &["highwater-env", "highwater-log", "highwater-quorum", "highwater-broker", "highwater-client"];

/// What crates over `Env` may use of tokio: channels and locks, and the stream traits with their helpers.
const TOKIO_FEATURES: &[&str] = &["sync", "io-util", "macros"];

/// Whether the names of [`crate::names`] are forbidden to a package.
pub fn is_confined(name: &str) -> bool {
    PURE.contains(&name) || OVER_ENV.contains(&name)
}

/// What a package's manifest does that it may not.
pub fn check(package: &Package) -> Vec<String> {
    let mut findings = Vec::new();
    let name = package.name();
    let mut find = |message: String| findings.push(format!("{}/Cargo.toml: {message}", package.folder));
    let inherits = package.manifest.get("lints").and_then(|lints| lints.get("workspace")?.as_bool());
    if inherits != Some(true) {
        find("the workspace's lints are not inherited ([lints] workspace = true)".to_owned());
    }
    if OUTSIDE.contains(&name) {
        return findings;
    }
    let Some(own) = ORDER.iter().position(|known| *known == name) else {
        find(format!("{name:?} has no place among the layers (xtask/src/layers.rs)"));
        return findings;
    };
    for (dependency, value) in dependencies(&package.manifest) {
        if OUTSIDE.contains(&dependency) {
            find(format!("{dependency} stands outside the product; nothing of it may depend on that"));
        }
        if ORDER.iter().position(|known| *known == dependency).is_some_and(|place| place >= own) {
            find(format!("{dependency} is not a layer below {name}"));
        }
        let env = ["tokio", "rand", "rand_chacha", "highwater-env"];
        if PURE.contains(&name) && env.contains(&dependency) {
            find(format!("{name} is pure and may not depend on {dependency}"));
        }
        if !is_confined(name) {
            continue;
        }
        if dependency == "highwater-env-tokio" {
            find(format!("{name} reaches its machine through highwater-env alone, not through {dependency}"));
        }
        for feature in features(value).filter(|_| dependency == "tokio") {
            if !TOKIO_FEATURES.contains(&feature) {
                find(format!("{name} may not use tokio's feature {feature:?}"));
            }
        }
    }
    findings
}

/// The dependencies of a manifest but for those of its tests, also those of one platform.
pub fn dependencies(manifest: &toml::Table) -> Vec<(&str, &toml::Value)> {
    let mut tables = vec![manifest];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().filter_map(toml::Value::as_table));
    }
    tables
        .into_iter()
        .flat_map(|table| [table.get("dependencies"), table.get("build-dependencies")])
        .filter_map(|table| table?.as_table())
        .flatten()
        .map(|(name, value)| {
            // A renamed dependency is the package that it names.
            let package = value.get("package").and_then(toml::Value::as_str);
            (package.unwrap_or(name), value)
        })
        .collect()
}

fn features(dependency: &toml::Value) -> impl Iterator<Item = &str> {
    dependency
        .get("features")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(toml::Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_manifest(name: &str, dependencies: &str, expected: &[&str]) {
        let text = format!("package.name = \"{name}\"\nlints.workspace = true\n{dependencies}");
        let package = Package { folder: "crates/x".to_owned(), manifest: text.parse().unwrap() };
        let findings = check(&package);
        assert_eq!(findings.len(), expected.len(), "{text}\n{findings:?}");
        for (finding, part) in findings.iter().zip(expected) {
            assert!(finding.contains(part), "{finding} should have {part:?}");
        }
    }

    #[test]
    fn crates_depend_on_lower_layers_only() {
        check_manifest("highwater-log", "[dependencies]\nhighwater-env = {}\nhighwater-types = {}", &[]);
        check_manifest("highwater-log", "[dependencies]\nhighwater-broker = {}", &["not a layer below"]);
        check_manifest(
            "highwater-log",
            "[dependencies]\nl = { package = \"highwater-log\" }",
            &["not a layer"],
        );
        check_manifest("highwater-log", "[build-dependencies]\nhighwater-sim = {}", &["outside the product"]);
        check_manifest("highwater-log", "[dev-dependencies]\nhighwater-sim = {}", &[]);
        check_manifest("highwater-sim", "[dependencies]\nhighwater-log = {}", &[]);
        check_manifest("highwater-new", "", &["no place among the layers"]);
    }

    #[test]
    fn confined_crates_do_not_get_at_the_machine() {
        check_manifest(
            "highwater-broker",
            "[dependencies]\ntokio = { features = [\"sync\", \"io-util\"] }",
            &[],
        );
        check_manifest(
            "highwater-broker",
            "[target.'cfg(unix)'.dependencies]\ntokio = { features = [\"sync\", \"rt\", \"net\"] }",
            &["feature \"rt\"", "feature \"net\""],
        );
        check_manifest(
            "highwater-client",
            "[dependencies]\nhighwater-env-tokio = {}",
            &["through highwater-env"],
        );
        check_manifest("highwater-client", "[dev-dependencies]\nhighwater-env-tokio = {}", &[]);
        check_manifest("highwater-metadata", "[dependencies]\ntokio = {}\nrand = {}", &["pure", "pure"]);
        check_manifest("highwater", "[dependencies]\ntokio = { features = [\"rt\"] }", &[]);
    }

    #[test]
    fn lints_are_inherited() {
        let manifest = "package.name = \"highwater-log\"".parse().unwrap();
        let findings = check(&Package { folder: "crates/log".to_owned(), manifest });
        assert_eq!(findings.len(), 1);
        assert!(findings[0].starts_with("crates/log/Cargo.toml: the workspace's lints"), "{findings:?}");
    }
}
