//! The kernel's door: the dozen V4L2 calls that a capture needs, each behind a safe function.
//!
//! `v4l` gives the ioctl numbers and structs; its own `Device` and `Stream` are not used, because they panic
//! on a name that is not UTF-8, on an unknown colour space and when a camera is pulled out, hand out the
//! oldest buffer first and forget the driver's error flag.
#![allow(unsafe_code)]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use v4l::v4l_sys as sys;
use v4l::v4l2::vidioc;

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`.
pub(super) const CAPTURE: u32 = 1;
/// `V4L2_MEMORY_MMAP`.
const MMAP: u32 = 1;
/// Most formats a driver may list: a driver that never says "no more" must not hang us.
const FORMATS_MAX: u32 = 64;

/// Structs of the V4L2 interface, for which all zeros is a value.
pub(super) trait Plain: Copy {}
impl Plain for sys::v4l2_capability {}
impl Plain for sys::v4l2_fmtdesc {}
impl Plain for sys::v4l2_format {}
impl Plain for sys::v4l2_requestbuffers {}
impl Plain for sys::v4l2_buffer {}
impl Plain for std::ffi::c_int {}

pub(super) fn zeroed<T: Plain>() -> T {
    // SAFETY: every `Plain` type consists of integers, arrays and unions of them, and pointers.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// An open V4L2 device.
#[derive(Debug)]
pub(super) struct Device {
    file: File,
}

/// What a device says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) driver: String,
    pub(super) card: String,
    pub(super) bus: String,
    pub(super) capabilities: u32,
}

/// The part of `v4l2_pix_format` that a capture needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) fourcc: u32,
    pub(super) field: u32,
    pub(super) stride: u32,
}

/// A filled buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filled {
    pub(super) index: u32,
    pub(super) used: usize,
    pub(super) flags: u32,
    pub(super) sequence: u32,
    pub(super) seconds: i64,
    pub(super) micros: i64,
}

pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

impl Device {
    pub(super) fn open(path: &Path) -> io::Result<Device> {
        let flags = OFlags::NONBLOCK.bits() as i32;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        Ok(Device { file })
    }

    pub(super) fn call<T: Plain>(
        &self,
        request: vidioc::_IOC_TYPE,
        argument: &mut T,
    ) -> io::Result<()> {
        loop {
            let pointer: *mut c_void = std::ptr::from_mut(argument).cast();
            // SAFETY: the descriptor is open, and every caller below pairs the request with the struct that
            // its number encodes the size of, which lives across the call.
            match unsafe { v4l::v4l2::ioctl(self.file.as_raw_fd(), request, pointer) } {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    pub(super) fn identity(&self) -> io::Result<Identity> {
        let mut caps: sys::v4l2_capability = zeroed();
        self.call(vidioc::VIDIOC_QUERYCAP, &mut caps)?;
        // A driver with several nodes says in `device_caps` what this one can do.
        let own = caps.capabilities & sys::V4L2_CAP_DEVICE_CAPS != 0;
        Ok(Identity {
            driver: text(&caps.driver),
            card: text(&caps.card),
            bus: text(&caps.bus_info),
            capabilities: if own { caps.device_caps } else { caps.capabilities },
        })
    }

    /// Four-letter codes of the formats on offer.
    pub(super) fn formats(&self) -> Vec<u32> {
        let mut formats = Vec::new();
        for index in 0..FORMATS_MAX {
            let mut description = sys::v4l2_fmtdesc { index, type_: CAPTURE, ..zeroed() };
            if self.call(vidioc::VIDIOC_ENUM_FMT, &mut description).is_err() {
                break;
            }
            formats.push(description.pixelformat);
        }
        formats
    }

    /// Asks for a mode and returns what the driver made of it.
    pub(super) fn set_mode(&self, width: u32, height: u32, fourcc: u32) -> io::Result<Mode> {
        let mut format: sys::v4l2_format = zeroed();
        format.type_ = CAPTURE;
        // SAFETY: the union was zeroed and `pix` is the member for the capture type.
        let mut pix = unsafe { format.fmt.pix };
        (pix.width, pix.height, pix.pixelformat) = (width, height, fourcc);
        format.fmt.pix = pix;
        self.call(vidioc::VIDIOC_S_FMT, &mut format)?;
        // SAFETY: the driver fills `pix` for the capture type.
        let pix = unsafe { format.fmt.pix };
        Ok(Mode {
            width: pix.width,
            height: pix.height,
            fourcc: pix.pixelformat,
            field: pix.field,
            stride: pix.bytesperline,
        })
    }

    /// Waits until a buffer is filled; false after `timeout`.
    pub(super) fn ready(&self, timeout: Duration) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
        let timeout =
            Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(false),
            Ok(_) if fds[0].revents().contains(PollFlags::IN) => Ok(true),
            // Error or hang-up without data: unplugged, or the stream was stopped under us.
            Ok(_) => Err(io::Error::from(rustix::io::Errno::NODEV)),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether the device still answers: some drivers leave a poll on an unplugged camera hanging.
    pub(super) fn alive(&self) -> io::Result<()> {
        let mut caps: sys::v4l2_capability = zeroed();
        self.call(vidioc::VIDIOC_QUERYCAP, &mut caps)
    }
}

/// A running capture into memory that the driver shares with us.
#[derive(Debug)]
pub(super) struct Stream {
    device: Device,
    maps: Vec<Map>,
}

#[derive(Debug)]
struct Map {
    start: *mut c_void,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone and is only read through it; which thread does so is
// nothing to the kernel.
unsafe impl Send for Map {}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: `start` and `length` are what mmap gave, and no slice of it outlives the stream's methods.
        if let Err(e) = unsafe { munmap(self.start, self.length) } {
            log::warn!("camera: unmapping a buffer: {e}");
        }
    }
}

impl Stream {
    /// Maps `count` buffers, queues them all and starts.
    pub(super) fn start(device: Device, count: u32) -> io::Result<Stream> {
        let mut request =
            sys::v4l2_requestbuffers { count, type_: CAPTURE, memory: MMAP, ..zeroed() };
        device.call(vidioc::VIDIOC_REQBUFS, &mut request)?;
        let mut stream = Stream { device, maps: Vec::new() };
        for index in 0..request.count {
            let mut buffer = Stream::buffer(index);
            stream.device.call(vidioc::VIDIOC_QUERYBUF, &mut buffer)?;
            let length = buffer.length as usize;
            // SAFETY: a fresh shared mapping of the device at an address of the kernel's choice; QUERYBUF
            // says that `offset` is the union's member for mmap and how long the buffer is.
            let start = unsafe {
                let offset = u64::from(buffer.m.offset);
                let flags = MapFlags::SHARED;
                mmap(
                    std::ptr::null_mut(),
                    length,
                    ProtFlags::READ,
                    flags,
                    &stream.device.file,
                    offset,
                )?
            };
            stream.maps.push(Map { start, length });
        }
        for index in 0..request.count {
            stream.queue(index)?;
        }
        let mut kind = CAPTURE as std::ffi::c_int;
        stream.device.call(vidioc::VIDIOC_STREAMON, &mut kind)?;
        Ok(stream)
    }

    fn buffer(index: u32) -> sys::v4l2_buffer {
        sys::v4l2_buffer { index, type_: CAPTURE, memory: MMAP, ..zeroed() }
    }

    pub(super) fn ready(&self, timeout: Duration) -> io::Result<bool> {
        self.device.ready(timeout)
    }

    pub(super) fn alive(&self) -> io::Result<()> {
        self.device.alive()
    }

    pub(super) fn queue(&mut self, index: u32) -> io::Result<()> {
        self.device.call(vidioc::VIDIOC_QBUF, &mut Stream::buffer(index))
    }

    /// Takes the oldest filled buffer, or `None` where there is none yet.
    pub(super) fn dequeue(&self) -> io::Result<Option<Filled>> {
        let mut buffer = Stream::buffer(0);
        match self.device.call(vidioc::VIDIOC_DQBUF, &mut buffer) {
            Ok(()) => Ok(Some(Filled {
                index: buffer.index,
                used: buffer.bytesused as usize,
                flags: buffer.flags,
                sequence: buffer.sequence,
                seconds: buffer.timestamp.tv_sec,
                micros: buffer.timestamp.tv_usec,
            })),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Bytes of a dequeued buffer; fewer than `used` where the driver claims more than it mapped.
    pub(super) fn bytes(&self, filled: &Filled) -> &[u8] {
        let Some(map) = self.maps.get(filled.index as usize) else { return &[] };
        // SAFETY: the mapping lives as long as `self` and the length is within it. The driver does not write
        // into a buffer between dequeue and queue, and `queue` needs `&mut self`, which ends this borrow.
        unsafe { std::slice::from_raw_parts(map.start.cast(), filled.used.min(map.length)) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut kind = CAPTURE as std::ffi::c_int;
        // Fails when the camera was pulled out, and then there is nothing left to stop.
        if let Err(e) = self.device.call(vidioc::VIDIOC_STREAMOFF, &mut kind) {
            log::debug!("camera: stopping the stream: {e}");
        }
        self.maps.clear();
    }
}

/// The ioctl numbers carry the structs' sizes: these are the kernel's own, so a wrong binding shows here.
const _: () = {
    assert!(vidioc::VIDIOC_QUERYCAP as u32 == 0x8068_5600);
    assert!(vidioc::VIDIOC_S_FMT as u32 == 0xC0D0_5605);
    assert!(vidioc::VIDIOC_REQBUFS as u32 == 0xC014_5608);
    assert!(vidioc::VIDIOC_DQBUF as u32 == 0xC058_5611);
    assert!(mem::size_of::<sys::v4l2_buffer>() == 88);
};
