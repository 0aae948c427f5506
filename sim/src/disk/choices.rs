//! Who decides what becomes of pending operations at a power loss: a seeded generator, or an enumeration of all ways.

use highwater_env::Rng;
use rand::{Rng as _, RngExt};

/// One way in which a pending operation can end at a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Nothing of it reached the disk.
    Dropped,
    /// All of it reached the disk.
    Kept,
    /// An older pending version reached the disk.
    Older,
    /// Some of its sectors reached the disk.
    Torn,
    /// Its range holds zeroes.
    Zeroed,
    /// Its range holds garbage.
    Garbage,
}

/// Decides at each point where the disk could go several ways.
pub trait Choices {
    /// Picks one of the ways; they are never empty.
    fn choose(&mut self, ways: &[Outcome]) -> usize;

    /// Fills a range with garbage.
    fn garbage(&mut self, out: &mut [u8]);
}

/// Relative weights of the outcomes of a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerRates {
    /// Weight of [`Outcome::Dropped`].
    pub dropped: u32,
    /// Weight of [`Outcome::Kept`].
    pub kept: u32,
    /// Weight of [`Outcome::Older`].
    pub older: u32,
    /// Weight of [`Outcome::Torn`].
    pub torn: u32,
    /// Weight of [`Outcome::Zeroed`].
    pub zeroed: u32,
    /// Weight of [`Outcome::Garbage`].
    pub garbage: u32,
}

impl PowerRates {
    /// Every pending operation is lost.
    pub const DROP_ALL: Self = Self { dropped: 1, kept: 0, older: 0, torn: 0, zeroed: 0, garbage: 0 };
    /// Every pending operation survives.
    pub const KEEP_ALL: Self = Self { dropped: 0, kept: 1, older: 0, torn: 0, zeroed: 0, garbage: 0 };
    /// Each operation meets its own fate, mostly a bad one.
    pub const MIXED: Self = Self { dropped: 4, kept: 3, older: 1, torn: 2, zeroed: 1, garbage: 1 };

    /// Rates for one power loss: all lost, all kept or a mixture with weights of its own.
    pub fn random(rng: &mut Rng) -> Self {
        match rng.random_range(0..10u32) {
            0 | 1 => Self::DROP_ALL,
            2 => Self::KEEP_ALL,
            3..=5 => Self::MIXED,
            _ => Self {
                dropped: rng.random_range(0..5),
                kept: rng.random_range(1..5),
                older: rng.random_range(0..3),
                torn: rng.random_range(0..4),
                zeroed: rng.random_range(0..3),
                garbage: rng.random_range(0..3),
            },
        }
    }

    fn weight(&self, outcome: Outcome) -> u32 {
        match outcome {
            Outcome::Dropped => self.dropped,
            Outcome::Kept => self.kept,
            Outcome::Older => self.older,
            Outcome::Torn => self.torn,
            Outcome::Zeroed => self.zeroed,
            Outcome::Garbage => self.garbage,
        }
    }
}

/// Seeded choices by [`PowerRates`].
#[derive(Debug)]
pub struct RandomChoices<'a> {
    rng: &'a mut Rng,
    rates: PowerRates,
}

impl<'a> RandomChoices<'a> {
    /// Choices drawn from `rng` with these weights.
    pub fn new(rng: &'a mut Rng, rates: PowerRates) -> Self {
        Self { rng, rates }
    }
}

impl Choices for RandomChoices<'_> {
    fn choose(&mut self, ways: &[Outcome]) -> usize {
        // An outcome's weight counts once, however many ways lead to it.
        let mut kinds: Vec<Outcome> = ways.to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        let total: u32 = kinds.iter().map(|&kind| self.rates.weight(kind)).sum();
        if total == 0 {
            return 0;
        }
        let mut point = self.rng.random_range(0..total);
        let mut kind = kinds[0];
        for candidate in kinds {
            let weight = self.rates.weight(candidate);
            if point < weight {
                kind = candidate;
                break;
            }
            point -= weight;
        }
        let matching: Vec<usize> = (0..ways.len()).filter(|&index| ways[index] == kind).collect();
        matching[self.rng.random_range(0..matching.len())]
    }

    fn garbage(&mut self, out: &mut [u8]) {
        self.rng.fill_bytes(out);
    }
}

/// Walks through all combinations of choices, one per run, in the order of an odometer.
#[derive(Debug, Default)]
pub struct Odometer {
    digits: Vec<(usize, usize)>,
    cursor: usize,
}

impl Odometer {
    /// Moves to the next combination; false when all were seen. Call it after each run.
    pub fn advance(&mut self) -> bool {
        self.digits.truncate(self.cursor);
        self.cursor = 0;
        while let Some((digit, ways)) = self.digits.pop() {
            if digit + 1 < ways {
                self.digits.push((digit + 1, ways));
                return true;
            }
        }
        false
    }

    /// How many combinations there are if all runs have as many ways as this one; saturates.
    pub fn estimate(&self) -> u64 {
        self.digits[..self.cursor]
            .iter()
            .fold(1, |product: u64, &(_, ways)| product.saturating_mul(ways as u64))
    }
}

impl Choices for Odometer {
    fn choose(&mut self, ways: &[Outcome]) -> usize {
        if self.cursor == self.digits.len() {
            self.digits.push((0, ways.len()));
        }
        let (digit, _) = self.digits[self.cursor];
        self.cursor += 1;
        digit.min(ways.len() - 1)
    }

    fn garbage(&mut self, out: &mut [u8]) {
        for (index, byte) in out.iter_mut().enumerate() {
            *byte = (index as u8).wrapping_mul(151) ^ 0xa5;
        }
    }
}

/// One outcome everywhere but at one choice point, which goes another way.
#[derive(Debug)]
pub struct Deviation {
    everywhere: Outcome,
    at: usize,
    way: usize,
    /// The number of ways at each point of this run.
    pub points: Vec<usize>,
}

impl Deviation {
    /// `everywhere`, but way `way` at choice point `at`.
    pub fn new(everywhere: Outcome, at: usize, way: usize) -> Self {
        Self { everywhere, at, way, points: Vec::new() }
    }
}

impl Choices for Deviation {
    fn choose(&mut self, ways: &[Outcome]) -> usize {
        let point = self.points.len();
        self.points.push(ways.len());
        if point == self.at && self.way < ways.len() {
            return self.way;
        }
        ways.iter().position(|&way| way == self.everywhere).unwrap_or(0)
    }

    fn garbage(&mut self, out: &mut [u8]) {
        out.fill(0xa5);
    }
}
