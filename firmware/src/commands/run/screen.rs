//! The operator's screen: a test card at the start, then the last part and the
//! status line.
//!
//! Optional at run time. Its own thread draws; what it has not drawn yet is
//! replaced by what is newer, and a screen that fails is left alone.

use std::sync::{Arc, Condvar, Mutex, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::Point;
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use log::{info, warn};
use touchstone_board::config::DisplayConfig;
use touchstone_board::display::{
    Counts, Display, LineState, Status, Tone, draw_status, draw_test_card, status_height,
};
use touchstone_models::inspector::Inspection;
use touchstone_models::picture::Picture;

use crate::commands::inspect::headline;
use crate::inspection::Activated;
use crate::overlay::{Exhibit, side_by_side};
use crate::station::{Condition, Published};

/// Pictures are handed over at most this often: nobody sees more, and each
/// costs a copy.
const PICTURE_EVERY: Duration = Duration::from_millis(200);

/// A part to be shown.
struct Part {
    frame: Picture,
    inspection: Inspection,
    details: String,
}

/// What the screen has to show.
#[derive(Default)]
struct Scene {
    condition: Condition,
    recipe: String,
    notice: Option<(Tone, String)>,
    last: Option<(Tone, String)>,
    good: Option<Picture>,
    part: Option<Part>,
    changed: bool,
    quit: bool,
}

type Shared = Arc<(Mutex<Scene>, Condvar)>;

/// Where somebody else than the line has something to show.
pub(super) struct Notice(Shared);

impl Notice {
    /// Shows it in the place of the recipe's name, until there is another one or none.
    pub(super) fn show(&self, notice: Option<(Tone, String)>) {
        let mut scene = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        scene.notice = notice;
        scene.changed = true;
        drop(scene);
        self.0.1.notify_one();
    }
}

/// The screen and its thread.
pub(super) struct Screen {
    shared: Shared,
    thread: Option<JoinHandle<()>>,
    pictured: Option<Instant>,
}

impl Screen {
    /// Starts the thread; what does not work is logged there.
    pub(super) fn start(config: &DisplayConfig, board: &str) -> Option<Self> {
        let shared: Shared = Arc::default();
        let (config, board, scene) = (config.clone(), board.to_owned(), Arc::clone(&shared));
        let thread = thread::Builder::new().name("screen".to_owned());
        match thread.spawn(move || show_all(&config, &board, &scene)) {
            Ok(thread) => Some(Self { shared, thread: Some(thread), pictured: None }),
            Err(e) => {
                warn!("screen: no thread for it: {e}; the line runs without it");
                None
            }
        }
    }

    /// Changes what is to be shown. Never waits: false where the screen's thread
    /// is reading it just now.
    fn change(&self, change: impl FnOnce(&mut Scene)) -> bool {
        let mut scene = match self.shared.0.try_lock() {
            Ok(scene) => scene,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        change(&mut scene);
        scene.changed = true;
        self.shared.1.notify_one();
        true
    }

    /// For whoever else has something to show.
    pub(super) fn notice(&self) -> Notice {
        Notice(Arc::clone(&self.shared))
    }

    pub(super) fn condition(&self, condition: &Condition) -> bool {
        self.change(|scene| scene.condition = *condition)
    }

    pub(super) fn activated(&self, active: &Activated) {
        let (recipe, good) = (active.recipe.clone(), active.good.clone());
        self.change(|scene| (scene.recipe, scene.good) = (recipe, good));
    }

    /// Shows a part; one that comes too soon after another is only counted.
    pub(super) fn part(&mut self, part: &Published<'_>) {
        let words = match part.outcome {
            crate::line::Outcome::Pass => (Tone::Good, "PASS".to_owned()),
            crate::line::Outcome::Reject(why) => (Tone::Bad, format!("REJECT {}", why.name())),
        };
        let due = self.pictured.is_none_or(|at| at.elapsed() >= PICTURE_EVERY);
        let shown = part.slot.filter(|_| due).and_then(|slot| {
            let (frame, inspection) = (slot.frame.clone()?, slot.inspection.clone()?);
            let details = format!("part {}   score {:.2}", part.part, inspection.score);
            Some(Part { frame, inspection, details })
        });
        if shown.is_some() {
            self.pictured = Some(Instant::now());
        }
        self.change(|scene| {
            scene.last = Some(words);
            if shown.is_some() {
                scene.part = shown;
            }
        });
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).quit = true;
        self.shared.1.notify_one();
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            warn!("screen: its thread panicked");
        }
    }
}

