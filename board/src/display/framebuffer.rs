//! The kernel's framebuffer device.

use super::pack::{Channel, PixelPacking};
use super::{Canvas, DisplayError, SCREEN_MAX, SCREEN_MIN, Screen};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const GET_VARIABLE: Opcode = 0x4600;
const GET_FIXED: Opcode = 0x4602;
/// `FB_TYPE_PACKED_PIXELS`: pixels in rows, no planes.
const PACKED_PIXELS: u32 = 0;
/// Most bytes from row to row: four of the widest screens side by side.
const STRIDE_MAX: u64 = 4 * 4 * SCREEN_MAX as u64;

/// `struct fb_bitfield`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Bits {
    offset: u32,
    length: u32,
    msb_right: u32,
}

/// `struct fb_var_screeninfo`, of which only the start is looked at.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Variable {
    xres: u32,
    yres: u32,
    xres_virtual: u32,
    yres_virtual: u32,
    xoffset: u32,
    yoffset: u32,
    bits_per_pixel: u32,
    grayscale: u32,
    red: Bits,
    green: Bits,
    blue: Bits,
    rest: [u32; 23],
}

/// `struct fb_fix_screeninfo`. Its addresses are as wide as the machine's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Fixed {
    id: [u8; 16],
    smem_start: usize,
    smem_len: u32,
    kind: u32,
    kind_aux: u32,
    visual: u32,
    steps: [u16; 3],
    line_length: u32,
    mmio_start: usize,
    mmio_len: u32,
    accel: u32,
    capabilities: u16,
    reserved: [u16; 2],
}

const _: () = {
    assert!(size_of::<Variable>() == 160);
    assert!(size_of::<usize>() != 8 || size_of::<Fixed>() == 80);
};

fn ask<const CODE: Opcode, T: Default>(file: &File) -> Result<T, Errno> {
    let mut answer = T::default();
    #[allow(unsafe_code)]
    // SAFETY: the two codes above write a struct of the size checked above, which `open` pairs them with;
    // all its bytes may have any value.
    unsafe {
        ioctl(file, Updater::<CODE, T>::new(&mut answer))?;
    }
    Ok(answer)
}

/// Where the visible pixels are in the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Geometry {
    width: u32,
    height: u32,
    /// Bytes from row to row.
    stride: u64,
    /// Byte of the first visible pixel.
    start: u64,
    packing: PixelPacking,
}

fn geometry(variable: &Variable, fixed: &Fixed) -> Result<Geometry, String> {
    let (width, height) = (variable.xres, variable.yres);
    if ![width, height].iter().all(|side| (SCREEN_MIN..=SCREEN_MAX).contains(side)) {
        return Err(format!(
            "a screen of {width}x{height}; sides from {SCREEN_MIN} to {SCREEN_MAX} can be drawn on"
        ));
    }
    let channel = |bits: Bits| Channel { offset: bits.offset, length: bits.length };
    let channels = [variable.red, variable.green, variable.blue].map(channel);
    let bits = variable.bits_per_pixel;
    let packing = PixelPacking::new(bits, channels)
        .filter(|_| fixed.kind == PACKED_PIXELS && variable.grayscale == 0)
        .ok_or_else(|| {
            format!(
                "{bits} bits a pixel (red {}+{}, green {}+{}, blue {}+{}, type {}) cannot be drawn on; set \
                 the screen to 16 or 32 bits (kernel command line: video=...-32)",
                variable.red.offset,
                variable.red.length,
                variable.green.offset,
                variable.green.length,
                variable.blue.offset,
                variable.blue.length,
                fixed.kind
            )
        })?;
    let pixel = packing.bytes() as u64;
    let (stride, row) = (u64::from(fixed.line_length), u64::from(width) * pixel);
    let start = u64::from(variable.yoffset) * stride + u64::from(variable.xoffset) * pixel;
    let end = start + stride * u64::from(height - 1) + row;
    if stride < row || stride > STRIDE_MAX || end > u64::from(fixed.smem_len) {
        return Err(format!(
            "the driver's figures contradict each other: {end} bytes needed at {stride} a row, it has {}; \
             update the driver",
            fixed.smem_len
        ));
    }
    Ok(Geometry { width, height, stride, start, packing })
}

/// `/dev/fb0`.
#[derive(Debug)]
pub(super) struct Framebuffer {
    path: PathBuf,
    file: File,
    geometry: Geometry,
    picture: Vec<u8>,
}

impl Framebuffer {
    pub(super) fn open(path: &Path) -> Result<Framebuffer, DisplayError> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let file = opened.map_err(|source| DisplayError::Open { path: path.to_owned(), source })?;
        let unusable = |why: String| DisplayError::Unusable { path: path.to_owned(), why };
        let refused = |errno: Errno| match errno {
            Errno::NOTTY | Errno::INVAL => unusable(
                "not a framebuffer: it does not answer; correct [display] path or kind".to_owned(),
            ),
            errno => DisplayError::Open { path: path.to_owned(), source: errno.into() },
        };
        let variable = ask::<GET_VARIABLE, Variable>(&file).map_err(refused)?;
        let fixed = ask::<GET_FIXED, Fixed>(&file).map_err(refused)?;
        let geometry = geometry(&variable, &fixed).map_err(unusable)?;
        Ok(Framebuffer { path: path.to_owned(), file, geometry, picture: Vec::new() })
    }
}

