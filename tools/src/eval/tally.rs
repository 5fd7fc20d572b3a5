//! What is kept of one test picture: counts, not maps, so that a category fits in memory.

use touchstone_models::map::Map;
use touchstone_models::picture::Picture;

use super::dataset::{Category, Sample};
use super::metrics::{BoxSweep, Labels, MetricError, PixelTally, QuantisedMap};
use super::observation::Scored;

/// Side of the small map that the contact sheet shows.
pub const THUMB_SIDE: u32 = 128;

/// A mask is positive above this.
const MASK_LEVEL: u8 = 127;

/// One picture under one variant.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Score of the picture.
    pub score: f32,
    /// The detector's own decision.
    pub reject: Option<bool>,
    /// Pixel counts, where the category has masks.
    pub pixels: Option<PixelTally>,
    /// Box counts, where the category has boxes.
    pub boxes: Option<BoxSweep>,
    /// The map at [`THUMB_SIDE`], for the variant that the contact sheet shows.
    pub thumb: Option<Map>,
}

/// What is known of a test picture.
pub struct Truth<'a> {
    width: u32,
    height: u32,
    regions: Option<Labels>,
    sample: &'a Sample,
    has_boxes: bool,
}

impl<'a> Truth<'a> {
    /// Reads the mask of a test picture of `width` by `height`.
    ///
    /// # Errors
    /// A mask that cannot be read, is of another size than its picture, or is empty though the
    /// picture is defective.
    pub fn read(
        category: &Category,
        sample: &'a Sample,
        (width, height): (u32, u32),
    ) -> anyhow::Result<Self> {
        let size = (width as usize, height as usize);
        let regions = match &sample.mask {
            Some(file) => {
                let mask = Picture::open(file)?;
                anyhow::ensure!(
                    (mask.width(), mask.height()) == (width, height),
                    "{}: {} x {}, but its picture is {width} x {height}; scale the mask",
                    file.display(),
                    mask.width(),
                    mask.height()
                );
                let set = mask.rgb().chunks_exact(3).map(|p| p[0] > MASK_LEVEL);
                let set: Vec<bool> = set.collect();
                anyhow::ensure!(
                    set.contains(&true),
                    "{}: empty, but its picture counts as defective",
                    file.display()
                );
                Some(Labels::of_mask(size.0, size.1, &set))
            }
            None if category.has_masks => Some(Labels::clean(size.0, size.1)),
            None => None,
        };
        Ok(Self { width, height, regions, sample, has_boxes: category.has_boxes })
    }

    /// Counts one variant's map.
    ///
    /// # Errors
    /// A score that is not finite or not in 0..1.
    pub fn tally(&self, scored: &Scored, keep_thumb: bool) -> Result<Tally, MetricError> {
        // The map as it is first: resampling could blend a NaN away or an overshoot in.
        let native = QuantisedMap::new(&scored.map.values)?;
        let mut tally = Tally {
            score: scored.score,
            reject: scored.reject,
            pixels: None,
            boxes: None,
            thumb: keep_thumb.then(|| scored.map.resize(THUMB_SIDE, THUMB_SIDE)),
        };
        if self.regions.is_none() && !self.has_boxes {
            return Ok(tally);
        }
        let full = match (scored.map.width, scored.map.height) == (self.width, self.height) {
            true => native,
            false => QuantisedMap::new(&scored.map.resize(self.width, self.height).values)?,
        };
        if let Some(regions) = &self.regions {
            tally.pixels = Some(PixelTally::new(&full, regions)?);
        }
        if self.has_boxes {
            let boxes = &self.sample.boxes;
            tally.boxes = Some(BoxSweep::new(&full, self.width as usize, boxes)?);
        }
        Ok(tally)
    }
}
