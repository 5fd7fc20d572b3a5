//! A DRM device's screen by a dumb buffer: memory that the graphics driver scans out, drawn by the CPU.

use super::pack::PixelPacking;
use super::{Canvas, DisplayError, SCREEN_MAX, SCREEN_MIN, Screen};
use drm::Device as _;
use drm::buffer::{Buffer, DrmFourcc};
use drm::control::dumbbuffer::DumbBuffer;
use drm::control::{Device, Mode, ResourceHandles, connector, crtc, framebuffer};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

#[derive(Debug)]
struct Card(File);

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl drm::Device for Card {}
impl Device for Card {}

/// The first connected screen of a DRM device, in the mode it prefers.
#[derive(Debug)]
pub(super) struct DrmScreen {
    path: PathBuf,
    card: Card,
    /// `None` only while it is being given back.
    buffer: Option<DumbBuffer>,
    framebuffer: framebuffer::Handle,
    size: (u32, u32),
}

/// What a picture is shown by.
struct Route {
    connector: connector::Handle,
    crtc: crtc::Handle,
    mode: Mode,
}

/// A connected screen, its preferred mode, and a CRTC that its encoders reach.
fn route(card: &Card, resources: &ResourceHandles) -> io::Result<Option<Route>> {
    for &handle in resources.connectors() {
        let info = card.get_connector(handle, true)?;
        let Some(&mode) = info.modes().first() else { continue };
        if info.state() != connector::State::Connected {
            continue;
        }
        for &encoder in info.encoders() {
            let encoder = card.get_encoder(encoder)?;
            let possible = resources.filter_crtcs(encoder.possible_crtcs());
            // The one it has already spares a flicker.
            if let Some(crtc) = encoder.crtc().or_else(|| possible.first().copied()) {
                return Ok(Some(Route { connector: handle, crtc, mode }));
            }
        }
    }
    Ok(None)
}

impl DrmScreen {
    pub(super) fn open(path: &Path) -> Result<DrmScreen, DisplayError> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let file = opened.map_err(|source| DisplayError::Open { path: path.to_owned(), source })?;
        let unusable = |why: String| DisplayError::Unusable { path: path.to_owned(), why };
        let failed = |doing: &'static str| {
            move |source| DisplayError::Io { path: path.to_owned(), doing, source }
        };
        let card = Card(file);
        let resources = card.resource_handles().map_err(|e| {
            unusable(format!(
                "no DRM device with screens ({e}); ls /dev/dri shows them, correct [display] path"
            ))
        })?;
        let Some(route) = route(&card, &resources).map_err(failed("looking for a screen"))? else {
            return Err(unusable("no screen is connected; check its cable and power".to_owned()));
        };
        let (width, height) = route.mode.size();
        let size = (u32::from(width), u32::from(height));
        if ![size.0, size.1].iter().all(|side| (SCREEN_MIN..=SCREEN_MAX).contains(side)) {
            return Err(unusable(format!(
                "a screen of {width}x{height}; sides from {SCREEN_MIN} to {SCREEN_MAX} can be drawn on"
            )));
        }
        let buffer = card
            .create_dumb_buffer(size, DrmFourcc::Xrgb8888, 32)
            .map_err(failed("making a buffer"))?;
        let framebuffer =
            card.add_framebuffer(&buffer, 24, 32).map_err(failed("making a framebuffer"))?;
        let screen =
            DrmScreen { path: path.to_owned(), card, buffer: Some(buffer), framebuffer, size };
        let set = screen.card.set_crtc(
            route.crtc,
            Some(framebuffer),
            (0, 0),
            &[route.connector],
            Some(route.mode),
        );
        set.map_err(|e| {
            unusable(format!(
                "another program has the screen ({e}); end the desktop (systemctl isolate \
                 multi-user.target)"
            ))
        })?;
        Ok(screen)
    }
}

impl Screen for DrmScreen {
    fn describe(&self) -> String {
        let driver = self.card.get_driver();
        let name = driver.map(|d| d.name().to_string_lossy().into_owned()).unwrap_or_default();
        format!("{} ({name}) {}x{}", self.path.display(), self.size.0, self.size.1)
    }

    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn show(&mut self, canvas: &Canvas) -> Result<(), DisplayError> {
        let failed = |doing: &'static str| {
            let path = self.path.clone();
            move |source| DisplayError::Io { path, doing, source }
        };
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        let pitch = buffer.pitch() as usize;
        let mut map =
            self.card.map_dumb_buffer(buffer).map_err(failed("mapping the screen's memory"))?;
        for (rgb, target) in canvas.rows().zip(map.chunks_exact_mut(pitch)) {
            PixelPacking::XRGB8888.pack_row(rgb, target);
        }
        drop(map);
        // Drivers that copy (USB, virtual machines) have to be told; others do not know the call.
        match self.card.dirty_framebuffer(self.framebuffer, &[]) {
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {
                Err(failed("showing the picture")(e))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for DrmScreen {
    fn drop(&mut self) {
        // A screen that is gone cannot be tidied up, and need not be.
        if let Err(e) = self.card.destroy_framebuffer(self.framebuffer) {
            log::debug!("{}: giving the framebuffer back: {e}", self.path.display());
        }
        if let Some(Err(e)) = self.buffer.take().map(|b| self.card.destroy_dumb_buffer(b)) {
            log::debug!("{}: giving the buffer back: {e}", self.path.display());
        }
    }
}
