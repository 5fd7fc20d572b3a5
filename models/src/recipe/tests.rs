use super::*;
use crate::inspector::Statistics;
use crate::picture::{Rect, save_rgb};
use crate::testing::write_tiny_package;
use proptest::prelude::*;

fn card() -> RecipeCard {
    RecipeCard {
        name: "cap-38".to_string(),
        version: 2,
        false_reject_ppm: 1000,
        smallest_defect_px: 4,
        model: ModelPin { id: "tiny".to_string(), hash: "a".repeat(64) },
        region_of_interest: Some(Rect { x: 2, y: 0, w: 16, h: 20 }),
        registration: Registration::Any,
        tiles: Tiles { columns: 2, rows: 3 },
        further_good: FurtherGood::default(),
        line: LineTiming { travel_ms: Some(900), ..LineTiming::default() },
    }
}

fn picture(seed: u32) -> Picture {
    let rgb = (0..24 * 20 * 3u32).map(|i| (i.wrapping_mul(seed * 2 + 1) % 251) as u8).collect();
    Picture::from_rgb8(24, 20, rgb).unwrap()
}

fn elsewhere() -> ImagePosterior {
    let mut card = crate::testing::tiny_card();
    card.encode.sha256 = "3c".repeat(32);
    let looks = [vec![vec![0.25; 4]; 3]];
    ImagePosterior::new(&card, Registration::Any, "line-2", &looks).unwrap()
}

fn recipe() -> Recipe {
    Recipe::new(card(), vec![picture(3), picture(1), picture(2)]).unwrap()
}

fn saved() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("cap");
    recipe().save(&target).unwrap();
    (dir, target)
}

#[test]
fn a_recipe_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let golden = dir.path().join("g.png");
    save_rgb(&golden, &picture(9)).unwrap();
    let mut recipe = recipe();
    recipe.ignore =
        Some(IgnoreMask { width: 24, height: 20, ignored: (0..480).map(|i| i % 7 == 0).collect() });
    recipe.elsewhere = Some(elsewhere());
    recipe.golden_fail = vec![Golden::File(golden)];
    let target = dir.path().join("cap");
    recipe.save(&target).unwrap();
    let back = Recipe::open(&target).unwrap();
    assert_eq!(back.card, recipe.card);
    assert_eq!(back.prompts, recipe.prompts, "lossless and in order");
    assert_eq!(back.ignore, recipe.ignore);
    assert_eq!(back.elsewhere, recipe.elsewhere);
    let alone = Recipe { elsewhere: None, ..recipe.clone() };
    assert_ne!(recipe.identity("m"), alone.identity("m"), "it decides with the others");
    fs::write(target.join(ELSEWHERE_FILE), b"TSGOOD01 and no more").unwrap();
    let said = Recipe::open(&target).unwrap_err().to_string();
    assert!(said.contains("elsewhere.good") && said.contains("checksum"), "{said}");
    assert_eq!(back.golden_pass.len(), 0);
    assert_eq!(back.golden_fail[0].open().unwrap(), picture(9));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside");
}

#[test]
fn only_a_newer_version_replaces_a_recipe() {
    let (dir, target) = saved();
    let mut next = recipe();
    next.prompts.truncate(1);
    let err = next.save(&target).unwrap_err();
    assert!(matches!(err, RecipeError::NotNewer { there: 2, given: 2, .. }), "{err:?}");
    assert_eq!(Recipe::open(&target).unwrap(), {
        let mut old = recipe();
        old.card.version = 2;
        old
    });
    next.card.version = 3;
    next.save(&target).unwrap();
    assert_eq!(Recipe::open(&target).unwrap().prompts.len(), 1, "old prompts are gone");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_that_is_no_recipe_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    let err = recipe().save(dir.path()).unwrap_err();
    assert!(matches!(err, RecipeError::NotARecipe { .. }), "{err:?}");
    assert!(dir.path().join("thesis.txt").exists());
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    recipe().save(&empty).unwrap();
    let nowhere = dir.path().join("thesis.txt/recipes/cap");
    assert!(matches!(recipe().save(&nowhere), Err(RecipeError::Write { .. })));
}

