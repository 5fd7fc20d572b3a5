//! A PNG file as a screen: for machines without one, and for tests.

use super::{Canvas, DisplayError, SCREEN_MAX, SCREEN_MIN, Screen};
use embedded_graphics::geometry::OriginDimensions;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use std::io;
use std::path::PathBuf;

/// Writes each picture over the one before; whoever reads the file sees the old one or the new one.
#[derive(Clone, Debug)]
pub struct PngScreen {
    path: PathBuf,
    size: (u32, u32),
}

impl PngScreen {
    /// A file of that size; sides are brought into [`SCREEN_MIN`]`..=`[`SCREEN_MAX`].
    pub fn new(path: PathBuf, (width, height): (u32, u32)) -> PngScreen {
        let side = |side: u32| side.clamp(SCREEN_MIN, SCREEN_MAX);
        PngScreen { path, size: (side(width), side(height)) }
    }
}

impl Screen for PngScreen {
    fn describe(&self) -> String {
        format!("{} {}x{}", self.path.display(), self.size.0, self.size.1)
    }

    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn show(&mut self, canvas: &Canvas) -> Result<(), DisplayError> {
        let failed = |source| DisplayError::Io {
            path: self.path.clone(),
            doing: "writing the picture",
            source,
        };
        let mut bytes = Vec::new();
        let size = canvas.size();
        PngEncoder::new(&mut bytes)
            .write_image(canvas.rgb(), size.width, size.height, ExtendedColorType::Rgb8)
            .map_err(|e| failed(io::Error::other(e.to_string())))?;
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        std::fs::write(&name, bytes).map_err(failed)?;
        std::fs::rename(&name, &self.path).map_err(failed)
    }
}
