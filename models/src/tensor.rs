//! Tensors that belong to no engine: what crosses the border between a graph and the rest.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Most elements one tensor may have; keeps a hostile model card from asking for all memory.
pub const TENSOR_ELEMENTS_MAX: usize = 1 << 28;

/// A dense `f32` tensor, row-major (last axis fastest).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Tensor {
    /// Extent of each axis.
    pub shape: Vec<usize>,
    /// `shape.product()` values.
    pub data: Vec<f32>,
}

/// The data's length is not the product of the shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// The shape that was asked for.
    pub shape: Vec<usize>,
    /// How many values there are.
    pub len: usize,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values do not fill a tensor of shape {:?}", self.len, self.shape)
    }
}

impl std::error::Error for ShapeError {}

impl Tensor {
    /// A tensor of `data` in `shape`; an error if the lengths disagree.
    pub fn new(shape: &[usize], data: Vec<f32>) -> Result<Tensor, ShapeError> {
        if elements(shape) == Some(data.len()) {
            Ok(Tensor { shape: shape.to_vec(), data })
        } else {
            Err(ShapeError { shape: shape.to_vec(), len: data.len() })
        }
    }

    /// Zeros in `shape`.
    pub fn zeros(shape: &[usize]) -> Tensor {
        Tensor { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] }
    }

    /// Whether shape and data agree (the fields are public, so an engine checks before it trusts).
    pub fn is_consistent(&self) -> bool {
        elements(&self.shape) == Some(self.data.len())
    }

    /// Index of the first NaN or infinity.
    pub fn first_not_finite(&self) -> Option<usize> {
        const BLOCK: usize = 256;
        let block = self.data.chunks(BLOCK).position(|block| !all_finite(block))?;
        let rest = self.data[block * BLOCK..].iter().position(|v| !v.is_finite());
        rest.map(|index| block * BLOCK + index)
    }
}

/// Whether no value is NaN or infinite. Looks at all of them, without leaving early: that is done in vectors.
pub(crate) fn all_finite(values: &[f32]) -> bool {
    values.iter().fold(true, |all, v| all & v.is_finite())
}

/// Product of the extents, or `None` if it exceeds [`TENSOR_ELEMENTS_MAX`].
pub fn elements(shape: &[usize]) -> Option<usize> {
    let product = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    (product <= TENSOR_ELEMENTS_MAX).then_some(product)
}

/// Name and shape of one tensor that a graph takes or gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// The tensor's name in the graph.
    pub name: String,
    /// Its extents; batch is always 1.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// A spec from a name and a shape.
    pub fn new(name: &str, shape: &[usize]) -> TensorSpec {
        TensorSpec { name: name.to_string(), shape: shape.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_must_fill_the_shape() {
        assert!(Tensor::new(&[2, 3], vec![0.0; 6]).is_ok());
        let err = Tensor::new(&[2, 3], vec![0.0; 5]).unwrap_err();
        assert!(err.to_string().contains("[2, 3]"), "{err}");
        assert!(Tensor::new(&[], vec![1.0]).is_ok(), "a scalar has one value");
    }

    #[test]
    fn an_overflowing_shape_is_refused() {
        assert_eq!(elements(&[usize::MAX, 2]), None);
        assert_eq!(elements(&[1 << 20, 1 << 20]), None);
        assert_eq!(elements(&[0, 7]), Some(0));
    }

    #[test]
    fn finds_the_first_bad_value() {
        let t = Tensor::new(&[3], vec![0.0, f32::NAN, f32::INFINITY]).unwrap();
        assert_eq!(t.first_not_finite(), Some(1));
        assert_eq!(Tensor::zeros(&[4]).first_not_finite(), None);
    }
}
