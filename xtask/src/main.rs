//! Developer commands: `cargo xtask NAME`.

// Its output is what it is for, and it is not part of a node.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, clippy::disallowed_types)]

mod arguments;
mod check;
mod code;
mod commands;
mod layers;
mod mutants;
mod names;
mod tidy;
mod workspace;

use anyhow::{Result, bail};
use arguments::Arguments;
use std::process::ExitCode;
use workspace::Workspace;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  check                            the layers: who may depend on whom, and which names a crate may use
  tidy                             the house rules that no compiler checks
  fuzz [--seconds N] [TARGET...]   damaged input against every parser of outside bytes
  sim [PATH...] [OPTION...]        the simulator over scenarios, scenarios/fast if none is named; takes the options of
                                   highwater-sim run, and builds for --engine madsim
  determinism [--seeds N]          every seed twice: the same run both times?
  mutants [ID...] [--seeds N]      planted bugs against the simulator, and clean code over the same seeds
  bench [--rounds N] [NAME...]     the broker against the floor program, in turn; prints docs/PERFORMANCE.md's tables
  measure WHAT [OPTION...]         clusters of three brokers: replicated, idle, fail-over; and metadata, their state alone
  crash-test [--rounds N]          the real binary, killed over and over; no acknowledged record may be lost
  cluster-test [--rounds N]        a cluster of the real binary, its nodes killed, paused and cut off; the same
";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_process();
    match run(&mut arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &mut Arguments) -> Result<ExitCode> {
    let helped = arguments.ask_for_help();
    let command = arguments.next_word();
    // The other commands start programs that explain themselves.
    if helped
        && !matches!(command.as_deref(), Some("fuzz" | "bench" | "measure" | "crash-test" | "cluster-test"))
    {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let Some(command) = command else {
        print!("{USAGE}");
        return Ok(ExitCode::from(2));
    };
    let workspace = Workspace::around(env!("CARGO_MANIFEST_DIR"))?;
    match command.as_str() {
        "check" => {
            arguments.finish()?;
            Ok(report("check", &check::check(&workspace)?))
        }
        "tidy" => {
            arguments.finish()?;
            Ok(report("tidy", &tidy::tidy(&workspace)?))
        }
        "fuzz" => commands::fuzz(&workspace, arguments),
        "sim" => commands::sim(&workspace, arguments),
        "determinism" => commands::determinism(&workspace, arguments),
        "mutants" => mutants::mutants(&workspace, arguments),
        "bench" => commands::bench(&workspace, arguments),
        "measure" => commands::measure(&workspace, arguments),
        "crash-test" => commands::crash_test(&workspace, arguments),
        "cluster-test" => commands::cluster_test(&workspace, arguments),
        "help" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("there is no command {other:?}\n\n{USAGE}"),
    }
}

/// Prints what was found, one per line.
fn report(command: &str, findings: &[String]) -> ExitCode {
    for finding in findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("{command}: nothing to complain of");
        ExitCode::SUCCESS
    } else {
        println!("{command}: {} to mend", findings.len());
        ExitCode::FAILURE
    }
}
