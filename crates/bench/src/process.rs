//! A server's process: its processor time, its memory, its end.

use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to end after it was asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A server that was started here, and is killed when dropped.
pub struct Server {
    child: Child,
    log: PathBuf,
    started: Instant,
}

impl Server {
    /// Starts it. What it prints as errors goes to the file `log`.
    pub fn start(command: &mut Command, log: PathBuf) -> Result<Self> {
        let errors = fs::File::create(&log).with_context(|| log.display().to_string())?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        Ok(Self { child, log, started })
    }

    /// Its process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Fails if the process has ended by itself.
    pub fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                anyhow::bail!("the server ended by itself: {status}\n{}", log.trim_end())
            }
            None => Ok(()),
        }
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            anyhow::ensure!(asked.elapsed() < STOP_TIMEOUT, "the server does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor time that a process has used, in user and kernel mode.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = cpu_ticks(&stat).with_context(|| stat.clone())?;
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64))
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    // The name in brackets may hold anything; behind it the state is the third field, utime the 14th, stime the 15th.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The memory that a process holds now, in bytes.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let kib: u64 = kib.context("no VmRSS")?.trim().parse()?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 100 23 0 0 20 0 1";
        assert_eq!(cpu_ticks(stat), Some(123));
        assert_eq!(cpu_ticks("12 (a"), None);
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let pid = std::process::id();
        let start = Instant::now();
        while cpu_time(pid).unwrap() == Duration::ZERO {
            assert!(start.elapsed() < Duration::from_secs(60));
        }
        assert!(resident_bytes(pid).unwrap() > 100_000);
    }
}
