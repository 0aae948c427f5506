//! A client's program, told what to do line by line (`clients/README.md`).

use crate::clients::{Client, Sending, Spec};
use crate::install;
use crate::process::Process;
use crate::record::{self, Record};
use anyhow::{Context, Result, anyhow, bail};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ChildStdin;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// How long a program may take for one command. Its own deadlines are shorter and say more.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running program.
pub struct Program {
    name: String,
    process: Process,
    input: ChildStdin,
    answers: Receiver<String>,
    dir: PathBuf,
    files: usize,
}

impl Program {
    /// Starts the program around the client `name`; its files and its log go to `dir`. `bootstrap` is an address, or
    /// several between commas.
    pub fn start(name: &str, cache: &Path, dir: &Path, bootstrap: impl ToString) -> Result<Self> {
        let command = install::command(name, cache, &bootstrap.to_string())?;
        let mut process = Process::start(command, name, &dir.join(format!("{name}.log")), true)?;
        let input = process.child().stdin.take().context("its input")?;
        let output = process.child().stdout.take().context("its output")?;
        let (sender, answers) = channel();
        // It ends when the program's output does, and that is when the program does.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { name: name.to_owned(), process, input, answers, dir: dir.to_path_buf(), files: 0 })
    }

    /// Gives a command and waits for its answer.
    pub fn ask(&mut self, words: &[&str]) -> Result<Vec<String>> {
        let what = words.join(" ");
        self.answer(words)
            .map_err(|error| anyhow!("{}: {what}: {error:#}\n{}", self.name, self.process.log_tail()))
    }

    fn answer(&mut self, words: &[&str]) -> Result<Vec<String>> {
        writeln!(self.input, "{}", words.join("\t")).context("it does not take commands")?;
        let Ok(line) = self.answers.recv_timeout(PATIENCE) else {
            bail!(
                "no answer; it {}",
                self.process.ended()?.map_or("hangs".into(), |status| format!("ended: {status}"))
            );
        };
        let mut answer = line.split('\t').map(str::to_owned);
        match answer.next().as_deref() {
            Some("ok") => Ok(answer.collect()),
            _ => bail!("{line}"),
        }
    }

    fn number(&mut self, words: &[&str]) -> Result<i64> {
        let answer = self.ask(words)?;
        let number = answer.first().with_context(|| format!("{words:?} is answered with nothing"))?;
        number.parse().with_context(|| format!("{words:?} is answered with {number:?}"))
    }

    fn file(&mut self, what: &str) -> Result<(PathBuf, String)> {
        self.files += 1;
        let path = self.dir.join(format!("{}-{}-{what}", self.name, self.files));
        let text = path.to_str().context("a path that is text")?.to_owned();
        Ok((path, text))
    }

    /// Starts producing in the background; outcomes go to the file that is returned.
    pub fn stream(
        &mut self,
        topic: &str,
        partitions: i32,
        idempotent: bool,
        stream: &str,
    ) -> Result<PathBuf> {
        let (path, text) = self.file("outcomes")?;
        std::fs::write(&path, "")?;
        self.ask(&["stream", topic, &partitions.to_string(), mode(idempotent), stream, &text])?;
        Ok(path)
    }

    /// Ends producing; says how many records were sent.
    pub fn stop(&mut self) -> Result<i64> {
        self.number(&["stop"])
    }

    /// Becomes a member of a group in the background; what it processes goes to the file that is returned.
    pub fn join_group(&mut self, group: &str, topic: &str, protocol: &str) -> Result<PathBuf> {
        let (path, text) = self.file("processed")?;
        std::fs::write(&path, "")?;
        self.ask(&["join", group, topic, &text, protocol])?;
        Ok(path)
    }

    /// Leaves the group; says how many records were processed.
    pub fn leave_group(&mut self) -> Result<i64> {
        self.number(&["leave"])
    }

    /// What a group has committed for each partition of a topic, -1 for nothing.
    pub fn committed(&mut self, group: &str, topic: &str, partitions: i32) -> Result<Vec<i64>> {
        let answer = self.ask(&["committed", group, topic, &partitions.to_string()])?;
        answer.iter().map(|word| word.parse().with_context(|| format!("an offset: {word:?}"))).collect()
    }

    /// Ends the program at once, as a crash does.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

fn mode(idempotent: bool) -> &'static str {
    if idempotent { "idempotent" } else { "plain" }
}

impl Client for Program {
    fn version(&mut self) -> Result<String> {
        Ok(self.ask(&["version"])?.join(" "))
    }

    fn create_topic(&mut self, topic: &str, partitions: i32) -> Result<()> {
        self.ask(&["create-topic", topic, &partitions.to_string()]).map(drop)
    }

    fn list_topics(&mut self) -> Result<Vec<String>> {
        self.ask(&["list-topics"])
    }

    fn delete_topic(&mut self, topic: &str) -> Result<()> {
        self.ask(&["delete-topic", topic]).map(drop)
    }

    fn produce(&mut self, topic: &str, sending: &Sending, records: &[Record]) -> Result<()> {
        let (path, text) = self.file("to-send")?;
        record::write(&path, records)?;
        let acknowledged = self.number(&[
            "produce",
            topic,
            sending.codec,
            &sending.client_id,
            mode(sending.idempotent),
            &text,
        ])?;
        if usize::try_from(acknowledged) != Ok(records.len()) {
            bail!("{} of {} records were acknowledged", acknowledged, records.len());
        }
        Ok(())
    }

    fn consume(&mut self, topic: &str, partitions: i32) -> Result<Vec<Record>> {
        let (path, text) = self.file("read")?;
        let count = self.number(&["consume", topic, &partitions.to_string(), &text])?;
        let records = record::read(&path)?;
        if usize::try_from(count) != Ok(records.len()) {
            bail!("{count} records were read, {} written down", records.len());
        }
        Ok(records)
    }

    fn offset(&mut self, topic: &str, partition: i32, spec: Spec) -> Result<i64> {
        self.number(&["offset", topic, &partition.to_string(), &spec.to_string()])
    }

    fn delete_records(&mut self, topic: &str, partition: i32, before: i64) -> Result<i64> {
        self.number(&["delete-records", topic, &partition.to_string(), &before.to_string()])
    }
}
