//! A proxy that cuts connections in the middle of produce requests.
//!
//! Only connections whose client id starts with `cut-` are ever cut. A cut is one of three: the request is lost, half
//! of it arrives, or all of it arrives, is answered, and the answer is lost. The last one makes a producer repeat what
//! the broker has already written.

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Client ids that ask for it.
pub const CUT_PREFIX: &str = "cut-";
/// One request in so many is cut.
const ONE_IN: u32 = 6;
/// Cuts before this one are not left to chance.
const SURE_CUTS: u32 = 3;
/// After so many the connections are left alone, so that a run ends.
const MOST_CUTS: u32 = 30;
/// Frames larger than this are refused, in bytes.
const LARGEST_FRAME: usize = 100 << 20;
const PRODUCE: [u8; 2] = [0, 0];

/// How often connections were cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// Before the request was passed on.
    pub requests_lost: u32,
    /// In the middle of the request.
    pub requests_torn: u32,
    /// After the request was answered, before the answer was passed on.
    pub answers_lost: u32,
}

impl Cuts {
    /// All of them.
    pub fn total(self) -> u32 {
        self.requests_lost + self.requests_torn + self.answers_lost
    }
}

struct State {
    rng: ChaCha8Rng,
    cuts: Cuts,
    stopped: bool,
}

/// A running proxy. It stops listening when this is dropped; connections last as long as their clients.
pub struct Proxy {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    listening: Option<JoinHandle<()>>,
}

enum Cut {
    LoseRequest,
    TearRequest,
    LoseAnswer,
}

