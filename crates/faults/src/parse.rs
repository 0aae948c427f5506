//! From the text of a scenario file to what it says.

mod script;
mod sections;

use crate::reader::{Section, Source};
use crate::{DiskScenario, Regime, Scenario, ScenarioError, ScenarioFile};
use std::time::Duration;
use toml::de::DeTable;

type Result<T> = std::result::Result<T, ScenarioError>;

const SHORTEST_RUN: Duration = Duration::from_secs(1);
const LONGEST_RUN: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Disk,
    Cluster,
}

const KINDS: &[(&str, Kind)] = &[("disk", Kind::Disk), ("cluster", Kind::Cluster)];
const REGIMES: &[(&str, Regime)] =
    &[("within-budget", Regime::WithinBudget), ("unlimited", Regime::Unlimited)];
const DISKS: &[(&str, Regime)] = &[("honest", Regime::WithinBudget), ("lying", Regime::Unlimited)];

impl ScenarioFile {
    /// Reads a file's text. The path is for messages, and its last part, without the ending, is the scenario's name.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(text: &str, path: &str) -> Result<Self> {
        let source = Source { path, text };
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            source.error(at, error.message())
        })?;
        let root = Section::root(source, table.get_ref());
        let own = match root.section("scenario", "[scenario]")? {
            Some(own) => own,
            None => root.require("scenario").and_then(|_| Err(root.error("no [scenario]")))?,
        };
        match own.require("kind")?.choice(KINDS)? {
            Kind::Disk => parse_disk(root, own, path),
            Kind::Cluster => parse_cluster(root, own, path),
        }
    }

    /// The scenario's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Disk(scenario) => &scenario.name,
            Self::Cluster(scenario) => &scenario.name,
        }
    }
}

impl Scenario {
    /// Reads the text of a file of kind "cluster"; see [`ScenarioFile::parse`].
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(text: &str, path: &str) -> Result<Self> {
        match ScenarioFile::parse(text, path)? {
            ScenarioFile::Cluster(scenario) => Ok(*scenario),
            ScenarioFile::Disk(_) => {
                let line = text.lines().position(|line| line.trim_start().starts_with("kind")).unwrap_or(0);
                let message = "a cluster is wanted here, and this scenario is of kind \"disk\"".to_owned();
                Err(ScenarioError { path: path.to_owned(), line: line + 1, message, suggestion: None })
            }
        }
    }
}

fn name_of(path: &str) -> String {
    let last = path.rsplit(['/', '\\']).next().unwrap_or(path);
    last.strip_suffix(".toml").unwrap_or(last).to_owned()
}

fn description(own: &Section<'_>) -> Result<String> {
    own.get("description").map_or(Ok(String::new()), |value| Ok(value.text()?.trim().to_owned()))
}

fn parse_disk(root: Section<'_>, own: Section<'_>, path: &str) -> Result<ScenarioFile> {
    let scenario = DiskScenario {
        name: name_of(path),
        description: description(&own)?,
        regime: own.require("disk")?.choice(DISKS)?,
        compacted: own.get("compacted").map_or(Ok(false), |value| value.boolean())?,
    };
    own.done()?;
    root.done()?;
    Ok(ScenarioFile::Disk(scenario))
}

fn parse_cluster(root: Section<'_>, own: Section<'_>, path: &str) -> Result<ScenarioFile> {
    let duration = match own.get("duration") {
        Some(value) => value.duration(SHORTEST_RUN..=LONGEST_RUN)?,
        None => Duration::from_secs(60),
    };
    let regime = own.get("regime").map_or(Ok(Regime::WithinBudget), |value| value.choice(REGIMES))?;
    let cluster = sections::cluster(&root)?;
    let mut scenario = Scenario {
        name: name_of(path),
        description: description(&own)?,
        duration,
        regime,
        topics: Vec::new(),
        workload: sections::workload(&root, &cluster)?,
        cluster,
        script: Vec::new(),
        random: Default::default(),
        expect: sections::expect(&root)?,
    };
    own.done()?;
    scenario.topics = sections::topics(&root, &scenario.cluster)?;
    scenario.random = sections::random(&root, &scenario)?;
    scenario.script = script::script(&root, &scenario)?;
    root.done()?;
    Ok(ScenarioFile::Cluster(Box::new(scenario)))
}

#[cfg(test)]
mod tests;
