use super::*;
use proptest::prelude::*;

fn offer(format: PixelFormat, width: u32, height: u32, rate: f32) -> Offer {
    Offer { format, width, height, rate: Some(rate) }
}

/// What a usual USB camera lists.
fn webcam() -> Vec<Offer> {
    use PixelFormat::{Mjpeg, Yuyv};
    vec![
        offer(Yuyv, 640, 480, 30.0),
        offer(Yuyv, 1280, 720, 10.0),
        offer(Yuyv, 1920, 1080, 5.0),
        offer(Mjpeg, 640, 480, 30.0),
        offer(Mjpeg, 1280, 720, 30.0),
        offer(Mjpeg, 1920, 1080, 30.0),
        offer(Mjpeg, 3840, 2160, 30.0),
    ]
}

#[test]
fn left_open_it_is_the_largest_good_size_at_a_good_rate() {
    let best = choose(&webcam(), &Wish::default()).unwrap();
    assert_eq!(best, offer(PixelFormat::Mjpeg, 1920, 1080, 30.0));
    let slow = Wish { rate: Some(5.0), ..Wish::default() };
    assert_eq!(choose(&webcam(), &slow).unwrap(), offer(PixelFormat::Yuyv, 1920, 1080, 5.0));
    let raw = Wish { format: Some(PixelFormat::Yuyv), ..Wish::default() };
    assert_eq!(choose(&webcam(), &raw).unwrap(), offer(PixelFormat::Yuyv, 640, 480, 30.0));
    let size = Wish { size: Some((640, 480)), ..Wish::default() };
    assert_eq!(choose(&webcam(), &size).unwrap().format, PixelFormat::Yuyv);
}

#[test]
fn what_the_file_names_is_taken_however_slow() {
    let wish = Wish { format: Some(PixelFormat::Yuyv), size: Some((1920, 1080)), rate: None };
    assert_eq!(choose(&webcam(), &wish).unwrap().rate, Some(5.0));
}

#[test]
fn a_slow_camera_and_a_huge_one_still_have_a_best() {
    let slow = [offer(PixelFormat::Grey, 640, 480, 4.0), offer(PixelFormat::Rgb, 320, 240, 8.0)];
    assert_eq!(choose(&slow, &Wish::default()).unwrap(), slow[0]);
    let huge =
        [offer(PixelFormat::Grey, 8000, 6000, 30.0), offer(PixelFormat::Grey, 4000, 3000, 30.0)];
    assert_eq!(choose(&huge, &Wish::default()).unwrap(), huge[1]);
    let unsaid = Offer { rate: None, ..huge[1] };
    assert_eq!(choose(&[unsaid], &Wish { rate: Some(90.0), ..Wish::default() }).unwrap(), unsaid);
}

#[test]
fn refusals_list_what_there_is() {
    let wish = Wish { format: Some(PixelFormat::Grey), size: Some((800, 600)), rate: Some(12.5) };
    let error = choose(&webcam(), &wish).unwrap_err().to_string();
    let start =
        "[camera] format GREY width 800 height 600 rate 12.5 cannot be had; set what it offers";
    assert!(error.starts_with(start), "{error}");
    assert!(error.contains("MJPG 1920x1080 at 30.000/s, MJPG 1280x720"), "{error}");
    assert_eq!(choose(&[], &wish), Err(ChoiceError::NoFormat));
    let odd = [offer(PixelFormat::Yuyv, 641, 480, 30.0)];
    assert_eq!(choose(&odd, &Wish::default()), Err(ChoiceError::NoFormat));
    assert!(ChoiceError::NoFormat.to_string().contains("NV12"));
}

#[test]
fn ranges_are_walked_by_usual_sizes() {
    let range = SizeRange { min: (16, 16), max: (1600, 1200), step: (8, 2) };
    assert!(range.has((1280, 720)) && !range.has((1281, 720)) && !range.has((1920, 1080)));
    let sizes = range.candidates(Some((800, 600)));
    assert_eq!(sizes, [(16, 16), (320, 240), (640, 480), (800, 600), (1280, 720), (1600, 1200)]);
    assert_eq!(SizeRange::one(640, 480).candidates(Some((640, 480))), [(640, 480)]);
    let broken = SizeRange { min: (5, 5), max: (4, 4), step: (0, 0) };
    assert!(!broken.has((5, 5)));
}

fn any_offer() -> impl Strategy<Value = Offer> {
    let format = (0..PixelFormat::ALL.len()).prop_map(|i| PixelFormat::ALL[i]);
    let rate = prop::option::of(0.1f32..500.0);
    (format, 0u32..5000, 0u32..5000, rate).prop_map(|(format, width, height, rate)| Offer {
        format,
        width,
        height,
        rate,
    })
}

proptest! {
    #[test]
    fn the_choice_is_an_offer_that_honours_the_wish_whatever_the_order(
        mut offers in prop::collection::vec(any_offer(), 0..12),
        pick in any::<prop::sample::Index>(),
        (by_format, by_size, by_rate) in any::<(bool, bool, bool)>(),
    ) {
        let mut wish = Wish::default();
        if !offers.is_empty() {
            let like = *pick.get(&offers);
            wish.format = by_format.then_some(like.format);
            wish.size = by_size.then_some((like.width, like.height));
            wish.rate = like.rate.filter(|_| by_rate);
        }
        let chosen = choose(&offers, &wish);
        offers.reverse();
        prop_assert_eq!(
            chosen.clone().map(|o| merit(&o, &wish)).ok(),
            choose(&offers, &wish).map(|o| merit(&o, &wish)).ok()
        );
        if let Ok(chosen) = chosen {
            prop_assert!(offers.contains(&chosen));
            prop_assert!(wish.format.is_none_or(|f| f == chosen.format));
            prop_assert!(wish.size.is_none_or(|s| s == (chosen.width, chosen.height)));
            prop_assert!(!(chosen.format.paired() && chosen.width % 2 == 1));
        }
    }
}
