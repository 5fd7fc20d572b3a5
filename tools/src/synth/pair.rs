//! One training pair: a base, changes on one of two copies, and each side's own camera.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::base::{Base, BaseKind, Drawing, Twin, crop_map};
use super::changes::{self, ChangeKind, Desk};
use super::dice::Dice;
use super::geometry::{CELL, Class, Geometry, View};
use super::gloss::Gloss;
use super::industrial;
use super::label::LABEL_MIN;
use super::lamp::{Lamp, Side};
use super::library::Library;
use super::light::{self, Ink, Light, Sensor, Tone};

/// Smallest and largest side of a pair.
pub const SIZE_MIN: u32 = 32;
/// See [`SIZE_MIN`].
pub const SIZE_MAX: u32 = 1024;

/// The recipe of the pairs. All shares are probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SynthConfig {
    /// Side of the pictures: a multiple of 16 from 32 to 1024.
    #[serde(skip)]
    pub size: u32,
    /// Chooses the whole sequence of pairs.
    #[serde(skip)]
    pub seed: u64,
    /// How far the two sides may differ in position.
    pub geometry: Geometry,
    /// How far the two sides may differ in light.
    pub light: Light,
    /// How often the light falls on each side from another direction.
    pub lamp: Lamp,
    /// How often a lamp is mirrored in the surface, at another place on each side.
    pub gloss: Gloss,
    /// Share of pairs that are seen close: a quarter of a pair of twice the size.
    pub close_share: f32,
    /// Share of pairs without any change.
    pub no_change_share: f32,
    /// Share of pairs on surfaces.
    pub texture_share: f32,
    /// Share of pairs on drawn industrial parts; the rest are crops of pictures.
    pub industrial_share: f32,
    /// Share of surface pairs whose prompt shows another place of the same surface.
    pub other_place_share: f32,
    /// Share of metal and woven pairs whose prompt shows another piece: same structure, other grain.
    pub other_grain_share: f32,
    /// Share of pairs with a mark that both sides have, so that a mark alone is no change.
    pub shared_mark_share: f32,
    /// Most changes in one pair.
    pub changes_max: usize,
    /// Kinds of change that are left out. A base that no other kind suits stays unchanged.
    pub without: Vec<ChangeKind>,
}

impl Default for SynthConfig {
    fn default() -> Self {
        Self {
            size: 256,
            seed: 1,
            geometry: Geometry::default(),
            light: Light::default(),
            lamp: Lamp::default(),
            gloss: Gloss::default(),
            close_share: 0.5,
            no_change_share: 0.12,
            texture_share: 0.20,
            industrial_share: 0.25,
            other_place_share: 0.35,
            other_grain_share: 0.3,
            shared_mark_share: 0.2,
            changes_max: 4,
            without: Vec::new(),
        }
    }
}

impl SynthConfig {
    /// What a TOML file says, or the default one; what the file leaves out is as by default.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn read(path: Option<&Path>) -> anyhow::Result<SynthConfig> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text =
            fs::read_to_string(path).with_context(|| format!("--synthesis {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("--synthesis {}", path.display()))
    }

    /// Checks the values that would make no picture.
    ///
    /// # Errors
    /// Names the value and its allowed range.
    pub fn check(&self) -> anyhow::Result<()> {
        if !(SIZE_MIN..=SIZE_MAX).contains(&self.size) || !self.size.is_multiple_of(CELL as u32) {
            anyhow::bail!(
                "size is {}; give a multiple of {CELL} from {SIZE_MIN} to {SIZE_MAX}",
                self.size
            );
        }
        let shares = [
            ("close_share", self.close_share),
            ("no_change_share", self.no_change_share),
            ("texture_share", self.texture_share),
            ("industrial_share", self.industrial_share),
            ("texture_share + industrial_share", self.texture_share + self.industrial_share),
            ("other_place_share", self.other_place_share),
            ("other_grain_share", self.other_grain_share),
            ("shared_mark_share", self.shared_mark_share),
            ("geometry.registered_share", self.geometry.registered_share),
            ("geometry.wide_share", self.geometry.wide_share),
            ("light.same_share", self.light.same_share),
            ("light.blocks_share", self.light.blocks_share),
            ("lamp.share", self.lamp.share),
            ("lamp.turned_share", self.lamp.turned_share),
            ("lamp.strength", self.lamp.strength),
            ("gloss.share", self.gloss.share),
            ("gloss.moved_share", self.gloss.moved_share),
            ("gloss.strength", self.gloss.strength),
        ];
        for (name, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                anyhow::bail!("{name} is {share}; give a share from 0 to 1");
            }
        }
        if changes::DRAWN.iter().all(|kind| self.without.contains(kind)) {
            anyhow::bail!("every kind of change is left out; leave at least one in");
        }
        Ok(())
    }
}

