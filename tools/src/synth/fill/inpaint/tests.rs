//! Pictures whose hole has a known content.

use super::super::super::shapes;
use super::super::membrane::membrane;
use super::*;

const SIDE: usize = 96;

/// Rings on a checkered cloth, with a period of `period` pixels.
fn cloth(period: usize) -> Rgb {
    let mut picture = Rgb::plain(SIDE, SIDE, [0; 3]);
    for i in 0..SIDE * SIDE {
        let (x, y) = (i % SIDE, i / SIDE);
        let check = if (2 * x / period + 2 * y / period).is_multiple_of(2) { 60.0 } else { 170.0 };
        let (u, v) = ((x % period) as f32, (y % period) as f32);
        let ring = (u - 0.5 * period as f32).hypot(v - 0.5 * period as f32);
        picture.set(x, y, [check, 10.0 * ring, 200.0 - 0.5 * check]);
    }
    picture
}

/// The cloth with a disc of plain magenta on it.
fn covered(picture: &Rgb, disc: &Stencil) -> Rgb {
    let mut covered = picture.clone();
    disc.blend(&mut covered, |_, _, _| [255.0, 0.0, 255.0]);
    covered
}

/// Mean absolute error of colours over the stencil, in levels.
fn error(truth: &Rgb, stencil: &Stencil, colours: &[[f32; 3]]) -> f32 {
    let (mut sum, mut count) = (0.0, 0.0);
    for (i, colour) in colours.iter().enumerate().filter(|(i, _)| stencil.a[*i] > 0) {
        let want = truth.at(stencil.x + i % stencil.w, stencil.y + i / stencil.w);
        for c in 0..3 {
            sum += (colour[c] - f32::from(want[c])).abs() / 3.0;
        }
        count += 1.0;
    }
    sum / count
}

#[test]
fn a_periodic_texture_is_restored_far_better_than_by_a_membrane() {
    for (period, radius) in [(12, 14.0), (9, 8.0), (16, 17.0)] {
        let truth = cloth(period);
        let disc = shapes::disc(SIDE, (45.0, 50.0), radius, 1.0).expect("inside");
        let picture = covered(&truth, &disc);
        let smooth = error(&truth, &disc, &membrane(&picture, &disc));
        let colours = inpaint(&picture, &disc, None, &mut Dice::new(1, 1)).expect("sources");
        let patched = error(&truth, &disc, &colours);
        assert!(patched < 0.2 * smooth, "period {period}: {patched} against {smooth}");
    }
}

#[test]
fn an_edge_goes_on_through_the_hole() {
    let mut truth = Rgb::plain(SIDE, SIDE, [200; 3]);
    for i in 0..SIDE * SIDE {
        let (x, y) = (i % SIDE, i / SIDE);
        if 2 * x + y < 140 {
            truth.set(x, y, [40.0; 3]);
        }
    }
    let disc = shapes::disc(SIDE, (46.0, 48.0), 10.0, 1.0).expect("inside");
    let picture = covered(&truth, &disc);
    let colours = inpaint(&picture, &disc, None, &mut Dice::new(2, 1)).expect("sources");
    let patched = error(&truth, &disc, &colours);
    assert!(patched < 6.0, "{patched}");
}

#[test]
fn the_same_dice_give_the_same_fill_and_nothing_of_the_thing_is_left() {
    let truth = cloth(12);
    // At the corner: half of the hole's rim is the picture's border.
    let disc = shapes::disc(SIDE, (4.0, SIDE as f32 - 6.0), 14.0, 1.0).expect("inside");
    let picture = covered(&truth, &disc);
    let fill = |seed| inpaint(&picture, &disc, None, &mut Dice::new(seed, 1)).expect("sources");
    let colours = fill(3);
    assert!(colours == fill(3));
    for (i, colour) in colours.iter().enumerate().filter(|(i, _)| disc.a[*i] > 0) {
        let magenta = colour[0] > 220.0 && colour[2] > 220.0;
        assert!(!magenta, "{colour:?} at {i}");
    }
}

#[test]
fn what_must_be_avoided_is_not_copied() {
    // A red thing on a grey ground, a piece of its right edge broken off.
    let mut picture = Rgb::plain(SIDE, SIDE, [120; 3]);
    let thing = shapes::disc(SIDE, (48.0, 48.0), 20.0, 1.0).expect("inside");
    thing.blend(&mut picture, |_, _, _| [230.0, 20.0, 20.0]);
    let piece = shapes::disc(SIDE, (66.0, 48.0), 8.0, 1.0)
        .expect("inside")
        .times(|x, y| f32::from(thing.at(x as usize, y as usize)) / 255.0);
    let fill = |avoid| inpaint(&picture, &piece, avoid, &mut Dice::new(4, 1)).expect("sources");
    let red = |colours: &[[f32; 3]]| {
        let inside = colours.iter().enumerate().filter(|(i, _)| piece.a[*i] > 0);
        let count = inside.clone().count() as f32;
        inside.filter(|(_, c)| c[0] > c[1] + 60.0).count() as f32 / count
    };
    let ground = red(&fill(Some(&thing)));
    assert!(ground < 0.05, "{ground}");
    assert!(red(&fill(None)) > 0.5);
}

#[test]
fn a_hole_over_nearly_everything_has_no_source_or_some() {
    let picture = cloth(12);
    for radius in [40.0, 50.0, 58.0, 70.0, 200.0] {
        let disc = shapes::disc(SIDE, (48.0, 48.0), radius, 1.0).expect("inside");
        if let Some(colours) = inpaint(&picture, &disc, None, &mut Dice::new(5, 1)) {
            assert_eq!(colours.len(), disc.w * disc.h);
            assert!(colours.iter().flatten().all(|v| v.is_finite()));
        }
    }
    // Narrower than a patch.
    let strip = Rgb::plain(SIDE, 5, [9; 3]);
    let hole = Stencil { x: 40, y: 1, w: 4, h: 3, a: vec![255; 12] };
    assert!(inpaint(&strip, &hole, None, &mut Dice::new(6, 1)).is_none());
}
