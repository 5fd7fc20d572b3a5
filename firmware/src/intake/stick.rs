//! What becomes of a stick: a state machine, pure, with the time as an argument.
//!
//! Plugged in, its bundles are tried, the newest first, until one is taken; then or when none is left the result
//! stays until the stick is pulled. Pulled at any moment, whatever was going on is dropped, except the golden test:
//! by then the bundle is in the store, whole.

use std::path::PathBuf;
use std::time::Duration;

use touchstone_board::Timestamp;
use touchstone_models::bundle::BundleName;

/// How long copying one bundle may take: a stick that trickles is one that does not work.
pub const COPY_MAX: Duration = Duration::from_secs(120);
/// How long the line may take to try a bundle and to switch.
pub const INSTALL_MAX: Duration = Duration::from_secs(600);
/// Most reasons that are told of one stick.
const REASONS_MAX: usize = 3;

/// Where a stick is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// There is none.
    #[default]
    Idle,
    /// Its names are being looked at.
    Looking {
        /// Where it is mounted.
        at: PathBuf,
    },
    /// A bundle is being copied.
    Copying {
        /// The stick and what is left to try.
        trying: Trying,
        /// When that began.
        since: Timestamp,
    },
    /// The copy is being checked.
    Checking {
        /// The stick and what is left to try.
        trying: Trying,
    },
    /// The line tries it and switches.
    Installing {
        /// The stick and what is left to try.
        trying: Trying,
        /// When that began.
        since: Timestamp,
        /// The stick was pulled meanwhile.
        pulled: bool,
    },
    /// All is said; it can be pulled.
    Done {
        /// Where it is mounted.
        at: PathBuf,
    },
}

/// Bundles of a stick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trying {
    /// Where the stick is mounted.
    pub at: PathBuf,
    /// The one that is being tried.
    pub bundle: BundleName,
    /// Those that come after it.
    pub rest: Vec<BundleName>,
    /// Why those before were not taken.
    pub reasons: Vec<String>,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A stick was mounted there.
    Mounted(PathBuf),
    /// What was mounted there is gone.
    Pulled(PathBuf),
    /// Its bundles, the newest first.
    Found(Result<Vec<BundleName>, String>),
    /// Another piece was copied.
    Copied,
    /// The copy is whole.
    CopiedAll,
    /// The copy is in the store.
    Admitted,
    /// It came to nothing: copy, check or golden test.
    Refused(String),
    /// It is active.
    Installed(String),
    /// Time passes.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing, or nothing yet.
    Wait,
    /// Look at the names.
    Look(PathBuf),
    /// Begin to copy.
    Copy(PathBuf, BundleName),
    /// Copy another piece.
    GoOn,
    /// Check the copy.
    Check(BundleName),
    /// Let the line try it.
    Install(BundleName),
    /// It is active: say so.
    Succeed(String),
    /// None was taken: say why.
    Fail(String),
    /// Drop whatever was going on.
    Abandon,
}

