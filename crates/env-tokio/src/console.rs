//! What people type while a process runs.

use std::io::BufRead;
use std::thread;
use tokio::sync::mpsc::{Receiver, channel};

/// Lines that wait to be carried out, at most.
const WAITING_LINES: usize = 16;

/// The lines of standard input, to its end. They are read by a thread that nothing waits for: reading cannot be
/// interrupted, and would hold back the end of a runtime that did it.
///
/// # Errors
///
/// When the operating system refuses the thread.
pub fn input_lines() -> std::io::Result<Receiver<String>> {
    let (sender, lines) = channel(WAITING_LINES);
    thread::Builder::new().name("console".to_owned()).spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(lines)
}
