//! Commands that build and start another program of the workspace.

use crate::arguments::Arguments;
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
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

/// `cargo xtask measure`: clusters of processes, and parts of a node.
pub fn measure(workspace: &Workspace, arguments: &mut Arguments) -> Result<ExitCode> {
    build(workspace, &["highwater", "highwater-floor", "highwater-measure"])?;
    run(&release_binary(workspace, "highwater-measure"), arguments.rest())
}

/// `cargo xtask crash-test`: kills the real binary over and over.
pub fn crash_test(workspace: &Workspace, arguments: &mut Arguments) -> Result<ExitCode> {
    build(workspace, &["highwater"])?;
    run_built(workspace, "crash-test", arguments)
}

/// `cargo xtask cluster-test`: kills, pauses and cuts off the nodes of a cluster of the real binary.
pub fn cluster_test(workspace: &Workspace, arguments: &mut Arguments) -> Result<ExitCode> {
    build(workspace, &["highwater", "cluster-test"])?;
    run(&release_binary(workspace, "cluster-test"), arguments.rest())
}

/// `cargo xtask sim`: the simulator takes the same arguments as `highwater-sim run`. madsim needs a build of its own.
pub fn sim(workspace: &Workspace, arguments: &mut Arguments) -> Result<ExitCode> {
    let mut rest = arguments.rest();
    let madsim = rest.windows(2).any(|pair| pair == ["--engine", "madsim"])
        || rest.iter().any(|word| word == "--engine=madsim");
    if !rest.iter().any(|word| !word.starts_with("--") && Path::new(word).exists()) {
        rest.insert(0, "scenarios/fast".to_owned());
    }
    rest.insert(0, "run".to_owned());
    let simulator = if madsim { build_instrumented(workspace)? } else { build_simulator(workspace)? };
    run(&simulator, rest)
}

/// `cargo xtask determinism`: every seed is run twice, and must be the same run both times.
pub fn determinism(workspace: &Workspace, arguments: &mut Arguments) -> Result<ExitCode> {
    let simulator = build_simulator(workspace)?;
    let options = ["run", "scenarios/fast", "--repeat-one-in", "1"].map(str::to_owned);
    run(&simulator, options.into_iter().chain(arguments.rest()))
}

fn build_simulator(workspace: &Workspace) -> Result<PathBuf> {
    build(workspace, &["--release", "-p", "highwater-sim", "--bin", "highwater-sim"])?;
    Ok(release_binary(workspace, "highwater-sim"))
}

/// Builds the simulator with what ordinary builds leave out: madsim, and the planted bugs. Gives its path.
pub fn build_instrumented(workspace: &Workspace) -> Result<PathBuf> {
    let target = workspace.target().join("instrumented");
    let status = cargo(workspace)
        .args(["build", "--quiet", "--locked", "--release", "-p", "highwater-sim", "--bin", "highwater-sim"])
        .env("CARGO_TARGET_DIR", &target)
        // The variable replaces what .cargo/config.toml says, so that is repeated.
        .env("RUSTFLAGS", "--cfg tokio_unstable --cfg madsim --cfg highwater_mutants")
        .status()
        .context("cargo build")?;
    ensure!(status.success(), "building the simulator with madsim and planted bugs: {status}");
    Ok(target.join("release").join("highwater-sim"))
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
