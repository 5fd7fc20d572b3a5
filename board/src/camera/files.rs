//! A folder of pictures as a camera: for replaying what another camera saw.

use super::{Camera, CameraCounts, CameraError, Frame, SIDE_MAX, SIDE_MIN};
use crate::time::{Clock, MonotonicClock, Timestamp};
use image::ImageReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most pictures of one folder; more would be a mistake in the path.
pub const FILES_MAX: usize = 100_000;
/// Fastest rate.
pub const RATE_MAX: f32 = 1000.0;
/// Endings that are taken for pictures.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];
/// Memory one decoded picture may take: the largest frame in 16-bit RGBA.
const DECODE_MAX: u64 = SIDE_MAX as u64 * SIDE_MAX as u64 * 8;

/// Pictures of a folder in the order of their names, one every so often.
///
/// Picture `i` is exposed at `start + i / rate`; as with a real camera, pictures whose time has passed
/// while nobody looked are superseded by the newest.
#[derive(Debug)]
pub struct FileCamera<C: Clock = MonotonicClock> {
    folder: PathBuf,
    files: Vec<PathBuf>,
    period: Duration,
    repeat: bool,
    clock: C,
    start: Option<Timestamp>,
    next: u64,
    counts: CameraCounts,
}

impl FileCamera<MonotonicClock> {
    /// The pictures of `folder` at `rate` per second, over and over if `repeat`.
    ///
    /// # Errors
    /// No such folder, no picture in it, or a rate out of `0..=`[`RATE_MAX`].
    pub fn open(folder: &Path, rate: f32, repeat: bool) -> Result<FileCamera, CameraError> {
        FileCamera::with_clock(folder, rate, repeat, MonotonicClock)
    }
}

impl<C: Clock> FileCamera<C> {
    /// Like [`FileCamera::open`], on another clock.
    ///
    /// # Errors
    /// As there.
    pub fn with_clock(
        folder: &Path,
        rate: f32,
        repeat: bool,
        clock: C,
    ) -> Result<FileCamera<C>, CameraError> {
        let unusable = |why: String| CameraError::Unusable { path: folder.to_owned(), why };
        if !(rate > 0.0 && rate <= RATE_MAX) {
            return Err(unusable(format!(
                "rate {rate} pictures/s: must be above 0 and at most {RATE_MAX}"
            )));
        }
        let failed = |source| CameraError::Io {
            path: folder.to_owned(),
            doing: "reading the folder",
            source,
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let ending =
                path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
            if ENDINGS.contains(&ending.as_str()) && path.is_file() {
                files.push(path);
            }
            if files.len() > FILES_MAX {
                return Err(unusable(format!(
                    "more than {FILES_MAX} pictures; name a folder with fewer"
                )));
            }
        }
        if files.is_empty() {
            return Err(unusable("no PNG or JPEG picture in this folder".to_owned()));
        }
        files.sort();
        Ok(FileCamera {
            folder: folder.to_owned(),
            files,
            period: Duration::from_secs_f32(1.0 / rate),
            repeat,
            clock,
            start: None,
            next: 0,
            counts: CameraCounts::default(),
        })
    }

    fn exposed_at(&self, start: Timestamp, n: u64) -> Timestamp {
        let nanos = self.period.as_nanos().saturating_mul(u128::from(n));
        start + Duration::from_micros(u64::try_from(nanos / 1000).unwrap_or(u64::MAX))
    }

    fn exists(&self, n: u64) -> bool {
        self.repeat || n < self.files.len() as u64
    }

    /// Number of the last picture exposed at or before `now`.
    fn current(&self, start: Timestamp, now: Timestamp) -> u64 {
        let periods = now.since(start).as_nanos() / self.period.as_nanos().max(1);
        u64::try_from(periods).unwrap_or(u64::MAX)
    }
}

/// Decodes a picture file to RGB within the bounds of a frame.
fn decode(path: &Path) -> Result<(u32, u32, Vec<u8>), CameraError> {
    let bad = |why: String| CameraError::Picture { path: path.to_owned(), why };
    let reader =
        ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(|source| {
            CameraError::Io { path: path.to_owned(), doing: "opening the picture", source }
        })?;
    let mut reader = reader;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODE_MAX);
    reader.limits(limits);
    let picture = reader.decode().map_err(|e| bad(e.to_string()))?.into_rgb8();
    let (width, height) = picture.dimensions();
    if width < SIDE_MIN || height < SIDE_MIN {
        return Err(bad(format!(
            "{width}x{height} pixels; a frame has at least {SIDE_MIN} a side"
        )));
    }
    Ok((width, height, picture.into_raw()))
}

impl<C: Clock> Camera for FileCamera<C> {
    fn describe(&self) -> String {
        format!(
            "{} pictures of {} at {:.1}/s{}",
            self.files.len(),
            self.folder.display(),
            1.0 / self.period.as_secs_f32(),
            if self.repeat { ", over and over" } else { "" }
        )
    }

