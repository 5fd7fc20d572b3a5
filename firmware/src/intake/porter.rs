//! The thread that takes bundles in, and the only one that waits for sticks and disks.

use std::collections::VecDeque;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use log::{info, warn};
use touchstone_board::Timestamp;
use touchstone_board::command::{Command, Exchange, Outcome, RecipeName, Request, Source};
use touchstone_board::drives::Source as Lists;
use touchstone_board::drives::{DriveEvent, Drives, Mounter, POLL_EVERY};
use touchstone_models::bundle::{BundleName, SIGNATURE_BYTES_MAX};

use super::medium::{Medium, Source as Bytes, write_plain};
use super::push::{Session, Step};
use super::stick::{self, Action, Event, State};
use super::{Gate, Herald, News};
use crate::recipes::{Delivery, stored};
use crate::store::audit::Entry;
use crate::store::{Origin, Spool, Staged};

/// Bytes copied at a time; between two pieces it is looked whether the stick is still there.
const PIECE: usize = 1 << 20;
/// Longest sleep: how soon it notices that it has to end.
const NAP: Duration = Duration::from_millis(100);
/// Name of the file with the result.
pub const RESULT_FILE: &str = "touchstone-result.txt";

/// A copy that is being made.
struct Copy {
    from: Bytes,
    spool: Spool,
    signature: String,
}

/// Who waits for the line's answer.
enum Client {
    Stick,
    Push(Request, BundleName),
}

/// Takes bundles in.
pub struct Porter<S: Lists, M: Mounter> {
    /// What decides.
    pub gate: Gate,
    /// Where the judge finds what came in.
    pub delivery: Delivery,
    /// The sticks, where the board has any.
    pub drives: Option<Drives<S, M>>,
    /// How they are read.
    pub medium: Box<dyn Medium>,
    /// Steps of a push.
    pub requests: Receiver<Request>,
    /// The way to the line.
    pub exchange: Exchange,
    /// Who tells people.
    pub herald: Box<dyn Herald>,
    /// Whether the result is written onto the stick.
    pub result_file: bool,
    /// How often the active recipe is tried anew.
    pub golden_every: Option<Duration>,
}

/// What a porter has in hand.
pub struct Work<S: Lists, M: Mounter> {
    porter: Porter<S, M>,
    stick: State,
    /// Sticks that are mounted and not looked at yet.
    queue: VecDeque<PathBuf>,
    copy: Option<Copy>,
    staged: Option<Staged>,
    session: Session,
    told_percent: Option<u64>,
    waiting: Option<Client>,
    outcomes: (Sender<Outcome>, Receiver<Outcome>),
    polled: Option<Instant>,
    /// When the store's state was last written, as far as its recipes were told.
    told_state: Option<SystemTime>,
    golden_at: Option<Instant>,
    complained: bool,
}

impl<S: Lists, M: Mounter> Porter<S, M> {
    /// With nothing in hand.
    pub fn work(self) -> Work<S, M> {
        let golden_at = self.golden_every.map(|every| Instant::now() + every);
        Work {
            porter: self,
            stick: State::Idle,
            queue: VecDeque::new(),
            copy: None,
            staged: None,
            session: Session::default(),
            told_percent: None,
            waiting: None,
            outcomes: channel(),
            polled: None,
            told_state: None,
            golden_at,
            complained: false,
        }
    }
}

