//! Group commit: one thread that syncs everything written since it last looked, and then answers.

use super::partition::Partition;
use std::io::Write;
use std::mem;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};

/// The thread's end that connections hold.
pub struct Syncer(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    round: Mutex<Round>,
    filled: Condvar,
}

/// What waits for the next sync.
#[derive(Default)]
struct Round {
    written: Vec<Arc<Partition>>,
    answers: Vec<(Arc<TcpStream>, Vec<u8>)>,
}

impl Syncer {
    /// Starts the thread.
    pub fn start() -> Self {
        let waiting = Arc::new(Waiting::default());
        let own = Arc::clone(&waiting);
        std::thread::spawn(move || {
            loop {
                own.next_round().complete();
            }
        });
        Self(waiting)
    }

    /// Has `answers` sent once what was written to `partitions` is on the disk.
    pub fn after_sync(
        &self,
        partitions: impl Iterator<Item = Arc<Partition>>,
        stream: &Arc<TcpStream>,
        answers: Vec<u8>,
    ) {
        let mut round = self.0.round.lock().expect("no thread panics while it holds the round");
        for partition in partitions {
            if !round.written.iter().any(|other| Arc::ptr_eq(other, &partition)) {
                round.written.push(partition);
            }
        }
        round.answers.push((Arc::clone(stream), answers));
        drop(round);
        self.0.filled.notify_one();
    }
}

impl Waiting {
    fn next_round(&self) -> Round {
        let round = self.round.lock().expect("no thread panics while it holds the round");
        let mut round = self
            .filled
            .wait_while(round, |round| round.answers.is_empty())
            .expect("no thread panics while it holds the round");
        mem::take(&mut *round)
    }
}

impl Round {
    fn complete(self) {
        for partition in &self.written {
            if let Err(error) = partition.file().sync_data() {
                // Nothing may be answered after a failed sync, and a floor has nothing else to do.
                eprintln!("sync: {error}");
                std::process::exit(1);
            }
        }
        for (stream, answers) in self.answers {
            // A client that has gone is its own connection's concern.
            let _ = (&*stream).write_all(&answers);
        }
    }
}
