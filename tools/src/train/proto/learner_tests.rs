use super::super::testing::{episode, noise, slopes_agree};
use super::*;
use touchstone_models::student_t::LowRankPrior;

const SHAPE: Shape = Shape { inputs: 5, outputs: 4 };
const KINDS: [Kind; 3] = [Kind::Bayes, Kind::Proto, Kind::Maml];

fn learner(kind: Kind) -> Learner {
    Learner::new(kind, SHAPE, 4).expect("learner")
}

/// Parameters with a small scale, so that no sigmoid is flat.
fn parameters(learner: &Learner) -> Vec<f64> {
    let mut all = noise(3, learner.count());
    if learner.kind != Kind::Maml {
        all[SHAPE.count()] = -0.7;
    }
    all
}

#[test]
fn inner_gradients_agree_with_differences() {
    for kind in KINDS {
        let (learner, episode) = (learner(kind), episode(5, SHAPE.inputs));
        let adapted = learner.start(&parameters(&learner), &episode.support);
        assert_eq!(adapted.len(), learner.adapted_count());
        let (_, slope) = learner.inner(&adapted, &episode.support).expect("inner");
        slopes_agree(&adapted, &slope, |a| learner.inner(a, &episode.support).expect("inner").0);
    }
}

#[test]
fn outer_gradients_agree_with_differences() {
    for (kind, weight) in KINDS.into_iter().flat_map(|k| [(k, 0.0), (k, 0.3)]) {
        let (learner, episode) = (learner(kind), episode(6, SHAPE.inputs));
        let adapted = learner.start(&parameters(&learner), &episode.support);
        let outer = |a: &[f64]| learner.outer(a, &episode, weight).expect("outer");
        slopes_agree(&adapted, &outer(&adapted).slope, |a| outer(a).loss);
    }
}

#[test]
fn gradients_pass_through_the_prototype() {
    for kind in KINDS {
        let (learner, episode) = (learner(kind), episode(7, SHAPE.inputs));
        let shared = parameters(&learner);
        let weights = noise(11, learner.adapted_count());
        let loss = |s: &[f64]| dot(&learner.start(s, &episode.support), &weights);
        let slope = learner.start_back(&shared, &episode.support, &weights);
        slopes_agree(&shared, &slope, loss);
    }
}

#[test]
fn the_bayesian_scores_are_those_of_the_models_crate() {
    let (learner, episode) = (learner(Kind::Bayes), episode(8, SHAPE.inputs));
    let shared = parameters(&learner);
    let scores = learner.scores(&shared, &episode).expect("scores");
    let z = |x: &[f64]| embed(SHAPE, &shared, x).z;
    let support: Vec<Vec<f64>> = episode.support.iter().map(|x| z(x)).collect();
    let lambda = shared[SHAPE.count()].exp();
    let prior = LowRankPrior::isotropic(vec![0.0; SHAPE.outputs], 0.01, lambda).expect("prior");
    let posterior = prior.posterior(&support).expect("posterior");
    for (query, score) in episode.queries.iter().zip(scores) {
        let want = learner.ln_vague - posterior.log_t(&z(query)) + shared[SHAPE.count() + 1];
        assert!((score - want).abs() < 1e-8, "{score} {want}");
    }
    // The inner loss is the mean leave-one-out likelihood of the support.
    let left_out = posterior.leave_one_out(&support).expect("left out");
    let want = -left_out.iter().map(|l| l.log_t).sum::<f64>() / support.len() as f64;
    let (got, _) = learner.inner(&shared, &episode.support).expect("inner");
    assert!((got - want).abs() < 1e-8, "{got} {want}");
}

#[test]
fn the_vague_law_is_the_notes() {
    // Test vector C of section 4.11: D = 128 and |z|^2 = 128.
    let shape = Shape { inputs: 1, outputs: 128 };
    let learner = Learner::new(Kind::Bayes, shape, 1).expect("learner");
    assert!((learner.ln_vague - -239.342_080).abs() < 1e-6, "{}", learner.ln_vague);
}

#[test]
fn proto_scores_are_distances_to_the_prototype() {
    let (learner, episode) = (learner(Kind::Proto), episode(9, SHAPE.inputs));
    let shared = parameters(&learner);
    let adapted = learner.start(&shared, &episode.support);
    let scores = learner.scores(&adapted, &episode).expect("scores");
    let z = |x: &[f64]| embed(SHAPE, &shared, x).z;
    let support: Vec<Vec<f64>> = episode.support.iter().map(|x| z(x)).collect();
    let centre: Vec<f64> =
        (0..SHAPE.outputs).map(|d| support.iter().map(|r| r[d]).sum::<f64>() / 4.0).collect();
    let (scale, odds) = (shared[SHAPE.count()].exp(), shared[SHAPE.count() + 1]);
    for (query, score) in episode.queries.iter().zip(scores) {
        let z = z(query);
        let distance: f64 = z.iter().zip(&centre).map(|(a, b)| (a - b) * (a - b)).sum();
        let want = scale * (distance - dot(&z, &z)) + odds;
        assert!((score - want).abs() < 1e-9, "{score} {want}");
    }
}

#[test]
fn no_numbers_are_an_error() {
    let (learner, episode) = (learner(Kind::Bayes), episode(10, SHAPE.inputs));
    let spoilt = vec![f64::NAN; learner.count()];
    assert!(learner.inner(&spoilt, &episode.support).is_err());
    assert!(learner.scores(&spoilt, &episode).is_err());
}