/// The next state, and what is to be done.
pub fn step(state: State, event: Event, now: Timestamp) -> (State, Action) {
    match (state, event) {
        (State::Idle, Event::Mounted(at)) => (State::Looking { at: at.clone() }, Action::Look(at)),

        (State::Looking { at }, Event::Found(Ok(mut found))) => {
            if found.is_empty() {
                let why = "there is no bundle on the stick (NAME-VERSION.touchstone at its top)";
                return (State::Done { at }, Action::Fail(why.to_owned()));
            }
            let bundle = found.remove(0);
            try_next(Trying { at, bundle, rest: found, reasons: Vec::new() }, now)
        }
        (State::Looking { at }, Event::Found(Err(why))) => {
            (State::Done { at }, Action::Fail(format!("the stick cannot be read: {why}")))
        }

        (State::Copying { trying, since }, Event::Copied | Event::Tick) => {
            if now.since(since) > COPY_MAX {
                let why = format!("copying took longer than {} s", COPY_MAX.as_secs());
                return fail_one(trying, &why, now);
            }
            (State::Copying { trying, since }, Action::GoOn)
        }
        (State::Copying { trying, .. }, Event::CopiedAll) => {
            let bundle = trying.bundle.clone();
            (State::Checking { trying }, Action::Check(bundle))
        }
        (State::Checking { trying }, Event::Admitted) => {
            let bundle = trying.bundle.clone();
            (State::Installing { trying, since: now, pulled: false }, Action::Install(bundle))
        }
        (State::Copying { trying, .. } | State::Checking { trying }, Event::Refused(why)) => {
            fail_one(trying, &why, now)
        }

        (State::Installing { pulled: true, .. }, Event::Installed(word)) => {
            (State::Idle, Action::Succeed(word))
        }
        (State::Installing { trying, .. }, Event::Installed(word)) => {
            (State::Done { at: trying.at }, Action::Succeed(word))
        }
        (State::Installing { trying, pulled: true, .. }, Event::Refused(why)) => {
            (State::Idle, Action::Fail(format!("{}: {why}", trying.bundle)))
        }
        (State::Installing { trying, .. }, Event::Refused(why)) => fail_one(trying, &why, now),
        (State::Installing { trying, since, pulled }, Event::Tick) => {
            if now.since(since) <= INSTALL_MAX {
                return (State::Installing { trying, since, pulled }, Action::Wait);
            }
            let why = format!("{}: the line did not answer", trying.bundle);
            let next = if pulled { State::Idle } else { State::Done { at: trying.at } };
            (next, Action::Fail(why))
        }

        // Pulled. Once the bundle is in the store, the stick is not needed any more.
        (State::Installing { trying, since, pulled }, Event::Pulled(at)) => {
            let pulled = pulled || at == trying.at;
            (State::Installing { trying, since, pulled }, Action::Wait)
        }
        (State::Looking { at }, Event::Pulled(gone)) if at == gone => {
            (State::Idle, Action::Abandon)
        }
        (State::Copying { trying, .. } | State::Checking { trying }, Event::Pulled(gone))
            if trying.at == gone =>
        {
            (State::Idle, Action::Abandon)
        }
        (State::Done { at }, Event::Pulled(gone)) if at == gone => (State::Idle, Action::Abandon),

        // Answers to what was dropped, a second stick while one is being read, and the mere passing of time.
        (state, Event::Mounted(_) | Event::Pulled(_) | Event::Tick) => (state, Action::Wait),
        (
            state @ (State::Idle | State::Looking { .. } | State::Done { .. }),
            Event::Copied
            | Event::CopiedAll
            | Event::Admitted
            | Event::Refused(_)
            | Event::Installed(_),
        ) => (state, Action::Wait),
        (
            state @ (State::Idle
            | State::Copying { .. }
            | State::Checking { .. }
            | State::Installing { .. }
            | State::Done { .. }),
            Event::Found(_),
        ) => (state, Action::Wait),
        (state @ State::Copying { .. }, Event::Admitted | Event::Installed(_)) => {
            (state, Action::Wait)
        }
        (
            state @ State::Checking { .. },
            Event::Copied | Event::CopiedAll | Event::Installed(_),
        ) => (state, Action::Wait),
        (state @ State::Installing { .. }, Event::Copied | Event::CopiedAll | Event::Admitted) => {
            (state, Action::Wait)
        }
    }
}

fn try_next(trying: Trying, now: Timestamp) -> (State, Action) {
    let action = Action::Copy(trying.at.clone(), trying.bundle.clone());
    (State::Copying { trying, since: now }, action)
}

