//! The operator's screen: drawn with `embedded-graphics`, shown by a framebuffer, a DRM dumb buffer or a
//! PNG file.
//!
//! Drawing goes into a picture in memory ([`Canvas`]) and reaches the screen as a whole with
//! [`Display::flush`], so nobody sees half a picture. A screen that dies costs the picture and nothing
//! else: its error is the caller's to count, the line does not depend on it.

mod canvas;
#[cfg(all(target_os = "linux", feature = "display-drm"))]
mod drm;
#[cfg(target_os = "linux")]
mod framebuffer;
mod pack;
mod png;
mod status;
mod test_card;
mod text;

pub use canvas::Canvas;
pub use pack::{Channel, PixelPacking};
pub use png::PngScreen;
pub use status::{Counts, LineState, Status, Tone, draw_status, status_height};
pub use test_card::draw_test_card;
pub use text::{draw_text, text_width};

use crate::config::{DisplayConfig, DisplayKind};
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Smallest side of a screen.
pub const SCREEN_MIN: u32 = 64;
/// Largest side of a screen.
pub const SCREEN_MAX: u32 = 8192;

/// Something that shows pictures.
pub trait Screen: Send {
    /// For people: what it is, where, how large.
    fn describe(&self) -> String;

    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Shows a picture of that size.
    ///
    /// # Errors
    /// The screen is gone, or the file cannot be written.
    fn show(&mut self, canvas: &Canvas) -> Result<(), DisplayError>;
}

/// Why there is no picture.
#[derive(Debug)]
pub enum DisplayError {
    /// The device cannot be opened.
    Open {
        /// The device.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// It is there and cannot be used.
    Unusable {
        /// The device.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// It was there and does not take the picture.
    Io {
        /// The device or file.
        path: PathBuf,
        /// The step that failed.
        doing: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl fmt::Display for DisplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DisplayError::Open { path, source } => {
                let remedy = match source.kind() {
                    io::ErrorKind::NotFound => {
                        "no such screen; correct [display] path, or remove [display]"
                    }
                    io::ErrorKind::PermissionDenied => "add the user to the group \"video\"",
                    _ => "correct [display] in the board file",
                };
                write!(f, "{}: {source}; {remedy}", path.display())
            }
            DisplayError::Unusable { path, why } => write!(f, "{}: {why}", path.display()),
            DisplayError::Io { path, doing, source } => {
                write!(f, "{}: {doing}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for DisplayError {}

/// A canvas and the screen that shows it.
pub struct Display {
    canvas: Canvas,
    screen: Box<dyn Screen>,
}

impl fmt::Debug for Display {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Display").field(&self.describe()).finish()
    }
}

impl Display {
    /// Opens the screen of a board file.
    ///
    /// # Errors
    /// It is not there, or of a kind that cannot be drawn on.
    #[cfg(target_os = "linux")]
    pub fn open(config: &DisplayConfig) -> Result<Display, DisplayError> {
        let screen: Box<dyn Screen> = match config.kind {
            DisplayKind::Png => Box::new(PngScreen::new(config.path.clone(), config.size)),
            DisplayKind::Framebuffer => Box::new(framebuffer::Framebuffer::open(&config.path)?),
            #[cfg(feature = "display-drm")]
            DisplayKind::Drm => Box::new(drm::DrmScreen::open(&config.path)?),
            #[cfg(not(feature = "display-drm"))]
            DisplayKind::Drm => {
                let why = "this build has no DRM screens; build with the feature display-drm";
                return Err(DisplayError::Unusable {
                    path: config.path.clone(),
                    why: why.to_owned(),
                });
            }
        };
        Ok(Display::on(screen))
    }

    /// On any screen.
    pub fn on(screen: Box<dyn Screen>) -> Display {
        let (width, height) = screen.size();
        Display { canvas: Canvas::new(width, height), screen }
    }

    /// For people: what it is, where, how large.
    pub fn describe(&self) -> String {
        self.screen.describe()
    }

    /// Shows what was drawn.
    ///
    /// # Errors
    /// The screen is gone, or the file cannot be written.
    pub fn flush(&mut self) -> Result<(), DisplayError> {
        self.screen.show(&self.canvas)
    }

    /// The picture in memory.
    pub fn canvas(&mut self) -> &mut Canvas {
        &mut self.canvas
    }
}

impl OriginDimensions for Display {
    fn size(&self) -> Size {
        self.canvas.size()
    }
}

impl DrawTarget for Display {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        self.canvas.draw_iter(pixels)
    }

    fn fill_solid(&mut self, area: &Rectangle, colour: Rgb888) -> Result<(), Infallible> {
        self.canvas.fill_solid(area, colour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_graphics::prelude::RgbColor;

    #[test]
    fn a_png_display_shows_what_was_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("screen.png");
        let config = DisplayConfig { kind: DisplayKind::Png, path: path.clone(), size: (80, 64) };
        let mut display = Display::open(&config).unwrap();
        assert!(display.describe().contains("screen.png 80x64"));
        display.clear(Rgb888::BLUE).unwrap();
        display.flush().unwrap();
        let shown = image::open(&path).unwrap().into_rgb8();
        assert_eq!(shown.dimensions(), (80, 64));
        assert!(shown.pixels().all(|pixel| pixel.0 == [0, 0, 255]));
    }

    #[test]
    fn what_is_no_screen_says_so() {
        let open = |kind, path: &str| {
            let config = DisplayConfig { kind, path: path.into(), size: (64, 64) };
            Display::open(&config).unwrap_err().to_string()
        };
        let error = open(DisplayKind::Framebuffer, "/dev/fb4711");
        assert!(
            error.contains("/dev/fb4711") && error.contains("correct [display] path"),
            "{error}"
        );
        let error = open(DisplayKind::Framebuffer, "/dev/null");
        assert!(error.contains("/dev/null: not a framebuffer"), "{error}");
        let error = open(DisplayKind::Drm, "/dev/null");
        assert!(error.contains("/dev/null"), "{error}");
        let denied = DisplayError::Open {
            path: "/dev/fb0".into(),
            source: io::Error::from_raw_os_error(13),
        };
        assert!(denied.to_string().contains("group \"video\""));
        let mut lost =
            Display::on(Box::new(PngScreen::new("/no/such/folder/a.png".into(), (64, 64))));
        assert!(lost.flush().unwrap_err().to_string().contains("writing the picture"));
    }
}
