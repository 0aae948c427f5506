//! Group commit: one thread, with helpers, that syncs everything written since it last looked, and then answers.

use super::partition::Partition;
use std::io::Write;
use std::mem;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

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
            let files = Files::start();
            loop {
                own.next_round().complete(&files);
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

/// Threads that sync files at once. A disk takes several syncs in hardly more time than one.
const SYNC_THREADS: usize = 8;

/// The files of a round that are yet to be synced, and how many are not done.
#[derive(Default)]
struct Files {
    state: Mutex<FilesState>,
    filled: Condvar,
    done: Condvar,
}

#[derive(Default)]
struct FilesState {
    waiting: Vec<Arc<Partition>>,
    unfinished: usize,
}

impl Files {
    /// Starts the helpers of the thread that calls [`Files::sync_all`].
    fn start() -> Arc<Self> {
        let files = Arc::new(Self::default());
        for _ in 1..SYNC_THREADS {
            let own = Arc::clone(&files);
            std::thread::spawn(move || {
                loop {
                    let state = own.lock();
                    let mut state = own
                        .filled
                        .wait_while(state, |state| state.waiting.is_empty())
                        .expect("no thread panics while it holds the files");
                    let partition = state.waiting.pop();
                    drop(state);
                    partition.iter().for_each(|partition| own.sync(partition));
                }
            });
        }
        files
    }

    fn lock(&self) -> MutexGuard<'_, FilesState> {
        self.state.lock().expect("no thread panics while it holds the files")
    }

    /// Syncs the files, this thread taking part.
    fn sync_all(&self, partitions: Vec<Arc<Partition>>) {
        let mut state = self.lock();
        let helpers = partitions.len().saturating_sub(1).min(SYNC_THREADS - 1);
        state.unfinished = partitions.len();
        state.waiting = partitions;
        for _ in 0..helpers {
            self.filled.notify_one();
        }
        while let Some(partition) = state.waiting.pop() {
            drop(state);
            self.sync(&partition);
            state = self.lock();
        }
        let unfinished = self.done.wait_while(state, |state| state.unfinished > 0);
        drop(unfinished.expect("no thread panics while it holds the files"));
    }

    fn sync(&self, partition: &Partition) {
        if let Err(error) = partition.file().sync_data() {
            // Nothing may be answered after a failed sync, and a floor has nothing else to do.
            eprintln!("sync: {error}");
            std::process::exit(1);
        }
        let mut state = self.lock();
        state.unfinished -= 1;
        if state.unfinished == 0 {
            self.done.notify_one();
        }
    }
}

impl Round {
    fn complete(self, files: &Files) {
        files.sync_all(self.written);
        for (stream, answers) in self.answers {
            // A client that has gone is its own connection's concern.
            let _ = (&*stream).write_all(&answers);
        }
    }
}
