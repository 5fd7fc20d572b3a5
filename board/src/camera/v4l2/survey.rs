//! The kernel's door, second leaf: what a camera offers, and its controls.
#![allow(unsafe_code)]

use super::choice::{Offer, SizeRange};
use super::controls::{Control, Kind};
use super::door::{CAPTURE, Device, Plain, text, zeroed};
use crate::camera::pixels::PixelFormat;
use std::io;
use v4l::v4l_sys as sys;
use v4l::v4l2::vidioc;

/// Most sizes and rates a driver may list per format: one that never says "no more" must not hang us.
const SIZES_MAX: u32 = 128;
const RATES_MAX: u32 = 64;
/// Most controls of one camera.
const CONTROLS_MAX: usize = 256;
/// Most entries of one menu control.
const MENU_MAX: i64 = 64;

/// `V4L2_CTRL_TYPE_*`, which the bindings leave out.
const CTRL_INTEGER: u32 = 1;
const CTRL_BOOLEAN: u32 = 2;
const CTRL_MENU: u32 = 3;
const CTRL_INTEGER_MENU: u32 = 9;

impl Plain for sys::v4l2_frmsizeenum {}
impl Plain for sys::v4l2_frmivalenum {}
impl Plain for sys::v4l2_streamparm {}
impl Plain for sys::v4l2_queryctrl {}
impl Plain for sys::v4l2_querymenu {}
impl Plain for sys::v4l2_control {}

fn rate(interval: sys::v4l2_fract) -> Option<f32> {
    let known = interval.numerator != 0 && interval.denominator != 0;
    known.then(|| interval.denominator as f32 / interval.numerator as f32)
}

impl Device {
    /// Every format of ours that the camera has, with its sizes and the fastest rate of each. `wish` is a
    /// size to try where the driver lists a range.
    pub(super) fn offers(&self, wish: Option<(u32, u32)>) -> Vec<Offer> {
        let formats = self.formats().into_iter().filter_map(PixelFormat::from_fourcc);
        formats
            .flat_map(|format| {
                let sizes = self.sizes(format.fourcc()).into_iter();
                sizes.flat_map(move |range| range.candidates(wish)).map(move |(width, height)| {
                    let rate = self.fastest(format.fourcc(), width, height);
                    Offer { format, width, height, rate }
                })
            })
            .collect()
    }

    fn sizes(&self, fourcc: u32) -> Vec<SizeRange> {
        let mut sizes = Vec::new();
        for index in 0..SIZES_MAX {
            let mut size = sys::v4l2_frmsizeenum { index, pixel_format: fourcc, ..zeroed() };
            if self.call(vidioc::VIDIOC_ENUM_FRAMESIZES, &mut size).is_err() {
                break;
            }
            if size.type_ == sys::v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE {
                // SAFETY: the driver says that this member of the union is filled; both are integers.
                let one = unsafe { size.__bindgen_anon_1.discrete };
                sizes.push(SizeRange::one(one.width, one.height));
                continue;
            }
            // SAFETY: as above, for the continuous and stepwise types.
            let range = unsafe { size.__bindgen_anon_1.stepwise };
            sizes.push(SizeRange {
                min: (range.min_width, range.min_height),
                max: (range.max_width, range.max_height),
                step: (range.step_width.max(1), range.step_height.max(1)),
            });
            break;
        }
        sizes
    }

    /// Frames per second at most, where the driver says.
    fn fastest(&self, fourcc: u32, width: u32, height: u32) -> Option<f32> {
        let mut fastest: Option<f32> = None;
        for index in 0..RATES_MAX {
            let mut interval =
                sys::v4l2_frmivalenum { index, pixel_format: fourcc, width, height, ..zeroed() };
            if self.call(vidioc::VIDIOC_ENUM_FRAMEINTERVALS, &mut interval).is_err() {
                break;
            }
            let discrete = interval.type_ == sys::v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_DISCRETE;
            // SAFETY: the driver says which member of the union is filled; all are integers.
            let shortest = unsafe {
                match discrete {
                    true => interval.__bindgen_anon_1.discrete,
                    false => interval.__bindgen_anon_1.stepwise.min,
                }
            };
            fastest = fastest.into_iter().chain(rate(shortest)).reduce(f32::max);
            if !discrete {
                break;
            }
        }
        fastest
    }

