//! Processes that end with whoever started them.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How much of a log is shown when something failed, in bytes.
const SHOWN_LOG_BYTES: u64 = 8 * 1024;

/// A running process. It is killed when this is dropped, and by the kernel if this program is.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a command, with pipes to its standard input and output or without; what else it writes is appended to
    /// `log`.
    pub fn start(command: Command, name: &str, log: &Path, pipes: bool) -> Result<Self> {
        let child = tied(&command)
            .stdin(if pipes { Stdio::piped() } else { Stdio::null() })
            .stdout(if pipes { Stdio::piped() } else { append(log)?.into() })
            .stderr(append(log)?)
            .spawn()
            .with_context(|| format!("start {name}: {command:?}"))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_path_buf() })
    }

    /// The process itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Kills it at once, as a crash does.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits.
    pub fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(patience)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(id, signal).with_context(|| format!("send {signal:?} to {}", self.name))
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} had not ended after {patience:?}", self.name);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The end of what it wrote.
    pub fn log_tail(&self) -> String {
        tail(&self.name, &self.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; there is nobody left to tell of anything else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn append(log: &Path) -> Result<File> {
    File::options().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))
}

/// The command through `setpriv`, with which the kernel kills it when the thread that started it ends, however that
/// ends. Where there is no `setpriv`, the command itself.
pub fn tied(command: &Command) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut tied =
        match std::env::split_paths(&path).map(|dir| dir.join("setpriv")).find(|file| file.is_file()) {
            Some(setpriv) => {
                let mut tied = Command::new(setpriv);
                tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
                tied
            }
            None => Command::new(command.get_program()),
        };
    tied.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        tied.current_dir(dir);
    }
    tied
}

/// Runs a command to its end; says what it is for, how long it took, and, if it fails, all that it wrote.
pub fn run(mut command: Command, what: &str) -> Result<()> {
    println!("{what} ...");
    let started = Instant::now();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("{what}: cannot start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{what}: {command:?} ended with {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    println!("{what}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// The end of a log file, with a heading.
pub fn tail(name: &str, log: &Path) -> String {
    match read_tail(log) {
        Ok(text) if text.is_empty() => format!("--- {name} wrote nothing to {}\n", log.display()),
        Ok(text) => format!("--- the end of {} ({name})\n{text}\n---\n", log.display()),
        Err(error) => format!("--- {}: {error}\n", log.display()),
    }
}

fn read_tail(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SHOWN_LOG_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(SHOWN_LOG_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ends_with_its_owner() {
        let log = std::env::temp_dir().join(format!("highwater-process-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo started >&2; exec sleep 600"]);
        let mut process = Process::start(command, "sleeper", &log, false).unwrap();
        assert!(process.ended().unwrap().is_none());
        while !process.log_tail().contains("started") {
            thread::sleep(Duration::from_millis(1));
        }
        let id = Pid::from_raw(i32::try_from(process.child().id()).unwrap()).unwrap();
        drop(process);
        assert!(rustix::process::test_kill_process(id).is_err(), "it lives on");
        std::fs::remove_file(log).unwrap();
    }
}
