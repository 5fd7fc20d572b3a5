//! What a simulated line is made of and what goes wrong on it.

use touchstone::line::{ConfigError, LineConfig, LineTimes};

/// What measures the way, and how wide a pulse is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Way and width in time.
    Time,
    /// Way in counts, width in time.
    CountsTime,
    /// Way and width in counts.
    Counts,
}

/// Speed of the belt in counts per second, equally µ-counts per µs.
pub const SPEED: i64 = 5_000;
/// Sensor to actuator.
pub const TRAVEL_COUNTS: i64 = 2_500;
/// Width of a pulse.
pub const PULSE_COUNTS: i64 = 300;
/// Nothing on the belt is closer together, but in a burst.
pub const GAP_US: i64 = 80_000;
/// Parts of a burst are so close that the windows of neighbours overlap.
pub const BURST_GAP_US: i64 = 40_000;
/// Sensor to actuator.
pub const TRAVEL_US: i64 = 500_000;
/// Width of a pulse.
pub const PULSE_US: i64 = 60_000;
/// Before the arrival the actuator needs so long.
pub const LEAD_US: i64 = 15_000;
/// Trigger to the earliest and the latest exposure.
pub const CAPTURE_US: (i64, i64) = (10_000, 50_000);
/// A part without verdict is given up.
pub const TIMEOUT_US: i64 = 1_000_000;
/// Parts without outcome that the line takes.
pub const BACKLOG: usize = 6;
/// Late verdicts in a row that stop it.
pub const LATE_MAX: u32 = 8;
/// How late the shell may do what is due at a time.
pub const SHELL_LATE_US: i64 = 2_000;

/// Chances are in ten thousand, per part unless something else is said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// The camera says that it has no frame.
    pub drop: i64,
    /// The camera says nothing.
    pub silent: i64,
    /// The frame was exposed before the part, or after it.
    pub stale: i64,
    /// The frame comes twice.
    pub twice: i64,
    /// The judge takes up to 400 ms.
    pub slow: i64,
    /// The judge's verdict falls on the deadline, or just beside it.
    pub on_deadline: i64,
    /// The judge hangs for seconds.
    pub never: i64,
    /// The picture is such that the score is not a number.
    pub nan: i64,
    /// The sensor bounces.
    pub bounce: i64,
    /// The edge is reported after the next part's.
    pub disorder: i64,
    /// The encoder's stamps and counts tremble; 0 or 1.
    pub jitter: i64,
    /// The belt stops for a while.
    pub stop: i64,
    /// The belt goes back a little.
    pub reverse: i64,
    /// The encoder's count jumps.
    pub jump: i64,
    /// The encoder falls silent.
    pub dead: i64,
    /// Twenty parts come as close as they can, while the judge is slow.
    pub burst: i64,
    /// The interlock opens for a while.
    pub interlock: i64,
    /// The camera is lost for a while.
    pub health: i64,
    /// The shell is late with what is due, by up to [`SHELL_LATE_US`]; 0 or 1.
    pub shell: i64,
}

const CALM: Trouble = Trouble {
    drop: 0,
    silent: 0,
    stale: 0,
    twice: 0,
    slow: 0,
    on_deadline: 0,
    never: 0,
    nan: 0,
    bounce: 0,
    disorder: 0,
    jitter: 0,
    stop: 0,
    reverse: 0,
    jump: 0,
    dead: 0,
    burst: 0,
    interlock: 0,
    health: 0,
    shell: 0,
};

/// Everything at once, but rarely enough that parts pass in between.
const ALL: Trouble = Trouble {
    drop: 100,
    silent: 100,
    stale: 100,
    twice: 100,
    slow: 100,
    on_deadline: 200,
    never: 5,
    nan: 50,
    bounce: 300,
    disorder: 100,
    jitter: 1,
    stop: 50,
    reverse: 50,
    jump: 2,
    dead: 2,
    burst: 20,
    interlock: 20,
    health: 20,
    shell: 1,
};