    /// Asks for a rate and returns what the driver made of it; `None` where it has no say in that.
    pub(super) fn set_rate(&self, wanted: f32) -> io::Result<Option<f32>> {
        let mut parameters = sys::v4l2_streamparm { type_: CAPTURE, ..zeroed() };
        match self.call(vidioc::VIDIOC_G_PARM, &mut parameters) {
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NOTTY.raw_os_error()) => {
                return Ok(None);
            }
            other => other?,
        }
        // SAFETY: `capture` is the member for the capture type; all integers.
        let mut capture = unsafe { parameters.parm.capture };
        if capture.capability & sys::V4L2_CAP_TIMEPERFRAME == 0 {
            return Ok(None);
        }
        // Thousandths keep 29.97 apart from 30.
        let per_1000_s = (wanted * 1000.0).round() as u32;
        capture.timeperframe = sys::v4l2_fract { numerator: 1000, denominator: per_1000_s };
        parameters.parm.capture = capture;
        self.call(vidioc::VIDIOC_S_PARM, &mut parameters)?;
        // SAFETY: as above.
        Ok(rate(unsafe { parameters.parm.capture }.timeperframe))
    }

    /// The camera's controls of one 32-bit number.
    pub(super) fn controls(&self) -> Vec<Control> {
        let mut controls = Vec::new();
        let mut last = 0;
        while controls.len() < CONTROLS_MAX {
            let id = last | sys::V4L2_CTRL_FLAG_NEXT_CTRL;
            let mut query = sys::v4l2_queryctrl { id, ..zeroed() };
            // A driver that does not move on would keep us here.
            if self.call(vidioc::VIDIOC_QUERYCTRL, &mut query).is_err() || query.id <= last {
                break;
            }
            last = query.id;
            if let Some(kind) = self.kind(&query) {
                controls.push(Control {
                    id: query.id,
                    name: text(&query.name),
                    kind,
                    min: query.minimum.into(),
                    max: query.maximum.into(),
                    step: i64::from(query.step).max(1),
                    writable: query.flags
                        & (sys::V4L2_CTRL_FLAG_DISABLED | sys::V4L2_CTRL_FLAG_READ_ONLY)
                        == 0,
                });
            }
        }
        controls
    }

    fn kind(&self, query: &sys::v4l2_queryctrl) -> Option<Kind> {
        match query.type_ {
            CTRL_INTEGER => Some(Kind::Integer),
            CTRL_BOOLEAN => Some(Kind::Boolean),
            CTRL_MENU => Some(Kind::Menu(self.menu(query, |menu| {
                // SAFETY: for a menu the driver fills the name.
                text(&unsafe { menu.__bindgen_anon_1.name })
            }))),
            CTRL_INTEGER_MENU => {
                Some(Kind::Menu(self.menu(query, |menu| {
                    // SAFETY: for an integer menu the driver fills the value.
                    unsafe { menu.__bindgen_anon_1.value }.to_string()
                })))
            }
            _ => None,
        }
    }

    fn menu(
        &self,
        query: &sys::v4l2_queryctrl,
        entry: impl Fn(&sys::v4l2_querymenu) -> String,
    ) -> Vec<(i32, String)> {
        let first = i64::from(query.minimum).max(0);
        let last = i64::from(query.maximum).min(first + MENU_MAX);
        let mut entries = Vec::new();
        for index in first..=last {
            let mut menu = sys::v4l2_querymenu { id: query.id, index: index as u32, ..zeroed() };
            // Menus have holes: entries that this camera does not do.
            if self.call(vidioc::VIDIOC_QUERYMENU, &mut menu).is_ok() {
                entries.push((index as i32, entry(&menu)));
            }
        }
        entries
    }

    /// Sets one control and returns what the driver made of the value.
    pub(super) fn set_control(&self, id: u32, value: i32) -> io::Result<i32> {
        let mut control = sys::v4l2_control { id, value };
        self.call(vidioc::VIDIOC_S_CTRL, &mut control)?;
        Ok(control.value)
    }
}

/// The kernel's own ioctl numbers: a wrong struct size shows here.
const _: () = {
    assert!(vidioc::VIDIOC_ENUM_FRAMESIZES as u32 == 0xC02C_564A);
    assert!(vidioc::VIDIOC_ENUM_FRAMEINTERVALS as u32 == 0xC034_564B);
    assert!(vidioc::VIDIOC_S_PARM as u32 == 0xC0CC_5616);
    assert!(vidioc::VIDIOC_QUERYCTRL as u32 == 0xC044_5624);
    assert!(vidioc::VIDIOC_QUERYMENU as u32 == 0xC02C_5625);
    assert!(vidioc::VIDIOC_S_CTRL as u32 == 0xC008_561C);
};
