//! The smooth surface that meets the known pixels around a hole.

use super::super::raster::Rgb;
use super::super::shapes::Stencil;

/// A smooth surface over the stencil's box that meets the uncovered pixels.
pub fn membrane(picture: &Rgb, stencil: &Stencil) -> Vec<[f32; 3]> {
    let known = (0..stencil.w * stencil.h).map(|i| {
        let (x, y) = (stencil.x + i % stencil.w, stencil.y + i / stencil.w);
        let p = picture.at(x, y).map(f32::from);
        let inside = stencil.a[i] > 0;
        if inside { [0.0; 4] } else { [p[0], p[1], p[2], 1.0] }
    });
    let mut cells: Vec<[f32; 4]> = known.collect();
    if cells.iter().all(|c| c[3] <= 0.0) {
        let mean = picture.mean(
            stencil.x.saturating_sub(2),
            stencil.y.saturating_sub(2),
            stencil.w + 4,
            stencil.h + 4,
        );
        return vec![mean; cells.len()];
    }
    pull_push(&mut cells, stencil.w, stencil.h);
    cells.iter().map(|c| [c[0], c[1], c[2]]).collect()
}

/// Fills cells of weight 0 from a coarser version of the whole. A cell's last number is its weight,
/// 0 or 1, the others are what is filled.
pub fn pull_push<const N: usize>(cells: &mut [[f32; N]], w: usize, h: usize) {
    let weight = N - 1;
    if w * h <= 1 || cells.iter().all(|c| c[weight] > 0.0) {
        return;
    }
    let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
    let mut coarse = vec![[0.0_f32; N]; cw * ch];
    for (i, cell) in cells.iter().enumerate().filter(|(_, c)| c[weight] > 0.0) {
        let to = &mut coarse[(i / w / 2) * cw + (i % w) / 2];
        for c in 0..weight {
            to[c] += cell[c];
        }
        to[weight] += 1.0;
    }
    for cell in coarse.iter_mut().filter(|c| c[weight] > 0.0) {
        let count = cell[weight];
        *cell = cell.map(|v| v / count);
    }
    pull_push(&mut coarse, cw, ch);
    for (i, cell) in cells.iter_mut().enumerate() {
        if cell[weight] > 0.0 {
            continue;
        }
        // Between coarse cell centres, linearly.
        let (fx, fy) = ((i % w) as f32 * 0.5 - 0.25, (i / w) as f32 * 0.5 - 0.25);
        let (x0, y0) = (fx.max(0.0) as usize, fy.max(0.0) as usize);
        let (x1, y1) = ((x0 + 1).min(cw - 1), (y0 + 1).min(ch - 1));
        let (tx, ty) = ((fx - x0 as f32).max(0.0), (fy - y0 as f32).max(0.0));
        for c in 0..weight {
            let top = coarse[y0 * cw + x0][c] * (1.0 - tx) + coarse[y0 * cw + x1][c] * tx;
            let bottom = coarse[y1 * cw + x0][c] * (1.0 - tx) + coarse[y1 * cw + x1][c] * tx;
            cell[c] = top * (1.0 - ty) + bottom * ty;
        }
        cell[weight] = 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::shapes;
    use super::*;

    #[test]
    fn membrane_continues_a_ramp() {
        let mut ramp = Rgb::plain(40, 40, [0; 3]);
        for y in 0..40 {
            for x in 0..40 {
                ramp.set(x, y, [(x * 5) as f32; 3]);
            }
        }
        let stencil = shapes::disc(40, (20.0, 20.0), 6.0, 1.0).expect("inside");
        let smooth = membrane(&ramp, &stencil);
        for (i, colour) in smooth.iter().enumerate() {
            let want = ((stencil.x + i % stencil.w) * 5) as f32;
            assert!((colour[0] - want).abs() < 20.0, "{} against {want}", colour[0]);
        }
    }
}