    fn next_frame(
        &mut self,
        not_before: Timestamp,
        timeout: Duration,
    ) -> Result<Frame, CameraError> {
        let now = self.clock.now();
        // The first look starts the show: opening long before the line runs must not skip pictures.
        let start = *self.start.get_or_insert(now);
        let mut n = self.next.max(self.current(start, now));
        if !self.repeat {
            n = n.min((self.files.len() as u64 - 1).max(self.next));
        }
        if !self.exists(n) {
            return Err(CameraError::Ended);
        }
        if self.exposed_at(start, n) < not_before {
            n = n.max(self.current(start, not_before));
            if self.exposed_at(start, n) < not_before {
                n = n.saturating_add(1);
            }
        }
        let at = self.exposed_at(start, n);
        if !self.exists(n) || at > now + timeout {
            self.clock.sleep_until(now + timeout);
            return Err(CameraError::Timeout { waited: timeout });
        }
        self.clock.sleep_until(at);
        for skipped in self.next..n {
            if self.exposed_at(start, skipped) < not_before {
                self.counts.stale += 1;
            } else {
                self.counts.superseded += 1;
            }
        }
        self.next = n + 1;
        let path = &self.files[(n % self.files.len() as u64) as usize];
        let (width, height, rgb) = decode(path).inspect_err(|_| self.counts.broken += 1)?;
        self.counts.delivered += 1;
        Ok(Frame { width, height, rgb, sequence: n as u32, exposed_at: at })
    }

    fn counts(&self) -> CameraCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::testing::HandClock;

    /// Pictures of one grey each, named so that the folder's own order is not theirs.
    fn folder(greys: &[(&str, u8)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, grey) in greys {
            image::GrayImage::from_pixel(20, 16, image::Luma([*grey]))
                .save(folder.path().join(name))
                .unwrap();
        }
        folder
    }

    fn camera(
        greys: &[(&str, u8)],
        repeat: bool,
    ) -> (FileCamera<HandClock>, HandClock, tempfile::TempDir) {
        let folder = folder(greys);
        let clock = HandClock::default();
        let camera = FileCamera::with_clock(folder.path(), 10.0, repeat, clock.clone()).unwrap();
        (camera, clock, folder)
    }

    const LONG: Duration = Duration::from_secs(5);

    #[test]
    fn pictures_come_by_name_at_their_rate_and_end() {
        let (mut camera, clock, _folder) =
            camera(&[("b.png", 20), ("a.png", 10), ("c.JPG", 30)], false);
        for (i, grey) in [10u8, 20, 30].into_iter().enumerate() {
            let frame = camera.next_frame(Timestamp::ZERO, LONG).unwrap();
            assert_eq!((frame.width, frame.height, frame.sequence), (20, 16, i as u32));
            assert!(frame.rgb.iter().all(|v| v.abs_diff(grey) <= 1));
            assert_eq!(frame.exposed_at, Timestamp(i as i64 * 100_000));
            assert_eq!(clock.now(), frame.exposed_at);
        }
        assert!(matches!(camera.next_frame(Timestamp::ZERO, LONG), Err(CameraError::Ended)));
    }

    #[test]
    fn the_newest_wins_and_nothing_older_than_asked_for_comes() {
        let names = [("a.png", 1), ("b.png", 2), ("c.png", 3), ("d.png", 4)];
        let (mut camera, mut clock, _folder) = camera(&names, true);
        assert_eq!(camera.next_frame(Timestamp::ZERO, LONG).unwrap().sequence, 0);
        clock.sleep_until(Timestamp(250_000));
        assert_eq!(camera.next_frame(Timestamp::ZERO, LONG).unwrap().sequence, 2);
        let frame = camera.next_frame(Timestamp(401_000), LONG).unwrap();
        assert_eq!((frame.sequence, frame.exposed_at), (5, Timestamp(500_000)));
        assert_eq!(frame.rgb[0], 2, "the second round's second picture");
        let counts = camera.counts();
        assert_eq!((counts.delivered, counts.superseded, counts.stale), (3, 1, 2));
    }

    #[test]
    fn a_timeout_is_no_frame() {
        let (mut camera, clock, _folder) = camera(&[("a.png", 1), ("b.png", 2)], false);
        camera.next_frame(Timestamp::ZERO, LONG).unwrap();
        let short = Duration::from_millis(20);
        assert!(matches!(
            camera.next_frame(Timestamp::ZERO, short),
            Err(CameraError::Timeout { .. })
        ));
        assert_eq!(clock.now(), Timestamp(20_000));
        assert_eq!(camera.next_frame(Timestamp::ZERO, LONG).unwrap().sequence, 1);
    }

    #[test]
    fn bad_folders_and_pictures_are_named() {
        let empty = tempfile::tempdir().unwrap();
        let error = FileCamera::open(empty.path(), 5.0, false).unwrap_err().to_string();
        assert!(error.contains("no PNG or JPEG"), "{error}");
        let error = FileCamera::open(&empty.path().join("x"), 5.0, false).unwrap_err().to_string();
        assert!(error.contains("reading the folder"), "{error}");
        let error = FileCamera::open(empty.path(), 0.0, false).unwrap_err().to_string();
        assert!(error.contains("rate 0"), "{error}");
        std::fs::write(empty.path().join("a.png"), b"not a picture").unwrap();
        let mut camera = FileCamera::open(empty.path(), 5.0, false).unwrap();
        let error = camera.next_frame(Timestamp(i64::MIN), LONG).unwrap_err().to_string();
        assert!(error.contains("a.png"), "{error}");
        assert_eq!(camera.counts().broken, 1);
    }
}
