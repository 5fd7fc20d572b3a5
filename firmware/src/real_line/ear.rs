//! The inputs' thread: edges in, events of the line out, in the order of their
//! stamps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SendError, SyncSender};
use std::time::Duration;

use log::warn;
use touchstone_board::encoder::{Encoder, Quadrature, Travel};
use touchstone_board::{InputEvent, InputRole, Inputs, IoError, Timestamp};

use super::{Message, NAP};

/// The encoder is reported at most this often: its counts in between are in the
/// next report. Anything else that happens is reported after the counts that
/// came before it.
pub const REPORT_EVERY: Duration = Duration::from_millis(1);

type Told = Result<(), SendError<Message>>;

/// All inputs of a line.
pub(super) struct Ear {
    inputs: Box<dyn Inputs>,
    encoder: Option<Encoder>,
    /// A count that nobody has heard of yet.
    travelled: Option<(Timestamp, Travel)>,
    reported_at: Timestamp,
    lost: u64,
    /// Levels may have changed without an edge that was seen.
    unsure: bool,
    /// Transitions that no shaft can make were seen.
    noisy: bool,
    /// Edges of the trigger are parts.
    parts: bool,
}

impl Ear {
    /// Looks at the levels; edges that come from now on wait in the kernel.
    /// `parts` says whether the trigger is among these inputs.
    pub(super) fn open(mut inputs: Box<dyn Inputs>, parts: bool) -> Result<Self, IoError> {
        let a = inputs.level(InputRole::EncoderA)?;
        let b = inputs.level(InputRole::EncoderB)?;
        let step = inputs.level(InputRole::EncoderStep)?;
        let encoder = match (a, b, step) {
            (Some(a), Some(b), _) => Some(Encoder::Quadrature(Quadrature::new(a, b))),
            (_, _, Some(_)) => Some(Encoder::Step(Travel(0))),
            (_, _, None) => None,
        };
        let lost = inputs.counts().lost;
        let reported_at = Timestamp(i64::MIN);
        Ok(Self {
            inputs,
            encoder,
            travelled: None,
            reported_at,
            lost,
            unsure: false,
            noisy: false,
            parts,
        })
    }

    /// Whether the machine may run; `None` where nobody says.
    pub(super) fn interlock(&mut self) -> Result<Option<bool>, IoError> {
        self.inputs.level(InputRole::Interlock)
    }

    /// Whether an encoder is wired.
    pub(super) fn has_encoder(&self) -> bool {
        self.encoder.is_some()
    }

    /// Listens until the line ends.
    pub(super) fn listen(mut self, told: &SyncSender<Message>, quit: &AtomicBool) {
        while !quit.load(Ordering::Relaxed) {
            let patience = if self.travelled.is_some() { REPORT_EVERY } else { NAP };
            let heard = match self.inputs.wait(patience) {
                Ok(Some(event)) => self.hear(&event, told),
                Ok(None) => self.idle(told),
                Err(error) => {
                    // The line ends by it, or has ended already.
                    let _ = told.send(Message::InputsLost(error));
                    return;
                }
            };
            if heard.and_then(|()| self.note_lost(told)).is_err() {
                return;
            }
        }
    }

    fn hear(&mut self, event: &InputEvent, told: &SyncSender<Message>) -> Told {
        match event.role {
            InputRole::EncoderA | InputRole::EncoderB | InputRole::EncoderStep => {
                let travel = self.encoder.as_mut().and_then(|encoder| encoder.handle(event));
                self.note_noise();
                let Some(travel) = travel else { return Ok(()) };
                self.travelled = Some((event.at, travel));
                if event.at.since(self.reported_at) >= REPORT_EVERY {
                    return self.report(told);
                }
                Ok(())
            }
            InputRole::Trigger if event.active && self.parts => {
                self.report(told)?;
                told.send(Message::Edge(event.at))
            }
            InputRole::Teach if event.active => told.send(Message::Teach),
            InputRole::Trigger | InputRole::Teach => Ok(()),
            InputRole::Interlock => {
                self.report(told)?;
                told.send(Message::Interlock { closed: event.active })
            }
        }
    }

    /// Nothing came for a while.
    fn idle(&mut self, told: &SyncSender<Message>) -> Told {
        self.report(told)?;
        if std::mem::take(&mut self.unsure) {
            match self.inputs.level(InputRole::Interlock) {
                Ok(Some(closed)) => return told.send(Message::Interlock { closed }),
                Ok(None) => {}
                Err(error) => return told.send(Message::InputsLost(error)),
            }
        }
        Ok(())
    }

    /// Tells where the encoder is, if it has moved since that was last told.
    fn report(&mut self, told: &SyncSender<Message>) -> Told {
        let Some((at, travel)) = self.travelled.take() else { return Ok(()) };
        self.reported_at = at;
        told.send(Message::Encoder { at, counts: travel.0 })
    }

    fn note_lost(&mut self, told: &SyncSender<Message>) -> Told {
        let lost = self.inputs.counts().lost;
        if lost <= self.lost {
            return Ok(());
        }
        self.lost = lost;
        self.unsure = true;
        told.send(Message::EdgesLost { total: lost })
    }

    fn note_noise(&mut self) {
        if let Some(Encoder::Quadrature(shaft)) = &self.encoder
            && shaft.invalid() > 0
            && !self.noisy
        {
            self.noisy = true;
            warn!(
                "encoder: both channels changed at once; check screening and debounce, or the belt \
                 is faster than the inputs can follow"
            );
        }
    }
}
