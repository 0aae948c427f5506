//! `highwater log`: looks into a data directory without opening it.

use crate::cli::EXIT_DAMAGED;
use crate::output::Output;
use anyhow::Context;
use clap::Subcommand;
use highwater_env::Env;
use highwater_log::{Fault, FaultKind, Found, LogVerdict, inspect_log, inspect_store, verify_store};
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `highwater log ...`.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// List segments and batches, and verify every checksum. Reads only; a broker may run meanwhile, whose last batch
    /// may then be seen half-written.
    #[command(after_help = "\
Examples:
  highwater log inspect highwater-data
  highwater log inspect highwater-data --summary
  highwater --json log inspect highwater-data/logs/SOME-LOG-0

Exits with 3 if anything does not check out.")]
    Inspect {
        /// A data directory, or one log's directory in it.
        dir: PathBuf,
        /// Print segments and damage alone, no batches.
        #[arg(long)]
        summary: bool,
    },
    /// Verify a data directory that no node has open: every batch's checksum, offset and leader epoch, segments that
    /// are missing, and all small files. Changes nothing.
    #[command(after_help = "\
Examples:
  highwater log verify highwater-data
  highwater --json log verify highwater-data

Exits with 3 if anything is damaged or missing. What a crash leaves beyond the proven mark is no damage: the next start
cuts it. Neither is an index that does not fit: it is made anew when it is needed.")]
    Verify {
        /// A data directory.
        dir: PathBuf,
    },
}

/// Does what was asked.
pub fn run(command: &LogCommand, output: &Output) -> anyhow::Result<ExitCode> {
    match command {
        LogCommand::Inspect { dir, summary } => inspect_all(dir, *summary, output),
        LogCommand::Verify { dir } => verify(dir, output),
    }
}

fn inspect_all(dir: &Path, summary: bool, output: &Output) -> anyhow::Result<ExitCode> {
    let mut report = Report { output, summary, totals: Totals::default(), failed: None };
    inspect(dir, &mut report)?;
    if let Some(error) = report.failed {
        return Err(error);
    }
    let Totals { logs, segments, batches, records, bytes, damaged } = report.totals;
    // Nothing found is nothing verified: more likely the wrong directory.
    if logs == 0 && segments == 0 && !dir.join("disk.meta").is_file() {
        anyhow::bail!(
            "{} is neither a data directory nor the directory of a log: it holds no disk.meta and no segment",
            dir.display()
        );
    }
    let value = json!({
        "logs": logs, "segments": segments, "batches": batches, "records": records, "bytes": bytes, "damaged": damaged,
    });
    let verdict =
        if damaged == 0 { "all checksums are right".to_owned() } else { format!("{damaged} DAMAGED RANGES") };
    output.item(
        &json!({ "totals": value }),
        &format!(
            "{logs} logs, {segments} segments, {batches} batches, {records} records, {bytes} bytes: {verdict}"
        ),
    )?;
    Ok(if damaged == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DAMAGED) })
}

/// Verifies a whole data directory.
fn verify(dir: &Path, output: &Output) -> anyhow::Result<ExitCode> {
    // Looked at first: verifying locks the directory, and must not make a file where there is none.
    let is_store = dir.join("disk.meta").is_file() || dir.join("logs").is_dir();
    anyhow::ensure!(is_store, "{} is no data directory: it holds neither disk.meta nor logs", dir.display());
    let verdict = highwater_env_tokio::run(None, |env| async move { verify_store(env.disk(), dir).await })?
        .map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            anyhow::anyhow!("{} is in use by another process; stop it first", dir.display())
        }
        _ => anyhow::Error::new(error).context(format!("{} cannot be read", dir.display())),
    })?;
    let rows: Vec<_> = verdict.logs.iter().map(row).collect();
    output.table(
        &["LOG", "START", "END", "SEGMENTS", "BATCHES", "BYTES", "TORN", "OLD INDEXES", "VERDICT"],
        &rows,
    )?;
    for fault in verdict.faults.iter().chain(verdict.logs.iter().flat_map(|log| &log.faults)) {
        let Fault { path, kind } = fault;
        let (from, to) = match kind {
            FaultKind::Batches(range) | FaultKind::Missing(range) => (Some(range.start.0), Some(range.end.0)),
            _ => (None, None),
        };
        let advice = advice(fault);
        let value =
            json!({ "fault": kind.to_string(), "path": path, "from": from, "to": to, "advice": advice });
        output.item(&value, &format!("{}: {kind}\n    {advice}", path.display()))?;
    }
    Ok(if verdict.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DAMAGED) })
}

