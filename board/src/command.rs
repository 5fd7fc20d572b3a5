//! What the outside may ask of the camera, whichever wire it comes over.
//!
//! There is no command that changes how a part is judged: a wire without a password must not loosen anything.

use crate::push::Push;
use crate::results::Status;
use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

/// Commands that wait for the line; further ones are refused as busy.
pub const COMMANDS_MAX: usize = 16;
/// Steps of a push that wait to be taken in.
pub const DELIVERIES_MAX: usize = 32;
/// Longest recipe name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Recipes that can be chosen from outside.
pub const RECIPES_MAX: usize = 32;

/// A recipe's name as it came over a wire: printable ASCII without the characters that frame a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeName(String);

impl RecipeName {
    /// The name, if it is one.
    pub fn new(name: &str) -> Option<RecipeName> {
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.trim() == name;
        let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !"<>!*".contains(c);
        (fits && name.chars().all(plain)).then(|| RecipeName(name.to_owned()))
    }

    /// It.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecipeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Inspect a part now.
    Trigger,
    /// Learn the part that is there now, as one more good part of the active recipe.
    Teach,
    /// Learn the part that is there now, as a good part of that recipe, which is made if it is not there.
    TeachAs(RecipeName),
    /// Which recipes there are.
    RecipeList,
    /// Change to another recipe.
    RecipeActivate(RecipeName),
    /// Go back to the recipe's version before.
    RecipeRollback,
    /// Try the active recipe on its golden pictures.
    RecipeVerify,
    /// Bring a signed bundle, piece by piece.
    Push(Push),
    /// How the line is.
    Status,
    /// What it has counted.
    Counters,
    /// A person has seen the error: clear what is latched.
    Acknowledge,
}

impl Command {
    /// Answered from what the line last published, without asking it.
    pub fn is_question(&self) -> bool {
        match self {
            Command::RecipeList | Command::Status | Command::Counters => true,
            Command::Trigger
            | Command::Teach
            | Command::TeachAs(_)
            | Command::RecipeActivate(_)
            | Command::RecipeRollback
            | Command::RecipeVerify
            | Command::Push(_)
            | Command::Acknowledge => false,
        }
    }
}

/// Which wire a command came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A serial line's command channel.
    Serial,
    /// Modbus.
    Modbus,
    /// A USB stick.
    Stick,
    /// The operator's button.
    Button,
    /// The camera's own timetable.
    Timetable,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Serial => "serial",
            Source::Modbus => "modbus",
            Source::Stick => "stick",
            Source::Button => "button",
            Source::Timetable => "timetable",
        })
    }
}

/// The outcome of a command: a word for the asker, or why not.
pub type Outcome = Result<String, String>;

type Answer = Box<dyn FnOnce(Outcome) + Send>;

/// A command on its way to the line. The asker hears of its end in any case: one that is dropped counts as
/// refused.
pub struct Request {
    command: Command,
    from: Source,
    answer: Option<Answer>,
}

impl Request {
    /// A request whose end is told to `answer`, which must not wait.
    pub fn new(
        command: Command,
        from: Source,
        answer: impl FnOnce(Outcome) + Send + 'static,
    ) -> Request {
        Request { command, from, answer: Some(Box::new(answer)) }
    }

    /// What is asked for.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// By whom.
    pub fn from(&self) -> Source {
        self.from
    }

    /// Tells the asker. Never waits.
    pub fn answer(mut self, outcome: Outcome) {
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Outcome) {
        if let Some(answer) = self.answer.take() {
            answer(outcome);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.tell(Err("not done".to_owned()));
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { command, from, answer } = self;
        f.debug_struct("Request")
            .field("command", command)
            .field("from", from)
            .field("answered", &answer.is_none())
            .finish()
    }
}

#[derive(Debug, Default)]
struct Published {
    status: Status,
    recipes: Vec<RecipeName>,
    /// Where bundles are taken in, if anywhere.
    deliveries: Option<SyncSender<Request>>,
}

/// Where the line and the outside meet: commands in, one bounded queue; status out, the last one counts.
/// Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Exchange {
    queue: SyncSender<Request>,
    published: Arc<Mutex<Published>>,
}

impl Exchange {
    /// With the line's end of the queue.
    pub fn new() -> (Exchange, Receiver<Request>) {
        let (queue, requests) = sync_channel(COMMANDS_MAX);
        (Exchange { queue, published: Arc::default() }, requests)
    }

