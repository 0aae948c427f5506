//! Frames off a stream that gives bytes in any pieces.

use super::input::{Input, InputError, Received};
use crate::budget::Budget;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, ReadBuf};

const MAX_FRAME_BYTES: usize = 8 << 20;

/// Gives its pieces one by one, pending in between, and ends.
#[derive(Default)]
struct Pieces {
    pieces: VecDeque<Bytes>,
    paused: bool,
    /// Whether the stream ends after the last piece; else it stays open.
    ends: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.paused = !self.paused;
        if self.paused {
            return Poll::Pending;
        }
        let ends = self.ends;
        let Some(piece) = self.pieces.front_mut() else {
            return if ends { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        let count = piece.len().min(into.remaining());
        into.put_slice(&piece.split_to(count));
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

/// Polls until the stream has been pending twice in a row.
fn next(
    input: &mut Input,
    stream: &mut Pieces,
    budget: &Arc<Budget>,
    alone: bool,
) -> Poll<Result<Option<Received>, InputError>> {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..1 << 20 {
        let result = input.poll_frame(stream, MAX_FRAME_BYTES, budget, alone, &mut cx);
        if result.is_ready() || stream.pieces.is_empty() && !stream.ends {
            return result;
        }
    }
    Poll::Pending
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in(
        lengths in prop::collection::vec(prop_oneof![0usize..100, 0usize..40_000, Just(1_500_000)], 1..8),
        cuts in prop::collection::vec(1usize..50_000, 1..20),
    ) {
        let body = |seed: u8, length: usize| (0..length).map(|at| seed.wrapping_add(at as u8)).collect();
        let bodies: Vec<Vec<u8>> = (0u8..).zip(&lengths).map(|(seed, &length)| body(seed, length)).collect();
        let mut rest = Bytes::from(bodies.iter().flat_map(|body| framed(body)).collect::<Vec<_>>());
        let mut stream = Pieces { ends: true, ..Pieces::default() };
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            stream.pieces.push_back(rest.split_to((*cut).min(rest.len())));
        }
        let (mut input, budget) = (Input::default(), Budget::new(usize::MAX));
        for body in &bodies {
            let Poll::Ready(Ok(Some(received))) = next(&mut input, &mut stream, &budget, false) else {
                panic!("a frame is missing")
            };
            prop_assert_eq!(&received.frame[..], &body[..]);
            drop(received);
        }
        let end = next(&mut input, &mut stream, &budget, false);
        prop_assert!(matches!(end, Poll::Ready(Ok(None))), "{end:?}");
        prop_assert_eq!(budget.used(), 0);
        prop_assert_eq!(input.memory_bytes(), 0);
    }
}

#[test]
fn a_length_alone_takes_little_memory() {
    let claim = u32::try_from(MAX_FRAME_BYTES).unwrap().to_be_bytes();
    let mut stream = Pieces { pieces: [Bytes::copy_from_slice(&claim)].into(), ..Pieces::default() };
    let (mut input, budget) = (Input::default(), Budget::new(usize::MAX));
    assert!(next(&mut input, &mut stream, &budget, true).is_pending());
    let _ = next(&mut input, &mut stream, &budget, true);
    assert!(input.memory_bytes() <= 1 << 20, "{}", input.memory_bytes());
    assert!(input.keeps_memory());
    assert_eq!(budget.used(), MAX_FRAME_BYTES);
    drop(input);
    assert_eq!(budget.used(), 0);
}

#[test]
fn lengths_out_of_bounds_are_refused() {
    for length in [u32::MAX, 1 << 31, u32::try_from(MAX_FRAME_BYTES).unwrap() + 1] {
        let mut stream = Pieces {
            pieces: [Bytes::copy_from_slice(&length.to_be_bytes())].into(),
            ends: true,
            ..Pieces::default()
        };
        let result = next(&mut Input::default(), &mut stream, &Budget::new(usize::MAX), true);
        assert!(matches!(result, Poll::Ready(Err(InputError::Frame(..)))), "{length}: {result:?}");
    }
}

#[test]
fn other_protocols_are_named() {
    let check = |bytes: &'static [u8], expected: &str| {
        let mut stream = Pieces { pieces: [Bytes::from_static(bytes)].into(), ..Pieces::default() };
        let result = next(&mut Input::default(), &mut stream, &Budget::new(usize::MAX), true);
        let Poll::Ready(Err(error)) = result else { panic!("{result:?}") };
        assert_eq!(error.to_string(), expected);
    };
    check(
        b"\x16\x03\x01\x02\x00",
        "frame of 369295618 bytes, 8388608 allowed: the peer speaks TLS, and this listener does not",
    );
    check(
        b"GET / HTTP/1.1",
        "frame of 1195725856 bytes, 8388608 allowed: the peer speaks HTTP, and this is a listener for Kafka's protocol",
    );
}

#[test]
fn a_stream_that_ends_in_a_frame_is_told_from_one_that_ends_behind_it() {
    for length in [1, 3, 4, 50, 30_000] {
        let mut bytes = Bytes::from(framed(&[7; 40_000]));
        let mut stream = Pieces { pieces: [bytes.split_to(length)].into(), ends: true, ..Pieces::default() };
        let result = next(&mut Input::default(), &mut stream, &Budget::new(usize::MAX), true);
        assert!(matches!(result, Poll::Ready(Err(InputError::PartialFrame))), "{length}: {result:?}");
    }
}

#[test]
fn a_frame_waits_for_memory_and_a_small_one_that_is_alone_does_not() {
    let budget = Budget::new(50_000);
    let taken = budget.overdraw(40_000);
    let small = || Pieces { pieces: [Bytes::from(framed(&[1; 100]))].into(), ..Pieces::default() };
    let result = next(&mut Input::default(), &mut small(), &budget, true);
    assert!(matches!(result, Poll::Ready(Ok(Some(Received { charge: None, .. })))), "{result:?}");
    let mut large =
        Pieces { pieces: [Bytes::from(framed(&[1; 20_000]))].into(), ends: true, ..Pieces::default() };
    let mut input = Input::default();
    assert!(next(&mut input, &mut large, &budget, true).is_pending());
    drop(taken);
    let result = next(&mut input, &mut large, &budget, true);
    assert!(matches!(result, Poll::Ready(Ok(Some(Received { charge: Some(_), .. })))), "{result:?}");
    let full = budget.overdraw(50_000);
    let (mut input, mut stream) = (Input::default(), small());
    assert!(next(&mut input, &mut stream, &budget, false).is_pending());
    drop(full);
    assert!(next(&mut input, &mut stream, &budget, false).is_ready());
}