/// A training pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The good part: RGB8, `size * size * 3`, rows top to bottom.
    pub prompt: Vec<u8>,
    /// The part to judge: RGB8, like `prompt`.
    pub query: Vec<u8>,
    /// 0/255, `size * size`, in the query's frame: what differs.
    pub mask: Vec<u8>,
    /// The change with the largest label.
    pub kind: ChangeKind,
    /// What is shown.
    pub base: BaseKind,
}

/// Keeps the draws of what is seen close apart from a pair's own: whole pairs stay what they are, however many others
/// are seen close.
const CLOSE_STREAM: u64 = 0x434C_4F53;
/// The same for what is mirrored in glossy surfaces.
const GLOSS_STREAM: u64 = 0x474C_4F53;
/// Share of the pairs seen close that are seen where most of the change is; the rest anywhere.
const AT_THE_CHANGE: f32 = 0.75;

impl Pair {
    /// One of the four quarters of a pair of `2 side` by `2 side` pixels.
    fn quarter(self, side: usize, dice: &mut Dice) -> Pair {
        let corner = |quarter: usize| (quarter % 2 * side, quarter / 2 * side);
        let rows = |quarter: usize| {
            let (x, y) = corner(quarter);
            (y..y + side).map(move |y| y * 2 * side + x)
        };
        let changed = |quarter: usize| {
            let marked = rows(quarter).flat_map(|at| &self.mask[at..at + side]);
            marked.filter(|m| **m > 0).count()
        };
        let most = (0..4).max_by_key(|quarter| changed(*quarter)).unwrap_or(0);
        let quarter = if dice.chance(AT_THE_CHANGE) { most } else { dice.below(4) };
        let cut = |values: &[u8], channels: usize| -> Vec<u8> {
            rows(quarter)
                .flat_map(|at| &values[at * channels..(at + side) * channels])
                .copied()
                .collect()
        };
        let kind = if changed(quarter) > 0 { self.kind } else { ChangeKind::None };
        Pair {
            prompt: cut(&self.prompt, 3),
            query: cut(&self.query, 3),
            mask: cut(&self.mask, 1),
            kind,
            base: self.base,
        }
    }
}

impl Library {
    /// Pair number `index` of the sequence chosen by the configuration; the same on every call and
    /// thread. The configuration must pass [`SynthConfig::check`].
    pub fn pair(&self, config: &SynthConfig, index: u64) -> Pair {
        let dice = &mut Dice::new(config.seed ^ CLOSE_STREAM, index);
        if !dice.chance(config.close_share) {
            return self.whole_pair(config, index);
        }
        let twice = SynthConfig { size: 2 * config.size, ..config.clone() };
        self.whole_pair(&twice, index).quarter(config.size as usize, dice)
    }

