//! kcat, which needs no program around it. It makes topics by using them, and leaves timestamps to librdkafka.

use crate::clients::{Client, Sending, Spec};
use crate::record::{Header, Record};
use crate::workload::{CONSTANT_HEADERS, PARTITIONS};
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How a record is printed: numbers that say how long the key and the value are, then those, then the headers.
const FORMAT: &str = "%p %o %T %K %S\n%k%s\n%h\n";

/// How kcat is run.
pub struct Kcat {
    dir: PathBuf,
    bootstrap: SocketAddr,
}

impl Kcat {
    /// kcat against a broker; its input files go to `dir`.
    pub fn new(dir: &Path, bootstrap: SocketAddr) -> Self {
        Self { dir: dir.to_path_buf(), bootstrap }
    }

    fn run(&self, arguments: &[&OsStr]) -> Result<Vec<u8>> {
        let mut command = Command::new("timeout");
        command
            .args(["--signal=KILL", "120", "kcat", "-q", "-b", &self.bootstrap.to_string()])
            .args(arguments);
        let output = command.stdin(Stdio::null()).output().context("start kcat")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() || errors.contains("Delivery failed") {
            bail!("{command:?} ended with {}\n{errors}", output.status);
        }
        Ok(output.stdout)
    }

    fn produce_partition(
        &self,
        topic: &str,
        partition: i32,
        sending: &Sending,
        records: &[Record],
    ) -> Result<()> {
        let path = self.dir.join(format!("kcat-{topic}-{partition}-to-send"));
        let mut lines = Vec::new();
        for record in records.iter().filter(|record| record.partition == partition) {
            lines.extend(record.key.as_deref().unwrap_or_default());
            lines.push(b'\t');
            lines.extend(record.value.as_deref().unwrap_or_default());
            lines.push(b'\n');
        }
        fs::write(&path, lines)?;
        let partition = partition.to_string();
        let settings = [
            format!("client.id={}", sending.client_id),
            format!("enable.idempotence={}", sending.idempotent),
            "acks=all".to_owned(),
            "reconnect.backoff.ms=20".to_owned(),
            "reconnect.backoff.max.ms=200".to_owned(),
            "retry.backoff.ms=20".to_owned(),
            // Without sequence numbers, only one request at a time keeps the order when one is sent again.
            format!("max.in.flight={}", if sending.idempotent { 5 } else { 1 }),
            format!("batch.num.messages={}", if sending.client_id.starts_with("cut-") { 50 } else { 10_000 }),
        ];
        let headers: Vec<String> = CONSTANT_HEADERS.iter().map(header_argument).collect();
        let mut arguments: Vec<&OsStr> =
            ["-P", "-E", "-t", topic, "-p", &partition, "-K", "\t", "-z", sending.codec]
                .map(OsStr::new)
                .to_vec();
        for setting in &settings {
            arguments.extend([OsStr::new("-X"), OsStr::new(setting)]);
        }
        for header in &headers {
            arguments.extend([OsStr::new("-H"), OsStr::new(header)]);
        }
        arguments.extend([OsStr::new("-l"), path.as_os_str()]);
        self.run(&arguments).map(drop)
    }
}

/// As `-H` takes it.
fn header_argument((key, value): &(&str, Option<&str>)) -> String {
    match value {
        Some(value) => format!("{key}={value}"),
        None => (*key).to_owned(),
    }
}

