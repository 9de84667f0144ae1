//! A bound on frames of HTTP/2 that move no request ahead, such as PING, SETTINGS or empty DATA: each costs us more than
//! its caller (RFC 9113 §10.5), and hyper bounds only some of them.
//!
//! The heads of frames are read as they pass, in both directions: who gets much of an answer has much to say about it.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::metrics::{Bound, Metrics};
use crate::time::{Clock, Moment};

/// So many are let through at once, and so many more with each second. Callers measure the way to us with one PING each
/// time that they get data, and say how much of an answer they have taken; that alone, they do not come near it.
const BURST: u32 = 1000;
const EVERY: Duration = Duration::from_millis(5);
/// For each frame of an answer: its caller may ask for more of the stream and of the connection, and measure.
const PER_ANSWER: u32 = 4;

/// What is read of a connection before others have their turn, in bytes and in frames. A caller who always has more to
/// say must not keep a thread for itself.
const TURN_BYTES: usize = 32 * 1024;
const TURN_FRAMES: u32 = 64;

/// Of a frame (RFC 9113 §4.1).
const HEAD_BYTES: usize = 9;
/// What a GOAWAY begins with: the last stream, and the reason (RFC 9113 §6.8).
const REASON_BYTES: usize = 8;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
/// RFC 9113 §7.
const NO_ERROR: u32 = 0;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Too many of them have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many frames that move no request ahead")]
pub(super) struct Flood;

impl Flood {
    /// How its caller is told, for who does not speak for the connection: any request of it may have been taken on.
    pub(super) fn goaway(self) -> Vec<u8> {
        const LAST_STREAM: u32 = (1 << 31) - 1;
        let text = self.to_string();
        let length = u32::try_from(REASON_BYTES + text.len()).unwrap_or_default().to_be_bytes();
        let head = [length[1], length[2], length[3], GOAWAY, 0, 0, 0, 0, 0];
        [&head, &LAST_STREAM.to_be_bytes()[..], &ENHANCE_YOUR_CALM.to_be_bytes(), text.as_bytes()].concat()
    }
}

/// One connection, as far as it was seen.
pub(super) struct Chatter {
    clock: Clock,
    metrics: Arc<Metrics>,
    incoming: Frames,
    outgoing: Frames,
    allowance: Allowance,
    turn: Turn,
    /// hyper has told the caller that it breaks the rules.
    told_off: bool,
}

impl Chatter {
    /// So many bytes come before the first frame.
    pub(super) fn new(clock: Clock, metrics: Arc<Metrics>, preface: usize) -> Self {
        let incoming = Frames { missing: preface, ..Frames::default() };
        let allowance = Allowance { left: BURST, since: clock.now() };
        let turn = Turn::default();
        Self { clock, metrics, incoming, outgoing: Frames::default(), allowance, turn, told_off: false }
    }

    /// These bytes were read.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), Flood> {
        let mut idle = 0;
        self.turn.bytes += bytes.len();
        let frames = &mut self.turn.frames;
        self.incoming.pass(bytes, |head| {
            *frames += 1;
            idle += u32::from(head.is_idle());
        });
        let taken = self.allowance.take(idle, self.clock);
        if taken.is_err() {
            self.metrics.bound_hit(Bound::IdleFrames);
        }
        taken
    }

    /// These were written.
    pub(super) fn written(&mut self, bytes: &[u8]) {
        let (mut answered, mut ended) = (0, None);
        self.outgoing.pass(bytes, |head| {
            answered += u32::from(head.is_of_a_message());
            ended = ended.or(head.reason.filter(|reason| *reason != NO_ERROR));
        });
        self.allowance.earn(answered.saturating_mul(PER_ANSWER));
        if let Some(reason) = ended
            && !std::mem::replace(&mut self.told_off, true)
            && reason == ENHANCE_YOUR_CALM
        {
            self.metrics.bound_hit(Bound::Resets);
        }
    }

    /// Whether hyper ends the connection because its caller breaks the rules: among them are bounds on requests that are reset,
    /// by either side, and on heads without an end.
    pub(super) const fn has_told_off(&self) -> bool {
        self.told_off
    }

    /// Whether what was written ends where a frame does.
    pub(super) const fn is_between_frames(&self) -> bool {
        self.outgoing.have == 0 && self.outgoing.missing == 0
    }

    /// Whether it has had its turn, and is woken for the next one.
    pub(super) fn has_had_its_turn(&mut self, waker: &Waker) -> bool {
        let over = self.turn.bytes >= TURN_BYTES || self.turn.frames >= TURN_FRAMES;
        if over {
            self.turn = Turn::default();
            waker.wake_by_ref();
        }
        over
    }

    /// There is nothing to read.
    pub(super) fn waits(&mut self) {
        self.turn = Turn::default();
    }
}

