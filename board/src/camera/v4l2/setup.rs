//! From a board file to a camera that is set up: the right one, in the right mode, with its controls.

use super::choice::{Offer, RATE_UNASKED_MAX, Wish, choose, reaches};
use super::controls;
use super::door::{Device, Identity, Mode};
use super::{cameras, usb};
use crate::camera::pixels::{Layout, PixelFormat};
use crate::camera::{CameraError, SIDE_MAX, SIDE_MIN};
use crate::config::V4l2Config;
use rustix::io::Errno;
use std::io;
use std::path::Path;
use v4l::v4l_sys as sys;

/// `V4L2_FIELD_NONE` and the driver's way of not saying: whole frames, no half pictures.
const PROGRESSIVE: [u32; 2] = [0, 1];

/// A device that is ready to capture.
pub(super) struct Prepared {
    pub(super) device: Device,
    pub(super) identity: Identity,
    pub(super) serial: Option<String>,
    pub(super) layout: Layout,
    /// Frames per second, where the driver says.
    pub(super) rate: Option<f32>,
}

pub(super) fn letters(fourcc: u32) -> String {
    fourcc
        .to_le_bytes()
        .iter()
        .map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '?' })
        .collect()
}

pub(super) fn prepare(config: &V4l2Config) -> Result<Prepared, CameraError> {
    let path = &config.path;
    let device = Device::open(path).map_err(|source| not_opened(path, source))?;
    let identity = device.identity().map_err(|e| no_step(path, "asking what it is", e))?;
    let serial = usb::serial(path);
    the_right_one(config, &identity, serial.as_deref())?;
    let needs = sys::V4L2_CAP_VIDEO_CAPTURE | sys::V4L2_CAP_STREAMING;
    if identity.capabilities & needs != needs {
        return Err(unusable(path, cannot(&identity)));
    }
    let wish =
        Wish { format: config.format, size: config.width.zip(config.height), rate: config.rate };
    let offer = pick(&device, &wish).map_err(|why| unusable(path, why))?;
    let layout = set_mode(config, &device, &offer)?;
    let rate = set_rate(config, &device, &offer)?;
    set_controls(config, &device)?;
    Ok(Prepared { device, identity, serial, layout, rate })
}

fn unusable(path: &Path, why: String) -> CameraError {
    CameraError::Unusable { path: path.to_owned(), why }
}

