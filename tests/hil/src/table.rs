//! What happened and when, on both sides of the wires, in one order.

use std::fmt::Write as _;

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
}
