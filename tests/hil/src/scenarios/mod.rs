//! What is shown, each in a file of its own.

mod camera;
mod display;
mod part;
mod recipes;
mod serial;
mod stick;
mod stop;
mod watchdog;

use crate::bench::Bench;
use crate::fail::Outcome;

/// What a scenario's machine has beyond the usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras {
    /// A USB stick that can be plugged in.
    pub stick: bool,
    /// A network in which port 502 is reached from the host.
    pub network: bool,
    /// A reset starts the guest again.
    pub restarts: bool,
    /// A disk that outlives the machine.
    pub disk: bool,
    /// Few drivers and devices.
    pub bare: bool,
}

impl Extras {
    /// The usual machine.
    pub const NONE: Extras =
        Extras { stick: false, network: false, restarts: false, disk: false, bare: false };
}

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// The machine.
    pub extras: Extras,
    /// Whether it belongs to the run for aarch64, which is slower still.
    pub on_aarch64: bool,
    /// Does it.
    pub run: fn(&mut Bench) -> Outcome<()>,
}

/// All of them, in the order in which they run.
pub const ALL: [Scenario; 10] = [
    part::SCENARIO,
    camera::SCENARIO,
    stick::SCENARIO,
    stop::SCENARIO,
    watchdog::SCENARIO,
    serial::SCENARIO,
    display::SCENARIO,
    recipes::cut::SCENARIO,
    recipes::plug::SCENARIO,
    recipes::gadget::SCENARIO,
];
