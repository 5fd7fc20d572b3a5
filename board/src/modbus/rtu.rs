//! Frames on a serial line: silence ends them. Pure, time is an argument.

use super::adu::RTU_BYTES_MAX;
use crate::time::Timestamp;
use std::time::Duration;

/// Bits of a character on the wire: start, eight, parity or a second stop, stop.
const BITS: u64 = 11;
/// Above this speed the silence is a fixed time, as the specification says.
const FAST_BAUD: u32 = 19_200;
const FAST_SILENCE: Duration = Duration::from_micros(1_750);

/// Collects bytes until 3.5 characters of silence.
#[derive(Clone, Debug)]
pub struct Framer {
    silence: Duration,
    bytes: heapless::Vec<u8, RTU_BYTES_MAX>,
    last: Option<Timestamp>,
    /// Too long already: whatever comes before the next silence is part of it.
    overlong: bool,
}

impl Framer {
    /// For a line of that speed.
    pub fn new(baud: u32) -> Framer {
        let silence = if baud > FAST_BAUD {
            FAST_SILENCE
        } else {
            Duration::from_micros(7 * BITS * 1_000_000 / (2 * u64::from(baud.max(1))))
        };
        Framer { silence, bytes: heapless::Vec::new(), last: None, overlong: false }
    }

    /// How long the silence between frames is.
    pub fn silence(&self) -> Duration {
        self.silence
    }

    /// Takes bytes that came now; the frame before them, where silence had ended it unnoticed.
    pub fn receive(
        &mut self,
        now: Timestamp,
        bytes: &[u8],
    ) -> Option<heapless::Vec<u8, RTU_BYTES_MAX>> {
        let frame = self.poll(now);
        if !bytes.is_empty() {
            self.overlong |= self.bytes.extend_from_slice(bytes).is_err();
            self.last = Some(now);
        }
        frame
    }

    /// The frame that silence has ended by now.
    pub fn poll(&mut self, now: Timestamp) -> Option<heapless::Vec<u8, RTU_BYTES_MAX>> {
        if self.poll_at().is_none_or(|at| now < at) {
            return None;
        }
        self.last = None;
        let frame = std::mem::take(&mut self.bytes);
        let whole = !std::mem::replace(&mut self.overlong, false);
        (whole && !frame.is_empty()).then_some(frame)
    }

    /// When a frame ends unless more comes; `None` between frames.
    pub fn poll_at(&self) -> Option<Timestamp> {
        self.last.map(|last| last + self.silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_separates_frames() {
        let mut framer = Framer::new(9_600);
        assert_eq!(framer.silence(), Duration::from_micros(4_010));
        assert_eq!(framer.receive(Timestamp(0), b"ab"), None);
        assert_eq!(framer.receive(Timestamp(4_000), b"c"), None);
        assert_eq!(framer.poll_at(), Some(Timestamp(8_010)));
        assert_eq!(framer.poll(Timestamp(8_009)), None);
        // Noticed late, by the next frame's first bytes.
        assert_eq!(framer.receive(Timestamp(9_000), b"d").as_deref(), Some(b"abc".as_slice()));
        assert_eq!(framer.poll(Timestamp(20_000)).as_deref(), Some(b"d".as_slice()));
        assert_eq!((framer.poll(Timestamp(30_000)), framer.poll_at()), (None, None));
        assert_eq!(Framer::new(115_200).silence(), FAST_SILENCE);
    }

    #[test]
    fn what_is_too_long_is_no_frame_and_the_next_one_is() {
        let mut framer = Framer::new(115_200);
        for at in 0..3 {
            assert_eq!(framer.receive(Timestamp(at), &[7; 100]), None);
        }
        assert_eq!(framer.receive(Timestamp(5_000), b"ok"), None);
        assert_eq!(framer.poll(Timestamp(9_000)).as_deref(), Some(b"ok".as_slice()));
    }
}