impl<S: Lists, M: Mounter> Work<S, M> {
    /// Works until `quit` is set.
    pub fn run(mut self, quit: &AtomicBool) {
        while !quit.load(Ordering::Relaxed) {
            let nap = if self.copy.is_some() { Duration::ZERO } else { NAP };
            match self.porter.requests.recv_timeout(nap) {
                Ok(request) => self.push(request, Timestamp::now_monotonic()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(nap),
            }
            if self.polled.is_none_or(|at| at.elapsed() >= POLL_EVERY) {
                self.polled = Some(Instant::now());
                self.poll(Timestamp::now_monotonic());
            }
            self.turn(Timestamp::now_monotonic());
            self.timetable();
        }
    }

    /// Where the stick is.
    pub fn stick(&self) -> &State {
        &self.stick
    }

    /// Looks at the sticks.
    pub fn poll(&mut self, now: Timestamp) {
        let Some(drives) = &mut self.porter.drives else { return };
        let events = match drives.poll(now) {
            Ok(events) => events,
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    warn!("sticks: {error}");
                }
                return;
            }
        };
        for event in events {
            match event {
                DriveEvent::Mounted { partition, at, filesystem } => {
                    info!("stick {}: {filesystem}, read-only at {}", partition.name, at.display());
                    self.queue.push_back(at);
                }
                DriveEvent::Failed { partition, error } => {
                    warn!("stick {}: {error}", partition.name);
                    self.porter.herald.tell(&News::Bad(format!("stick: {error}")));
                }
                DriveEvent::Removed { partition, at } => {
                    info!("stick {}: pulled out", partition.name);
                    match at {
                        Some(at) => {
                            self.queue.retain(|waiting| *waiting != at);
                            self.stick_event(Event::Pulled(at), now);
                        }
                        None => self.porter.herald.tell(&News::Over),
                    }
                }
            }
        }
    }

    /// Goes on with what is in hand.
    pub fn turn(&mut self, now: Timestamp) {
        self.session.tick(now);
        self.tell_recipes();
        while let Ok(outcome) = self.outcomes.1.try_recv() {
            self.answered(outcome, now);
        }
        // One stick after the other: the next one's turn comes when this one is pulled.
        let next = if self.stick == State::Idle { self.queue.pop_front() } else { None };
        self.stick_event(next.map_or(Event::Tick, Event::Mounted), now);
    }

    fn stick_event(&mut self, event: Event, now: Timestamp) {
        let mut event = event;
        // Each action's outcome is the next event; copying comes back here once per piece.
        loop {
            let (next, action) = stick::step(std::mem::take(&mut self.stick), event, now);
            self.stick = next;
            let piecewise = matches!(action, Action::GoOn);
            match self.act(action) {
                Some(Event::Copied) if piecewise => return,
                Some(outcome) => event = outcome,
                None => return,
            }
        }
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Wait => None,
            Action::Look(at) => {
                self.tell(News::Working("stick: looking for bundles".to_owned()));
                let found = self.porter.medium.bundles(&at).map_err(|e| e.to_string());
                Some(Event::Found(found))
            }
            Action::Copy(at, bundle) => {
                self.copy = None;
                self.tell(News::Working(format!("stick: reading {bundle}")));
                match self.open_copy(&at, &bundle) {
                    Ok(copy) => {
                        self.copy = Some(copy);
                        None
                    }
                    Err(why) => Some(Event::Refused(why)),
                }
            }
            Action::GoOn => Some(self.copy_piece()),
            Action::Check(bundle) => {
                self.tell(News::Working(format!("stick: checking {bundle}")));
                let Some(Copy { spool, signature, .. }) = self.copy.take() else {
                    return Some(Event::Refused("the copy is gone".to_owned()));
                };
                match self.porter.gate.admit(spool, &bundle, &signature, Origin::Stick) {
                    Ok(staged) => {
                        self.staged = Some(staged);
                        Some(Event::Admitted)
                    }
                    Err(refusal) => {
                        let entry = Entry::new("refused", "stick");
                        let entry = entry.about(&bundle.name, bundle.version);
                        self.porter.gate.store.record(&entry.noting(&refusal.to_string()));
                        Some(Event::Refused(refusal.to_string()))
                    }
                }
            }
            Action::Install(bundle) => {
                if self.waiting.is_some() {
                    self.staged = None;
                    return Some(Event::Refused("another bundle is being installed".to_owned()));
                }
                self.tell(News::Working(format!("stick: trying {bundle}")));
                let staged = self.staged.take()?;
                self.waiting = Some(Client::Stick);
                self.ask_line(staged, Source::Stick);
                None
            }
            Action::Succeed(word) => {
                self.write_result(&format!("installed: {word}"));
                self.tell(News::Good(word));
                None
            }
            Action::Fail(why) => {
                self.copy = None;
                self.write_result(&format!("not installed: {why}"));
                self.tell(News::Bad(why));
                None
            }
            Action::Abandon => {
                self.copy = None;
                self.staged = None;
                self.tell(News::Over);
                None
            }
        }
    }

    fn open_copy(&mut self, at: &Path, bundle: &BundleName) -> Result<Copy, String> {
        // What is not wanted is not even read.
        self.porter.gate.wants(bundle).map_err(|e| e.to_string())?;
        let medium = &mut self.porter.medium;
        let (signature, size) = medium
            .open(at, &bundle.signature())
            .map_err(|e| format!("no signature {}: {e}", bundle.signature()))?;
        if size > SIGNATURE_BYTES_MAX {
            return Err(format!("{}: more than {SIGNATURE_BYTES_MAX} bytes", bundle.signature()));
        }
        let mut text = String::new();
        signature
            .take(SIGNATURE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|e| format!("{}: {e}", bundle.signature()))?;
        let (from, size) = medium.open(at, &bundle.to_string()).map_err(|e| e.to_string())?;
        let spool = self.porter.gate.store.spool(size).map_err(|e| e.to_string())?;
        Ok(Copy { from, spool, signature: text })
    }

    /// Copies a piece. A stick whose file is longer than it said is refused by the spool.
    fn copy_piece(&mut self) -> Event {
        let Some(copy) = &mut self.copy else {
            return Event::Refused("the copy is gone".to_owned());
        };
        let mut piece = vec![0; PIECE];
        match copy.from.read(&mut piece) {
            Ok(0) => Event::CopiedAll,
            Ok(read) => match copy.spool.append(&piece[..read]) {
                Ok(()) => Event::Copied,
                Err(error) => Event::Refused(error.to_string()),
            },
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => Event::Copied,
            Err(e) => Event::Refused(format!("reading the stick: {e}")),
        }
    }

    fn ask_line(&mut self, staged: Staged, from: Source) {
        let selector = self.porter.delivery.put(staged);
        let told = self.outcomes.0.clone();
        let answer = move |outcome| {
            // Nobody listens any more when the line is ending.
            let _ = told.send(outcome);
        };
        match RecipeName::new(&selector.to_string()) {
            Some(name) => {
                let command = Command::RecipeActivate(name);
                self.porter.exchange.submit(Request::new(command, from, answer));
            }
            None => answer(Err(format!("{selector}: not a name that can be asked for"))),
        }
    }

    /// The line has answered.
    fn answered(&mut self, outcome: Result<String, String>, now: Timestamp) {
        // Whatever nobody took (a line that was busy) goes.
        self.porter.delivery.clear();
        match self.waiting.take() {
            Some(Client::Stick) => {
                let event = match outcome {
                    Ok(word) => Event::Installed(word),
                    Err(why) => Event::Refused(why),
                };
                self.stick_event(event, now);
            }
            Some(Client::Push(request, name)) => {
                match &outcome {
                    Ok(word) => self.tell(News::Good(word.clone())),
                    Err(why) => self.tell(News::Bad(format!("{name}: {why}"))),
                }
                request.answer(outcome);
            }
            None => {}
        }
    }

    /// Tells which recipes can be chosen, whoever has changed that: a bundle, TEACH, or somebody with a shell.
    fn tell_recipes(&mut self) {
        let changed = self.porter.gate.store.changed();
        if changed == self.told_state {
            return;
        }
        if let Ok(state) = self.porter.gate.store.state() {
            self.told_state = changed;
            self.porter.exchange.set_recipes(stored(&state));
        }
    }

    /// A step of a push.
    pub fn push(&mut self, request: Request, now: Timestamp) {
        let Command::Push(push) = request.command() else {
            return request.answer(Err("not a push".to_owned()));
        };
        let (step, from) = (self.session.step(push, &self.porter.gate, now), request.from());
        self.show_progress();
        match step {
            Step::Answer(outcome) => request.answer(outcome),
            Step::Whole(_) if self.waiting.is_some() => {
                request.answer(Err("another bundle is being installed; push again".to_owned()));
            }
            Step::Whole(delivered) => {
                let super::push::Delivered { name, signature, spool } = *delivered;
                self.tell(News::Working(format!("push: trying {name}")));
                match self.porter.gate.admit(spool, &name, &signature, Origin::Push) {
                    Ok(staged) => {
                        self.waiting = Some(Client::Push(request, name));
                        self.ask_line(staged, from);
                    }
                    Err(refusal) => {
                        let entry = Entry::new("refused", &from.to_string());
                        let entry = entry.about(&name.name, name.version);
                        self.porter.gate.store.record(&entry.noting(&refusal.to_string()));
                        self.tell(News::Bad(format!("{name}: {refusal}")));
                        request.answer(Err(refusal.to_string()));
                    }
                }
            }
        }
    }

    /// Tells of each tenth of a push.
    fn show_progress(&mut self) {
        let Some((name, next, total)) = self.session.progress() else { return };
        let percent = 100 * next / total.max(1) / 10 * 10;
        if self.told_percent != Some(percent) {
            let news = News::Working(format!("push: {name} {percent} %"));
            self.told_percent = Some(percent);
            self.tell(news);
        }
    }

    fn write_result(&mut self, text: &str) {
        let at = match &self.stick {
            State::Done { at } if self.porter.result_file => at.clone(),
            _ => return,
        };
        let Some(drives) = &mut self.porter.drives else { return };
        let text = format!("{}\n{text}\n", crate::store::audit::now());
        let write = |at: &Path| write_plain(at, RESULT_FILE, text.as_bytes());
        if let Err(error) = drives.writing(&at, write) {
            info!("{RESULT_FILE}: {error}");
        }
    }

    fn tell(&mut self, news: News) {
        self.porter.herald.tell(&news);
    }

    /// Asks for the golden test when it is due.
    fn timetable(&mut self) {
        let Some((every, due)) = self.porter.golden_every.zip(self.golden_at) else { return };
        if Instant::now() < due {
            return;
        }
        self.golden_at = Some(Instant::now() + every);
        // Refused as busy means that a recipe is being changed, which has its golden test too.
        let answer = |outcome: Result<String, String>| match outcome {
            Ok(word) => info!("golden test: {word}"),
            Err(why) => warn!("golden test: {why}"),
        };
        let request = Request::new(Command::RecipeVerify, Source::Timetable, answer);
        self.porter.exchange.submit(request);
    }
}
