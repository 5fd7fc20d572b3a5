use super::*;
use crate::student_t::PriorScale;
use crate::testing::{TINY_DIM, tiny_card};
use proptest::prelude::*;

fn card() -> ModelCard {
    let mut card = tiny_card();
    card.encode.sha256 = "0f".repeat(32);
    card
}

/// So many parts in two looks.
fn parts(count: usize, shift: f32) -> Vec<Vec<Vec<f32>>> {
    let value = |look: usize, part: usize, d: usize| {
        ((look * 7 + part * 3 + d * 5) as f32).sin() * 0.1 + shift + look as f32
    };
    let part = |look, part| (0..TINY_DIM).map(|d| value(look, part, d)).collect();
    (0..2).map(|look| (0..count).map(|p| part(look, p)).collect()).collect()
}

fn of(camera: &str, count: usize, shift: f32) -> ImagePosterior {
    let made = ImagePosterior::new(&card(), Registration::Small, camera, &parts(count, shift));
    made.expect("sound")
}

#[test]
fn it_comes_back_as_it_was_and_is_small() {
    let both = of("line-1", 10, 0.0).merge(&of("line-2", 3, 0.1)).expect("merged");
    let bytes = both.emit();
    assert_eq!(bytes.len() as u64, both.bytes());
    assert_eq!(ImagePosterior::parse(&bytes), Ok(both.clone()));
    assert_eq!(both.cameras().collect::<Vec<_>>(), [("line-1", 10), ("line-2", 3)]);
    assert_eq!(both.looks(), 2);
    both.check_fits(&card(), Registration::Small, 2).expect("fits");
}

#[test]
fn merged_is_what_one_camera_with_all_pictures_has_and_unmerged_what_it_was() {
    let (a, b) = (of("a", 4, 0.0), of("b", 3, 0.3));
    let both = a.merge(&b).expect("merged");
    let scale = PriorScale::Diagonal(vec![0.2; TINY_DIM]);
    let nu = TINY_DIM as f64 + 3.0;
    let prior = LowRankPrior::new(vec![0.1; TINY_DIM], 0.5, nu, scale).expect("prior");
    for look in 0..2 {
        let at_once: Vec<Vec<f64>> = [parts(4, 0.0), parts(3, 0.3)]
            .iter()
            .flat_map(|camera| &camera[look])
            .map(|part| part.iter().map(|v| f64::from(*v)).collect())
            .collect();
        let direct = prior.posterior(&at_once).expect("posterior");
        let merged = both.posterior(look, &prior).expect("posterior");
        assert_eq!(merged.kappa(), 0.5 + 7.0);
        // Part by part, as a camera would add them.
        let mut added = a.posterior(look, &prior).expect("posterior");
        b.samples(look).iter().for_each(|x| added.add(x).expect("added"));
        let x = vec![0.7; TINY_DIM];
        assert!((merged.log_t(&x) - direct.log_t(&x)).abs() < 1e-12);
        assert!((merged.log_t(&x) - added.log_t(&x)).abs() < 1e-9);
    }
    assert_eq!(both.unmerge("b"), Ok(Some(a.clone())));
    assert_eq!(a.unmerge("a"), Ok(None));
    assert_eq!(a.unmerge("b"), Err(ImagePosteriorError::Camera { camera: "b".into() }));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    use ImagePosteriorError::{Broken, Camera, OtherEncoder, OtherLooks};
    let a = of("a", 2, 0.0);
    let mut other = card();
    other.encode.sha256 = "10".repeat(32);
    assert_eq!(a.check_fits(&other, Registration::Small, 2), Err(OtherEncoder));
    let strange = ImagePosterior::new(&other, Registration::Small, "b", &parts(2, 0.0));
    assert_eq!(a.merge(&strange.expect("sound")), Err(OtherEncoder));
    assert_eq!(a.check_fits(&card(), Registration::Off, 2), Err(OtherLooks));
    assert_eq!(a.check_fits(&card(), Registration::Small, 3), Err(OtherLooks));
    assert_eq!(a.merge(&of("a", 1, 0.0)), Err(Camera { camera: "a".into() }));
    let new = |name: &str, looks: &[Vec<Vec<f32>>]| {
        ImagePosterior::new(&card(), Registration::Off, name, looks)
    };
    assert!(matches!(new("../x", &parts(2, 0.0)), Err(Camera { .. })));
    assert!(matches!(new("a", &parts(2, f32::NAN)), Err(Broken { .. })));
    assert!(matches!(new("a", &parts(0, 0.0)), Err(Broken { .. })));
    assert!(matches!(new("a", &parts(PARTS_MAX + 1, 0.0)), Err(Broken { .. })));
    assert!(matches!(new("a", &[parts(1, 0.0)[0].clone(), vec![]]), Err(Broken { .. })));
}

proptest! {
    #[test]
    fn no_bytes_crash_it_and_no_damage_passes(
        cut in 0usize..200, at in 0usize..200, flip in 1u8..=255,
        noise in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let sound = of("a", 1, 0.0).emit();
        let cut = cut.min(sound.len() - 1);
        prop_assert!(ImagePosterior::parse(&sound[..cut]).is_err());
        let mut damaged = sound.clone();
        let at = at % sound.len();
        damaged[at] ^= flip;
        prop_assert!(ImagePosterior::parse(&damaged).is_err());
        // With the right checksum the content is looked at: it is refused, or written again to the last bit.
        let mut drawn = MAGIC.to_vec();
        drawn.extend(&noise);
        for mut content in [drawn, damaged[..sound.len() - CHECK_BYTES].to_vec()] {
            let check = Sha256::digest(&content);
            content.extend(&check[..CHECK_BYTES]);
            if let Ok(read) = ImagePosterior::parse(&content) {
                prop_assert_eq!(read.emit(), content);
            }
        }
    }
}