    fn whole_pair(&self, config: &SynthConfig, index: u64) -> Pair {
        let dice = &mut Dice::new(config.seed, index);
        let size = config.size as usize;
        let class = Class::draw(&config.geometry, dice);
        let side = size + 2 * class.margin(&config.geometry, size);
        let mut base = Base::draw(self, config, side, dice);
        if dice.chance(config.shared_mark_share) && base.twin.is_none() {
            share_mark(self, config, &mut base, dice);
        }
        let mut mask = vec![0; side * side];
        let mut changed = base.canvas.clone();
        let mut kind = ChangeKind::None;
        if !dice.chance(config.no_change_share) {
            let mut desk = Desk {
                library: self,
                base: &mut base,
                changed: &mut changed,
                mask: &mut mask,
                size,
            };
            kind = change(&mut desk, config, dice);
        }
        let views = [0, 1].map(|_| View::draw(&config.geometry, class, size, side, dice));
        let swapped = dice.chance(0.5);
        let [prompt_view, query_view] = &views;
        let (good, other_place) = match base.twin.take() {
            Some(Twin::Crop(picture)) => (picture, true),
            Some(Twin::Instance(picture)) => (picture, false),
            None => (base.canvas.clone(), false),
        };
        let label = query_view.render_mask(&mask, side, (!other_place).then_some(prompt_view));
        let keep = label.iter().filter(|m| **m > 0).count() >= LABEL_MIN;
        let (label, kind) =
            if keep { (label, kind) } else { (vec![0; size * size], ChangeKind::None) };
        // A change that left the common view must not remain in the picture unlabelled.
        let shown = if keep { changed } else { base.canvas.clone() };
        // On another place of a surface only the query can be wrong: there is nothing to miss.
        let (mut on_prompt, mut on_query) =
            if swapped && !other_place { (shown, good) } else { (good, shown) };
        if let Some(lit) = config.lamp.draw(base.kind, dice) {
            let slopes = lit.slopes(&base.canvas);
            lit.light(&mut on_prompt, &slopes, Side::Prompt);
            lit.light(&mut on_query, &slopes, Side::Query);
        }
        let dice_of_gloss = &mut Dice::new(config.seed ^ GLOSS_STREAM, index);
        if let Some(mirror) = config.gloss.draw(base.kind, dice_of_gloss) {
            let slopes = mirror.slopes(&base.canvas);
            mirror.shine(&mut on_prompt, &slopes, Side::Prompt);
            mirror.shine(&mut on_query, &slopes, Side::Query);
        }
        let mut prompt = prompt_view.render(&on_prompt);
        let mut query = query_view.render(&on_query);
        expose_both(config, &base, (&mut prompt, &mut query), dice);
        Pair { prompt, query, mask: label, kind, base: base.kind }
    }

    /// One augmented single picture (RGB8, `size * size * 3`): a random crop of half to the whole short
    /// side, flipped at random, without any change of light. Numbered like [`Library::pair`].
    pub fn view(&self, config: &SynthConfig, index: u64) -> Vec<u8> {
        // Another seed, so that views and pairs of one index have nothing in common.
        let dice = &mut Dice::new(config.seed ^ 0x5649_4557, index);
        let size = config.size as usize;
        if dice.chance(0.5 * config.industrial_share) {
            return industrial::draw(self, config, size, dice).canvas.px;
        }
        let number = dice.below(self.count());
        let picture = self
            .scenes
            .get(number)
            .map_or_else(|| &self.textures[number - self.scenes.len()], |s| &s.picture);
        let map = crop_map(picture, size, 0.5, dice);
        picture.resample(&map, size).px
    }
}

/// One to `changes_max` changes; gives the kind with the largest label.
pub(super) fn change(desk: &mut Desk<'_>, config: &SynthConfig, dice: &mut Dice) -> ChangeKind {
    const TRIES: usize = 8;
    let count = 1 + dice.weighted(&[0.55, 0.22, 0.13, 0.10]);
    let count = count.min(config.changes_max.max(1));
    let mut kind = changes::draw_kind(desk.base, &config.without, dice);
    let mut areas: Vec<(usize, ChangeKind)> = Vec::new();
    for _ in 0..TRIES {
        if areas.len() >= count {
            break;
        }
        let area = changes::apply(kind, desk, dice);
        if area > 0 {
            areas.push((area, kind));
        }
        if area == 0 || dice.chance(0.5) {
            kind = changes::draw_kind(desk.base, &config.without, dice);
        }
    }
    areas.iter().max_by_key(|(area, _)| *area).map_or(ChangeKind::None, |(_, kind)| *kind)
}

/// Draws a change into the base itself: both sides have it.
fn share_mark(library: &Library, config: &SynthConfig, base: &mut Base, dice: &mut Dice) {
    let mut changed = base.canvas.clone();
    let mut mask = vec![0; changed.w * changed.h];
    let kind = changes::draw_kind(base, &config.without, dice);
    let size = config.size as usize;
    let mut desk = Desk { library, base, changed: &mut changed, mask: &mut mask, size };
    changes::apply(kind, &mut desk, dice);
    base.canvas = changed;
}