/// What is to be done about a fault.
fn advice(fault: &Fault) -> &'static str {
    let name = fault.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match &fault.kind {
        FaultKind::Batches(_) | FaultKind::Missing(_) => {
            "Start the node: these offsets are not served, and are put back from another replica. With no other replica \
             they are lost, unless there is a copy of the file."
        }
        FaultKind::SegmentHeader => "Nothing: only the time at which the segment was begun is lost.",
        FaultKind::File | FaultKind::NoFile if name == "disk.meta" => {
            "The node will not start. Replace the disk by an empty one, as OPERATIONS.md says."
        }
        FaultKind::File | FaultKind::NoFile => {
            "Start the node: what the file says is gathered from the log. Until it has caught up with the leader, the \
             replica may not count as complete."
        }
    }
}

/// A log's line in the table.
fn row(log: &LogVerdict) -> (serde_json::Value, Vec<String>) {
    let LogVerdict { id, start, end, segments, batches, bytes, torn_bytes, stale_indexes, faults } = log;
    let value = json!({
        "log": id.to_string(), "start": start.0, "end": end.0, "segments": segments, "batches": batches,
        "bytes": bytes, "torn_bytes": torn_bytes, "stale_indexes": stale_indexes, "faults": faults.len(),
    });
    let verdict = if faults.is_empty() { "sound".to_owned() } else { format!("{} FAULTS", faults.len()) };
    let cells = [
        id.to_string(),
        start.to_string(),
        end.to_string(),
        segments.to_string(),
        batches.to_string(),
        bytes.to_string(),
        torn_bytes.to_string(),
        stale_indexes.to_string(),
        verdict,
    ];
    (value, cells.to_vec())
}

fn inspect(dir: &Path, report: &mut Report<'_>) -> anyhow::Result<()> {
    let is_store = dir.join("logs").is_dir();
    highwater_env_tokio::run(None, |env| async move {
        let visit = |found| report.show(&found);
        if is_store {
            inspect_store(env.disk(), dir, visit).await
        } else {
            inspect_log(env.disk(), dir, visit).await
        }
    })?
    .with_context(|| format!("{} cannot be read", dir.display()))
}

#[derive(Default)]
struct Totals {
    logs: u64,
    segments: u64,
    batches: u64,
    records: u64,
    bytes: u64,
    damaged: u64,
}

struct Report<'a> {
    output: &'a Output,
    summary: bool,
    totals: Totals,
    failed: Option<anyhow::Error>,
}

impl Report<'_> {
    /// Whether to go on.
    fn show(&mut self, found: &Found) -> bool {
        match self.print(found) {
            Ok(()) => true,
            Err(error) => {
                self.failed = Some(error);
                false
            }
        }
    }

    fn print(&mut self, found: &Found) -> anyhow::Result<()> {
        match found {
            Found::Log { id, dir } => {
                self.totals.logs += 1;
                let value = json!({ "log": id.to_string(), "dir": dir });
                self.output.item(&value, &format!("log {id}"))
            }
            Found::Segment { path, base, bytes, created } => {
                self.totals.segments += 1;
                self.totals.bytes += bytes;
                self.totals.damaged += u64::from(created.is_none());
                let value = json!({
                    "segment": path, "base_offset": base.0, "bytes": bytes, "created_ms": created.map(|time| time.0),
                });
                let header = if created.is_some() { "" } else { ", DAMAGED HEADER" };
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                self.output.item(&value, &format!("  segment {name}, {bytes} bytes{header}"))
            }
            Found::Batch { position, header, expected } => {
                self.totals.batches += 1;
                self.totals.records += u64::try_from(header.record_count).unwrap_or(0);
                if self.summary && expected.is_none() {
                    return Ok(());
                }
                let value = json!({
                    "position": position,
                    "base_offset": header.base_offset.0,
                    "last_offset": header.last_offset().0,
                    "bytes": header.size_bytes(),
                    "leader_epoch": header.leader_epoch.0,
                    "records": header.record_count,
                    "max_timestamp": header.max_timestamp.0,
                    "producer_id": header.producer_id.0,
                    "producer_epoch": header.producer_epoch.0,
                    "base_sequence": header.base_sequence,
                    "attributes": header.attributes.0,
                    "crc": header.crc,
                    "expected_offset": expected.map(|offset| offset.0),
                });
                let gap = expected.map(|offset| format!(", GAP: {offset} was expected")).unwrap_or_default();
                let text = format!(
                    "    at {position:>10}  offsets {} to {}, {} bytes, {} records, epoch {}, time {}, producer {}/{} \
                     from {}, crc {:08x}{gap}",
                    header.base_offset,
                    header.last_offset(),
                    header.size_bytes(),
                    header.record_count,
                    header.leader_epoch,
                    header.max_timestamp,
                    header.producer_id,
                    header.producer_epoch,
                    header.base_sequence,
                    header.crc,
                );
                self.output.item(&value, &text)
            }
            Found::Damage { position, bytes } => {
                self.totals.damaged += 1;
                let value = json!({ "damaged_at": position, "bytes": bytes });
                self.output
                    .item(&value, &format!("    at {position:>10}  DAMAGED: {bytes} bytes are no batch"))
            }
        }
    }
}
