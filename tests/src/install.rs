//! Installs the stock clients, each pinned, into the target folder.
//!
//! What must be there already: Python with venv, Java with Maven, Go, Node with npm. kcat is the client that is a
//! package of the system; where it is missing and the system lets us, it is installed there.

use crate::process;
use crate::workspace::package_dir;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where a folder's sources, as installed, are written down.
const INSTALLED: &str = ".installed";

/// The folder of a client's sources, and of its installation.
fn folder(client: &str) -> Result<&'static str> {
    Ok(match client {
        "confluent-kafka" | "kafka-python" | "aiokafka" => "python",
        "java" => "java",
        "franz-go" => "go",
        "sarama" => "sarama",
        "kafkajs" => "node",
        other => bail!("{other} has no program"),
    })
}

/// Installs a client, unless it is there just so.
pub fn install(client: &str, cache: &Path) -> Result<()> {
    if client == "kcat" {
        return kcat();
    }
    let folder = folder(client)?;
    let from = package_dir().join("clients").join(folder);
    let to = cache.join(folder);
    let sources = sources(&from)?;
    if fs::read(to.join(INSTALLED)).is_ok_and(|installed| installed == sources) {
        return Ok(());
    }
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    fs::create_dir_all(&to)?;
    match folder {
        "python" => python(&from, &to)?,
        "java" => java(&from, &to)?,
        "go" | "sarama" => go(&from, &to)?,
        _ => node(&from, &to)?,
    }
    fs::write(to.join(INSTALLED), sources)?;
    Ok(())
}

/// How an installed client's program is started.
pub fn command(client: &str, cache: &Path, bootstrap: &str) -> Result<Command> {
    let folder = folder(client)?;
    let from = package_dir().join("clients").join(folder);
    let at = cache.join(folder);
    let mut command = match client {
        "confluent-kafka" | "kafka-python" | "aiokafka" => {
            let program = match client {
                "kafka-python" => "kafka_python_program.py",
                "aiokafka" => "aiokafka_program.py",
                _ => "confluent_program.py",
            };
            let mut python = Command::new(at.join("venv/bin/python"));
            python.arg("-B").arg(from.join(program));
            python
        }
        "java" => {
            let mut java = Command::new("java");
            let path = format!("{0}/classes:{0}/lib/*", at.display());
            java.args([
                "-XX:TieredStopAtLevel=1",
                "-Xmx512m",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            ]);
            java.args(["-cp", &path, "highwater.Main"]);
            java
        }
        "franz-go" | "sarama" => Command::new(at.join("program")),
        _ => {
            let mut node = Command::new("node");
            node.arg("--no-warnings").arg(at.join("main.js"));
            node
        }
    };
    command.arg(bootstrap);
    Ok(command)
}

/// All that a folder holds: what is installed from it depends on nothing else.
fn sources(dir: &Path) -> Result<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(dir)
        .with_context(|| format!("read {}", dir.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        if path.is_dir() {
            sources.extend(self::sources(&path)?);
        } else {
            sources.extend(path.to_string_lossy().as_bytes());
            sources.extend(fs::read(&path)?);
        }
    }
    Ok(sources)
}

fn kcat() -> Result<()> {
    if is_there("kcat", "-V") {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() || !is_there("apt-get", "--version") {
        bail!("kcat is needed and is not installed: it is the package `kcat` of most systems");
    }
    for arguments in [&["update", "-q"][..], &["install", "-qy", "--no-install-recommends", "kcat"]] {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        process::run(apt, &format!("installing kcat: apt-get {}", arguments[0]))?;
    }
    if is_there("kcat", "-V") { Ok(()) } else { bail!("kcat was installed and cannot be started") }
}

fn is_there(program: &str, version: &str) -> bool {
    let tried = Command::new(program).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

fn python(from: &Path, to: &Path) -> Result<()> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(to.join("venv"));
    process::run(venv, "making a Python environment")?;
    let mut pip = Command::new(to.join("venv/bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--requirement"]);
    pip.arg(from.join("requirements.txt"));
    process::run(pip, "installing the Python clients")
}

fn java(from: &Path, to: &Path) -> Result<()> {
    let mut maven = Command::new("mvn");
    maven.args(["--quiet", "--batch-mode", "--file"]).arg(from.join("pom.xml"));
    maven.arg(format!("-Dprogram.directory={}", to.display())).arg("compile");
    process::run(maven, "installing the Java client")
}

fn go(from: &Path, to: &Path) -> Result<()> {
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-o"]).arg(to.join("program")).arg(".").current_dir(from);
    process::run(go, "installing the Go client")
}

fn node(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(to);
    process::run(npm, "installing the Node client")
}
