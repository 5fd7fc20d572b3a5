use super::*;
use crate::testing::part_at as part;
use proptest::prelude::*;

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any turn and a shift, in poorer light: within half a degree, a pixel in 256 and a
    /// hundredth of the size.
    #[test]
    fn a_part_is_found_wherever_it_lies(
        degrees in -180.0..180.0f64, scale in 0.93..1.08f64, x in -0.08..0.08f64, y in -0.08..0.08f64,
        wide in any::<bool>(),
    ) {
        let wanted = Pose { rotation: degrees.to_radians(), scale, shift: [x, y] };
        let (w, h) = if wide { (256, 200) } else { (240, 240) };
        let found = located(w, h, &wanted, Registration::Any);
        let (turn, shift, size) = off(&found, &wanted);
        prop_assert!(turn < 0.5 && shift < 0.004 && size < 0.01, "{wanted:?} found at {found:?}");
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