impl fmt::Debug for Chatter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chatter").field("allowance", &self.allowance).finish_non_exhaustive()
    }
}

/// What was read since it last waited, or others had their turn.
#[derive(Default, Debug)]
struct Turn {
    bytes: usize,
    frames: u32,
}

/// Where the frames of one direction begin and end, however their bytes are cut.
#[derive(Default, Debug)]
struct Frames {
    /// Of the head of the next one, and of the reason that it gives.
    head: [u8; HEAD_BYTES + REASON_BYTES],
    have: usize,
    /// Bytes until it begins.
    missing: usize,
}

impl Frames {
    /// These bytes pass.
    fn pass(&mut self, bytes: &[u8], mut seen: impl FnMut(Head)) {
        let mut rest = bytes;
        loop {
            let skipped = self.missing.min(rest.len());
            self.missing -= skipped;
            rest = &rest[skipped..];
            let wanted = if self.have < HEAD_BYTES { HEAD_BYTES } else { HEAD_BYTES + REASON_BYTES };
            let count = (wanted - self.have).min(rest.len());
            if count == 0 {
                return;
            }
            self.head[self.have..self.have + count].copy_from_slice(&rest[..count]);
            self.have += count;
            rest = &rest[count..];
            if self.have < wanted {
                return;
            }
            let [high, middle, low, kind, flags, ..] = self.head;
            let length = u32::from_be_bytes([0, high, middle, low]) as usize;
            let gives_reason = kind == GOAWAY && length >= REASON_BYTES;
            if gives_reason && wanted == HEAD_BYTES {
                continue;
            }
            let [.., a, b, c, d] = self.head;
            let reason = gives_reason.then(|| u32::from_be_bytes([a, b, c, d]));
            seen(Head { length, kind, flags, reason });
            (self.have, self.missing) = (0, HEAD_BYTES + length - wanted);
        }
    }
}

/// What the head of a frame says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    /// Of a GOAWAY.
    reason: Option<u32>,
}

impl Head {
    /// Part of a request or an answer.
    const fn is_of_a_message(self) -> bool {
        matches!(self.kind, DATA | HEADERS)
    }

    /// hyper bounds heads itself, and a message that grows is bounded by its windows.
    const fn is_idle(self) -> bool {
        match self.kind {
            DATA => self.length == 0 && self.flags & END_STREAM == 0,
            HEADERS | CONTINUATION => false,
            _ => true,
        }
    }
}

/// How many more are let through.
#[derive(Debug)]
struct Allowance {
    left: u32,
    /// What time has earned until then is in it.
    since: Moment,
}

impl Allowance {
    /// The clock is read only when nothing is left.
    fn take(&mut self, count: u32, clock: Clock) -> Result<(), Flood> {
        if self.left < count {
            self.pass_time(clock.now());
        }
        self.left = self.left.checked_sub(count).ok_or(Flood)?;
        Ok(())
    }

    fn pass_time(&mut self, now: Moment) {
        let periods = now.since(self.since).as_micros() / EVERY.as_micros();
        let earned = u32::try_from(periods).unwrap_or(u32::MAX);
        self.since = self.since + EVERY.saturating_mul(earned);
        self.earn(earned);
    }

    fn earn(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(BURST);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        bytes.extend(vec![0xff; length.into()]);
        bytes
    }

