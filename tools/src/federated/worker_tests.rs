use super::*;
use crate::train::proto::inner::Order;

const INPUTS: usize = 12;

fn set() -> FeatureSet {
    FeatureSet::invented(4, 24, INPUTS)
}

fn setup() -> Setup {
    let standard = set().moments().standard().expect("standard");
    Setup { dim: 8, shots: 5, inner_steps: 1, inner_lr: 1e-3, standard, seed: 1 }
}

fn fit(mode: Mode) -> Fit {
    Fit {
        round: 1,
        mode,
        episodes: 16,
        batch: 4,
        lr: 0.01,
        proximal: 0.0,
        contrast: 0.1,
        order: Order::First,
    }
}

fn values(reply: Reply) -> Vec<f64> {
    match reply {
        Reply::Values { values, .. } => values,
        other => panic!("{other:?}"),
    }
}

fn begin() -> Vec<f64> {
    values(Worker::server(set()).answer(&Request::Start { setup: setup() }).expect("start"))
}

fn fitted(client: usize, fit: Fit) -> Vec<f64> {
    let worker = Worker::client(set(), client, 2).expect("client");
    let request = Request::Fit { setup: setup(), fit, parameters: begin() };
    values(worker.answer(&request).expect("fits"))
}

#[test]
fn rounds_of_federated_averaging_learn() {
    let server = Worker::server(set());
    let figure = |parameters: &[f64]| {
        let request = Request::Evaluate { setup: setup(), parameters: parameters.to_vec() };
        match server.answer(&request).expect("evaluates") {
            Reply::Evaluation { auroc, loss, episodes } => {
                assert_eq!(episodes, 12);
                (auroc, loss)
            }
            other => panic!("{other:?}"),
        }
    };
    let mut parameters = begin();
    let before = figure(&parameters);
    let clients = [0, 1, 2].map(|c| Worker::client(set(), c, 3).expect("client"));
    for round in 1..=6 {
        let mut mean = vec![0.0; parameters.len()];
        for client in &clients {
            let fit = Fit { round, episodes: 32, ..fit(Mode::Weights) };
            let request = Request::Fit { setup: setup(), fit, parameters: parameters.clone() };
            let local = values(client.answer(&request).expect("fits"));
            mean.iter_mut().zip(local).for_each(|(m, v)| *m += v / 3.0);
        }
        parameters = mean;
    }
    let after = figure(&parameters);
    assert!(after.0 > before.0 && after.1 < before.1, "{before:?} to {after:?}");
}

#[test]
fn clients_and_rounds_draw_other_episodes_and_repeat_them() {
    let one = fitted(0, fit(Mode::Weights));
    assert_eq!(one, fitted(0, fit(Mode::Weights)));
    assert_ne!(one, fitted(1, fit(Mode::Weights)));
    assert_ne!(one, fitted(0, Fit { round: 2, ..fit(Mode::Weights) }));
}

#[test]
fn the_proximal_term_keeps_clients_near_the_server() {
    let begin = begin();
    let way = |proximal| {
        let local = fitted(0, Fit { proximal, episodes: 64, ..fit(Mode::Weights) });
        local.iter().zip(&begin).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
    };
    let (free, held) = (way(0.0), way(30.0));
    assert!(held < 0.8 * free, "{free} {held}");
}

#[test]
fn a_gradient_is_the_mean_over_its_episodes() {
    // A step of the size of one batch down the mean gradient of all 16 episodes.
    let gradient = fitted(0, fit(Mode::Gradient));
    assert_eq!(gradient.len(), begin().len());
    let mut moved = begin();
    Adam::new(moved.len()).step(&mut moved, &gradient, 0.01);
    let local = fitted(0, Fit { batch: 16, ..fit(Mode::Weights) });
    assert_eq!(moved, local);
}

#[test]
fn requests_that_do_not_fit_are_refused() {
    let worker = Worker::client(set(), 0, 2).expect("client");
    let ask = |setup: Setup, fit: Fit, parameters: Vec<f64>| {
        worker.answer(&Request::Fit { setup, fit, parameters }).is_err()
    };
    assert!(ask(setup(), fit(Mode::Weights), vec![0.0; 3]));
    assert!(ask(setup(), Fit { episodes: 0, ..fit(Mode::Weights) }, begin()));
    assert!(ask(setup(), Fit { episodes: usize::MAX, ..fit(Mode::Weights) }, begin()));
    assert!(ask(setup(), Fit { batch: 0, ..fit(Mode::Weights) }, begin()));
    assert!(ask(Setup { dim: 1 << 40, ..setup() }, fit(Mode::Weights), begin()));
    assert!(ask(Setup { standard: Standard::identity(3), ..setup() }, fit(Mode::Weights), begin()));
    assert!(ask(setup(), fit(Mode::Weights), vec![f64::NAN; begin().len()]));
    assert!(Worker::client(set(), 2, 2).is_err());
}

#[test]
fn merging_without_gradients_finds_what_a_fixed_prior_does_not() {
    let parts: Vec<Message> = (0..4)
        .map(|c| {
            let worker = Worker::client(set(), c, 4).expect("client");
            match worker.answer(&Request::Posterior {}).expect("posterior") {
                Reply::Posterior { posterior } => posterior,
                other => panic!("{other:?}"),
            }
        })
        .collect();
    let merge = Request::Merge { parts, shots: 5 };
    match Worker::server(set()).answer(&merge).expect("merges") {
        Reply::Merged { posterior, auroc, auroc_fixed, episodes } => {
            // 24 products with 20 good parts: 19 deviations each, on top of nu0 = D + 2.
            assert!((posterior.nu - (14.0 + 24.0 * 19.0)).abs() < 1e-6, "{}", posterior.nu);
            assert!(auroc > auroc_fixed + 0.02, "{auroc} {auroc_fixed}");
            assert_eq!(episodes, 12);
        }
        other => panic!("{other:?}"),
    }
}