impl Client for Kcat {
    fn version(&mut self) -> Result<String> {
        let output = Command::new("kcat").arg("-V").output().context("start kcat")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with("Version")).context("its version")?;
        Ok(format!(
            "kcat {}",
            line.trim_start_matches("Version ").split(" builtin").next().unwrap_or_default()
        ))
    }

    fn create_topic(&mut self, _topic: &str, _partitions: i32) -> Result<()> {
        bail!("kcat makes topics by using them")
    }

    fn list_topics(&mut self) -> Result<Vec<String>> {
        let output = self.run(&["-L", "-J"].map(OsStr::new))?;
        let listed: serde_json::Value = serde_json::from_slice(&output).context("the answer to -L -J")?;
        let topics = listed["topics"].as_array().context("topics")?;
        Ok(topics.iter().filter_map(|topic| topic["topic"].as_str().map(str::to_owned)).collect())
    }

    fn delete_topic(&mut self, _topic: &str) -> Result<()> {
        bail!("kcat does not delete topics")
    }

    fn produce(&mut self, topic: &str, sending: &Sending, records: &[Record]) -> Result<()> {
        (0..PARTITIONS).try_for_each(|partition| self.produce_partition(topic, partition, sending, records))
    }

    fn consume(&mut self, topic: &str, partitions: i32) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for partition in 0..partitions {
            let partition = partition.to_string();
            let arguments = ["-C", "-t", topic, "-p", &partition, "-o", "beginning", "-e", "-f", FORMAT];
            let settings = ["-X", "check.crcs=true"];
            let output = self.run(&arguments.iter().chain(&settings).map(OsStr::new).collect::<Vec<_>>())?;
            records.extend(
                parse(&output).with_context(|| format!("what kcat printed of partition {partition}"))?,
            );
        }
        Ok(records)
    }

    fn offset(&mut self, topic: &str, partition: i32, spec: Spec) -> Result<i64> {
        let time = match spec {
            Spec::Earliest => -2,
            Spec::Latest => -1,
            Spec::Time(time) => time,
            Spec::MaxTimestamp => bail!("kcat does not ask for that"),
        };
        let asked = format!("{topic}:{partition}:{time}");
        let output = String::from_utf8(self.run(&["-Q", "-t", &asked].map(OsStr::new))?)?;
        let offset = output.trim().rsplit(' ').next().and_then(|offset| offset.parse().ok());
        offset.with_context(|| format!("kcat -Q printed {output:?}"))
    }

    fn delete_records(&mut self, _topic: &str, _partition: i32, _before: i64) -> Result<i64> {
        bail!("kcat does not delete records")
    }
}

fn parse(mut output: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !output.is_empty() {
        let line = line(&mut output)?;
        let numbers: Vec<i64> = line.split(' ').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let &[partition, offset, timestamp, key, value] = numbers.as_slice() else { return None };
        let key = bytes(&mut output, key)?;
        let value = bytes(&mut output, value)?;
        output = output.strip_prefix(b"\n")?;
        let headers = self::line(&mut output)?.split(',').filter(|header| !header.is_empty()).map(header);
        let partition = i32::try_from(partition).ok()?;
        let headers = headers.collect::<Option<Vec<Header>>>()?;
        records.push(Record { partition, offset, timestamp, key, value, headers });
    }
    Some(records)
}

fn line<'a>(output: &mut &'a [u8]) -> Option<&'a str> {
    let end = output.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&output[..end]).ok()?;
    *output = &output[end + 1..];
    Some(line)
}

fn bytes(output: &mut &[u8], length: i64) -> Option<Option<Vec<u8>>> {
    if length < 0 {
        return Some(None);
    }
    let (bytes, rest) = output.split_at_checked(usize::try_from(length).ok()?)?;
    *output = rest;
    Some(Some(bytes.to_vec()))
}

fn header(text: &str) -> Option<Header> {
    let (key, value) = text.split_once('=')?;
    Some((key.to_owned(), (value != "NULL").then(|| value.as_bytes().to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kcat_prints_is_understood() {
        let printed = b"2 0 1795422658459 2 6\nk1a\nline\na=1,b=NULL,c=\n1 7 5 -1 0\n\n\n";
        let records = parse(printed).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].key.as_deref(), Some(&b"k1"[..]));
        assert_eq!(records[0].value.as_deref(), Some(&b"a\nline"[..]));
        let headers = vec![
            ("a".to_owned(), Some(b"1".to_vec())),
            ("b".to_owned(), None),
            ("c".to_owned(), Some(vec![])),
        ];
        assert_eq!(records[0].headers, headers);
        assert_eq!(
            (records[1].offset, records[1].key.clone(), records[1].value.clone()),
            (7, None, Some(vec![]))
        );
        assert!(parse(&printed[..20]).is_none());
    }
}
