use super::*;
use proptest::prelude::*;

fn boxed(x1: f32, y1: f32, x2: f32, y2: f32, kind: &str) -> TypedBox {
    TypedBox { x1, y1, x2, y2, kind: kind.into() }
}

/// A 16 px wide map with filled rectangles (x, y, w, h, score).
fn map(rects: &[(usize, usize, usize, usize, f32)]) -> QuantisedMap {
    let mut scores = vec![0.0f32; 256];
    for &(x, y, w, h, score) in rects {
        for row in y..y + h {
            scores[row * 16 + x..row * 16 + x + w].fill(score);
        }
    }
    QuantisedMap::new(&scores).unwrap()
}

fn at(sweep: &BoxSweep, score: f32) -> (u32, Vec<bool>) {
    let bin = (score * 65535.0) as u16;
    let step = thresholds().iter().rposition(|&t| t >= bin).unwrap();
    (sweep.false_regions[step], sweep.hits.iter().map(|h| h[step]).collect())
}

#[test]
fn grid_falls_and_spans_the_range() {
    let grid = thresholds();
    assert!(grid.windows(2).all(|w| w[0] > w[1]));
    assert_eq!((grid[0], grid[grid.len() - 1]), (65535, 1));
    assert!(grid.len() > 900);
}

#[test]
fn hits_and_false_regions_by_hand() {
    let boxes = [boxed(1.0, 1.0, 4.0, 4.0, "open"), boxed(10.0, 10.0, 14.0, 14.0, "short")];
    let scores = map(&[(1, 1, 2, 2, 0.9), (8, 2, 3, 3, 0.7), (11, 11, 2, 2, 0.5)]);
    let sweep = BoxSweep::new(&scores, 16, &boxes).unwrap();
    assert_eq!(at(&sweep, 0.95), (0, vec![false, false]));
    assert_eq!(at(&sweep, 0.8), (0, vec![true, false]));
    assert_eq!(at(&sweep, 0.6), (1, vec![true, false]));
    assert_eq!(at(&sweep, 0.4), (1, vec![true, true]));
}

#[test]
fn a_region_that_grows_out_of_its_box_becomes_false() {
    let boxes = [boxed(0.0, 0.0, 3.0, 3.0, "open")];
    let scores = map(&[(0, 0, 16, 2, 0.3), (0, 0, 2, 2, 0.9)]);
    let sweep = BoxSweep::new(&scores, 16, &boxes).unwrap();
    assert_eq!(at(&sweep, 0.8), (0, vec![true]));
    assert_eq!(at(&sweep, 0.2), (1, vec![false]));
}

#[test]
fn specks_are_ignored() {
    let boxes = [boxed(0.0, 0.0, 4.0, 4.0, "open")];
    let sweep = BoxSweep::new(&map(&[(8, 8, 3, 1, 0.9)]), 16, &boxes).unwrap();
    assert_eq!(at(&sweep, 0.5), (0, vec![false]));
}

#[test]
fn overlapping_boxes_are_both_hit() {
    let boxes = [boxed(0.0, 0.0, 8.0, 8.0, "open"), boxed(2.0, 2.0, 6.0, 6.0, "spur")];
    let sweep = BoxSweep::new(&map(&[(3, 3, 2, 2, 0.9)]), 16, &boxes).unwrap();
    assert_eq!(at(&sweep, 0.5), (0, vec![true, true]));
    let all = HitCurve::of([&sweep], None).unwrap();
    assert_eq!(all.at(0.5), 1.0);
    assert_eq!(HitCurve::of([&sweep], Some("spur")).unwrap().at(0.5), 1.0);
    assert_eq!(HitCurve::of([&sweep], Some("pinhole")), Err(MetricError::NoBoxes));
}

#[test]
fn the_rate_is_interpolated_at_the_crossing() {
    let curve = HitCurve {
        false_per_picture: vec![0.0, 0.25, 0.75, 3.0],
        hit_rate: vec![0.1, 0.4, 0.8, 1.0],
    };
    assert!((curve.at(0.5) - 0.6).abs() < 1e-12);
    assert_eq!(curve.at(10.0), 1.0);
    assert_eq!(curve.threshold_at(0.5), Some(1));
}

#[test]
fn a_curve_that_never_gets_there_gives_its_best_point() {
    let curve = HitCurve { false_per_picture: vec![0.0, 0.1], hit_rate: vec![0.3, 0.2] };
    assert_eq!(curve.at(0.5), 0.3);
}

#[test]
fn odd_sizes_are_errors() {
    let scores = QuantisedMap { values: vec![0; 10] };
    assert!(BoxSweep::new(&scores, 3, &[]).is_err());
    assert!(BoxSweep::new(&scores, 0, &[]).is_err());
}

/// The definition, written out: label the pixels above one threshold and look at each region.
fn direct(
    map: &QuantisedMap,
    width: usize,
    threshold: u16,
    boxes: &[TypedBox],
) -> (u32, Vec<bool>) {
    let mask: Vec<bool> = map.values.iter().map(|&v| v >= threshold).collect();
    let labels = super::super::Labels::of_mask(width, mask.len() / width, &mask);
    let (mut wrong, mut hits) = (0, vec![false; boxes.len()]);
    for (region, &size) in labels.sizes.iter().enumerate() {
        if size < MIN_REGION_PX {
            continue;
        }
        let (mut x, mut y) = (0.0, 0.0);
        for (pixel, &label) in labels.of_pixel.iter().enumerate() {
            if label as usize == region + 1 {
                x += (pixel % width) as f64 + 0.5;
                y += (pixel / width) as f64 + 0.5;
            }
        }
        let (x, y) = (x / f64::from(size), y / f64::from(size));
        let inside: Vec<bool> = boxes.iter().map(|b| b.contains(x, y)).collect();
        wrong += u32::from(!inside.contains(&true));
        hits.iter_mut().zip(inside).for_each(|(h, i)| *h |= i);
    }
    (wrong, hits)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_sweep_agrees_with_labelling_every_threshold(
        levels in prop::collection::vec(0u16..9, 144),
        corner in (0u8..9, 0u8..9),
    ) {
        let scores = QuantisedMap { values: levels.iter().map(|l| l * 8000).collect() };
        let (x, y) = (f32::from(corner.0), f32::from(corner.1));
        let boxes = [boxed(x, y, x + 4.0, y + 3.0, "a"), boxed(2.0, 2.0, 7.0, 9.0, "b")];
        let sweep = BoxSweep::new(&scores, 12, &boxes).unwrap();
        for step in (0..thresholds().len()).step_by(7) {
            let (wrong, hits) = direct(&scores, 12, thresholds()[step], &boxes);
            prop_assert_eq!(sweep.false_regions[step], wrong);
            for (of_box, hit) in sweep.hits.iter().zip(hits) {
                prop_assert_eq!(of_box[step], hit);
            }
        }
    }
}
