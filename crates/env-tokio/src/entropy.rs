//! Randomness of this process.

use highwater_env::{Purpose, Rng};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

const SEED_BYTES: usize = 32;

/// One seed of the operating system's per process, from which every generator is derived.
pub(crate) struct ProcessEntropy {
    seed: [u8; SEED_BYTES],
    calls: AtomicU64,
}

impl ProcessEntropy {
    /// Draws the seed.
    pub(crate) fn from_system() -> io::Result<Self> {
        Ok(Self { seed: system_seed()?, calls: AtomicU64::new(0) })
    }

    /// The next generator for `purpose`. The seed is a ChaCha key, and keys that differ in any bit give unrelated
    /// streams, so it is enough that no two calls share (purpose, call number).
    pub(crate) fn stream(&self, purpose: Purpose) -> Rng {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut seed = self.seed;
        let differences = purpose.stream().to_le_bytes().into_iter().chain(call.to_le_bytes());
        for (byte, difference) in seed.iter_mut().zip(differences) {
            *byte ^= difference;
        }
        Rng::from_seed(seed)
    }
}

#[cfg(target_os = "linux")]
fn system_seed() -> io::Result<[u8; SEED_BYTES]> {
    let mut seed = [0; SEED_BYTES];
    let mut filled = 0;
    while filled < SEED_BYTES {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::io::retry_on_intr(|| rustix::rand::getrandom(&mut seed[filled..], flags))?;
    }
    Ok(seed)
}

#[cfg(not(target_os = "linux"))]
fn system_seed() -> io::Result<[u8; SEED_BYTES]> {
    let mut seed = [0; SEED_BYTES];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut seed)?;
    Ok(seed)
}