#[test]
fn a_failed_save_leaves_the_old_recipe() {
    let (dir, target) = saved();
    let mut next = recipe();
    next.card.version = 3;
    next.golden_pass = vec![Golden::File(dir.path().join("gone.png"))];
    assert!(matches!(next.save(&target), Err(RecipeError::Picture(_))));
    assert_eq!(Recipe::open(&target).unwrap().card.version, 2);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half-written is left");
}

#[test]
fn faults_in_the_folder_are_named() {
    let (_dir, target) = saved();
    let message = || Recipe::open(&target).unwrap_err().to_string();
    let prompts = target.join("prompts");

    fs::write(prompts.join("._001.png"), "a desktop's litter").unwrap();
    assert!(Recipe::open(&target).is_ok());

    fs::write(prompts.join("004.jpg"), "x").unwrap();
    assert!(message().contains("004.jpg is not a .png"), "{}", message());
    fs::remove_file(prompts.join("004.jpg")).unwrap();

    fs::write(prompts.join("004.png"), "x").unwrap();
    assert!(message().contains("004.png"), "{}", message());
    fs::remove_file(prompts.join("004.png")).unwrap();

    save_rgb(&target.join("ignore.png"), &picture(1).resize(30, 20)).unwrap();
    assert!(message().contains("30 x 20 but a prompt is 24 x 20"), "{}", message());
    fs::remove_file(target.join("ignore.png")).unwrap();

    let text = fs::read_to_string(target.join(RECIPE_FILE)).unwrap();
    fs::write(target.join(RECIPE_FILE), format!("treshold = 3\n{text}")).unwrap();
    assert!(message().contains("treshold") && message().contains("line 1"), "{}", message());
    assert!(message().contains(RECIPE_FILE));
    fs::write(target.join(RECIPE_FILE), text.replace("w = 16", "w = 24")).unwrap();
    assert!(message().contains("not within"), "{}", message());
    fs::write(target.join(RECIPE_FILE), text).unwrap();

    fs::remove_dir_all(&prompts).unwrap();
    assert!(message().contains("no picture of a good part"), "{}", message());
    fs::remove_file(target.join(RECIPE_FILE)).unwrap();
    assert!(message().contains("is no recipe"), "{}", message());
    fs::remove_dir_all(&target).unwrap();
    assert!(message().contains("no recipe folder"), "{}", message());
}

#[test]
fn the_number_of_prompts_is_bounded() {
    assert_eq!(Recipe::new(card(), vec![]), Err(RecipeError::Prompts { count: 0 }));
    let many = vec![picture(1); PROMPTS_MAX + 1];
    assert!(matches!(Recipe::new(card(), many), Err(RecipeError::Prompts { count: 33 })));
    let (_dir, target) = saved();
    for i in 0..PROMPTS_MAX {
        save_rgb(&target.join(format!("prompts/a{i}.png")), &picture(1)).unwrap();
    }
    assert!(matches!(Recipe::open(&target), Err(RecipeError::TooMany { limit: PROMPTS_MAX, .. })));
}

#[test]
fn a_recipe_is_tied_to_its_model() {
    let dir = tempfile::tempdir().unwrap();
    let package = write_tiny_package(dir.path());
    let mut recipe = recipe();
    let err = recipe.check_model(&package).unwrap_err();
    assert!(matches!(err, RecipeError::OtherModel { .. }), "{err:?}");
    recipe.card.model.hash = package.hash().to_string();
    assert_eq!(recipe.check_model(&package), Ok(()));
}

#[test]
fn values_that_cannot_be_right_are_named_by_key() {
    type Change = fn(&mut RecipeCard);
    let cases: &[(&str, Change)] = &[
        ("name", |c| c.name = "../cap".into()),
        ("version", |c| c.version = 0),
        ("false_reject_ppm", |c| c.false_reject_ppm = 0),
        ("false_reject_ppm", |c| c.false_reject_ppm = 500_001),
        ("smallest_defect_px", |c| c.smallest_defect_px = 0),
        ("model.id", |c| c.model.id.clear()),
        ("model.hash", |c| c.model.hash = "A".repeat(64)),
        ("region_of_interest", |c| c.region_of_interest = Some(Rect { x: 0, y: 0, w: 0, h: 1 })),
        ("line.pulse_ms", |c| c.line.pulse_ms = Some(u32::MAX)),
    ];
    for (expected, change) in cases {
        let mut card = card();
        change(&mut card);
        match card.check() {
            Err(RecipeError::Value { key, .. }) => assert_eq!(key, *expected),
            other => panic!("{expected}: {other:?}"),
        }
        assert!(card.emit().is_err());
    }
}

