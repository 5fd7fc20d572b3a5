use super::*;
use proptest::prelude::*;

fn control(id: u32, name: &str, kind: Kind, min: i64, max: i64) -> Control {
    Control { id, name: name.to_owned(), kind, min, max, step: 1, writable: true }
}

fn menu(entries: &[(i32, &str)]) -> Kind {
    Kind::Menu(entries.iter().map(|(i, name)| (*i, (*name).to_owned())).collect())
}

/// What uvcvideo lists for a usual camera.
fn webcam() -> Vec<Control> {
    vec![
        control(0x0098_0900, "Brightness", Kind::Integer, -64, 64),
        control(AUTO_WHITE_BALANCE, "White Balance, Automatic", Kind::Boolean, 0, 1),
        control(GAIN, "Gain", Kind::Integer, 0, 100),
        control(
            POWER_LINE,
            "Power Line Frequency",
            menu(&[(0, "Disabled"), (1, "50 Hz"), (2, "60 Hz")]),
            0,
            2,
        ),
        Control {
            step: 10,
            ..control(WHITE_BALANCE, "White Balance Temperature", Kind::Integer, 2800, 6500)
        },
        control(EXPOSURE_AUTO, "Auto Exposure", menu(&[(1, "Manual"), (3, "Aperture")]), 0, 3),
        control(EXPOSURE_ABSOLUTE, "Exposure Time, Absolute", Kind::Integer, 1, 5000),
        control(0x009A_0910, "Scene Mode", menu(&[(0, "None"), (3, "Low Light")]), 0, 3),
        Control { writable: false, ..control(0x009A_0999, "Lens Serial", Kind::Integer, 0, 9) },
    ]
}

fn planned(wanted: &[(&str, Value)]) -> Result<Vec<(String, i32)>, String> {
    let wanted: Vec<(String, Value)> =
        wanted.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    match plan(&wanted, &webcam()) {
        Ok(settings) => Ok(settings.into_iter().map(|s| (s.key, s.value)).collect()),
        Err(error) => Err(error.to_string()),
    }
}

fn setting(key: &str, value: i32) -> (String, i32) {
    (key.to_owned(), value)
}

use Value::{Number, Switch, Word};

#[test]
fn a_value_by_hand_switches_its_automatic_off_first() {
    let settings = planned(&[
        ("brightness", Number(-3)),
        ("white_balance_k", Number(4504)),
        ("exposure_us", Number(4049)),
    ]);
    let wanted = [
        setting("auto_exposure", 1),
        setting("auto_white_balance", 0),
        setting("exposure_us", 40),
        setting("white_balance_k", 4500),
        setting("brightness", -3),
    ];
    assert_eq!(settings.unwrap(), wanted);
    // This camera has no automatic gain, so there is none to switch off.
    assert_eq!(planned(&[("gain", Number(7))]).unwrap(), [setting("gain", 7)]);
}

#[test]
fn menus_go_by_number_name_or_meaning() {
    let one = |key: &str, value: Value| planned(&[(key, value)]).map(|s| s[0].1);
    assert_eq!(one("power_line_hz", Number(50)), Ok(1));
    assert_eq!(one("power_line_hz", Number(0)), Ok(0));
    assert_eq!(one("auto_exposure", Switch(true)), Ok(3));
    assert_eq!(one("scene_mode", Word("low light".to_owned())), Ok(3));
    assert_eq!(one("scene_mode", Number(0)), Ok(0));
    let error = one("scene_mode", Number(1)).unwrap_err();
    assert!(error.contains("set one of 0 \"None\", 3 \"Low Light\""), "{error}");
    assert!(one("power_line_hz", Number(55)).unwrap_err().contains("set 0, 50 or 60"));
}

#[test]
fn unknown_controls_list_the_known_with_their_ranges() {
    let error = planned(&[("sharpness", Number(1))]).unwrap_err();
    assert!(
        error.starts_with("[camera.controls] sharpness: this camera has no such control; it has: "),
        "{error}"
    );
    assert!(
        error.contains("exposure_us (100 to 500000)") && error.contains("brightness (-64 to 64)")
    );
    assert!(!error.contains("lens_serial"), "what cannot be set is not offered: {error}");
    assert!(planned(&[("lens_serial", Number(1))]).is_err());
    let none = plan(&[("gain".to_owned(), Number(1))], &[]).unwrap_err().to_string();
    assert!(none.ends_with("it has: none"), "{none}");
}

#[test]
fn values_out_of_range_or_of_another_kind_say_the_range() {
    let error = planned(&[("gain", Number(101))]).unwrap_err();
    assert_eq!(error, "[camera.controls] gain = 101: not possible; set 0 to 100");
    let error = planned(&[("gain", Switch(true))]).unwrap_err();
    assert_eq!(error, "[camera.controls] gain = true: not possible; set 0 to 100");
    let error = planned(&[("exposure_us", Number(600_000))]).unwrap_err();
    assert!(error.contains("set 100 to 500000"), "{error}");
    let error = planned(&[("auto_white_balance", Word("on".to_owned()))]).unwrap_err();
    assert!(error.contains("= \"on\": not possible; set true or false"), "{error}");
}

#[test]
fn an_automatic_and_its_value_at_once_are_a_mistake() {
    let error =
        planned(&[("exposure_us", Number(4000)), ("auto_exposure", Switch(true))]).unwrap_err();
    assert!(error.contains("exposure_us has no effect while auto_exposure is on"), "{error}");
    let both = planned(&[("exposure_us", Number(4000)), ("auto_exposure", Switch(false))]).unwrap();
    assert_eq!(both, [setting("auto_exposure", 1), setting("exposure_us", 40)]);
}

#[test]
fn names_become_keys() {
    assert_eq!(normalised("White Balance, Automatic"), "white_balance_automatic");
    assert_eq!(normalised("  Zoom -- Absolute 2 "), "zoom_absolute_2");
}

proptest! {
    #[test]
    fn a_planned_value_is_one_the_driver_takes(
        which in 0usize..9, number in any::<i64>(), near in -70i64..7000, close in any::<bool>(),
    ) {
        let known = webcam();
        let control = &known[which];
        let value = Number(if close { near } else { number });
        if let Ok(settings) = plan(&[(control.key(), value)], &known) {
            let set = settings.last().unwrap();
            prop_assert_eq!(set.id, control.id);
            prop_assert!((control.min..=control.max).contains(&i64::from(set.value)));
            prop_assert_eq!((i64::from(set.value) - control.min) % control.step, 0);
        }
    }

    #[test]
    fn any_driver_range_is_survived(
        (min, max, step) in any::<(i32, i32, i32)>(), value in any::<i64>(),
    ) {
        let control = Control {
            step: step.into(),
            ..control(1, "x", Kind::Integer, min.into(), max.into())
        };
        if let Ok(settings) = plan(&[("x".to_owned(), Number(value))], &[control]) {
            prop_assert!((min..=max).contains(&settings[0].value));
        }
    }
}
