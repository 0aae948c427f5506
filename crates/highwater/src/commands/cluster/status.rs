//! `highwater cluster status` and `health`: what there is, and what is wrong with it.

use super::quorum::QuorumView;
use super::view::{Load, PartitionView, Trouble, View};
use crate::output::{Output, Style};
use highwater_types::BrokerId;
use serde_json::{Value, json};
use std::process::ExitCode;

/// The exit code of `health` when something is wrong.
pub const EXIT_UNHEALTHY: u8 = 4;
/// How many partitions with something wrong are listed; the others are counted.
const LISTED: usize = 20;

/// Prints all of it.
pub fn status(view: &View, quorum: Option<&QuorumView>, output: &Output) -> anyhow::Result<()> {
    if output.style() == Style::Json {
        let mut value = verdict(view);
        value["brokers"] = brokers(view).into_iter().map(|(value, _)| value).collect();
        value["quorum"] = quorum.map_or(Value::Null, QuorumView::json);
        return output.json(&value);
    }
    output.item(&(), &format!("{}\n", heading(view)))?;
    const HEADER: [&str; 8] =
        ["BROKER", "STATE", "ADDRESS", "RACK", "LEADS", "PREFERRED", "REPLICAS", "OUT OF SYNC"];
    output.table(&HEADER, &brokers(view))?;
    if let Some(quorum) = quorum {
        quorum.print(output)?;
    }
    list_troubled(view, output)
}

/// Prints what is wrong; the exit code says whether anything is.
pub fn health(view: &View, output: &Output) -> anyhow::Result<ExitCode> {
    let value = verdict(view);
    if output.style() == Style::Json {
        output.json(&value)?;
    } else {
        output.item(&(), &heading(view))?;
        for (id, broker) in view.brokers.iter().filter(|(_, broker)| broker.is_fenced) {
            output.item(
                &(),
                &format!("broker {id} at {} does not answer its controller (fenced)", broker.address),
            )?;
        }
        for id in unregistered(view) {
            output.item(&(), &format!("broker {id} is not registered, and holds replicas"))?;
        }
        list_troubled(view, output)?;
    }
    Ok(if value["healthy"] == true { ExitCode::SUCCESS } else { ExitCode::from(EXIT_UNHEALTHY) })
}

fn heading(view: &View) -> String {
    let live = view.brokers.values().filter(|broker| !broker.is_fenced).count();
    let controller = view.controller.map_or_else(|| "none".to_owned(), |id| id.to_string());
    let (partitions, troubled) = (view.partitions.len(), view.troubled());
    let mut sums: Vec<String> = Trouble::ALL
        .into_iter()
        .filter_map(|kind| {
            let count = troubled.iter().filter(|(trouble, _)| *trouble == kind).count();
            (count > 0).then(|| format!("{count} {}", kind.name()))
        })
        .collect();
    if sums.is_empty() {
        sums.push("all in sync".to_owned());
    }
    let word = if verdict(view)["healthy"] == true { "HEALTHY" } else { "NOT HEALTHY" };
    format!(
        "{word}  cluster {}\n{live} of {} brokers live, controller {controller}, {partitions} partitions: {}",
        view.cluster_id,
        view.brokers.len(),
        sums.join(", ")
    )
}

/// Brokers that hold replicas and are not registered.
fn unregistered(view: &View) -> Vec<BrokerId> {
    view.loads().into_keys().filter(|id| !view.brokers.contains_key(id)).collect()
}

fn verdict(view: &View) -> Value {
    let troubled = view.troubled();
    let names = |kind: Trouble| -> Vec<String> {
        troubled
            .iter()
            .filter(|(trouble, _)| *trouble == kind)
            .map(|(_, partition)| partition.name())
            .collect()
    };
    let fenced: Vec<i32> =
        view.brokers.iter().filter(|(_, broker)| broker.is_fenced).map(|(id, _)| id.0).collect();
    let unregistered: Vec<i32> = unregistered(view).into_iter().map(|id| id.0).collect();
    json!({
        "healthy": troubled.is_empty() && fenced.is_empty() && unregistered.is_empty() && view.controller.is_some(),
        "cluster_id": view.cluster_id,
        "controller": view.controller.map(|id| id.0),
        "fenced_brokers": fenced,
        "unregistered_brokers": unregistered,
        "partitions": view.partitions.len(),
        "offline": names(Trouble::Offline),
        "under_min_isr": names(Trouble::UnderMinIsr),
        "at_min_isr": names(Trouble::AtMinIsr),
        "under_replicated": names(Trouble::UnderReplicated),
    })
}

