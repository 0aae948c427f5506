//! What the commands print: text for people or JSON for machines; errors and progress on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// For whom the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// People.
    Text,
    /// Machines.
    Json,
}

/// Where commands print.
#[derive(Debug)]
pub struct Output {
    style: Style,
}

impl Output {
    /// Output in a style.
    pub fn new(style: Style) -> Self {
        Self { style }
    }

    /// The style.
    pub fn style(&self) -> Style {
        self.style
    }

    /// Prints one result: `value` as a line of JSON, or `text`.
    pub fn item(&self, value: &impl Serialize, text: &str) -> anyhow::Result<()> {
        match self.style {
            Style::Json => self.json(value),
            Style::Text => Ok(writeln!(io::stdout().lock(), "{text}")?),
        }
    }

    /// Prints one line of JSON.
    pub fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        Ok(io::stdout().lock().write_all(&line)?)
    }

    /// Prints rows: each as a line of JSON, or a table with aligned columns.
    pub fn table<T: Serialize>(&self, header: &[&str], rows: &[(T, Vec<String>)]) -> anyhow::Result<()> {
        if self.style == Style::Json {
            return rows.iter().try_for_each(|(value, _)| self.json(value));
        }
        let cells: Vec<Vec<&str>> = std::iter::once(header.to_vec())
            .chain(rows.iter().map(|(_, cells)| cells.iter().map(String::as_str).collect()))
            .collect();
        let mut out = io::stdout().lock();
        for line in aligned(&cells) {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }

    /// Says something by the way; never in JSON.
    pub fn note(&self, text: &str) {
        if self.style == Style::Text {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Says what went wrong, with its causes.
    pub fn error(&self, error: &anyhow::Error) {
        let mut err = io::stderr().lock();
        let _ = match self.style {
            Style::Json => writeln!(err, "{}", serde_json::json!({ "error": with_causes(error) })),
            Style::Text if io::stderr().is_terminal() => {
                writeln!(err, "\x1b[1;31merror:\x1b[0m {}", with_causes(error))
            }
            Style::Text => writeln!(err, "error: {}", with_causes(error)),
        };
    }

    /// A progress bar of `total` units on a terminal; hidden elsewhere. Unknown totals get a spinner.
    pub fn progress(&self, total: Option<u64>, unit: &str) -> ProgressBar {
        let visible = self.style == Style::Text && io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => format!("{{bar:30}} {{human_pos}} / {{human_len}} {unit}, {{per_sec}}, {{eta}} left"),
            None => format!("{{spinner}} {{human_pos}} {unit}, {{per_sec}}"),
        };
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        if visible {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        bar
    }
}

/// Rows with their columns padded to the widest cell; no padding behind the last.
fn aligned(rows: &[Vec<&str>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

/// An error and its causes on one line. Many errors name their cause in their own text; it is not said again.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["TOPIC", "PARTITIONS"], vec!["a-long-name", "1"], vec!["ö", ""]];
        assert_eq!(aligned(&rows), ["TOPIC        PARTITIONS", "a-long-name  1", "ö"]);
    }

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow::anyhow!("in use").context("cannot listen: in use").context("no node");
        assert_eq!(with_causes(&error), "no node: cannot listen: in use");
    }
}
