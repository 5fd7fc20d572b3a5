//! An exponential moving average of the weights. The last steps of a run wander around a minimum;
//! their mean lies nearer to it than any of them, and costs one pass over the weights a step.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// The decay that suits runs of some thousand steps.
pub const DECAY: f64 = 0.999;

/// Reads the decay of an average from a command line.
///
/// # Errors
/// What is no number from 0 to below 1.
pub fn parse_decay(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(decay) if (0.0..1.0).contains(&decay) => Ok(decay),
        _ => Err("give a number from 0 (no average) to below 1".into()),
    }
}

/// The average, off the tape.
#[derive(Debug, Clone)]
pub struct Average<M> {
    decay: f64,
    module: M,
}

impl<M: Module> Average<M> {
    /// Starts with the weights of `module`.
    pub fn of(module: &M, decay: f64) -> Self {
        Average { decay, module: module.valid() }
    }

    /// Takes the weights after `step` steps in. The first steps count more: an average over
    /// a thousand steps would otherwise still hold the random weights it began with.
    pub fn follow(mut self, module: &M, step: usize) -> Self {
        let n = step as f64;
        let decay = self.decay.min((1.0 + n) / (10.0 + n));
        let mut weights = Weights(Vec::new());
        module.valid().visit(&mut weights);
        let mut step = Step { weights: weights.0.into_iter(), share: (1.0 - decay) as f32 };
        self.module = self.module.map(&mut step);
        self
    }

    /// The averaged weights.
    pub fn module(&self) -> &M {
        &self.module
    }
}

/// All weights in the order of the module. Not by their identities: a loaded module may have others.
struct Weights(Vec<Tensor<1>>);

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let count: usize = value.dims().iter().product();
        self.0.push(value.reshape([count]));
    }
}

/// Moves every weight of the average by a share of the way.
struct Step {
    weights: std::vec::IntoIter<Tensor<1>>,
    share: f32,
}

impl ModuleMapper for Step {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(now) = self.weights.next() else {
            return param;
        };
        param.map(|mean| {
            // In this form a weight that stays is kept to the last bit.
            let way = now.reshape(mean.dims()) - mean.clone();
            mean + way.mul_scalar(self.share)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Toy;
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn weights_that_stay_are_kept_exactly() {
        let toy = Toy::of(&[0.1, -3.7e5, 1e-9], &Device::flex().autodiff());
        let mut average = Average::of(&toy, 0.999);
        for step in 1..50 {
            average = average.follow(&toy, step);
        }
        assert_eq!(average.module().values(), toy.values());
    }

    #[test]
    fn a_known_sequence_averages_as_by_hand() {
        let device = Device::flex();
        let mut average = Average::of(&Toy::of(&[0.0], &device), 0.25);
        // Decays: 2/11 after one step, then (1 + 2) / (10 + 2) = 0.25, then the asked 0.25.
        let mut want = 0.0;
        for (step, (value, decay)) in
            [(11.0, 2.0 / 11.0), (1.0, 0.25), (8.0, 0.25)].into_iter().enumerate()
        {
            average = average.follow(&Toy::of(&[value], &device), step + 1);
            want = decay * want + (1.0 - decay) * value;
        }
        let got = average.module().values()[0];
        // 9, then 3, then 6.75.
        assert!((want - 6.75).abs() < 1e-6 && (got - 6.75).abs() < 1e-5, "{got} {want}");
    }

    #[test]
    fn a_decay_is_a_share_below_one() {
        assert_eq!(parse_decay("0.999"), Ok(0.999));
        assert_eq!(parse_decay("0"), Ok(0.0));
        for wrong in ["1", "-0.1", "NaN", "x"] {
            assert!(parse_decay(wrong).is_err(), "{wrong}");
        }
    }
}
