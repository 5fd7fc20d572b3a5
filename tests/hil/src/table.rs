//! What happened and when, on both sides of the wires, in one order.

use std::fmt::Write as _;

/// From how many edges on a wire's own stretch is told as one row.
const STRETCH_MIN: usize = 4;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The guest's monotonic clock, in microseconds.
    pub at_us: i64,
    /// Where it was seen.
    pub side: Side,
    /// What it was.
    pub what: String,
}

/// Where something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The other side of a GPIO line, inside the guest, on the guest's clock.
    Gpio,
    /// The far end of a serial line, on the host's clock.
    Serial,
    /// What the harness did.
    Harness,
    /// What QEMU reported.
    Machine,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Gpio => "gpio",
            Side::Serial => "serial",
            Side::Harness => "harness",
            Side::Machine => "machine",
        }
    }
}

/// Renders rows in the order of time; times are in milliseconds after the first.
pub fn render(rows: &[Row]) -> String {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| (row.at_us, row.side));
    let first = rows.first().map_or(0, |row| row.at_us);
    let mut text = String::from("        ms  side     what\n");
    for row in &rows {
        let after = (row.at_us - first) as f64 / 1000.0;
        // A string takes any text.
        let _ = writeln!(text, "{after:10.1}  {:<8} {}", row.side.name(), row.what);
    }
    text
}

/// As `rows`, in the order of time, with every longer stretch in which only `wire` moves as one row.
pub fn condense(rows: &[Row], wire: &str) -> Vec<Row> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| (row.at_us, row.side));
    let (up, down) = (format!("{wire} rises"), format!("{wire} falls"));
    let of_wire = |row: &Row| row.side == Side::Gpio && (row.what == up || row.what == down);
    let mut short = Vec::new();
    for stretch in rows.chunk_by(|a, b| of_wire(a) == of_wire(b)) {
        if stretch.len() < STRETCH_MIN || !of_wire(&stretch[0]) {
            short.extend_from_slice(stretch);
            continue;
        }
        let gaps = stretch.windows(2).map(|pair| pair[1].at_us - pair[0].at_us);
        let gap_ms = gaps.max().unwrap_or_default() as f64 / 1000.0;
        let what = format!("{wire} moves {} times, {gap_ms:.1} ms apart at most", stretch.len());
        short.push(Row { what, ..stretch[0].clone() });
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_the_order_of_time() {
        let row = |at_us, side, what: &str| Row { at_us, side, what: what.to_owned() };
        let text = render(&[
            row(2_500, Side::Serial, "0 0 pass"),
            row(1_000, Side::Gpio, "trigger rises"),
        ]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "       0.0  gpio     trigger rises");
        assert_eq!(lines[2], "       1.5  serial   0 0 pass");
    }

    #[test]
    fn a_beating_wire_is_one_row_between_what_happens() {
        let beat = |at_ms: i64| {
            let what = if at_ms % 500 == 0 { "heartbeat rises" } else { "heartbeat falls" };
            Row { at_us: at_ms * 1000, side: Side::Gpio, what: what.to_owned() }
        };
        let mut rows: Vec<Row> = (0..8).map(|i| beat(i * 250)).collect();
        rows.push(Row { at_us: 1_900_000, side: Side::Serial, what: "!0".to_owned() });
        rows.push(beat(2_000));
        rows.push(beat(2_250));
        let short = condense(&rows, "heartbeat");
        let told: Vec<&str> = short.iter().map(|row| row.what.as_str()).collect();
        let all = "heartbeat moves 8 times, 250.0 ms apart at most";
        assert_eq!(told, [all, "!0", "heartbeat rises", "heartbeat falls"]);
    }
}
