//! Scripted faults.

use super::Result;
use super::sections::BEYOND;
use crate::action::Layer;
use crate::reader::{Section, Value};
use crate::text::parse_duration;
use crate::{
    Action, EventKind, Machine, Others, PartitionName, Role, Scenario, ScenarioError, ScriptedFault, Stage,
    SyncPersonality, Trigger, Unsynced, Way,
};
use std::ops::RangeInclusive;
use std::time::Duration;

const TIMES: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
const STAGES: &[(&str, Stage)] = &[("sync", Stage::Sync)];

/// The topic that keeps groups, which is there if there are members, and how many partitions it has by default.
const OFFSETS_TOPIC: &str = "__consumer_offsets";
const OFFSETS_PARTITIONS: u32 = 50;

/// Examples of what can stand there, for messages.
const ROLES: &str = "\"leader of orders-0\", \"follower of orders-0\", \"controller\", \"broker 1\", \"every broker\", \
                     \"every node\", \"any broker\", \"client 1\" or \"broker 1 and client 1\"";

pub fn script(root: &Section<'_>, scenario: &Scenario) -> Result<Vec<ScriptedFault>> {
    root.sections("script", "[[script]]")?.into_iter().map(|section| fault(section, scenario)).collect()
}

fn fault(section: Section<'_>, scenario: &Scenario) -> Result<ScriptedFault> {
    let word = section.require("do")?;
    let name = word.choice(&Action::NAMES.iter().map(|&name| (name, name)).collect::<Vec<_>>())?;
    let what = action(name, &section)?;
    if scenario.regime < what.regime() {
        return Err(word.error(format!("{name:?} needs regime = \"unlimited\": {BEYOND}")));
    }
    let node = section.require("node")?;
    let target = role(&node, scenario)?;
    check_target(&node, &what, &target)?;
    let when_value = section.require("when")?;
    let when = trigger(&when_value, scenario)?;
    let before = section.get("before").map(|value| stage(&value, &what, &when)).transpose()?;
    section.done()?;
    Ok(ScriptedFault { what, target, when, before })
}

fn role(value: &Value<'_>, scenario: &Scenario) -> Result<Role> {
    let text = value.text()?;
    let Some(role) = Role::parse(text) else {
        let known =
            ["every broker", "every node", "any broker", "controller", "broker 1", "client 1"].into_iter();
        let message = format!("{text:?} is nobody: say {ROLES}");
        return Err(value.source.unknown(value.at, message, text, known));
    };
    if let Role::Leader(partition) | Role::Follower(partition) = &role {
        known_partition(value, partition, scenario)?;
    }
    if let Role::Nodes(set) = &role
        && (*set == 0 || set >> scenario.cluster.nodes() != 0)
    {
        let nodes = scenario.cluster.nodes();
        return Err(value.error(format!("{text:?} are not there: the scenario has nodes 1 to {nodes}")));
    }
    for machine in role.machines() {
        let (number, kind, count) = match machine {
            Machine::Broker(number) => (number, "broker", scenario.cluster.brokers),
            Machine::Controller(number) => (number, "controller", scenario.cluster.controllers),
            Machine::Client(number) => (number, "client", scenario.workload.clients()),
        };
        if count == 0 {
            return Err(value.error(format!("there is no {machine}: every broker is a controller as well")));
        }
        if number == 0 || number > count {
            return Err(value.error(format!("there is no {machine}: the scenario has {kind}s 1 to {count}")));
        }
    }
    match role {
        Role::Link(one, other) if one == other => Err(value.error(format!("{one} has no link to itself"))),
        role => Ok(role),
    }
}

