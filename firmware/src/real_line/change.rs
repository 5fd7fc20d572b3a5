//! Commands from outside, and the change of recipe.
//!
//! A change of recipe lets READY fall, waits until no part is without its
//! outcome (those are judged by the old recipe), lets the judge's thread build
//! the new one, and takes over its times when no part is on the line. A recipe
//! that cannot be used leaves the old one at work.

use std::sync::mpsc::TrySendError;

use log::{info, warn};
use touchstone_board::Timestamp;
use touchstone_board::command::{Command, Request};

use super::{Job, RealLine};
use crate::inspection::Activated;
use crate::line::Event;

/// Where a change of recipe is.
pub(super) enum Change {
    /// There is none.
    None,
    /// Parts have to be judged by the old recipe first.
    Emptying(Request, String),
    /// The judge builds the new one.
    Building(Request),
    /// The judge has it; parts on the line keep the old times.
    Adopting(Request, Box<Activated>),
}

impl RealLine<'_> {
    /// Does what was asked for, and says how it went.
    pub(super) fn obey(&mut self, request: Request, now: Timestamp) {
        let outcome = match request.command() {
            Command::Trigger => self.software_trigger(now),
            Command::Acknowledge => {
                self.line.handle(now, Event::Reset);
                Ok(String::new())
            }
            Command::RecipeActivate(name) => match &self.change {
                Change::None if self.ending.is_none() => {
                    info!("recipe {name}: asked for");
                    let name = name.as_str().to_owned();
                    self.change = Change::Emptying(request, name);
                    return;
                }
                Change::None => Err("the line is stopping".to_owned()),
                Change::Emptying(..) | Change::Building(_) | Change::Adopting(..) => {
                    Err("busy with another recipe".to_owned())
                }
            },
            Command::Teach => Err(TEACH_ELSEWHERE.to_owned()),
            Command::RecipeList | Command::Status | Command::Counters => {
                Err("a question, answered where it is asked".to_owned())
            }
        };
        request.answer(outcome);
    }

    /// A part now, wherever it comes from. One that comes when the line is not
    /// ready is on the belt all the same, and is rejected.
    fn software_trigger(&mut self, now: Timestamp) -> Result<String, String> {
        if self.orders.is_none() {
            return Err("every frame is a part on this line".to_owned());
        }
        if self.parts_done() {
            return Err("the line is stopping".to_owned());
        }
        let (part, parts, ready) =
            (self.line.next_part(), self.line.counters().parts, self.line.ready());
        self.line.handle(now, Event::Trigger { at: now });
        match (self.line.counters().parts > parts, ready) {
            (true, true) => Ok(format!("part {part}")),
            (true, false) => Err(format!("not ready, part {part} is rejected")),
            (false, _) => Err("too soon after the last part".to_owned()),
        }
    }

    /// Takes the change of recipe as far as it goes.
    pub(super) fn drive_change(&mut self, now: Timestamp) {
        self.change = match std::mem::replace(&mut self.change, Change::None) {
            Change::None => Change::None,
            Change::Emptying(request, name) if self.line.backlog() > 0 => {
                Change::Emptying(request, name)
            }
            Change::Emptying(request, name) => match self.work.try_send(Job::Activate(name)) {
                Ok(()) => Change::Building(request),
                Err(TrySendError::Full(Job::Activate(name))) => Change::Emptying(request, name),
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    request.answer(Err("the judge is gone".to_owned()));
                    Change::None
                }
            },
            Change::Building(request) => Change::Building(request),
            Change::Adopting(request, new) => {
                let same = *self.line.config() == new.line;
                if same || self.line.adopt(now, new.line) {
                    info!("recipe {}: active", new.recipe);
                    let recipe = new.recipe.clone();
                    self.observer.activated(*new);
                    request.answer(Ok(recipe));
                    Change::None
                } else {
                    Change::Adopting(request, new)
                }
            }
        };
    }

    /// The judge is through with building.
    pub(super) fn built(&mut self, built: Result<Box<Activated>, String>) {
        self.change = match (std::mem::replace(&mut self.change, Change::None), built) {
            (Change::Building(request), Ok(new)) => Change::Adopting(request, new),
            (Change::Building(request), Err(why)) => {
                warn!("recipe: {why}; the line goes on with the one it has");
                request.answer(Err(why));
                Change::None
            }
            // Nobody else asks the judge.
            (change, _) => change,
        };
    }

    /// Whether another recipe is on its way.
    pub(super) fn is_changing(&self) -> bool {
        !matches!(self.change, Change::None)
    }

    /// Whether new times wait for the line to be empty.
    pub(super) fn is_adopting(&self) -> bool {
        matches!(self.change, Change::Adopting(..))
    }
}

/// Why the line does not learn by itself, and how it does.
pub(super) const TEACH_ELSEWHERE: &str =
    "cannot be taught while it runs; use touchstone teach, then recipe activate";
