//! The inner loop: a few gradient steps on the support, and the way back through them (section 5).

use anyhow::Result;

use super::episode::Episode;
use super::learner::Learner;
use super::scalar::Dual;

/// How a task adapts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Inner {
    /// Gradient steps on the support.
    pub steps: usize,
    /// Their rate.
    pub rate: f64,
}

/// What of the inner loop the outer gradient sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// The gradient at the adapted parameters is taken for that at the shared ones.
    First,
    /// The whole derivative: every step back multiplies by `I - rate * Hessian`.
    Second,
}

/// All parameters on the way, from the start to the adapted ones.
///
/// # Errors
/// Parameters that are no numbers.
pub fn adapt(
    learner: &Learner,
    shared: &[f64],
    support: &[Vec<f64>],
    inner: Inner,
) -> Result<Vec<Vec<f64>>> {
    let mut path = vec![learner.start(shared, support)];
    for step in 0..inner.steps {
        let at = &path[step];
        let (_, slope) = learner.inner(at, support)?;
        path.push(at.iter().zip(&slope).map(|(p, g)| p - inner.rate * g).collect());
    }
    Ok(path)
}

/// Adapted parameters alone.
///
/// # Errors
/// Parameters that are no numbers.
pub fn adapted(
    learner: &Learner,
    shared: &[f64],
    support: &[Vec<f64>],
    inner: Inner,
) -> Result<Vec<f64>> {
    Ok(adapt(learner, shared, support, inner)?.pop().unwrap_or_default())
}

/// Outer loss of an episode after adaptation, and its gradient by the shared parameters.
///
/// # Errors
/// Parameters that are no numbers.
pub fn meta_gradient(
    learner: &Learner,
    shared: &[f64],
    episode: &Episode,
    inner: Inner,
    order: Order,
    contrast: f64,
) -> Result<(f64, Vec<f64>)> {
    let path = adapt(learner, shared, &episode.support, inner)?;
    let last = path.last().map_or(shared, |p| p);
    let outer = learner.outer(last, episode, contrast)?;
    let mut slope = outer.slope;
    if order == Order::Second {
        for at in path[..inner.steps].iter().rev() {
            let bent = hessian_times(learner, at, &episode.support, &slope)?;
            slope.iter_mut().zip(bent).for_each(|(s, b)| *s -= inner.rate * b);
        }
    }
    Ok((outer.loss, learner.start_back(shared, &episode.support, &slope)))
}

/// The inner loss's Hessian at `at` times `direction`, exactly: the derivative of the gradient.
fn hessian_times(
    learner: &Learner,
    at: &[f64],
    support: &[Vec<f64>],
    direction: &[f64],
) -> Result<Vec<f64>> {
    let dual: Vec<Dual> =
        at.iter().zip(direction).map(|(v, s)| Dual { value: *v, slope: *s }).collect();
    let (_, slope) = learner.inner(&dual, support)?;
    Ok(slope.iter().map(|s| s.slope).collect())
}

#[cfg(test)]
mod tests {
    use super::super::head::Shape;
    use super::super::learner::Kind;
    use super::super::testing::{episode, noise, slopes_agree};
    use super::*;

    const SHAPE: Shape = Shape { inputs: 5, outputs: 4 };
    const INNER: Inner = Inner { steps: 3, rate: 0.02 };

    fn learner(kind: Kind) -> (Learner, Vec<f64>) {
        let learner = Learner::new(kind, SHAPE, 4).expect("learner");
        let mut shared = noise(3, learner.count());
        if kind != Kind::Maml {
            shared[SHAPE.count()] = -0.7;
        }
        (learner, shared)
    }

    #[test]
    fn the_second_order_gradient_is_the_derivative_of_the_whole_way() {
        for kind in [Kind::Bayes, Kind::Proto, Kind::Maml] {
            let ((learner, shared), episode) = (learner(kind), episode(5, SHAPE.inputs));
            let both = |p: &[f64], order| {
                meta_gradient(&learner, p, &episode, INNER, order, 0.1).expect("gradient")
            };
            let (_, slope) = both(&shared, Order::Second);
            slopes_agree(&shared, &slope, |p| both(p, Order::Second).0);
            // The first-order gradient is another one, or the test would show nothing.
            let (_, first) = both(&shared, Order::First);
            let apart = slope.iter().zip(&first).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart > 1e-3, "{kind:?}: {apart}");
        }
    }

    #[test]
    fn without_steps_both_orders_agree() {
        let ((learner, shared), episode) = (learner(Kind::Bayes), episode(6, SHAPE.inputs));
        let none = Inner { steps: 0, ..INNER };
        let of = |order| {
            meta_gradient(&learner, &shared, &episode, none, order, 0.0).expect("gradient").1
        };
        assert_eq!(of(Order::First), of(Order::Second));
    }

    #[test]
    fn adaptation_lowers_the_inner_loss() {
        for kind in [Kind::Bayes, Kind::Proto, Kind::Maml] {
            let ((learner, shared), episode) = (learner(kind), episode(7, SHAPE.inputs));
            let path = adapt(&learner, &shared, &episode.support, INNER).expect("adapts");
            let losses: Vec<f64> =
                path.iter().map(|p| learner.inner(p, &episode.support).expect("inner").0).collect();
            assert!(losses.windows(2).all(|w| w[1] < w[0]), "{kind:?}: {losses:?}");
        }
    }
}
