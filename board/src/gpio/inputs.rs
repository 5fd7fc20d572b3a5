//! Input lines: one request per chip, one wait for all of them.

use super::merge::Merger;
use super::{CONSUMER, find, line_config};
use crate::config::{InputLine, Wire};
use crate::io::{InputCounts, InputEvent, InputRole, Inputs, IoError, Trigger, TriggerEdge};
use crate::time::Timestamp;
use gpiocdev::Request;
use gpiocdev::line::{EdgeDetection, EdgeKind, EventClock, Offset, Value};
use rustix::event::{PollFd, PollFlags, poll};
use std::path::PathBuf;
use std::time::Duration;

/// Edges per line that the kernel keeps for us; it drops further ones, which shows as a gap in the numbering.
const EDGES_PER_LINE: u32 = 64;

fn stamp(nanos: u64) -> Timestamp {
    Timestamp(i64::try_from(nanos / 1_000).unwrap_or(i64::MAX))
}

fn edge_config(line: &InputLine, edges: EdgeDetection) -> gpiocdev::line::Config {
    let mut config = line_config(&line.wire);
    config.as_input();
    // With the polarity set, "rising" means into the active level.
    config.with_edge_detection(edges);
    config.event_clock = Some(EventClock::Monotonic);
    if !line.debounce.is_zero() {
        config.with_debounce_period(line.debounce);
    }
    config
}

/// An input line whose edges into the active level count.
#[derive(Debug)]
pub struct GpioTrigger {
    wire: Wire,
    device: PathBuf,
    request: Request,
}

impl GpioTrigger {
    /// Takes the line of a board file.
    ///
    /// # Errors
    /// No such chip or line, in use, or no permission.
    pub fn open(line: &InputLine) -> Result<GpioTrigger, IoError> {
        let wire = line.wire.clone();
        let device = find::resolve(&wire.chip)?;
        let mut builder = Request::builder();
        builder
            .on_chip(&device)
            .with_consumer(CONSUMER)
            .with_kernel_event_buffer_size(EDGES_PER_LINE)
            .with_line(wire.line as Offset)
            .from_line_config(&edge_config(line, EdgeDetection::RisingEdge));
        let request = builder.request().map_err(|e| find::refused(&wire, &device, &e))?;
        Ok(GpioTrigger { wire, device, request })
    }
}

impl Trigger for GpioTrigger {
    fn wait(&mut self, timeout: Duration) -> Result<Option<TriggerEdge>, IoError> {
        let failed = |e: gpiocdev::Error| find::refused(&self.wire, &self.device, &e);
        if !self.request.wait_edge_event(timeout).map_err(failed)? {
            return Ok(None);
        }
        let event = self.request.read_edge_event().map_err(failed)?;
        Ok(Some(TriggerEdge { at: stamp(event.timestamp_ns), sequence: event.line_seqno }))
    }
}

#[derive(Debug)]
struct ChipInputs {
    lines: Vec<InputLine>,
    device: PathBuf,
    request: Request,
}

impl ChipInputs {
    fn open(lines: Vec<InputLine>, device: PathBuf) -> Result<ChipInputs, IoError> {
        let mut builder = Request::builder();
        builder
            .on_chip(&device)
            .with_consumer(CONSUMER)
            .with_kernel_event_buffer_size(EDGES_PER_LINE * lines.len() as u32);
        for line in &lines {
            builder.with_line(line.wire.line as Offset);
            builder.from_line_config(&edge_config(line, EdgeDetection::BothEdges));
        }
        match builder.request() {
            Ok(request) => Ok(ChipInputs { lines, device, request }),
            // The kernel refuses the request as a whole: name the line that somebody holds.
            Err(e) => {
                let taken = |l: &&InputLine| find::consumer(&device, l.wire.line).is_some();
                let culprit = lines.iter().find(taken).unwrap_or(&lines[0]);
                Err(find::refused(&culprit.wire, &device, &e))
            }
        }
    }

    fn failed(&self, error: &gpiocdev::Error) -> IoError {
        find::refused(&self.lines[0].wire, &self.device, error)
    }
}

/// All input lines of a board, on however many chips.
#[derive(Debug)]
pub struct GpioInputs {
    chips: Vec<ChipInputs>,
    merger: Merger,
}

impl GpioInputs {
    /// Takes the lines of a board file ([`crate::config::Board::input_lines`]), both edges of each.
    ///
    /// # Errors
    /// The first line that cannot be had: no such chip or line, in use and by whom, or no permission.
    pub fn open(lines: &[InputLine]) -> Result<GpioInputs, IoError> {
        let mut by_chip: Vec<(PathBuf, Vec<InputLine>)> = Vec::new();
        for line in lines {
            let device = find::resolve(&line.wire.chip)?;
            match by_chip.iter_mut().find(|(known, _)| *known == device) {
                Some((_, lines)) => lines.push(line.clone()),
                None => by_chip.push((device, vec![line.clone()])),
            }
        }
        let open = |(device, lines)| ChipInputs::open(lines, device);
        let chips = by_chip.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let merger = Merger::new(chips.len());
        Ok(GpioInputs { chips, merger })
    }

    /// Waits until a chip has something, and takes what all of them have, up to what is worth holding.
    fn gather(&mut self, timeout: Duration) -> Result<(), IoError> {
        let polled = |e: rustix::io::Errno| IoError::Refused {
            what: "GPIO inputs".to_owned(),
            why: format!("cannot be waited for: {e}"),
        };
        // Saturates at the kernel's longest wait; the caller comes again.
        let wait = rustix::event::Timespec::try_from(timeout)
            .unwrap_or(rustix::event::Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 });
        let ready: Vec<bool> = {
            let mut fds: Vec<PollFd<'_>> =
                self.chips.iter().map(|c| PollFd::new(&c.request, PollFlags::IN)).collect();
            match poll(&mut fds, Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(polled(e)),
            }
            fds.iter().map(|fd| !fd.revents().is_empty()).collect()
        };
        for (source, chip) in self.chips.iter().enumerate().filter(|(source, _)| ready[*source]) {
            while self.merger.has_room() {
                let event = chip.request.read_edge_event().map_err(|e| chip.failed(&e))?;
                let line = chip.lines.iter().find(|l| l.wire.line as Offset == event.offset);
                let active = event.kind == EdgeKind::Rising;
                let input = line.map(|line| InputEvent {
                    role: line.role,
                    at: stamp(event.timestamp_ns),
                    active,
                    sequence: event.line_seqno,
                });
                self.merger.push(source, event.seqno, input);
                if !chip.request.has_edge_event().map_err(|e| chip.failed(&e))? {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Inputs for GpioInputs {
    fn wait(&mut self, timeout: Duration) -> Result<Option<InputEvent>, IoError> {
        if self.chips.is_empty() {
            std::thread::sleep(timeout);
            return Ok(None);
        }
        // Also with something at hand: another chip may have an earlier edge by now.
        let timeout = if self.merger.is_empty() { timeout } else { Duration::ZERO };
        if self.merger.has_room() {
            self.gather(timeout)?;
        }
        Ok(self.merger.pop())
    }

    fn level(&mut self, role: InputRole) -> Result<Option<bool>, IoError> {
        for chip in &self.chips {
            if let Some(line) = chip.lines.iter().find(|line| line.role == role) {
                let value = chip.request.value(line.wire.line as Offset);
                return Ok(Some(value.map_err(|e| chip.failed(&e))? == Value::Active));
            }
        }
        Ok(None)
    }

    fn counts(&self) -> InputCounts {
        self.merger.counts()
    }
}
