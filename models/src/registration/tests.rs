use super::*;
use crate::testing::part_at as part;

fn located(width: u32, height: u32, pose: &Pose, how: Registration) -> Pose {
    let reference = part(width, height, &Pose::IDENTITY, 1.0);
    let mut locator = Locator::new(&reference, reference.bounds(), how).unwrap();
    let query = part(width, height, pose, 0.8);
    locator.find(&query, query.bounds())
}

fn off(found: &Pose, wanted: &Pose) -> (f64, f64, f64) {
    let turn = found.rotation - wanted.rotation;
    let shift = (found.shift[0] - wanted.shift[0]).hypot(found.shift[1] - wanted.shift[1]);
    (turn.sin().atan2(turn.cos()).abs().to_degrees(), shift, (found.scale - wanted.scale).abs())
}

/// Every way up, with a shift and a little nearer or farther, in poorer light: within a degree, one and a
/// half pixels in 256 and one and a half hundredths of the size.
#[test]
fn a_part_is_found_wherever_it_lies() {
    let part_of = |i: u32, factor: f64| (f64::from(i) * factor).fract();
    for i in 0..24 {
        let wanted = Pose {
            rotation: (360.0 * part_of(i, 0.381_966) - 180.0).to_radians(),
            scale: 0.97 + 0.06 * part_of(i, 0.618_034),
            shift: [0.754_878, 0.569_840].map(|factor| 0.16 * part_of(i, factor) - 0.08),
        };
        let (w, h) = if i % 2 == 0 { (256, 200) } else { (240, 240) };
        let found = located(w, h, &wanted, Registration::Any);
        let (turn, shift, size) = off(&found, &wanted);
        assert!(turn < 1.0 && shift < 0.006 && size < 0.015, "{wanted:?} found at {found:?}");
    }
}

#[test]
fn a_part_that_must_not_turn_is_not_turned() {
    let small = Pose { rotation: 0.1, shift: [0.03, -0.02], ..Pose::IDENTITY };
    let (turn, shift, _) = off(&located(240, 240, &small, Registration::Small), &small);
    assert!(turn < 0.5 && shift < 0.002, "{turn} {shift}");
    let upside_down = Pose { rotation: 3.0, ..Pose::IDENTITY };
    assert_eq!(located(240, 240, &upside_down, Registration::Small), Pose::IDENTITY);
}

#[test]
fn what_has_no_place_stays_where_it_is() {
    let reference = part(240, 240, &Pose::IDENTITY, 1.0);
    let mut locator = Locator::new(&reference, reference.bounds(), Registration::Any).unwrap();
    let noise = |seed: u32| {
        let value = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 24) as u8;
        Picture::from_rgb8(240, 240, (0..240 * 240 * 3).map(value).collect()).unwrap()
    };
    let plain = Picture::from_rgb8(240, 240, vec![128; 240 * 240 * 3]).unwrap();
    for query in [noise(1), plain.clone()] {
        assert_eq!(locator.find(&query, query.bounds()), Pose::IDENTITY);
    }
    let mut blind = Locator::new(&plain, plain.bounds(), Registration::Any).unwrap();
    assert_eq!(blind.find(&reference, reference.bounds()), Pose::IDENTITY);
    assert!(Locator::new(&plain, plain.bounds(), Registration::Off).is_none());
}

#[test]
fn what_a_fixture_leaves_is_left() {
    let little = Pose { rotation: 0.005, shift: [0.004, -0.003], ..Pose::IDENTITY };
    assert_eq!(located(240, 240, &little, Registration::Auto), Pose::IDENTITY);
    assert_ne!(located(240, 240, &little, Registration::Any), Pose::IDENTITY);
    let turned = Pose { rotation: 2.0, shift: [0.03, 0.02], ..Pose::IDENTITY };
    let (turn, shift, _) = off(&located(240, 240, &turned, Registration::Auto), &turned);
    assert!(turn < 1.0 && shift < 0.006, "{turn} {shift}");
}