/// A name, and what goes wrong.
pub const TROUBLES: [(&str, Trouble); 8] = [
    ("calm", CALM),
    ("camera", Trouble { drop: 300, silent: 300, stale: 300, twice: 300, ..CALM }),
    ("judge", Trouble { slow: 500, on_deadline: 500, never: 10, nan: 200, ..CALM }),
    ("sensor", Trouble { bounce: 2000, disorder: 300, ..CALM }),
    ("belt", Trouble { jitter: 1, stop: 200, reverse: 200, jump: 5, dead: 5, ..CALM }),
    ("overload", Trouble { burst: 100, ..CALM }),
    ("ready", Trouble { interlock: 100, health: 100, shell: 1, ..CALM }),
    ("all", ALL),
];

/// All modes, in the order of the table.
pub const MODES: [(&str, Mode); 3] =
    [("time", Mode::Time), ("counts, pulse in ms", Mode::CountsTime), ("counts", Mode::Counts)];

/// One line to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What measures the way.
    pub mode: Mode,
    /// What goes wrong.
    pub trouble: Trouble,
    /// Least distance of two parts in µs of a belt at [`SPEED`].
    pub gap_us: i64,
    /// Edges closer together are one part.
    pub debounce_us: i64,
    /// Chance adds up to so much.
    pub gap_more_us: i64,
    /// Shortest and longest time of the judge where nothing goes wrong.
    pub judge_us: (i64, i64),
    /// Parts that the judge takes at once. Their verdicts come in any order.
    pub judged_at_once: usize,
    /// Sensor to actuator and width of the pulse by time.
    pub travel_us: i64,
    /// Width of the pulse by time.
    pub pulse_us: i64,
}

impl Scenario {
    /// Number of rows that a sweep has.
    pub const ROWS: usize = MODES.len() * TROUBLES.len();

    /// The scenario of a row; seeds go through the rows in turn.
    pub fn of_row(row: usize) -> (String, Self) {
        let (trouble_name, trouble) = TROUBLES[row / MODES.len() % TROUBLES.len()];
        let (mode_name, mode) = MODES[row % MODES.len()];
        let scenario = Self {
            mode,
            trouble,
            gap_us: GAP_US,
            debounce_us: BURST_GAP_US * 3 / 4,
            gap_more_us: 60_000,
            judge_us: (5_000, 60_000),
            judged_at_once: 1,
            travel_us: TRAVEL_US,
            pulse_us: PULSE_US,
        };
        (format!("{trouble_name}: {mode_name}"), scenario)
    }

    /// The stated rate: 40 parts per second, the most that a judge of 25 ms can
    /// take, at so many percent of it.
    pub fn at_rate(percent: i64) -> Self {
        let gap_us = 25_000 * 100 / percent;
        Self {
            mode: Mode::Time,
            trouble: CALM,
            gap_us: gap_us - 500,
            debounce_us: 18_000,
            gap_more_us: 1_000,
            judge_us: (24_000, 25_000),
            judged_at_once: 1,
            travel_us: TRAVEL_US,
            pulse_us: 15_000,
        }
    }

    /// The line's configuration.
    ///
    /// # Errors
    /// None for the scenarios above; a broken one is an error of this file.
    pub fn config(&self) -> Result<LineConfig, ConfigError> {
        let ms = |us: i64| u32::try_from(us / 1000).unwrap_or(u32::MAX);
        let counts = |c: i64| (self.mode != Mode::Time).then(|| u32::try_from(c).unwrap_or(0));
        LineConfig::try_from(LineTimes {
            capture_delay_ms: ms(CAPTURE_US.0),
            capture_window_ms: ms(CAPTURE_US.1 - CAPTURE_US.0),
            travel_ms: ms(self.travel_us),
            actuator_lead_ms: ms(LEAD_US),
            pulse_ms: ms(self.pulse_us),
            debounce_ms: ms(self.debounce_us),
            backlog_max: BACKLOG,
            late_max: LATE_MAX,
            judge_p999_ms: Some(ms(self.judge_us.1)),
            verdict_timeout_ms: (self.mode != Mode::Time).then_some(ms(TIMEOUT_US)),
            travel_counts: counts(TRAVEL_COUNTS),
            pulse_counts: counts(PULSE_COUNTS).filter(|_| self.mode == Mode::Counts),
            debounce_counts: counts(SPEED * (self.debounce_us / 1000) / 1000),
            counts_per_s_max: counts(SPEED * 12 / 10),
        })
    }
}