fn show_all(config: &DisplayConfig, board: &str, shared: &Shared) {
    let mut display = match Display::open(config) {
        Ok(display) => display,
        Err(error) => return warn!("screen: {error}; the line runs without it"),
    };
    info!("screen: {}", display.describe());
    let Ok(()) = draw_test_card(&mut display, board);
    let mut outcome = display.flush();
    while outcome.is_ok() {
        let mut scene = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !scene.changed && !scene.quit {
            scene = shared.1.wait(scene).unwrap_or_else(PoisonError::into_inner);
        }
        if scene.quit {
            return;
        }
        scene.changed = false;
        let now = Scene {
            condition: scene.condition,
            recipe: scene.recipe.clone(),
            notice: scene.notice.clone(),
            last: scene.last.clone(),
            good: scene.good.clone(),
            part: scene.part.take(),
            ..Scene::default()
        };
        // The line must find it open.
        drop(scene);
        draw(&mut display, &now);
        outcome = display.flush();
    }
    if let Err(error) = outcome {
        warn!("screen: {error}; the line goes on without it");
    }
}

fn draw(display: &mut Display, scene: &Scene) {
    let (width, height) = {
        use embedded_graphics::geometry::OriginDimensions;
        let size = display.size();
        (size.width, size.height)
    };
    if let (Some(part), Some(good)) = (&scene.part, &scene.good) {
        let Ok(()) = display.clear(Rgb888::BLACK);
        let exhibit = Exhibit {
            prompt: good,
            query: &part.frame,
            pass: part.inspection.decision.is_pass(),
            wrong: false,
            headline: &headline(&part.inspection.decision),
            details: &part.details,
            map: part.inspection.map.as_ref(),
            area: part.inspection.area,
            regions: &part.inspection.regions,
            truth: None,
        };
        let room = height - status_height(height).min(height);
        if let Some(drawn) = side_by_side(&exhibit).filter(|_| room > 0) {
            let scale = (f64::from(width) / f64::from(drawn.width()))
                .min(f64::from(room) / f64::from(drawn.height()));
            let fit = |side: u32| ((f64::from(side) * scale) as u32).max(1);
            let fitted = drawn.resize(fit(drawn.width()), fit(drawn.height()));
            let left = (width.saturating_sub(fitted.width()) / 2) as i32;
            display.canvas().picture(Point::new(left, 0), fitted.width(), fitted.rgb(), 1);
        }
    }
    let Condition { ready, trouble, changing, counters, .. } = scene.condition;
    let trouble = trouble.map(|t| t.to_string());
    let (state, why) = match &trouble {
        Some(why) => (LineState::Error, why.as_str()),
        None if ready => (LineState::Ready, ""),
        None if changing => (LineState::Busy, "another recipe is being loaded"),
        None => (LineState::Busy, "not ready: interlock open, or starting"),
    };
    let last = scene.last.as_ref().map(|(tone, words)| (*tone, words.as_str()));
    let recipe = scene.notice.as_ref().map_or(scene.recipe.as_str(), |(_, words)| words);
    let counts =
        Counts { parts: counters.parts, passed: counters.passed, rejected: counters.rejected };
    let status = Status { state, why, recipe, counts, last };
    let Ok(()) = draw_status(display, &status);
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchstone_board::config::DisplayKind;

    #[test]
    fn the_status_replaces_the_test_cards_lower_edge() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("screen.png");
        let config = DisplayConfig { kind: DisplayKind::Png, path: path.clone(), size: (640, 360) };
        let screen = Screen::start(&config, "bench").unwrap();
        let ready = Condition { ready: true, ..Condition::default() };
        while !screen.condition(&ready) {
            thread::yield_now();
        }
        // A green READY block, as soon as the thread has come to it.
        let green = |image: &image::RgbImage| image.pixels().any(|p| p.0 == [0, 122, 62]);
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < Duration::from_secs(60), "never drawn");
            if image::open(&path).is_ok_and(|shown| green(&shown.into_rgb8())) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_dead_screen_takes_everything_and_shows_nothing() {
        let config = DisplayConfig {
            kind: DisplayKind::Framebuffer,
            path: "/dev/fb4711".into(),
            size: (64, 64),
        };
        let screen = Screen::start(&config, "bench").unwrap();
        while !screen.condition(&Condition::default()) {
            thread::yield_now();
        }
    }
}