fn known_partition(value: &Value<'_>, partition: &PartitionName, scenario: &Scenario) -> Result<()> {
    let own = scenario.topics.iter().find(|topic| topic.name == partition.topic);
    let groups = (scenario.workload.members > 0 && partition.topic == OFFSETS_TOPIC).then(|| {
        let set = scenario.cluster.settings.get("offsets.topic.num.partitions");
        set.and_then(|count| count.parse().ok()).unwrap_or(OFFSETS_PARTITIONS)
    });
    let Some(count) = own.map(|topic| topic.partitions).or(groups) else {
        let message = format!("the scenario has no topic {:?}", partition.topic);
        let names = scenario.topics.iter().map(|topic| topic.name.as_str());
        return Err(value.source.unknown(value.at, message, &partition.topic, names));
    };
    if u32::try_from(partition.partition).is_ok_and(|number| number < count) {
        return Ok(());
    }
    let last = count - 1;
    Err(value.error(format!("there is no {partition}: the topic has partitions 0 to {last}")))
}

fn check_target(value: &Value<'_>, what: &Action, target: &Role) -> Result<()> {
    let name = what.name();
    match (what.layer(), target) {
        (Layer::Process | Layer::Disk, Role::Client(_)) => Err(value
            .error(format!("{name:?} hits brokers; clients have neither a disk nor anything to recover"))),
        (Layer::Process | Layer::Disk | Layer::Clock, Role::Link(..)) => {
            Err(value.error(format!("{name:?} hits machines, and {:?} is a link", target.to_string())))
        }
        _ => Ok(()),
    }
}

fn trigger(value: &Value<'_>, scenario: &Scenario) -> Result<Trigger> {
    let text = value.text()?;
    if let Some(at) = parse_duration(text.trim_start_matches("at ")) {
        if at >= scenario.duration {
            let duration = scenario.duration;
            return Err(value.error(format!("{text:?} is too late: the scenario lasts {duration:?}")));
        }
        return Ok(Trigger::At(at));
    }
    let mut words = text.split_whitespace();
    let word = words.next().unwrap_or_default();
    let Some(&kind) = EventKind::ALL.iter().find(|kind| kind.name() == word) else {
        let message =
            format!("{text:?} never happens: say a time such as \"10s\" or \"append 3 of orders-0\"");
        let known = EventKind::ALL.iter().map(|kind| kind.name());
        return Err(value.source.unknown(value.at, message, word, known));
    };
    let count: Option<u32> = words.next().and_then(|word| word.parse().ok()).filter(|&count| count > 0);
    let Some(count) = count else {
        return Err(value.error(format!("{text:?} needs a number from 1 after {word:?}: which of them")));
    };
    let rest: Vec<&str> = words.collect();
    let of = match rest.as_slice() {
        [] => None,
        ["of", partition] if kind.has_partition() => match PartitionName::parse(partition) {
            Some(partition) => Some(partition),
            None => return Err(value.error(format!("{partition:?} is no partition such as \"orders-0\""))),
        },
        _ => {
            let known = if kind.has_partition() { " but \"of\" and a partition" } else { "" };
            return Err(value.error(format!("nothing follows \"{word} {count}\"{known}, not {rest:?}")));
        }
    };
    of.iter().try_for_each(|partition| known_partition(value, partition, scenario))?;
    Ok(Trigger::Event { kind, of, count })
}

fn stage(value: &Value<'_>, what: &Action, when: &Trigger) -> Result<Stage> {
    let stage = value.choice(STAGES)?;
    let waits = matches!(when, Trigger::Event { kind, .. } if kind.precedes_sync());
    if !waits {
        let known: Vec<&str> =
            EventKind::ALL.iter().filter(|kind| kind.precedes_sync()).map(|kind| kind.name()).collect();
        let known = known.join(", ");
        return Err(value
            .error(format!("nothing waits for a sync after {:?}; after these: {known}", when.to_string())));
    }
    let kills = matches!(
        what,
        Action::Crash { .. }
            | Action::PowerCut { .. }
            | Action::PowerCutInRecovery { .. }
            | Action::CrashThenPowerCut { .. }
    );
    if !kills {
        return Err(value.error(format!("`before` is for crashes and power cuts, not for {:?}", what.name())));
    }
    Ok(stage)
}

fn duration(section: &Section<'_>, key: &'static str, usual: Duration) -> Result<Duration> {
    section.get(key).map_or(Ok(usual), |value| value.duration(TIMES))
}

fn down(section: &Section<'_>) -> Result<Duration> {
    duration(section, "down", Duration::from_secs(1))
}

