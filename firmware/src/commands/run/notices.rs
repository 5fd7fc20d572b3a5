//! How a recipe that comes in fares, told to everybody: serial lines, screen, lamp and log.

use log::{info, warn};
use touchstone_board::display::Tone;
use touchstone_board::serial::Speaker;

use super::screen::Notice;
use crate::intake::{Herald, News};
use crate::lamp::{Lamp, Signal};

/// Everybody.
pub(super) struct Notices {
    pub(super) speakers: Vec<Speaker>,
    pub(super) screen: Option<Notice>,
    pub(super) lamp: Lamp,
}

impl Herald for Notices {
    fn tell(&mut self, news: &News) {
        let (signal, tone, word, text) = match news {
            News::Working(text) => (Signal::Working, Tone::Good, "working", text.as_str()),
            News::Good(text) => (Signal::Good, Tone::Good, "installed", text.as_str()),
            News::Bad(text) => (Signal::Bad, Tone::Bad, "refused", text.as_str()),
            News::Over => (Signal::Off, Tone::Good, "", ""),
        };
        self.lamp.show(signal);
        if let Some(screen) = &self.screen {
            screen.show((!text.is_empty()).then(|| (tone, text.to_owned())));
        }
        if text.is_empty() {
            return;
        }
        match news {
            News::Bad(_) => warn!("recipe {word}: {text}"),
            News::Working(_) | News::Good(_) | News::Over => info!("recipe {word}: {text}"),
        }
        for speaker in &self.speakers {
            // Too slow a reader loses it, and sees the gap.
            speaker.send(&format!("recipe {word} {text}"));
        }
    }
}