/// Each side's camera.
fn expose_both(
    config: &SynthConfig,
    base: &Base,
    (prompt, query): (&mut [u8], &mut [u8]),
    dice: &mut Dice,
) {
    let size = config.size as usize;
    let still = config.light == Light::still();
    let pivot = base.drawing.as_ref().and_then(Drawing::pivot).filter(|_| !still);
    let scan = pivot.filter(|_| dice.chance(0.6));
    let (steep, levels) = (dice.log_range(1.5, 8.0), *dice.pick(&[0, 0, 2, 16]));
    let mut ink = || scan.map(|pivot| Ink { steep, middle: pivot + dice.around(0.1), levels });
    let inks = [ink(), ink()];
    if scan.is_some() && dice.chance(0.5) {
        // A line scan is noisy before it is thresholded: the edges of both sides are ragged.
        let scanner = Light { blur: 1.0, noise: dice.range(4.0, 14.0), ..Light::still() };
        for side in [&mut *prompt, &mut *query] {
            let even = Tone::draw(&Light::still(), None, dice);
            let sensor = Sensor::draw(&scanner, dice);
            light::expose(side, size, &even, &sensor, dice.bits());
        }
    }
    let same = dice.chance(config.light.same_share);
    let first = Tone::draw(&config.light, inks[0], dice);
    let second = if same { first.clone() } else { Tone::draw(&config.light, inks[1], dice) };
    for (side, tone) in [(prompt, first), (query, second)] {
        let sensor = Sensor::draw(&config.light, dice);
        light::expose(side, size, &tone, &sensor, dice.bits());
    }
}

#[cfg(test)]
mod tests {
    use super::super::label::VISIBLE;
    use super::super::testing;
    use super::*;

    fn library() -> Library {
        testing::library(&[vec![(40.0, 40.0), (80.0, 45.0), (70.0, 90.0)]])
    }

    fn config(size: u32) -> SynthConfig {
        SynthConfig { size, seed: 11, ..SynthConfig::default() }
    }

