use super::super::episode::one_each;
use super::super::features::FeatureSet;
use super::super::head::Shape;
use super::*;

fn setting(order: Order) -> Setting {
    Setting {
        episodes: 240,
        batch: 4,
        shots: 5,
        rate: 0.01,
        inner: Inner { steps: 1, rate: 1e-3 },
        order,
        contrast: 0.0,
        seed: 3,
    }
}

#[test]
fn adam_finds_the_bottom() {
    let goal = [3.0, -1.0, 0.5];
    let (mut at, mut adam) = ([0.0; 3], Adam::new(3));
    for _ in 0..2000 {
        let gradient: Vec<f64> = at.iter().zip(goal).map(|(a, g)| 2.0 * (a - g)).collect();
        adam.step(&mut at, &gradient, 0.02);
    }
    assert!(at.iter().zip(goal).all(|(a, g)| (a - g).abs() < 1e-3), "{at:?}");
}

#[test]
fn training_lowers_the_validation_loss_and_repeats() {
    let set = FeatureSet::invented(5, 24, 12);
    let standard = set.moments().standard().expect("standard");
    let shape = Shape { inputs: set.inputs, outputs: 8 };
    let counts = Counts::measuring(5);
    let validation = one_each(&set.validation, counts, &standard, 1).expect("episodes");
    for (kind, order) in
        [(Kind::Bayes, Order::First), (Kind::Bayes, Order::Second), (Kind::Proto, Order::First)]
    {
        let learner = Learner::new(kind, shape, 5).expect("learner");
        let begin = start(&learner, &set.train, &standard, 5, 1).expect("start");
        let setting = setting(order);
        let before = mean_loss(&learner, &begin, &validation, setting.inner).expect("loss");
        let bar = ProgressBar::hidden();
        let run = || {
            let data = (&set.train[..], &standard);
            train(&learner, begin.clone(), data, &validation, &setting, &bar).expect("trains")
        };
        let trained = run();
        let after =
            mean_loss(&learner, &trained.parameters, &validation, setting.inner).expect("loss");
        assert!(after < 0.9 * before, "{kind:?} {order:?}: {before} to {after}");
        assert!(trained.best_step > 0);
        assert_eq!(run().parameters, trained.parameters);
    }
}

#[test]
fn products_without_parts_are_refused() {
    let set = FeatureSet::invented(5, 4, 12);
    let setting = Setting { shots: 500, ..setting(Order::First) };
    let shape = Shape { inputs: set.inputs, outputs: 8 };
    let learner = Learner::new(Kind::Bayes, shape, 500).expect("learner");
    let parameters = vec![0.0; learner.count()];
    let standard = Standard::identity(set.inputs);
    let data = (&set.train[..], &standard);
    let error = batch_gradient(&learner, &parameters, data, &setting, (0, 1)).expect_err("none");
    assert!(error.to_string().contains("500 good parts"), "{error}");
}
