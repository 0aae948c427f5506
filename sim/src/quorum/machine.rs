//! What the commands of the simulated quorum lead to: the list of them.

use super::lock;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_quorum::{Encode, Machine};
use std::sync::{Arc, Mutex};

/// How many commands a piece of a snapshot has.
const PIECE: usize = 50;

/// The commands that a member has applied, with the indexes of their entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub commands: Vec<(u64, u64)>,
}

impl Applied {
    /// The index of the last command.
    pub fn last(&self) -> Option<u64> {
        self.commands.last().map(|&(index, _)| index)
    }
}

/// See the module.
pub struct List(pub Arc<Mutex<Applied>>);

/// A command's bytes: its number, and something to carry.
pub fn command(number: u64, padding: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + padding);
    out.put_u64(number);
    out.put_bytes(number.to_le_bytes()[0], padding);
    out.freeze()
}

impl Machine for List {
    fn apply(&mut self, index: u64, _term: u64, command: &Bytes) {
        lock(&self.0).commands.push((index, command.clone().get_u64()));
    }

    fn snapshot(&self) -> Encode {
        let state = lock(&self.0).clone();
        Box::new(move || {
            let piece = |commands: &[(u64, u64)]| {
                let mut out = BytesMut::with_capacity(16 * commands.len());
                for &(index, number) in commands {
                    out.put_u64(index);
                    out.put_u64(number);
                }
                out.freeze()
            };
            state.commands.chunks(PIECE).map(piece).collect()
        })
    }

    fn restore(&mut self, index: u64, _term: u64, pieces: Vec<Bytes>) -> Result<(), String> {
        let mut commands = Vec::new();
        for mut piece in pieces {
            while piece.len() >= 16 {
                commands.push((piece.get_u64(), piece.get_u64()));
            }
        }
        if commands.last().is_some_and(|&(last, _)| last > index) {
            return Err(format!("a snapshot up to {index} holds {:?}", commands.last()));
        }
        *lock(&self.0) = Applied { commands };
        Ok(())
    }
}
