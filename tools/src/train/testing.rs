//! What the tests of training share.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

/// A module of a few weights.
#[derive(Module, Debug)]
pub struct Toy {
    weights: Param<Tensor<1>>,
}

impl Toy {
    /// With these weights.
    pub fn of(values: &[f32], device: &Device) -> Self {
        let data = TensorData::new(values.to_vec(), [values.len()]);
        Toy { weights: Param::from_tensor(Tensor::from_data(data, device)) }
    }

    /// The weights.
    pub fn values(&self) -> Vec<f32> {
        self.weights.val().into_data().try_to_vec().expect("floats")
    }

    /// A loss with its minimum where every weight is `goal`.
    pub fn loss(&self, goal: f32) -> Tensor<1> {
        (self.weights.val() - goal).square().mean()
    }
}