    /// What the line says of itself. Never waits: false where somebody was reading just now, and the next one
    /// will do.
    pub fn publish(&self, status: &Status) -> bool {
        let mut published = match self.published.try_lock() {
            Ok(published) => published,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        published.status = status.clone();
        true
    }

    /// The recipes that can be chosen, in the order that Modbus numbers them from 0; those after
    /// [`RECIPES_MAX`] cannot.
    pub fn set_recipes(&self, recipes: impl IntoIterator<Item = RecipeName>) {
        let recipes = recipes.into_iter().take(RECIPES_MAX).collect();
        self.published.lock().unwrap_or_else(PoisonError::into_inner).recipes = recipes;
    }

    /// Where the steps of a push go: to somebody who may wait for a disk, which the line never does.
    pub fn deliveries(&self) -> Receiver<Request> {
        let (queue, requests) = sync_channel(DELIVERIES_MAX);
        self.published.lock().unwrap_or_else(PoisonError::into_inner).deliveries = Some(queue);
        requests
    }

    /// What the line last said.
    pub fn status(&self) -> Status {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).status.clone()
    }

    /// The recipes that can be chosen.
    pub fn recipes(&self) -> Vec<RecipeName> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).recipes.clone()
    }

    /// Hands a request to the line, or answers it here: a question from what was published, anything else
    /// with a refusal where the queue is full. Never waits.
    pub fn submit(&self, request: Request) {
        let status = || self.status();
        let answer = match &request.command {
            Command::RecipeList => {
                self.recipes().iter().map(|r| r.0.clone()).collect::<Vec<_>>().join(",")
            }
            Command::Status => status().line(),
            Command::Counters => status().counters.line(),
            Command::Push(_) => {
                let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
                let deliveries = published.deliveries.clone();
                drop(published);
                return match deliveries {
                    Some(queue) => hand_over(&queue, request),
                    None => request.answer(Err("this line takes no bundles".to_owned())),
                };
            }
            Command::Trigger
            | Command::Teach
            | Command::TeachAs(_)
            | Command::RecipeActivate(_)
            | Command::RecipeRollback
            | Command::RecipeVerify
            | Command::Acknowledge => return hand_over(&self.queue, request),
        };
        request.answer(Ok(answer));
    }
}

/// Never waits.
fn hand_over(queue: &SyncSender<Request>, request: Request) {
    match queue.try_send(request) {
        Ok(()) => {}
        Err(TrySendError::Full(request)) => request.answer(Err("busy".to_owned())),
        Err(TrySendError::Disconnected(request)) => request.answer(Err("stopping".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn every_request_gets_its_answer() {
        let (exchange, requests) = Exchange::new();
        let (told, answers) = channel();
        let ask = |command| {
            let told = told.clone();
            exchange.submit(Request::new(command, Source::Serial, move |o| told.send(o).unwrap()));
        };
        for _ in 0..=COMMANDS_MAX {
            ask(Command::Trigger);
        }
        assert_eq!(answers.try_recv().unwrap(), Err("busy".to_owned()));
        assert!(answers.try_recv().is_err());
        requests.recv().unwrap().answer(Ok("part 4".to_owned()));
        assert_eq!(answers.try_recv().unwrap(), Ok("part 4".to_owned()));
        drop(requests.recv().unwrap());
        assert_eq!(answers.try_recv().unwrap(), Err("not done".to_owned()));
        drop(requests);
        while answers.try_recv().is_ok() {}
        ask(Command::Teach);
        assert_eq!(answers.try_recv().unwrap(), Err("stopping".to_owned()));
    }

    #[test]
    fn questions_never_reach_the_line() {
        let (exchange, requests) = Exchange::new();
        exchange.set_recipes(["a", "b c"].map(|n| RecipeName::new(n).unwrap()));
        assert!(exchange.publish(&Status { ready: true, ..Status::default() }));
        let (told, answers) = channel();
        for command in [Command::RecipeList, Command::Status, Command::Counters] {
            assert!(command.is_question());
            let told = told.clone();
            exchange.submit(Request::new(command, Source::Serial, move |o| told.send(o).unwrap()));
        }
        assert_eq!(answers.recv().unwrap(), Ok("a,b c".to_owned()));
        assert!(answers.recv().unwrap().unwrap().contains("ready=1"));
        assert!(answers.recv().unwrap().unwrap().starts_with("parts=0"));
        assert!(requests.try_recv().is_err());
    }

    #[test]
    fn names_are_plain() {
        for bad in ["", " a", "a ", "a*b", "a>b", "ä", "a\nb", &"x".repeat(65)] {
            assert!(RecipeName::new(bad).is_none(), "{bad:?}");
        }
        assert_eq!(RecipeName::new("bracket 7-b").unwrap().as_str(), "bracket 7-b");
    }
}
