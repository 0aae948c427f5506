//! `highwater log`: looks into a data directory without opening it.

use crate::cli::EXIT_DAMAGED;
use crate::output::Output;
use anyhow::Context;
use clap::Subcommand;
use highwater_env::Env;
use highwater_log::{Found, inspect_log, inspect_store};
use serde_json::json;
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
}

/// Does what was asked.
pub fn run(command: &LogCommand, output: &Output) -> anyhow::Result<ExitCode> {
    let LogCommand::Inspect { dir, summary } = command;
    let mut report = Report { output, summary: *summary, totals: Totals::default(), failed: None };
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