    #[test]
    fn same_seed_same_bytes_on_any_number_of_threads() {
        let (library, config) = (library(), config(64));
        let alone: Vec<Pair> = (0..24).map(|i| library.pair(&config, i)).collect();
        let work = &|k: u64| {
            (k * 6..k * 6 + 6).rev().map(|i| library.pair(&config, i)).collect::<Vec<_>>()
        };
        let together: Vec<Pair> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..4).map(|k| scope.spawn(move || work(k))).collect();
            handles.into_iter().flat_map(|h| h.join().expect("worker").into_iter().rev()).collect()
        });
        assert!(alone == together);
        let other = SynthConfig { seed: 12, ..config };
        assert!(alone[0] != library.pair(&other, 0));
        assert_eq!(library.view(&other, 5), library.view(&other, 5));
    }

    #[test]
    fn what_is_seen_close_is_a_quarter_of_a_pair_of_twice_the_size() {
        let library = library();
        let close = SynthConfig { close_share: 1.0, ..config(64) };
        let whole = SynthConfig { close_share: 0.0, size: 128, ..close.clone() };
        let mut empty = 0;
        for index in 0..40 {
            let (near, all) = (library.pair(&close, index), library.pair(&whole, index));
            assert_eq!((near.mask.len(), near.query.len()), (64 * 64, 3 * 64 * 64));
            let shown = |x: usize, y: usize| {
                (0..64).all(|row| {
                    let at = (y + row) * 128 + x;
                    near.mask[row * 64..][..64] == all.mask[at..at + 64]
                        && near.query[row * 192..][..192] == all.query[3 * at..3 * (at + 64)]
                        && near.prompt[row * 192..][..192] == all.prompt[3 * at..3 * (at + 64)]
                })
            };
            assert!([(0, 0), (64, 0), (0, 64), (64, 64)].into_iter().any(|(x, y)| shown(x, y)));
            assert_eq!(near.mask.iter().all(|m| *m == 0), near.kind == ChangeKind::None);
            empty += usize::from(near.kind == ChangeKind::None && all.kind != ChangeKind::None);
        }
        assert!((1..20).contains(&empty), "{empty} of 40 look beside the change");
        // The others are what they were.
        let half = SynthConfig { close_share: 0.5, ..config(64) };
        let none = SynthConfig { close_share: 0.0, ..config(64) };
        let same = (0..40).filter(|i| library.pair(&half, *i) == library.pair(&none, *i)).count();
        assert!((10..30).contains(&same), "{same} of 40 are whole");
    }

    #[test]
    fn outside_the_mask_still_sides_agree() {
        let library = library();
        let still = SynthConfig {
            geometry: Geometry::still(),
            light: Light::still(),
            lamp: Lamp::off(),
            gloss: Gloss::off(),
            other_place_share: 0.0,
            other_grain_share: 0.0,
            no_change_share: 0.0,
            // A quarter may hold no more than a change's faint edge.
            close_share: 0.0,
            ..config(96)
        };
        let mut changed = 0;
        for index in 0..300 {
            let pair = library.pair(&still, index);
            let differs = |i: usize| {
                (0..3).map(|c| pair.prompt[3 * i + c].abs_diff(pair.query[3 * i + c])).max()
            };
            for (i, m) in pair.mask.iter().enumerate() {
                assert!(
                    *m == 255 || differs(i) <= Some(VISIBLE),
                    "pair {index} {:?} pixel {i}",
                    pair.kind
                );
            }
            let (mut sum, mut count) = (0.0, 0);
            for i in (0..pair.mask.len()).filter(|i| pair.mask[*i] > 0) {
                sum += differs(i).map_or(0.0, f32::from);
                count += 1;
            }
            assert!(
                count == 0 || sum / count as f32 > VISIBLE as f32,
                "pair {index} {:?}: faint",
                pair.kind
            );
            assert_eq!(pair.kind == ChangeKind::None, count == 0);
            changed += usize::from(count > 0);
        }
        assert!(changed > 200, "{changed}");
    }

    #[test]
    fn a_recipe_of_pairs_is_read_and_told_apart() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("pairs.toml");
        let read = |text: &str| {
            fs::write(&path, text).expect("write");
            SynthConfig::read(Some(&path))
        };
        let text = "no_change_share = 0.5\nwithout = [\"stain\"]\n[lamp]\nshare = 0.0\n";
        let some = read(text).expect("read");
        assert_eq!((some.no_change_share, some.lamp.share), (0.5, 0.0));
        assert_eq!(some.without, [ChangeKind::Stain]);
        assert_eq!(some.light, Light::default());
        let whole = toml::to_string(&SynthConfig::default()).expect("write");
        assert_eq!(read(&whole).expect("read back"), SynthConfig::default());
        for wrong in ["size = 64", "lamps = 1", "[light]\nhaze = 1.0"] {
            let error = format!("{:#}", read(wrong).expect_err(wrong));
            assert!(error.contains("pairs.toml"), "{error}");
        }
        assert_eq!(SynthConfig::read(None).expect("default"), SynthConfig::default());
    }

    #[test]
    fn no_change_pairs_have_an_empty_mask() {
        let library = library();
        let calm = SynthConfig { no_change_share: 1.0, ..config(64) };
        for index in 0..40 {
            let pair = library.pair(&calm, index);
            assert_eq!(pair.kind, ChangeKind::None);
            assert!(pair.mask.iter().all(|m| *m == 0));
        }
    }

    #[test]
    fn masks_are_hard_and_sizes_hold() {
        let library = library();
        for size in [32, 64, 128, 272] {
            let config = config(size);
            config.check().expect("allowed");
            for index in 0..12 {
                let pair = library.pair(&config, index);
                let count = (size * size) as usize;
                assert_eq!(
                    (pair.prompt.len(), pair.query.len(), pair.mask.len()),
                    (3 * count, 3 * count, count)
                );
                assert!(pair.mask.iter().all(|m| *m == 0 || *m == 255));
                assert_eq!(library.view(&config, index).len(), 3 * count);
            }
        }
        for size in [0, 16, 100, 2048] {
            assert!(config(size).check().is_err(), "{size}");
        }
    }

    #[test]
    fn with_all_but_one_kind_left_out_only_that_one_appears() {
        let library = library();
        for only in changes::DRAWN {
            let without: Vec<ChangeKind> =
                changes::DRAWN.into_iter().filter(|kind| *kind != only).collect();
            let config = SynthConfig { without, ..config(SIZE_MIN) };
            config.check().expect("one is left");
            let kinds: Vec<ChangeKind> = (0..200).map(|i| library.pair(&config, i).kind).collect();
            assert!(kinds.iter().all(|k| [ChangeKind::None, only].contains(k)), "{kinds:?}");
            assert!(kinds.contains(&only), "{only:?} never appears");
        }
        let none = SynthConfig { without: changes::DRAWN.to_vec(), ..config(64) };
        assert!(none.check().is_err());
    }

    #[test]
    fn every_kind_appears() {
        let library = library();
        let config = config(64);
        let mut kinds: Vec<ChangeKind> = (0..1500).map(|i| library.pair(&config, i).kind).collect();
        kinds.sort();
        kinds.dedup();
        assert_eq!(kinds.len(), 17, "{kinds:?}");
    }
}
