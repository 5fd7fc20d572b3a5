//! Every result to whoever wants it: standard output, serial ports, Modbus, the
//! screen and the archive. None of them is waited for.

use log::warn;
use touchstone_board::Wired;
use touchstone_board::results::{Counters, ResultRecord, Status, cut};
use touchstone_models::verdict::VerdictRecord;

use super::archive::Archive;
use super::screen::Screen;
use crate::commands::inspect::json_line;
use crate::exit::Failure;
use crate::inspection::{Activated, line_record};
use crate::line;
use crate::station::{Condition, Observer, Published};
use crate::terminal::Lines;

/// Who hears of the line.
pub(super) struct Results {
    lines: Lines,
    wired: Wired,
    archive: Option<Archive>,
    screen: Option<Screen>,
    active: Activated,
}

impl Results {
    pub(super) fn new(
        wired: Wired,
        mut archive: Option<Archive>,
        screen: Option<Screen>,
        active: Activated,
    ) -> Self {
        if let Some(archive) = &mut archive {
            archive.activated(active.good.as_ref());
        }
        if let Some(screen) = &screen {
            screen.activated(&active);
        }
        Self { lines: Lines::default(), wired, archive, screen, active }
    }

    /// Says what got lost on the way, and waits for the archive.
    pub(super) fn close(self) {
        for port in &self.wired.results {
            let counts = port.counts();
            if counts.dropped + counts.failed > 0 {
                warn!("serial: {} results dropped, {} failed", counts.dropped, counts.failed);
            }
        }
        if let Some(archive) = self.archive {
            archive.close();
        }
    }
}

impl Observer for Results {
    fn published(&mut self, part: &Published<'_>) -> Result<(), Failure> {
        let names = &self.active.names;
        let record = line_record(part.part, part.outcome, part.slot, part.total_us, names);
        // Whoever is too slow loses it and counts it; the line goes on.
        self.wired.publish(&wire_record(&record));
        let json = json_line(&record)?;
        if let Some(screen) = &mut self.screen {
            screen.part(part);
        }
        if let Some(archive) = &mut self.archive {
            archive.add(part, &record, &json);
        }
        self.lines.line(&json)
    }

    fn condition(&mut self, condition: &Condition) -> bool {
        let told = self.wired.exchange.publish(&status(condition, &self.active));
        let shown = self.screen.as_ref().is_none_or(|screen| screen.condition(condition));
        told && shown
    }

    fn activated(&mut self, recipe: Activated) {
        if let Some(screen) = &self.screen {
            screen.activated(&recipe);
        }
        if let Some(archive) = &mut self.archive {
            archive.activated(recipe.good.as_ref());
        }
        self.active = recipe;
    }
}

fn wire_record(record: &VerdictRecord) -> ResultRecord {
    let micros = u32::try_from(record.latency_us.total).unwrap_or(u32::MAX);
    let pass = record.verdict == "pass";
    let part = u64::from(record.part);
    ResultRecord::new(part, pass, &record.reason, record.score, record.p_value, micros)
}

fn status(condition: &Condition, active: &Activated) -> Status {
    Status {
        online: condition.online,
        ready: condition.ready,
        busy: condition.busy,
        error: condition.trouble.is_some(),
        drift: condition.drift,
        recipe: cut(&active.recipe),
        identity: active.identity,
        counters: counters(&condition.counters, condition.edges_lost),
    }
}

/// The line's counters as the outside knows them.
fn counters(line: &line::Counters, edges_lost: u64) -> Counters {
    Counters {
        parts: line.parts,
        passed: line.passed,
        rejected: line.rejected,
        late: line.rejected_late,
        missed: edges_lost,
        overload: line.rejected_overload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{LineConfig, LineTimes, Outcome, PartId, Why};
    use crate::station::Trouble;
    use touchstone_board::config::Board;
    use touchstone_board::devices::Devices;

    fn active() -> Activated {
        Activated {
            recipe: "bracket".to_owned(),
            names: Default::default(),
            identity: [7; 8],
            line: LineConfig::try_from(LineTimes::default()).unwrap(),
            good: None,
        }
    }

    #[test]
    fn what_the_line_says_is_what_a_wire_can_ask() {
        let board = "name = \"sim\"\n[camera]\nkind = \"simulated\"\n";
        let (_, wired) = Devices::open_wired(&Board::parse(board).unwrap()).unwrap();
        let exchange = wired.exchange.clone();
        let mut results = Results::new(wired, None, None, active());
        let counters = line::Counters { parts: 9, rejected_late: 2, ..Default::default() };
        let condition = Condition {
            online: true,
            trouble: Some(Trouble::CameraAway),
            drift: true,
            edges_lost: 4,
            counters,
            ..Condition::default()
        };
        assert!(results.condition(&condition));
        let status = exchange.status();
        assert!(status.online && status.error && status.drift && !status.ready);
        assert_eq!((status.recipe.as_str(), status.identity), ("bracket", [7; 8]));
        assert_eq!((status.counters.parts, status.counters.late), (9, 2));
        assert_eq!(status.counters.missed, 4);
        results.activated(Activated { recipe: "nut".to_owned(), ..active() });
        results.condition(&condition);
        assert_eq!(exchange.status().recipe.as_str(), "nut");
    }

    #[test]
    fn a_record_goes_out_with_its_reason() {
        let outcome = Outcome::Reject(Why::NoFrame);
        let record = line_record(PartId(3), outcome, None, 70, &Default::default());
        let wire = wire_record(&record);
        assert_eq!((wire.part, wire.pass, wire.micros), (3, false, 70));
        assert_eq!(wire.reason.as_str(), record.reason);
    }
}
