//! Commands from outside, and changes of what is judged by.
//!
//! A change lets READY fall, waits until no part is without its outcome (those are judged by the old recipe),
//! looks at the part that is to be taught where one is, lets the judge's thread do the work, and takes over the
//! new times when no part is on the line. A recipe that cannot be used leaves the old one at work.

use std::sync::mpsc::TrySendError;
use std::time::Duration;

use log::{info, warn};
use touchstone_board::command::{Command, Request, Source};
use touchstone_board::{Frame, Timestamp};
use touchstone_models::picture::Picture;

use super::{Drift, Job, Order, RealLine};
use crate::inspection::{Activated, Changed, Wish};
use crate::line::Event;

/// How long the camera may take for a picture of a part that is to be taught.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Where a change is.
pub(super) enum Change {
    /// There is none.
    None,
    /// Parts have to be judged by the old recipe first.
    Emptying(Request, Plan),
    /// The camera looks at a part that is to be taught.
    Looking(Request, Option<String>),
    /// The judge is at it.
    Building(Request),
    /// The judge has done it; parts on the line keep the old times.
    Adopting(Request, Box<Activated>, Result<String, String>),
}

/// What is to be done once the line is empty.
pub(super) enum Plan {
    /// This.
    Do(Wish),
    /// Look at a part, and teach it.
    Look(Option<String>),
}

/// The operator's button as a request, whose outcome goes to the log.
pub(super) fn by_button() -> Request {
    Request::new(Command::Teach, Source::Button, |outcome| match outcome {
        Ok(word) => info!("teach: {word}"),
        Err(why) => warn!("teach: {why}"),
    })
}