impl Proxy {
    /// Listens on `listen` and passes everything to `upstream`.
    pub fn start(listen: SocketAddr, upstream: SocketAddr, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind(listen).with_context(|| format!("the proxy listens on {listen}"))?;
        let address = listener.local_addr()?;
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let state = Arc::new(Mutex::new(State { rng, cuts: Cuts::default(), stopped: false }));
        let shared = Arc::clone(&state);
        let listening = thread::spawn(move || {
            for client in listener.incoming().map_while(io::Result::ok) {
                if lock(&shared).stopped {
                    return;
                }
                if let Ok(broker) = TcpStream::connect(upstream) {
                    Connection::start(client, broker, &shared);
                }
            }
        });
        Ok(Self { state, address, listening: Some(listening) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The cuts so far, which begin anew.
    pub fn take_cuts(&self) -> Cuts {
        std::mem::take(&mut lock(&self.state).cuts)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        lock(&self.state).stopped = true;
        // Wakes the listening thread. If even that fails, it listens until this program ends.
        if let (Ok(_), Some(listening)) = (TcpStream::connect(self.address), self.listening.take()) {
            let _ = listening.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn draw(&mut self) -> Option<Cut> {
        let total = self.cuts.total();
        let cut = total < MOST_CUTS && (total < SURE_CUTS || self.rng.random_ratio(1, ONE_IN));
        if !cut {
            return None;
        }
        let kind = if total < SURE_CUTS { total } else { self.rng.random_range(0..3) };
        Some(match kind {
            0 => {
                self.cuts.answers_lost += 1;
                Cut::LoseAnswer
            }
            1 => {
                self.cuts.requests_torn += 1;
                Cut::TearRequest
            }
            _ => {
                self.cuts.requests_lost += 1;
                Cut::LoseRequest
            }
        })
    }
}

/// One connection: two threads, and the correlation ids whose answers are to be lost.
struct Connection {
    client: TcpStream,
    broker: TcpStream,
    lost_answers: Mutex<BTreeSet<[u8; 4]>>,
}

impl Connection {
    fn start(client: TcpStream, broker: TcpStream, state: &Arc<Mutex<State>>) {
        // Without it the answers wait for more; where it fails they do, and nothing else.
        let _ = (client.set_nodelay(true), broker.set_nodelay(true));
        let connection = Arc::new(Self { client, broker, lost_answers: Mutex::new(BTreeSet::new()) });
        let (there, back, state) = (Arc::clone(&connection), connection, Arc::clone(state));
        thread::spawn(move || {
            // Whatever ends one direction ends the connection, as the client or the broker would see it.
            let _ = there.pass_requests(&state);
            there.close();
        });
        thread::spawn(move || {
            let _ = back.pass_answers();
            back.close();
        });
    }

    fn close(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.broker.shutdown(Shutdown::Both);
    }

    fn pass_requests(&self, state: &Mutex<State>) -> io::Result<()> {
        loop {
            let frame = read_frame(&self.client)?;
            match is_cut_produce(&frame).then(|| lock(state).draw()).flatten() {
                None => (&self.broker).write_all(&frame)?,
                Some(Cut::LoseRequest) => return Ok(()),
                Some(Cut::TearRequest) => return (&self.broker).write_all(&frame[..frame.len() / 2]),
                Some(Cut::LoseAnswer) => {
                    lock(&self.lost_answers).insert(correlation_id(&frame, 8));
                    (&self.broker).write_all(&frame)?;
                }
            }
        }
    }

    fn pass_answers(&self) -> io::Result<()> {
        loop {
            let frame = read_frame(&self.broker)?;
            if lock(&self.lost_answers).contains(&correlation_id(&frame, 4)) {
                return Ok(());
            }
            (&self.client).write_all(&frame)?;
        }
    }
}

/// A frame with its length in front, and long enough for a correlation id.
fn read_frame(mut from: &TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let size = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if !(4..=LARGEST_FRAME).contains(&size) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {size} bytes")));
    }
    let mut frame = vec![0; 4 + size];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..])?;
    Ok(frame)
}

fn correlation_id(frame: &[u8], at: usize) -> [u8; 4] {
    frame.get(at..at + 4).and_then(|id| id.try_into().ok()).unwrap_or_default()
}

/// Length 4, API key 2, version 2, correlation id 4, then the client id with its length in 2 bytes.
fn is_cut_produce(frame: &[u8]) -> bool {
    frame.get(4..6) == Some(&PRODUCE)
        && frame.get(14..).is_some_and(|id| id.starts_with(CUT_PREFIX.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::free_address;

    fn request(api: u8, correlation: u8, client: &str) -> Vec<u8> {
        let mut frame = vec![0, 0, 0, 0, 0, api, 0, 9, 0, 0, 0, correlation, 0, client.len() as u8];
        frame.extend(client.as_bytes());
        frame.extend([7; 40]);
        frame[3] = (frame.len() - 4) as u8;
        frame
    }

    /// A broker that answers each whole request with its correlation id, and counts them.
    fn echo() -> (SocketAddr, Arc<Mutex<u32>>) {
        let listener = TcpListener::bind(free_address().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(0));
        let count = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(io::Result::ok) {
                while let Ok(frame) = read_frame(&stream) {
                    *lock(&count) += 1;
                    let mut answer = vec![0, 0, 0, 4];
                    answer.extend(correlation_id(&frame, 8));
                    (&stream).write_all(&answer).unwrap();
                }
            }
        });
        (address, seen)
    }

    fn exchange(proxy: SocketAddr, frame: &[u8]) -> bool {
        let stream = TcpStream::connect(proxy).unwrap();
        (&stream).write_all(frame).unwrap();
        match read_frame(&stream) {
            Ok(answer) => {
                assert_eq!(correlation_id(&answer, 4), correlation_id(frame, 8));
                true
            }
            Err(_) => false,
        }
    }

    #[test]
    fn only_marked_produce_requests_are_cut() {
        let (broker, seen) = echo();
        let proxy = Proxy::start(free_address().unwrap(), broker, 1).unwrap();
        for correlation in 0..50 {
            assert!(exchange(proxy.address(), &request(0, correlation, "other")));
            assert!(exchange(proxy.address(), &request(3, correlation, "cut-me")));
        }
        assert_eq!(proxy.take_cuts(), Cuts::default());
        assert_eq!(*lock(&seen), 100);

        let answered = (0..100).filter(|id| exchange(proxy.address(), &request(0, *id, "cut-me"))).count();
        let cuts = proxy.take_cuts();
        assert_eq!(answered + cuts.total() as usize, 100);
        assert_eq!(*lock(&seen) - 100, answered as u32 + cuts.answers_lost);
        assert!(cuts.requests_lost > 0 && cuts.requests_torn > 0 && cuts.answers_lost > 0, "{cuts:?}");
    }
}