    fn chatter() -> Chatter {
        Chatter::new(Clock::start(), Arc::new(Metrics::new()), 0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_what_time_and_answers_earn() {
        let mut chatter = chatter();
        let ping = frame(PING, 0, 8);
        for _ in 0..BURST {
            chatter.read(&ping).unwrap();
        }
        tokio::time::advance(EVERY * 3).await;
        for _ in 0..3 {
            chatter.read(&ping).unwrap();
        }
        chatter.written(&frame(DATA, 0, 100));
        chatter.written(&frame(PING, 1, 8));
        for _ in 0..PER_ANSWER {
            chatter.read(&ping).unwrap();
        }
        assert_eq!(chatter.read(&ping), Err(Flood), "an answer to a PING earns nothing");
        let text = chatter.metrics.render();
        assert!(text.contains("drowse_bounds_hit_total{bound=\"idle_frames\"} 1\n"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_earned_never_exceeds_a_burst() {
        let mut chatter = chatter();
        tokio::time::advance(Duration::from_hours(1)).await;
        let ping = frame(PING, 0, 8);
        let passed = std::iter::repeat_with(|| chatter.read(&ping)).take_while(Result::is_ok).count();
        assert!((BURST as usize..=2 * BURST as usize).contains(&passed), "{passed}");
    }

    #[test]
    fn requests_and_their_bodies_cost_nothing() {
        let mut chatter = chatter();
        for bytes in [frame(HEADERS, 4, 20), frame(DATA, 0, 1), frame(DATA, END_STREAM, 0)] {
            for _ in 0..2 * BURST {
                chatter.read(&bytes).unwrap();
            }
        }
        for bytes in [frame(DATA, 0, 0), frame(2, 0, 5), frame(3, 0, 4), frame(8, 0, 4), frame(0xff, 0, 0)] {
            let left = chatter.allowance.left;
            chatter.read(&bytes).unwrap();
            assert_eq!(chatter.allowance.left, left - 1, "{bytes:?}");
        }
    }

    #[test]
    fn an_end_for_breaking_the_rules_is_noticed_however_it_is_cut_and_no_other_end_is() {
        let calm = Flood.goaway();
        let mut protocol_error = calm.clone();
        protocol_error[16] = 1;
        let mut graceful = calm.clone();
        graceful[16] = 0;
        // Another kind of frame with the same bytes, and one that is too short to give a reason.
        let mut data = calm.clone();
        data[3] = DATA;
        let short = frame(GOAWAY, 0, 4);
        for cut in 1..calm.len() {
            let mut chatter = chatter();
            for part in [&graceful, &data, &short].into_iter().flat_map(|bytes| bytes.chunks(cut)) {
                chatter.written(part);
            }
            assert!(!chatter.has_told_off());
            let (first, rest) = calm.split_at(cut);
            chatter.written(first);
            assert!(!chatter.is_between_frames());
            chatter.written(rest);
            assert!(chatter.has_told_off() && chatter.is_between_frames());
            chatter.written(&calm);
            let text = chatter.metrics.render();
            assert!(text.contains("drowse_bounds_hit_total{bound=\"resets\"} 1\n"), "{text}");
            let mut other = self::chatter();
            other.written(&protocol_error);
            assert!(other.has_told_off() && other.metrics.render().contains("{bound=\"resets\"} 0\n"));
        }
    }

    #[test]
    fn a_turn_ends_by_bytes_or_frames_and_begins_anew_after_a_wait() {
        let waker = Waker::noop();
        let mut chatter = chatter();
        for _ in 1..TURN_FRAMES {
            chatter.read(&frame(HEADERS, 4, 20)).unwrap();
        }
        assert!(!chatter.has_had_its_turn(waker));
        chatter.read(&frame(HEADERS, 4, 20)).unwrap();
        assert!(chatter.has_had_its_turn(waker));
        assert!(!chatter.has_had_its_turn(waker), "that was the turn before");
        // Of a frame that is longer than that.
        chatter.read(&vec![1; TURN_BYTES - 1]).unwrap();
        chatter.waits();
        chatter.read(&[1]).unwrap();
        assert!(!chatter.has_had_its_turn(waker));
        chatter.read(&vec![1; TURN_BYTES - 1]).unwrap();
        assert!(chatter.has_had_its_turn(waker));
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_same_is_seen(
            shapes in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 0..20),
            cuts in prop::collection::vec(1..40_usize, 1..20),
            preface in 0..30_usize,
        ) {
            let mut bytes = vec![0; preface];
            bytes.extend(shapes.iter().flat_map(|(kind, flags, length)| frame(*kind, *flags, *length)));
            let mut frames = Frames { missing: preface, ..Frames::default() };
            let (mut seen, mut rest) = (Vec::new(), &bytes[..]);
            for cut in cuts.into_iter().cycle() {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                frames.pass(now, |head| seen.push((head.kind, head.flags, head.length)));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let expected: Vec<_> =
                shapes.into_iter().map(|(kind, flags, length)| (kind, flags, usize::from(length))).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