fn brokers(view: &View) -> Vec<(Value, Vec<String>)> {
    view.loads()
        .into_iter()
        .map(|(id, Load { leads, preferred, replicas, lagging })| {
            let broker = view.brokers.get(&id).cloned();
            let state = match &broker {
                None => "not registered",
                Some(broker) if broker.is_fenced => "fenced",
                Some(_) => "live",
            };
            let broker = broker.unwrap_or_default();
            let value = json!({
                "broker": id.0,
                "state": state,
                "address": broker.address,
                "rack": broker.rack,
                "leads": leads,
                "preferred": preferred,
                "replicas": replicas,
                "out_of_sync": lagging,
            });
            let rack = broker.rack.unwrap_or_default();
            let counts = [leads, preferred, replicas, lagging].map(|count| count.to_string());
            let cells = [id.to_string(), state.to_owned(), broker.address, rack];
            (value, cells.into_iter().chain(counts).collect())
        })
        .collect()
}

fn list_troubled(view: &View, output: &Output) -> anyhow::Result<()> {
    let troubled = view.troubled();
    if troubled.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> =
        troubled.iter().take(LISTED).map(|(trouble, partition)| ((), row(*trouble, partition))).collect();
    output.item(&(), "")?;
    output.table(&["PARTITION", "LEADER", "REPLICAS", "IN SYNC", "TROUBLE"], &rows)?;
    let more = troubled.len().saturating_sub(LISTED);
    if more > 0 {
        output.item(&(), &format!("and {more} more; --json names them all"))?;
    }
    Ok(())
}

fn row(trouble: Trouble, partition: &PartitionView) -> Vec<String> {
    let ids = |ids: &[BrokerId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    vec![
        partition.name(),
        partition.leader.map_or_else(|| "none".to_owned(), |id| id.to_string()),
        ids(&partition.replicas),
        ids(&partition.in_sync),
        format!("{}: {}", trouble.name(), trouble.meaning()),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{cluster, partition};
    use super::*;

    #[test]
    fn a_cluster_is_healthy_only_if_nothing_is_wrong() {
        let healthy = || {
            let mut view = cluster(&[(1, ""), (2, "")], vec![partition(0, 1, &[1, 2], &[1, 2])]);
            view.controller = Some(BrokerId(1));
            view
        };
        let is_healthy = |change: &dyn Fn(&mut View)| {
            let mut view = healthy();
            change(&mut view);
            verdict(&view)["healthy"] == true
        };
        assert!(is_healthy(&|_| ()));
        assert!(!is_healthy(&|view| view.controller = None));
        assert!(!is_healthy(&|view| drop(view.brokers.remove(&BrokerId(2)))));
        assert!(!is_healthy(&|view| view.partitions[0].in_sync.truncate(1)));
        assert!(!is_healthy(&|view| {
            view.brokers.entry(BrokerId(2)).and_modify(|broker| broker.is_fenced = true);
        }));
    }

    #[test]
    fn the_heading_says_it_at_a_glance() {
        let mut view = cluster(
            &[(1, ""), (2, ""), (3, "")],
            vec![partition(0, 1, &[1, 2, 3], &[1, 2]), partition(1, -1, &[3], &[3])],
        );
        view.cluster_id = "c".to_owned();
        insta::assert_snapshot!(heading(&view), @r"
        NOT HEALTHY  cluster c
        3 of 3 brokers live, controller none, 2 partitions: 1 offline, 1 at min.insync.replicas
        ");
    }
}
