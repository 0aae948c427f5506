//! The node and its command line as a user meets them: real processes, real files, real sockets, nothing else
//! installed.

// Helpers of tests fail the test by panicking, and print what helps to see why.
#![allow(clippy::unwrap_used, clippy::print_stderr)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use highwater_tests::broker::{AUTOMATIC_PARTITIONS, Broker, BrokerSetup, free_address, probe};
use highwater_tests::stored;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_highwater-under-test");

/// A folder of one test, removed at its end if the test succeeds.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("end-to-end-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = highwater_tests::process::tail("the broker", &self.0.join("broker.log"));
            eprintln!("{log}what is left is in {}", self.0.display());
        } else {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

fn start(dir: &Dir) -> Broker {
    Broker::start(BrokerSetup::fresh(Path::new(BINARY), &dir.0).unwrap()).unwrap()
}

fn run(address: SocketAddr, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(BINARY)
        .args(arguments)
        .args(["--bootstrap", &address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have ended before it is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What a command that succeeds prints.
fn highwater(address: SocketAddr, arguments: &[&str], input: &str) -> String {
    let output = run(address, arguments, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "highwater {arguments:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// What a command that fails says.
fn refused(address: SocketAddr, arguments: &[&str]) -> String {
    let output = run(address, arguments, "");
    assert_eq!(output.status.code(), Some(1), "highwater {arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn consume(address: SocketAddr, topic: &str, count: usize) -> Vec<String> {
    let read = highwater(address, &["consume", topic, "--from-beginning", "--exit-at-end"], "");
    assert_eq!(read.lines().count(), count);
    read.lines().map(str::to_owned).collect()
}

fn end_offset(address: SocketAddr, topic: &str, partition: usize) -> usize {
    let described = highwater(address, &["topic", "describe", topic, "--json"], "");
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    usize::try_from(described["partitions"][partition]["end_offset"].as_u64().unwrap()).unwrap()
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("line {number}")).collect()
}

#[test]
fn topics_are_made_listed_changed_and_deleted() {
    let dir = Dir::new();
    let broker = start(&dir);
    let at = broker.address();
    highwater(
        at,
        &["topic", "create", "orders", "--partitions", "3", "--config", "retention.ms=7200000"],
        "",
    );
    assert!(highwater(at, &["topic", "list"], "").contains("orders"));
    assert!(refused(at, &["topic", "create", "orders"]).contains("orders"));
    assert!(!refused(at, &["topic", "create", "a/b"]).is_empty());

    let describe = || -> serde_json::Value {
        serde_json::from_str(&highwater(at, &["topic", "describe", "orders", "--json"], "")).unwrap()
    };
    assert_eq!(describe()["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(describe()["configs"]["retention.ms"], "7200000");
    highwater(at, &["topic", "alter", "orders", "--partitions", "5", "--delete-config", "retention.ms"], "");
    assert_eq!(describe()["partitions"].as_array().unwrap().len(), 5);
    assert!(describe()["configs"].get("retention.ms").is_none());
    assert!(!refused(at, &["topic", "alter", "orders", "--partitions", "2"]).is_empty());

    highwater(at, &["topic", "delete", "orders"], "");
    assert!(!highwater(at, &["topic", "list"], "").contains("orders"));
    assert!(refused(at, &["topic", "describe", "orders"]).contains("UNKNOWN_TOPIC"));
}

#[test]
fn lines_come_back_as_they_were_sent() {
    let dir = Dir::new();
    let broker = start(&dir);
    let at = broker.address();
    highwater(at, &["topic", "create", "greetings", "--partitions", "1"], "");
    highwater(at, &["produce", "greetings", "--key-separator", ":"], "en:hello\nde:grüß dich\nfr:\n");
    assert_eq!(consume(at, "greetings", 3), ["hello", "grüß dich", ""]);
    highwater(at, &["produce", "greetings"], "no key here\n");
    let from = highwater(at, &["consume", "greetings", "--offset", "2", "--count", "2"], "");
    assert_eq!(from, "\nno key here\n");
}

#[test]
fn an_end_that_is_asked_for_keeps_everything() {
    let dir = Dir::new();
    let mut broker = start(&dir);
    highwater(broker.address(), &["topic", "create", "kept", "--partitions", "1"], "");
    for round in 0..3 {
        let lines = numbered(round * 1000..(round + 1) * 1000).join("\n");
        highwater(broker.address(), &["produce", "kept"], &lines);
        broker = Broker::start(broker.stop().unwrap()).unwrap();
        let count = (round + 1) * 1000;
        assert_eq!(consume(broker.address(), "kept", count), numbered(0..count));
        assert_eq!(end_offset(broker.address(), "kept", 0), count);
    }
    broker.stop().unwrap();
}

#[test]
fn a_kill_keeps_what_was_acknowledged() {
    let dir = Dir::new();
    let mut broker = start(&dir);
    highwater(broker.address(), &["topic", "create", "kept", "--partitions", "1"], "");
    for round in 0..5 {
        let lines = numbered(round * 100..(round + 1) * 100).join("\n");
        highwater(broker.address(), &["produce", "kept"], &lines);
        broker = Broker::start(broker.kill().unwrap()).unwrap();
        let count = (round + 1) * 100;
        assert_eq!(end_offset(broker.address(), "kept", 0), count);
        assert_eq!(consume(broker.address(), "kept", count), numbered(0..count));
    }
}

#[test]
fn a_data_directory_serves_one_node_at_a_time() {
    let dir = Dir::new();
    let broker = start(&dir);
    let second = BrokerSetup { listen: free_address().unwrap(), ..broker.setup().clone() };
    let config = dir.0.join("second.toml");
    let data = dir.0.join("data");
    fs::write(
        &config,
        format!("data_dir = {data:?}\n[listener]\nlisten = \"{}\"\n[admin]\nlisten = \"\"\n", second.listen),
    )
    .unwrap();
    let output = Command::new(BINARY).args(["serve", "--config"]).arg(&config).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("data"), "it does not say which directory: {said}");
    probe(broker.address()).unwrap();
}

/// A flipped bit on the disk is found by who looks for it, and told to who reads it.
#[test]
fn damage_is_found_and_said() {
    let dir = Dir::new();
    let broker = start(&dir);
    highwater(broker.address(), &["produce", "rotten"], &numbered(0..100).join("\n"));
    let id = stored::topic_id(broker.setup(), "rotten").unwrap();
    let setup = broker.stop().unwrap();
    let segments: Vec<_> = (0..AUTOMATIC_PARTITIONS)
        .map(|index| setup.data().join(format!("logs/{id}-{index}/00000000000000000000.log")))
        .collect();
    let segment = segments.iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let inspect = |dir: &Path| Command::new(BINARY).args(["log", "inspect"]).arg(dir).output().unwrap();
    let verify = |dir: &Path| Command::new(BINARY).args(["log", "verify"]).arg(dir).output().unwrap();
    assert_eq!(inspect(&setup.data()).status.code(), Some(0));
    assert_eq!(verify(&setup.data()).status.code(), Some(0));
    let mut bytes = fs::read(segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(segment, bytes).unwrap();

    let inspected = inspect(&setup.data());
    assert_eq!(inspected.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&inspected.stdout).contains("DAMAGED"));
    assert_eq!(inspect(&dir.0.join("data/logs")).status.code(), Some(1), "there is nothing to look at");
    let verified = verify(&setup.data());
    assert_eq!(verified.status.code(), Some(3));
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(said.contains(segment.to_str().unwrap()) && said.contains("do not check out"), "{said}");
    assert!(said.contains("Start the node"), "{said}");
    assert_eq!(verify(&dir.0.join("data/logs")).status.code(), Some(1), "this is no data directory");
    let broker = Broker::start(setup).unwrap();
    let said = refused(broker.address(), &["consume", "rotten", "--from-beginning", "--exit-at-end"]);
    assert!(said.contains("damaged"), "{said}");
    broker.stop().unwrap();
}

/// Bytes that no client would send end their connection and nothing else.
#[test]
fn strange_bytes_end_their_connection_alone() {
    let dir = Dir::new();
    let broker = start(&dir);
    let frames: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &[0xff; 64],
        &[0, 0, 0, 0],
        &[0, 0, 0, 2, 0, 18],
        // An API key that there is not.
        &[0, 0, 0, 10, 0x70, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        // A client id longer than its frame.
        &[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0x7f, 0xff],
        // Produce with an array of 2^31 - 1 topics.
        &[
            0, 0, 0, 22, 0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 9, 0x7f, 0xff,
            0xff, 0xff,
        ],
        // A TLS greeting.
        &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03],
    ];
    for frame in frames {
        let mut stream = TcpStream::connect(broker.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(frame).unwrap();
        // What is not a whole frame yet would be waited for.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 1024, "{frame:?} is answered with {} bytes", answer.len());
        probe(broker.address()).unwrap();
    }
    broker.stop().unwrap();
}