/// All rows in one write. Written, not mapped: every driver does that, and a device that goes away gives
/// an error instead of a signal. In one, because drivers that keep a shadow of the screen (Linux 6.1 for
/// `bochs`, seen in tests/hil) find nothing to refresh in a write of exactly one row.
fn show(
    geometry: &Geometry,
    picture: &mut Vec<u8>,
    file: &File,
    canvas: &Canvas,
) -> std::io::Result<()> {
    let row = geometry.width as usize * geometry.packing.bytes();
    let stride = geometry.stride as usize;
    picture.resize(stride * (geometry.height as usize - 1) + row, 0);
    for (rgb, place) in canvas.rows().zip(picture.chunks_mut(stride)) {
        geometry.packing.pack_row(rgb, &mut place[..row]);
    }
    file.write_all_at(picture, geometry.start)
}

impl Screen for Framebuffer {
    fn describe(&self) -> String {
        let Geometry { width, height, packing, .. } = self.geometry;
        format!("{} {width}x{height}, {} bits", self.path.display(), packing.bytes() * 8)
    }

    fn size(&self) -> (u32, u32) {
        (self.geometry.width, self.geometry.height)
    }

    fn show(&mut self, canvas: &Canvas) -> Result<(), DisplayError> {
        show(&self.geometry, &mut self.picture, &self.file, canvas).map_err(|source| {
            DisplayError::Io { path: self.path.clone(), doing: "writing the picture", source }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_graphics::draw_target::DrawTarget;
    use embedded_graphics::pixelcolor::Rgb888;
    use proptest::prelude::*;

    fn bits(offset: u32, length: u32) -> Bits {
        Bits { offset, length, msb_right: 0 }
    }

    /// A screen of 65x64 in 16 bits, its rows padded to 140 bytes.
    fn small() -> (Variable, Fixed) {
        let variable = Variable {
            xres: 65,
            yres: 64,
            yoffset: 1,
            bits_per_pixel: 16,
            red: bits(11, 5),
            green: bits(5, 6),
            blue: bits(0, 5),
            ..Variable::default()
        };
        (variable, Fixed { smem_len: 140 * 66, line_length: 140, ..Fixed::default() })
    }

    #[test]
    fn rows_go_to_their_places() {
        let (variable, fixed) = small();
        let geometry = geometry(&variable, &fixed).unwrap();
        assert_eq!((geometry.start, geometry.stride), (140, 140));
        let file = tempfile::tempfile().unwrap();
        let mut canvas = Canvas::new(65, 64);
        canvas.clear(Rgb888::new(255, 0, 0)).unwrap();
        show(&geometry, &mut Vec::new(), &file, &canvas).unwrap();
        let mut bytes = vec![0; 140 * 65];
        file.read_at(&mut bytes, 0).unwrap();
        for (y, row) in bytes.chunks(140).enumerate() {
            let red = row.chunks(2).filter(|p| p == &0xF800u16.to_ne_bytes()).count();
            assert_eq!(red, if y == 0 { 0 } else { 65 }, "row {y}");
            assert_eq!(row[130..], [0; 10], "the padding stays");
        }
    }

    #[test]
    fn screens_that_cannot_be_drawn_on_say_why() {
        let (variable, fixed) = small();
        let error = |v: Variable, f: Fixed| geometry(&v, &f).unwrap_err();
        let huge = error(Variable { xres: 9000, ..variable }, fixed);
        assert!(huge.contains("9000x64; sides from 64 to 8192"), "{huge}");
        let deep = error(Variable { bits_per_pixel: 24, ..variable }, fixed);
        assert!(deep.contains("24 bits a pixel") && deep.contains("set the screen to 16 or 32"));
        assert!(error(Variable { grayscale: 1, ..variable }, fixed).contains("cannot be drawn on"));
        assert!(error(variable, Fixed { kind: 1, ..fixed }).contains("type 1"));
        let short = error(variable, Fixed { smem_len: 140 * 64, ..fixed });
        assert!(short.contains("contradict"), "{short}");
        assert!(error(variable, Fixed { line_length: 129, ..fixed }).contains("contradict"));
    }

    proptest! {
        #[test]
        fn any_figures_of_a_driver_are_survived(
            v in any::<[u32; 10]>(), f in any::<[u32; 3]>(), near in any::<bool>(),
        ) {
            let (mut variable, mut fixed) = small();
            if !near {
                (variable.xres, variable.yres, variable.bits_per_pixel) = (v[0], v[1], v[2]);
            }
            (variable.xoffset, variable.yoffset) = (v[3], v[4]);
            (variable.red, variable.green) = (bits(v[5], v[6]), bits(v[7], v[8]));
            (fixed.smem_len, fixed.line_length) = (f[0], f[1]);
            if let Ok(geometry) = geometry(&variable, &fixed) {
                let last = geometry.start + geometry.stride * u64::from(geometry.height - 1);
                let row = u64::from(geometry.width) * geometry.packing.bytes() as u64;
                prop_assert!(last + row <= u64::from(fixed.smem_len));
            }
        }
    }
}
