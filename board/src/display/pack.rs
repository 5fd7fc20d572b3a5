//! From RGB to what a screen's memory holds.

/// Where one colour sits in a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its lowest bit.
    pub offset: u32,
    /// Its bits; at most 8.
    pub length: u32,
}

impl Channel {
    /// The channel's highest bits of an 8-bit value, in place.
    fn place(self, value: u8) -> u32 {
        (u32::from(value) >> (8 - self.length)) << self.offset
    }

    fn mask(self) -> u32 {
        ((1 << self.length) - 1) << self.offset
    }
}

/// How a screen packs a pixel of 16 or 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelPacking {
    bytes: usize,
    channels: [Channel; 3],
}

impl PixelPacking {
    /// 32 bits: blue in the lowest byte, the highest unused (DRM's XRGB8888).
    pub const XRGB8888: PixelPacking = PixelPacking {
        bytes: 4,
        channels: [
            Channel { offset: 16, length: 8 },
            Channel { offset: 8, length: 8 },
            Channel { offset: 0, length: 8 },
        ],
    };

    /// For a screen of `bits` per pixel with these red, green and blue channels; `None` where that is not
    /// 16 or 32, or where the channels do not fit in or overlap.
    pub fn new(bits: u32, channels: [Channel; 3]) -> Option<PixelPacking> {
        let fits = |c: &Channel| {
            (1..=8).contains(&c.length) && c.offset.checked_add(c.length).is_some_and(|n| n <= bits)
        };
        if !matches!(bits, 16 | 32) || !channels.iter().all(fits) {
            return None;
        }
        let [red, green, blue] = channels.map(Channel::mask);
        let apart = red & green == 0 && red & blue == 0 && green & blue == 0;
        apart.then_some(PixelPacking { bytes: bits as usize / 8, channels })
    }

    /// Bytes per pixel.
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// One pixel's number.
    pub fn pack(self, rgb: [u8; 3]) -> u32 {
        self.channels.iter().zip(rgb).map(|(channel, value)| channel.place(value)).sum()
    }

    /// One row of RGB into the screen's bytes; as many pixels as both have.
    pub fn pack_row(self, rgb: &[u8], target: &mut [u8]) {
        let pixels = rgb.chunks_exact(3).zip(target.chunks_exact_mut(self.bytes));
        for (source, target) in pixels {
            // The kernel's framebuffers hold numbers in the machine's own order.
            let number = self.pack([source[0], source[1], source[2]]);
            match target {
                [a, b] => [*a, *b] = (number as u16).to_ne_bytes(),
                [a, b, c, d] => [*a, *b, *c, *d] = number.to_ne_bytes(),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn channel(offset: u32, length: u32) -> Channel {
        Channel { offset, length }
    }

    fn rgb565() -> PixelPacking {
        PixelPacking::new(16, [channel(11, 5), channel(5, 6), channel(0, 5)]).unwrap()
    }

    #[test]
    fn the_usual_packings() {
        assert_eq!(rgb565().pack([255, 255, 255]), 0xFFFF);
        assert_eq!(rgb565().pack([255, 0, 0]), 0xF800);
        assert_eq!(rgb565().pack([0, 130, 0]), 0b100000 << 5);
        assert_eq!(PixelPacking::XRGB8888.pack([1, 2, 3]), 0x0001_0203);
        let bgrx = PixelPacking::new(32, [channel(0, 8), channel(8, 8), channel(16, 8)]).unwrap();
        assert_eq!(bgrx.pack([1, 2, 3]), 0x0003_0201);
        let mut row = [0; 9];
        rgb565().pack_row(&[255, 0, 0, 0, 0, 255], &mut row[..4]);
        assert_eq!(row[..4], [0xF800u16.to_ne_bytes(), 0x001Fu16.to_ne_bytes()].concat());
        PixelPacking::XRGB8888.pack_row(&[1, 2, 3, 4, 5, 6], &mut row);
        assert_eq!(row[..8], [0x010203u32.to_ne_bytes(), 0x040506u32.to_ne_bytes()].concat());
    }

    #[test]
    fn impossible_packings_are_refused() {
        let good = [channel(11, 5), channel(5, 6), channel(0, 5)];
        assert!(PixelPacking::new(24, good).is_none() && PixelPacking::new(8, good).is_none());
        assert!(PixelPacking::new(16, [channel(12, 5), good[1], good[2]]).is_none());
        assert!(PixelPacking::new(16, [good[0], channel(4, 6), good[2]]).is_none());
        assert!(
            PixelPacking::new(32, [channel(0, 10), channel(10, 10), channel(20, 10)]).is_none()
        );
        assert!(PixelPacking::new(16, [good[0], good[1], channel(0, 0)]).is_none());
    }

    proptest! {
        #[test]
        fn no_colour_leaks_into_another(
            bits in prop::sample::select(vec![16u32, 32]),
            offsets in prop::array::uniform3(any::<u32>().prop_map(|n| n % 40)),
            lengths in prop::array::uniform3(0u32..10),
            rgb in any::<[u8; 3]>(),
        ) {
            let channels = [0, 1, 2].map(|i| channel(offsets[i], lengths[i]));
            let Some(packing) = PixelPacking::new(bits, channels) else { return Ok(()) };
            let number = packing.pack(rgb);
            prop_assert!(bits == 32 || number <= 0xFFFF);
            for (channel, value) in channels.into_iter().zip(rgb) {
                let back = (number >> channel.offset) & ((1 << channel.length) - 1);
                prop_assert_eq!(back, u32::from(value) >> (8 - channel.length));
            }
        }

        #[test]
        fn rows_of_any_length_are_survived(
            rgb in prop::collection::vec(any::<u8>(), 0..40), mut row in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let before = row.clone();
            rgb565().pack_row(&rgb, &mut row);
            let written = (rgb.len() / 3).min(row.len() / 2) * 2;
            prop_assert_eq!(&row[written..], &before[written..]);
        }
    }
}