fn fail_one(mut trying: Trying, why: &str, now: Timestamp) -> (State, Action) {
    if trying.reasons.len() < REASONS_MAX {
        trying.reasons.push(format!("{}: {why}", trying.bundle));
    }
    if trying.rest.is_empty() {
        return (State::Done { at: trying.at }, Action::Fail(trying.reasons.join("; ")));
    }
    trying.bundle = trying.rest.remove(0);
    try_next(trying, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp(ms * 1000)
    }

    fn stick() -> PathBuf {
        "/media/sda1".into()
    }

    fn bundle(version: u32) -> BundleName {
        BundleName { name: "cap".to_owned(), version }
    }

    /// Feeds events and gives the last action.
    fn play(events: &[Event]) -> (State, Action) {
        events.iter().fold((State::Idle, Action::Wait), |(state, _), event| {
            step(state, event.clone(), at(0))
        })
    }

    fn found(versions: &[u32]) -> [Event; 2] {
        let found = versions.iter().map(|v| bundle(*v)).collect();
        [Event::Mounted(stick()), Event::Found(Ok(found))]
    }

    #[test]
    fn the_newest_that_verifies_is_taken() {
        let refused = || Event::Refused("wrong key".to_owned());
        let mut events = found(&[9, 8, 7]).to_vec();
        assert_eq!(play(&events).1, Action::Copy(stick(), bundle(9)));
        events.push(Event::Copied);
        assert_eq!(play(&events).1, Action::GoOn);
        events.push(Event::CopiedAll);
        assert_eq!(play(&events).1, Action::Check(bundle(9)));
        events.push(refused());
        assert_eq!(play(&events).1, Action::Copy(stick(), bundle(8)));
        events.extend([Event::CopiedAll, Event::Admitted]);
        assert_eq!(play(&events).1, Action::Install(bundle(8)));
        let golden = Event::Refused("golden test failed".to_owned());
        events.extend([golden, Event::CopiedAll, Event::Admitted]);
        assert_eq!(play(&events).1, Action::Install(bundle(7)));
        events.push(Event::Installed("cap 7 is active".to_owned()));
        let (state, action) = play(&events);
        assert_eq!(action, Action::Succeed("cap 7 is active".to_owned()));
        assert_eq!(state, State::Done { at: stick() });
        events.push(Event::Pulled(stick()));
        assert_eq!(play(&events), (State::Idle, Action::Abandon));
    }

    #[test]
    fn all_reasons_are_told_when_none_is_taken() {
        let mut events = found(&[2, 1]).to_vec();
        events.extend(["a", "b"].map(|why| Event::Refused(why.to_owned())));
        let (state, action) = play(&events);
        assert_eq!(state, State::Done { at: stick() });
        assert_eq!(action, Action::Fail("cap-2.touchstone: a; cap-1.touchstone: b".to_owned()));
        assert!(matches!(play(&found(&[])).1, Action::Fail(_)));
        let unreadable = [Event::Mounted(stick()), Event::Found(Err("I/O error".to_owned()))];
        assert!(matches!(play(&unreadable).1, Action::Fail(_)));
    }

    #[test]
    fn pulled_at_any_moment_it_is_dropped_or_finished_from_the_store() {
        let way =
            [found(&[1]).to_vec(), vec![Event::Copied, Event::CopiedAll, Event::Admitted]].concat();
        for cut in 1..=way.len() {
            let mut events = way[..cut].to_vec();
            let before = play(&events).0;
            events.push(Event::Pulled(stick()));
            let (state, action) = play(&events);
            match before {
                State::Installing { .. } => {
                    assert!(matches!(state, State::Installing { pulled: true, .. }));
                    events.push(Event::Installed("cap 1 is active".to_owned()));
                    assert!(matches!(play(&events), (State::Idle, Action::Succeed(_))));
                }
                _ => assert_eq!((state, action), (State::Idle, Action::Abandon), "cut {cut}"),
            }
        }
        let other = Event::Pulled("/media/sdb1".into());
        let events = [found(&[1]).to_vec(), vec![other]].concat();
        assert!(matches!(play(&events), (State::Copying { .. }, Action::Wait)));
    }

    #[test]
    fn a_stick_that_trickles_and_a_line_that_is_silent_are_given_up() {
        let (state, _) = play(&found(&[1]));
        let late = Timestamp(COPY_MAX.as_micros() as i64 + 1);
        let (state, action) = step(state, Event::Copied, late);
        assert!(
            matches!((&state, &action), (State::Done { .. }, Action::Fail(why)) if why.contains("120 s"))
        );
        let events = [found(&[1]).to_vec(), vec![Event::CopiedAll, Event::Admitted]].concat();
        let (state, _) = play(&events);
        let late = Timestamp(INSTALL_MAX.as_micros() as i64 + 1);
        assert!(matches!(step(state, Event::Tick, late), (State::Done { .. }, Action::Fail(_))));
    }

    proptest! {
        /// Whatever comes in whatever order: nothing is installed that was not checked, and a pulled stick leaves
        /// nothing behind but an installation that is under way.
        #[test]
        fn any_order_of_events_is_survived(picks in prop::collection::vec((0u8..9, 0i64..30_000), 0..80)) {
            let (mut state, mut now) = (State::Idle, 0);
            let mut checked = false;
            for (pick, wait) in picks {
                now += wait;
                let event = match pick {
                    0 => Event::Mounted(stick()),
                    1 => Event::Pulled(stick()),
                    2 => Event::Found(Ok(vec![bundle(2), bundle(1)])),
                    3 => Event::Copied,
                    4 => Event::CopiedAll,
                    5 => Event::Admitted,
                    6 => Event::Refused("x".to_owned()),
                    7 => Event::Installed("y".to_owned()),
                    _ => Event::Tick,
                };
                let pulled = matches!(event, Event::Pulled(_));
                let (next, action) = step(state, event, at(now));
                match &action {
                    Action::Check(_) => checked = true,
                    Action::Install(_) => prop_assert!(std::mem::take(&mut checked)),
                    _ => {}
                }
                if pulled {
                    let installing = matches!(&next, State::Installing { pulled: true, .. });
                    prop_assert!(next == State::Idle || installing, "{next:?}");
                }
                state = next;
            }
        }
    }
}