fn lasting(section: &Section<'_>) -> Result<Duration> {
    section.require("for")?.duration(TIMES)
}

fn unsynced(section: &Section<'_>) -> Result<Unsynced> {
    section.get("unsynced").map_or(Ok(Unsynced::Drawn), |value| value.choice(Unsynced::NAMES))
}

fn file(section: &Section<'_>) -> Result<String> {
    section.get("file").map_or(Ok(String::new()), |value| Ok(value.text()?.to_owned()))
}

fn number<T: TryFrom<i64> + PartialOrd + std::fmt::Display>(
    section: &Section<'_>,
    key: &'static str,
    usual: T,
    bounds: RangeInclusive<T>,
) -> Result<T> {
    section.get(key).map_or(Ok(usual), |value| value.integer(bounds))
}

fn action(name: &str, section: &Section<'_>) -> std::result::Result<Action, ScenarioError> {
    Ok(match name {
        "crash" => Action::Crash { down: down(section)? },
        "power-cut" => Action::PowerCut { down: down(section)?, unsynced: unsynced(section)? },
        "power-cut-in-recovery" => Action::PowerCutInRecovery {
            down: down(section)?,
            operations: number(section, "operations", 20, 0..=1_000_000)?,
            unsynced: unsynced(section)?,
        },
        "crash-then-power-cut" => Action::CrashThenPowerCut {
            down: down(section)?,
            operations: number(section, "operations", 20, 0..=1_000_000)?,
            unsynced: unsynced(section)?,
        },
        "restart" => Action::Restart { down: down(section)? },
        "rolling-restart" => Action::RollingRestart {
            down: down(section)?,
            pause: duration(section, "pause", Duration::from_secs(2))?,
        },
        "replace-disk" => Action::ReplaceDisk { down: down(section)? },
        "pause" => Action::Pause { lasting: lasting(section)? },
        "wipe" => Action::Wipe { down: down(section)? },
        "fail-sync" => {
            let how = section
                .get("how")
                .map_or(Ok(SyncPersonality::Clean), |value| value.choice(SyncPersonality::NAMES))?;
            Action::FailSync { how, file: file(section)? }
        }
        "fail-write" => Action::FailWrite { file: file(section)? },
        "fail-read" => Action::FailRead { file: file(section)? },
        "fail-directory-sync" => Action::FailDirectorySync,
        "fill-disk" => Action::FillDisk { lasting: lasting(section)? },
        "stall-disk" => Action::StallDisk { lasting: lasting(section)? },
        "evict-cache" => Action::EvictCache,
        "flip-bit" => Action::FlipBit { file: file(section)? },
        "rot" => Action::Rot,
        "break-sector" => Action::BreakSector { file: file(section)? },
        "lose-write" => Action::LoseWrite { file: file(section)? },
        "misdirect-write" => Action::MisdirectWrite { file: file(section)? },
        "lie-about-sync" => Action::LieAboutSync { file: file(section)? },
        "isolate" => Action::Isolate {
            lasting: lasting(section)?,
            way: section.get("way").map_or(Ok(Way::Both), |value| value.choice(Way::NAMES))?,
            flaps: number(section, "flaps", 1, 1..=1000)?,
            from: section.get("from").map_or(Ok(Others::All), |value| value.choice(Others::NAMES))?,
        },
        "split" => Action::Split {
            lasting: lasting(section)?,
            sides: u64::from(number(section, "sides", 1, 0..=u32::MAX)?),
        },
        "reset" => Action::Reset,
        "slow-link" => {
            let by = section.require("by")?.duration(TIMES)?;
            Action::SlowLink { lasting: lasting(section)?, by }
        }
        "jump-clock" => Action::JumpClock { by_ms: section.require("by")?.signed_ms()? },
        "drift-clock" => {
            let ppm = section.require("ppm")?.integer(-500_000..=500_000)?;
            Action::DriftClock { ppm, lasting: lasting(section)? }
        }
        "freeze-clock" => Action::FreezeClock { lasting: lasting(section)? },
        other => return Err(section.error(format!("{other:?} is not read"))),
    })
}
