//! Which pixels of a drawn change deserve the label, and undoing what nobody could see.

use super::raster::Rgb;
use super::shapes::{SOLID, Stencil};

/// Levels (of 255) by which a pixel must differ to be called changed. Below it, noise and light of
/// the two sides hide a difference from a careful human, too.
pub const VISIBLE: u8 = 8;
/// Mean difference that a whole change must have, else it is undone.
const VISIBLE_MEAN: f32 = 11.0;
/// How much of the original's unrest a change must outdo on top: texture hides what is fainter.
const MASKING: f32 = 0.25;
/// Fewest labelled pixels of a change.
pub const LABEL_MIN: usize = 4;

/// Compares the drawn side with its original inside the stencil, writes the label, and undoes what
/// is invisible. Gives the number of pixels labelled by this change (0: undone as a whole).
///
/// After it, pixels outside `mask` differ by at most [`VISIBLE`].
pub fn settle(original: &Rgb, changed: &mut Rgb, mask: &mut [u8], stencil: &Stencil) -> usize {
    let side = original.w;
    let (w, h) = (stencil.w, stencil.h);
    let offset = |i: usize| (stencil.y + i / w) * side + stencil.x + i % w;
    let difference: Vec<u8> = (0..w * h)
        .map(|i| {
            let o = offset(i) * 3;
            (0..3).map(|c| original.px[o + c].abs_diff(changed.px[o + c])).max().unwrap_or(0)
        })
        .collect();
    let visible: Vec<bool> =
        difference.iter().zip(&stencil.a).map(|(d, a)| *a > 0 && *d > VISIBLE).collect();
    let solid: Vec<bool> = stencil.a.iter().map(|a| *a >= SOLID).collect();
    let seen = visible.iter().filter(|v| **v).count();
    let whole = solid.iter().filter(|s| **s).count();
    let label: Vec<bool> = if 2 * seen >= whole {
        visible.iter().zip(&solid).map(|(v, s)| *v || *s).collect()
    } else {
        dense(&visible, &solid, w, h)
    };
    let count = label.iter().filter(|l| **l).count();
    let sum: f32 = label.iter().zip(&difference).filter(|(l, _)| **l).map(|(_, d)| *d as f32).sum();
    let needed = VISIBLE_MEAN + MASKING * unrest(original, stencil, &label);
    let keep = count >= LABEL_MIN && sum >= needed * count as f32;
    for i in 0..w * h {
        let o = offset(i);
        if keep && label[i] {
            mask[o] = 255;
        } else if mask[o] == 0 && (difference[i] > VISIBLE || !keep) {
            changed.px[o * 3..o * 3 + 3].copy_from_slice(&original.px[o * 3..o * 3 + 3]);
        }
    }
    if keep { count } else { 0 }
}

/// Pixels of the shape in whose neighbourhood enough of the shape is visibly changed: turns speckle
/// into solid patches and drops lone specks.
fn dense(visible: &[bool], solid: &[bool], w: usize, h: usize) -> Vec<bool> {
    const REACH: usize = 2;
    let sums = |flags: &[bool]| {
        let mut table = vec![0_u32; (w + 1) * (h + 1)];
        for y in 0..h {
            let mut row = 0;
            for x in 0..w {
                row += u32::from(flags[y * w + x]);
                table[(y + 1) * (w + 1) + x + 1] = table[y * (w + 1) + x + 1] + row;
            }
        }
        table
    };
    let (seen, shape) = (sums(visible), sums(solid));
    let window = |table: &[u32], x: usize, y: usize| {
        let (x0, y0) = (x.saturating_sub(REACH), y.saturating_sub(REACH));
        let (x1, y1) = ((x + REACH + 1).min(w), (y + REACH + 1).min(h));
        let at = |x: usize, y: usize| table[y * (w + 1) + x];
        at(x1, y1) + at(x0, y0) - at(x0, y1) - at(x1, y0)
    };
    (0..w * h)
        .map(|i| {
            let (x, y) = (i % w, i / w);
            (solid[i] || visible[i]) && 5 * window(&seen, x, y) >= 2 * window(&shape, x, y).max(1)
        })
        .collect()
}

/// Mean step between pixels two apart where the label is: how busy the original is there.
fn unrest(original: &Rgb, stencil: &Stencil, label: &[bool]) -> f32 {
    let (mut sum, mut count) = (0.0, 0.0);
    for (i, _) in label.iter().enumerate().filter(|(_, l)| **l) {
        let (x, y) = (stencil.x + i % stencil.w, stencil.y + i / stencil.w);
        let here = original.at(x, y)[1];
        let right = original.at((x + 2).min(original.w - 1), y)[1];
        let below = original.at(x, (y + 2).min(original.h - 1))[1];
        sum += 0.5 * (f32::from(here.abs_diff(right)) + f32::from(here.abs_diff(below)));
        count += 1.0;
    }
    sum / f32::max(count, 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::shapes;
    use super::*;

    #[test]
    fn settle_labels_the_visible_and_undoes_the_invisible() {
        let original = Rgb::plain(32, 32, [100; 3]);
        let stencil = shapes::disc(32, (16.0, 16.0), 6.0, 1.0).expect("inside");
        let mut mask = vec![0; 32 * 32];
        let mut faint = original.clone();
        stencil.blend(&mut faint, |_, _, old| old.map(|v| v + 5.0));
        assert_eq!(settle(&original, &mut faint, &mut mask, &stencil), 0);
        assert_eq!(faint, original);
        let mut strong = original.clone();
        stencil.blend(&mut strong, |_, _, _| [200.0; 3]);
        let count = settle(&original, &mut strong, &mut mask, &stencil);
        assert!((100..150).contains(&count), "{count}");
        for (i, m) in mask.iter().enumerate() {
            assert!(*m == 255 || original.px[i * 3].abs_diff(strong.px[i * 3]) <= VISIBLE);
        }
    }

    #[test]
    fn texture_hides_what_a_plain_ground_shows() {
        let mut busy = Rgb::plain(32, 32, [100; 3]);
        for i in 0..32 * 32 {
            busy.set(
                i % 32,
                i / 32,
                [if (i % 32 / 2 + i / 64) % 2 == 0 { 40.0 } else { 160.0 }; 3],
            );
        }
        let stencil = shapes::disc(32, (16.0, 16.0), 6.0, 1.0).expect("inside");
        for (original, seen) in [(Rgb::plain(32, 32, [100; 3]), true), (busy, false)] {
            let mut changed = original.clone();
            stencil.blend(&mut changed, |_, _, old| old.map(|v| v + 16.0));
            let count = settle(&original, &mut changed, &mut vec![0; 32 * 32], &stencil);
            assert_eq!(count > 0, seen);
        }
    }
}
