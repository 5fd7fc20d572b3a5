use super::*;
use proptest::prelude::*;

fn observation() -> Observation {
    let mut seen = Observation::default();
    seen.map("change", Map::new(2, 1, vec![0.2, 0.8]).unwrap());
    seen.map("nearest", Map::new(1, 1, vec![0.4]).unwrap());
    seen.number("pooled", 0.5);
    seen
}

fn number(text: &str) -> f32 {
    match Expression::parse(text).unwrap().evaluate(&observation(), None).unwrap() {
        Value::Number(v) => v,
        Value::Map(_) => panic!("{text} is a map"),
    }
}

fn values(text: &str) -> Vec<f32> {
    match Expression::parse(text).unwrap().evaluate(&observation(), None).unwrap() {
        Value::Map(map) => map.values,
        Value::Number(_) => panic!("{text} is a number"),
    }
}

#[test]
fn arithmetic_binds_as_usual() {
    assert_eq!(number("1 + 2 * 3 ^ 2 - 4 / 2"), 17.0);
    assert_eq!(number("(1 + 2) * -3"), -9.0);
    assert_eq!(number("min(3, 1, 2) + max(pooled, .25)"), 1.5);
    assert_eq!(number("sqrt(16) + log(exp(2)) + clamp(7)"), 7.0);
    assert_eq!(number("sigmoid(0)"), 0.5);
}

#[test]
fn maps_meet_on_the_larger_grid() {
    assert_eq!(values("max(change, nearest)"), [0.4, 0.8]);
    assert_eq!(values("1 - change"), [0.8, 0.19999999]);
    assert_eq!(number("peak(change) - mean(change)"), 0.8 - 0.5);
}

#[test]
fn nan_survives_min_and_max() {
    assert!(number("max(log(0 - 1), 1)").is_nan());
    assert!(number("min(log(0 - 1), 1)").is_nan());
    assert!(number("max(1, log(0 - 1))").is_nan());
}

#[test]
fn mistakes_are_located() {
    let refused = |text: &str| Expression::parse(text).unwrap_err();
    assert_eq!(refused("1 +").at, 3);
    assert_eq!(refused("max(change").expected, "`,` or `)`");
    assert!(refused("maximum(1, 2)").expected.contains("min, max"));
    assert!(refused("max(1)").expected.contains("2 arguments"));
    assert!(refused("change nearest").expected.contains("operator"));
    assert!(refused("1.2.3").expected.contains("number"));
    assert!(refused(&"(".repeat(1000)).expected.contains("nested"));
    assert!(refused("").to_string().contains("at character 1"));
}

#[test]
fn unknown_names_are_listed() {
    let error =
        Expression::parse("position * 2").unwrap().evaluate(&observation(), None).unwrap_err();
    assert_eq!(error.name, "position");
    assert!(error.to_string().contains("change, nearest, pooled"));
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "[a-z0-9.+*/^(), -]{0,40}") {
        let _ = Expression::parse(&text);
    }
}
