//! Damage to bytes.

use highwater_env::Rng;
use rand::RngExt;
use std::ops::Range;

/// Numbers at which lengths, counts and offsets break.
const EXTREMES: &[i64] = &[
    0,
    1,
    -1,
    -2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    1 << 20,
    i32::MAX as i64 - 1,
    i32::MAX as i64,
    i32::MIN as i64,
    u32::MAX as i64,
    i64::MAX,
    i64::MIN,
];

/// The most bytes that damage lets an input grow to, unless it was longer.
const LONGEST: usize = 1 << 20;

/// Damages `input` in one to eight places, most often in few. `other` is another valid input, to splice with.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let times = 1 << rng.random_range(0..4);
    for _ in 0..rng.random_range(1..=times) {
        mutate_once(input, other, rng);
    }
}

fn mutate_once(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    if input.is_empty() {
        input.extend_from_slice(other);
        return;
    }
    let at = rng.random_range(0..input.len());
    match rng.random_range(0..12) {
        0 | 1 => input[at] ^= 1 << rng.random_range(0..8),
        2 => input[at] = rng.random(),
        3..6 => overwrite(input, at, &number(rng)),
        6 => input.truncate(at),
        7 => {
            let part = part(input.len(), rng);
            input.drain(part);
        }
        8 => {
            let copy = input[part(input.len(), rng)].to_vec();
            insert(input, at, &copy);
        }
        9 => {
            let more: Vec<u8> = (0..rng.random_range(1..32)).map(|_| rng.random()).collect();
            insert(input, at, &more);
        }
        10 => {
            let length = part(input.len(), rng).len();
            let end = (at + length).min(input.len());
            input[at..end].fill(rng.random());
        }
        _ if !other.is_empty() => {
            // This one's head, the other's tail.
            input.truncate(at);
            let from = rng.random_range(0..other.len());
            input.extend_from_slice(&other[from..]);
        }
        _ => {}
    }
}

/// An extreme number, as big-endian bytes or as a varint, near what it is or exact.
fn number(rng: &mut Rng) -> Vec<u8> {
    let extreme = EXTREMES[rng.random_range(0..EXTREMES.len())];
    let number = extreme.wrapping_add(rng.random_range(-1..=1));
    match rng.random_range(0..6) {
        0 => vec![number as u8],
        1 => (number as i16).to_be_bytes().to_vec(),
        2 => (number as i32).to_be_bytes().to_vec(),
        3 => number.to_be_bytes().to_vec(),
        4 => varint(number as u32 as u64),
        _ => varint(number as u64),
    }
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

fn overwrite(input: &mut [u8], at: usize, bytes: &[u8]) {
    for (place, byte) in input[at..].iter_mut().zip(bytes) {
        *place = *byte;
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let room = LONGEST.saturating_sub(input.len());
    input.splice(at..at, bytes[..bytes.len().min(room)].iter().copied());
}

/// A part of something of that length, most often a small one.
fn part(length: usize, rng: &mut Rng) -> Range<usize> {
    let start = rng.random_range(0..length);
    let longest = if rng.random_range(0..4) == 0 { length } else { 16 };
    let end = start + rng.random_range(0..=longest.min(length - start));
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_changes_inputs_grows_them_little_and_repeats() {
        let valid: Vec<u8> = (0..200).collect();
        let mut changed = 0;
        for case in 0..1000 {
            let damaged = |case| {
                let mut input = valid.clone();
                mutate(&mut input, b"another one", &mut Rng::from_stream(7, case));
                input
            };
            let input = damaged(case);
            assert!(input.len() < 2000);
            assert_eq!(input, damaged(case));
            changed += u32::from(input != valid);
        }
        assert!(changed > 900, "{changed}");
    }

    #[test]
    fn nothing_is_too_small_to_damage() {
        for case in 0..1000 {
            let mut rng = Rng::from_stream(1, case);
            for valid in [&b""[..], b"x"] {
                mutate(&mut valid.to_vec(), b"", &mut rng);
            }
        }
    }
}
