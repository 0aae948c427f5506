//! Randomness, one stream per purpose.

use rand::SeedableRng;

/// What random draws are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Identifiers: cluster, disk, topic, session, member.
    Ids,
    /// Jitter of retries and timers.
    Jitter,
    /// The choice of a partition.
    Partitioner,
    /// Election timeouts.
    Election,
    /// The order in which placements are tried.
    Placement,
    /// Anything of a program that uses the client; the number tells its streams apart.
    User(u32),
}

impl Purpose {
    /// A number per purpose, to derive a stream from a seed.
    pub fn stream(self) -> u64 {
        match self {
            Self::Ids => 1,
            Self::Jitter => 2,
            Self::Partitioner => 3,
            Self::Election => 4,
            Self::Placement => 5,
            Self::User(number) => 0x1_0000_0000 | u64::from(number),
        }
    }
}

/// A concrete generator: ChaCha with 8 rounds, whose output is fixed by its definition.
#[derive(Clone, Debug)]
pub struct Rng(rand_chacha::ChaCha8Rng);

impl Rng {
    /// A generator from 256 bits.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(rand_chacha::ChaCha8Rng::from_seed(seed))
    }

    /// Stream number `stream` of a 64-bit seed; streams are independent.
    pub fn from_stream(seed: u64, stream: u64) -> Self {
        let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }
}

impl rand::TryRng for Rng {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        self.0.try_fill_bytes(out)
    }
}
