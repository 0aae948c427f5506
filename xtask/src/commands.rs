//! Commands that build and start another program of the workspace.

use crate::arguments::Arguments;
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// `cargo xtask fuzz`: the fuzz driver takes the same arguments.
pub fn fuzz(workspace: &Workspace, arguments: &mut Arguments) -> Result<ExitCode> {
    run_built(workspace, "highwater-fuzz", arguments)
}

/// `cargo xtask bench`: the driver of the comparison stands in the bench crate.
pub fn bench(workspace: &Workspace, arguments: &mut Arguments) -> Result<ExitCode> {
    build(workspace, &["highwater", "highwater-compare", "highwater-floor", "highwater-load"])?;
    run(&release_binary(workspace, "highwater-compare"), arguments.rest())
}

/// `cargo xtask crash-test`: kills the real binary over and over.
pub fn crash_test(workspace: &Workspace, arguments: &mut Arguments) -> Result<ExitCode> {
    build(workspace, &["highwater"])?;
    run_built(workspace, "crash-test", arguments)
}

fn run_built(workspace: &Workspace, binary: &str, arguments: &mut Arguments) -> Result<ExitCode> {
    build(workspace, &[binary])?;
    run(&release_binary(workspace, binary), arguments.rest())
}

fn release_binary(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.target().join("release").join(name)
}

/// The cargo that started this program.
pub fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace.root());
    command
}

/// Builds release binaries. Named within the whole workspace: with a package alone cargo would choose other features of
/// the crates that are shared, and compile those once more.
fn build(workspace: &Workspace, binaries: &[&str]) -> Result<()> {
    let mut cargo = cargo(workspace);
    cargo.args(["build", "--quiet", "--release", "--workspace"]);
    for binary in binaries {
        cargo.args(["--bin", binary]);
    }
    let status = cargo.status().context("cargo build")?;
    ensure!(status.success(), "building {}: {status}", binaries.join(", "));
    Ok(())
}

fn run<A: AsRef<OsStr>>(program: &PathBuf, arguments: impl IntoIterator<Item = A>) -> Result<ExitCode> {
    let status =
        Command::new(program).args(arguments).status().with_context(|| program.display().to_string())?;
    // A program that a signal ended has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