impl RealLine<'_> {
    /// Does what was asked for, and says how it went.
    pub(super) fn obey(&mut self, request: Request, now: Timestamp) {
        let outcome = match request.command() {
            Command::Trigger => self.software_trigger(now),
            Command::Acknowledge => {
                self.line.handle(now, Event::Reset);
                Ok(self.see_drift().to_owned())
            }
            Command::RecipeActivate(name) => {
                let wish = Wish::Activate(name.as_str().to_owned());
                return self.begin(request, Plan::Do(wish));
            }
            Command::RecipeRollback => return self.begin(request, Plan::Do(Wish::Rollback)),
            Command::RecipeVerify => return self.begin(request, Plan::Do(Wish::Verify)),
            Command::Teach | Command::TeachAs(_) if !self.teach_from.contains(&request.from()) => {
                Err(TEACH_ELSEWHERE.to_owned())
            }
            Command::Teach => return self.begin(request, Plan::Look(None)),
            Command::TeachAs(name) => {
                let name = name.as_str().to_owned();
                return self.begin(request, Plan::Look(Some(name)));
            }
            Command::RecipeList | Command::Status | Command::Counters | Command::Push(_) => {
                Err("not the line's business; answered where it is asked".to_owned())
            }
        };
        request.answer(outcome);
    }

    /// A person has seen what there was to be seen, a warning of drift too.
    fn see_drift(&mut self) -> &'static str {
        match self.drift {
            Drift::None => "",
            Drift::Told | Drift::Seen => {
                self.drift = Drift::Seen;
                "drift: the parts of now are what is normal"
            }
        }
    }

    /// Lets the judge know, which may be busy: then at the next turn.
    pub(super) fn forward_drift(&mut self) {
        if self.drift == Drift::Seen && self.work.try_send(Job::Acknowledge).is_ok() {
            self.drift = Drift::None;
        }
    }

    fn begin(&mut self, request: Request, plan: Plan) {
        match &self.change {
            Change::None if self.ending.is_none() => {
                info!("recipe: {:?} from {}", request.command(), request.from());
                self.change = Change::Emptying(request, plan);
            }
            Change::None => request.answer(Err("the line is stopping".to_owned())),
            Change::Emptying(..)
            | Change::Looking(..)
            | Change::Building(_)
            | Change::Adopting(..) => request.answer(Err("busy with another recipe".to_owned())),
        }
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

    /// Takes the change as far as it goes.
    pub(super) fn drive_change(&mut self, now: Timestamp) {
        self.change = match std::mem::replace(&mut self.change, Change::None) {
            Change::Emptying(request, plan) if self.line.backlog() > 0 => {
                Change::Emptying(request, plan)
            }
            Change::Emptying(request, Plan::Do(wish)) => self.ask_judge(request, wish),
            Change::Emptying(request, Plan::Look(name)) => self.look(request, name, now),
            Change::Adopting(request, new, outcome) => {
                let same = *self.line.config() == new.line;
                if same || self.line.adopt(now, new.line) {
                    info!("recipe {}: active", new.recipe);
                    self.observer.activated(*new);
                    request.answer(outcome);
                    Change::None
                } else {
                    Change::Adopting(request, new, outcome)
                }
            }
            change @ (Change::None | Change::Looking(..) | Change::Building(_)) => change,
        };
    }

    /// Hands a wish to the judge's thread; one that is busy is asked again at the next turn.
    fn ask_judge(&mut self, request: Request, wish: Wish) -> Change {
        let from = request.from();
        match self.work.try_send(Job::Change(wish, from)) {
            Ok(()) => Change::Building(request),
            Err(TrySendError::Full(Job::Change(wish, _))) => {
                Change::Emptying(request, Plan::Do(wish))
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                request.answer(Err("the judge is gone".to_owned()));
                Change::None
            }
        }
    }

    /// Asks the camera for a picture that belongs to no part of the line.
    fn look(&mut self, request: Request, name: Option<String>, now: Timestamp) -> Change {
        let order = Order { part: None, not_before: now, by: now + LOOK_MAX };
        match self.orders.as_ref().map(|orders| orders.try_send(order)) {
            // Without orders the next frame that comes by itself will do.
            None | Some(Ok(())) => Change::Looking(request, name),
            Some(Err(_)) => {
                request.answer(Err("the camera is busy; try again".to_owned()));
                Change::None
            }
        }
    }

    /// The camera has looked at a part that is to be taught.
    pub(super) fn seen(&mut self, frame: Option<Frame>) {
        self.change = match std::mem::replace(&mut self.change, Change::None) {
            Change::Looking(request, name) => {
                let picture = frame.ok_or_else(|| "the camera gave no picture".to_owned());
                let picture = picture.and_then(|frame| {
                    Picture::from_rgb8(frame.width, frame.height, frame.rgb)
                        .map_err(|e| e.to_string())
                });
                match picture {
                    Ok(picture) => self.ask_judge(request, Wish::Teach { name, picture }),
                    Err(why) => {
                        request.answer(Err(why));
                        Change::None
                    }
                }
            }
            // Nobody asks for it any more.
            change => change,
        };
    }

    /// The judge is through.
    pub(super) fn built(&mut self, changed: Changed) {
        let Changed { outcome, active, sound } = changed;
        self.sound = sound;
        if active.is_some() {
            // Another judge, who has not seen anything yet.
            self.drift = Drift::None;
        }
        if let Err(why) = &outcome {
            warn!("recipe: {why}");
        }
        self.change = match (std::mem::replace(&mut self.change, Change::None), active) {
            (Change::Building(request), Some(new)) => Change::Adopting(request, new, outcome),
            (Change::Building(request), None) => {
                request.answer(outcome);
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

    /// Whether a picture is wanted that is to be taught.
    pub(super) fn is_looking(&self) -> bool {
        matches!(self.change, Change::Looking(..))
    }

    /// Whether new times wait for the line to be empty.
    pub(super) fn is_adopting(&self) -> bool {
        matches!(self.change, Change::Adopting(..))
    }
}

/// Why the line does not learn from whoever asks, and how it does.
pub(super) const TEACH_ELSEWHERE: &str = "not from here while it runs (recipes.teach_from); use \
     touchstone teach, then recipe activate";