#[test]
fn a_bundle_is_the_same_recipe_and_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let golden = dir.path().join("g.png");
    save_rgb(&golden, &picture(9)).unwrap();
    let mut recipe = recipe();
    recipe.ignore =
        Some(IgnoreMask { width: 24, height: 20, ignored: (0..480).map(|i| i % 7 == 0).collect() });
    recipe.golden_fail = vec![Golden::File(golden)];
    let mut bytes = Vec::new();
    recipe.pack(&mut bytes).unwrap();
    let file = dir.path().join("cap-38-2.touchstone");
    fs::write(&file, &bytes).unwrap();
    let back = Recipe::open(&file).unwrap();
    assert_eq!((&back.card, &back.prompts), (&recipe.card, &recipe.prompts));
    assert_eq!(back.ignore, recipe.ignore);
    assert_eq!(back.golden_fail[0].open().unwrap(), picture(9));
    assert_eq!(back.golden_fail[0].to_string(), "golden/fail/001.png");
    assert_eq!(back.identity("m").unwrap(), recipe.identity("m").unwrap());
    let mut again = Vec::new();
    back.pack(&mut again).unwrap();
    assert!(bytes == again, "packing is not the same twice");
}

#[test]
fn prompts_of_too_many_pixels_are_refused_before_all_are_in_memory() {
    let mut budget = PixelBudget(PROMPT_PIXELS_MAX - 480);
    assert!(budget.spend(picture(1)).is_ok());
    assert_eq!(budget.spend(picture(1)), Err(RecipeError::TooManyPixels));
}

fn rects() -> impl Strategy<Value = Option<Rect>> {
    let rect = (any::<u32>(), any::<u32>(), 1u32.., 1u32..);
    proptest::option::of(rect.prop_map(|(x, y, w, h)| Rect { x, y, w, h }))
}

fn timings() -> impl Strategy<Value = LineTiming> {
    let times = proptest::array::uniform6(proptest::option::of(0..=TIME_MS_MAX));
    times.prop_map(|[a, b, c, d, e, f]| LineTiming {
        capture_delay_ms: a,
        capture_window_ms: b,
        travel_ms: c,
        actuator_lead_ms: d,
        pulse_ms: e,
        debounce_ms: f,
    })
}

proptest! {
    #[test]
    fn parse_undoes_emit(
        name in "[a-z0-9_-]{1,64}", id in "[a-z0-9_-]{1,64}", hash in "[0-9a-f]{64}",
        version in 1u32.., ppm in 1..=FALSE_REJECT_PPM_MAX, px in 1..=SMALLEST_DEFECT_PX_MAX,
        region_of_interest in rects(), line in timings(), how in 0..Registration::ALL.len(),
        columns in 1..=8u32, rows in 1..=8u32, parts in 0..40usize, score in -99.0..99.0f64,
    ) {
        let scores = Statistics { change: score, position: -score, local: score / 7.0, image: 0.0 };
        let further_good = FurtherGood::new(&vec![vec![scores; parts]; (columns * rows) as usize]).thinned();
        let card = RecipeCard {
            name, version, false_reject_ppm: ppm, smallest_defect_px: px,
            model: ModelPin { id, hash }, region_of_interest, line,
            registration: Registration::ALL[how], tiles: Tiles { columns, rows }, further_good,
        };
        prop_assert_eq!(RecipeCard::parse(&card.emit().unwrap()), Ok(card));
    }

    #[test]
    fn random_text_never_panics(text in "\\PC{0,300}") {
        prop_assert!(RecipeCard::parse(&text).is_err());
    }

    #[test]
    fn damaged_cards_never_panic(at in any::<prop::sample::Index>(), letter in "[ -~]") {
        let mut text = card().emit().unwrap();
        let at = at.index(text.len());
        text.replace_range(at..at + 1, &letter);
        let _ = RecipeCard::parse(&text);
    }
}