/// Refuses a camera that is not the one the board file names.
fn the_right_one(
    config: &V4l2Config,
    identity: &Identity,
    serial: Option<&str>,
) -> Result<(), CameraError> {
    if let Some(wanted) = config.bus.as_ref().filter(|wanted| **wanted != identity.bus) {
        return Err(CameraError::WrongBus {
            path: config.path.clone(),
            wanted: wanted.clone(),
            found: identity.bus.clone(),
        });
    }
    match &config.serial {
        Some(wanted) if serial != Some(wanted) => Err(CameraError::WrongCamera {
            path: config.path.clone(),
            what: "serial number",
            wanted: wanted.clone(),
            found: serial.unwrap_or("none").to_owned(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// The mode to ask for. A driver that lists no sizes is asked for what the board file names, unseen.
fn pick(device: &Device, wish: &Wish) -> Result<Offer, String> {
    let mut offers = device.offers(wish.size);
    // Frames that no part of this program takes.
    offers.retain(|o| [o.width, o.height].iter().all(|side| (SIDE_MIN..=SIDE_MAX).contains(side)));
    if let (true, Some(format), Some((width, height))) = (offers.is_empty(), wish.format, wish.size)
    {
        return Ok(Offer { format, width, height, rate: None });
    }
    choose(&offers, wish).map_err(|e| e.to_string())
}

fn set_mode(config: &V4l2Config, device: &Device, offer: &Offer) -> Result<Layout, CameraError> {
    let path = &config.path;
    let doing = "setting format and size (is another program using it?)";
    let mode = device
        .set_mode(offer.width, offer.height, offer.format.fourcc())
        .map_err(|e| no_step(path, doing, e))?;
    let offered = || device.formats().into_iter().map(letters).collect::<Vec<_>>().join(", ");
    layout(offer, &mode, offered).map_err(|why| unusable(path, why))
}

/// The buffers' layout, where the driver took the mode that it was asked for.
fn layout(offer: &Offer, mode: &Mode, offered: impl Fn() -> String) -> Result<Layout, String> {
    let as_wanted = (mode.width, mode.height, mode.fourcc)
        == (offer.width, offer.height, offer.format.fourcc());
    if !as_wanted || !PROGRESSIVE.contains(&mode.field) {
        return Err(format!(
            "{}x{} {} cannot be had: the camera makes it {}x{} {} (field {}); it offers {}. Correct \
             [camera] width, height and format in the board file",
            offer.width,
            offer.height,
            offer.format,
            mode.width,
            mode.height,
            letters(mode.fourcc),
            mode.field,
            offered()
        ));
    }
    let stride = if offer.format == PixelFormat::Mjpeg { 0 } else { mode.stride };
    Ok(Layout { format: offer.format, width: mode.width, height: mode.height, stride })
}

fn set_rate(
    config: &V4l2Config,
    device: &Device,
    offer: &Offer,
) -> Result<Option<f32>, CameraError> {
    let path = &config.path;
    let Some(wanted) = config.rate else {
        // Nobody asked: the camera's fastest within reason, and no error where it will not.
        let Some(fastest) = offer.rate else { return Ok(None) };
        return Ok(device.set_rate(fastest.min(RATE_UNASKED_MAX)).unwrap_or_else(|e| {
            log::debug!("{}: setting the rate: {e}", path.display());
            None
        }));
    };
    let made = device.set_rate(wanted).map_err(|e| no_step(path, "setting the rate", e))?;
    rate(wanted, made, offer).map(Some).map_err(|why| unusable(path, why))
}

/// The rate, where the driver took the one that it was asked for.
fn rate(wanted: f32, made: Option<f32>, offer: &Offer) -> Result<f32, String> {
    let Some(made) = made else {
        return Err("its driver sets no rate; remove [camera] rate".to_owned());
    };
    if reaches(made, wanted) && reaches(wanted, made) {
        return Ok(made);
    }
    let most = offer.rate.map_or_else(String::new, |rate| format!(", at most {rate:.3}/s"));
    Err(format!(
        "[camera] rate {wanted} cannot be had at {}x{} {}: the camera makes it {made:.3}/s{most}; set that",
        offer.width, offer.height, offer.format
    ))
}

fn set_controls(config: &V4l2Config, device: &Device) -> Result<(), CameraError> {
    if config.controls.is_empty() {
        return Ok(());
    }
    let path = &config.path;
    let settings = controls::plan(&config.controls, &device.controls());
    for setting in settings.map_err(|e| unusable(path, e.to_string()))? {
        let set = device.set_control(setting.id, setting.value);
        let value = set.map_err(|e| match e.raw_os_error() {
            // The device is gone, not unwilling.
            code if code == Some(Errno::NODEV.raw_os_error()) => no_step(path, "", e),
            _ => unusable(path, format!("[camera.controls] {}: {e}", setting.key)),
        })?;
        if value != setting.value {
            let why = format!(
                "[camera.controls] {}: the driver makes it {value} instead of {} (its own numbers); set \
                 what it takes",
                setting.key, setting.value
            );
            return Err(unusable(path, why));
        }
    }
    Ok(())
}

fn cannot(identity: &Identity) -> String {
    if identity.capabilities & sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE != 0 {
        "only multi-planar capture (a sensor's raw node), which this build does not do; use the node behind \
         the image processor, or a USB camera"
            .to_owned()
    } else {
        format!(
            "{} ({}) is no capture device; cameras have a second node for metadata",
            identity.card, identity.driver
        )
    }
}

fn not_opened(path: &Path, source: io::Error) -> CameraError {
    match source.kind() {
        io::ErrorKind::NotFound => {
            let here = cameras();
            let describe =
                |c: super::CameraInfo| format!("{} ({}, {})", c.path.display(), c.name, c.bus);
            CameraError::NotFound {
                path: path.to_owned(),
                here: here.into_iter().map(describe).collect(),
            }
        }
        io::ErrorKind::PermissionDenied => {
            unusable(path, "permission denied; add the user to the group \"video\"".to_owned())
        }
        _ => no_step(path, "opening the camera", source),
    }
}

pub(super) fn no_step(path: &Path, doing: &'static str, source: io::Error) -> CameraError {
    let is = |errno: Errno| source.raw_os_error() == Some(errno.raw_os_error());
    if is(Errno::NODEV) || is(Errno::NXIO) {
        return CameraError::Lost { path: path.to_owned() };
    }
    if is(Errno::NOTTY) {
        return unusable(path, "not a camera: the device does not answer V4L2 calls".to_owned());
    }
    if is(Errno::BUSY) {
        return unusable(path, "in use by another program; end it (fuser -v names it)".to_owned());
    }
    CameraError::Io { path: path.to_owned(), doing, source }
}

/// While capturing: the kernel gives up a stream with an input/output error, and only a new start helps.
pub(super) fn no_frame(path: &Path, doing: &'static str, source: io::Error) -> CameraError {
    if source.raw_os_error() == Some(Errno::IO.raw_os_error()) {
        return CameraError::Lost { path: path.to_owned() };
    }
    no_step(path, doing, source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn identity() -> Identity {
        Identity {
            driver: "uvcvideo".to_owned(),
            card: "Lens 9".to_owned(),
            bus: "usb-1".to_owned(),
            capabilities: 0,
        }
    }

    const OFFER: Offer =
        Offer { format: PixelFormat::Yuyv, width: 640, height: 480, rate: Some(30.0) };

    fn mode() -> Mode {
        let fourcc = PixelFormat::Yuyv.fourcc();
        Mode { width: 640, height: 480, fourcc, field: 1, stride: 1408 }
    }

    #[test]
    fn another_camera_is_an_error_by_bus_and_by_serial() {
        let mut config = V4l2Config::at(PathBuf::from("/dev/video0"));
        let check = |config: &V4l2Config, serial| {
            the_right_one(config, &identity(), serial).map_err(|e| e.to_string())
        };
        assert_eq!(check(&config, None), Ok(()));
        config.serial = Some("A1".to_owned());
        assert_eq!(check(&config, Some("A1")), Ok(()));
        let error = check(&config, Some("B2")).unwrap_err();
        assert!(error.contains("serial number \"A1\"") && error.contains("\"B2\""), "{error}");
        assert!(check(&config, None).unwrap_err().contains("\"none\""));
        config.bus = Some("usb-2".to_owned());
        let error = check(&config, Some("A1")).unwrap_err();
        assert!(error.contains("on bus \"usb-2\", this one is on \"usb-1\""), "{error}");
    }

    #[test]
    fn a_driver_that_makes_something_else_of_the_mode_is_refused() {
        let offered = || "YUYV, MJPG".to_owned();
        let taken = layout(&OFFER, &mode(), offered).unwrap();
        assert_eq!((taken.width, taken.height, taken.stride), (640, 480, 1408));
        let error = layout(&OFFER, &Mode { width: 320, ..mode() }, offered).unwrap_err();
        assert!(error.contains("the camera makes it 320x480 YUYV (field 1); it offers YUYV, MJPG"));
        // Interlaced: half pictures.
        assert!(layout(&OFFER, &Mode { field: 4, ..mode() }, offered).is_err());
        let jpeg = Offer { format: PixelFormat::Mjpeg, ..OFFER };
        let mode = Mode { fourcc: PixelFormat::Mjpeg.fourcc(), ..mode() };
        assert_eq!(layout(&jpeg, &mode, offered).unwrap().stride, 0);
    }

    #[test]
    fn a_rate_is_had_or_refused_with_what_there_is() {
        assert_eq!(rate(30.0, Some(29.97), &OFFER), Ok(29.97));
        let error = rate(60.0, Some(30.0), &OFFER).unwrap_err();
        assert!(error.contains("the camera makes it 30.000/s, at most 30.000/s; set that"));
        assert!(rate(10.0, Some(30.0), &OFFER).is_err());
        assert!(rate(10.0, None, &OFFER).unwrap_err().contains("remove [camera] rate"));
    }

    #[test]
    fn kernel_reasons_become_remedies() {
        let io = io::Error::from_raw_os_error;
        let error = |code| no_step(Path::new("/dev/video0"), "waiting", io(code));
        assert!(matches!(error(19), CameraError::Lost { .. }));
        assert!(error(16).to_string().contains("in use by another program"));
        assert!(error(5).to_string().contains("waiting"));
        let running = no_frame(Path::new("/dev/video0"), "taking a frame", io(5));
        assert!(matches!(running, CameraError::Lost { .. }));
        assert_eq!(letters(PixelFormat::Mjpeg.fourcc()), "MJPG");
        let no = not_opened(Path::new("/dev/video0"), io(13)).to_string();
        assert!(no.contains("group \"video\""), "{no}");
    }

    #[test]
    fn nodes_that_do_not_capture_say_what_they_are() {
        assert!(cannot(&identity()).contains("second node for metadata"));
        let sensor = Identity { capabilities: sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE, ..identity() };
        assert!(cannot(&sensor).contains("only multi-planar capture"));
    }
}
