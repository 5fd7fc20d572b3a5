//! Soft alignment (MetaUAS section 3.2), coarse to fine.
//!
//! The paper's alignment has no positional term; on repeated structure (tracks of a circuit
//! board, a weave) it then averages over look-alikes. Ours keeps the soft attention but lets
//! the stride-16 attention predict *where* each cell went, and with what uncertainty, and
//! centres a Gaussian prior of that width on the prediction at stride 8. Expanding the square,
//! `-l (x_j - m_i)^2 = 2 l m_i x_j - l x_j^2 - l m_i^2`, makes the prior three more columns of
//! the same dot product (the last term is constant over `j` and drops out of the softmax), so
//! it costs nothing at run time.

use burn::module::{Module, Param};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};

use super::encoder::to_image;
use super::upsample::upsample;

/// Learned scalars of the alignment, stored as logarithms so that they stay positive.
#[derive(Module, Debug)]
pub struct Alignment {
    /// Log inverse temperature of the stride-16 attention.
    pub log_t16: Param<Tensor<1>>,
    /// Log inverse temperature of the stride-8 attention.
    pub log_t8: Param<Tensor<1>>,
    /// Log of the least variance of the positional prior, in squared stride-8 cells.
    pub log_var: Param<Tensor<1>>,
}

/// A picture as alignment and decoder see it, whoever made the encoder.
#[derive(Clone, Debug)]
pub struct View {
    /// Detail features at stride 4, `[b, detail, h / 4, w / 4]`.
    pub detail: Tensor<4>,
    /// Patch embeddings at stride 8, `[b, n8, embed8]`, rows of unit length.
    pub e8: Tensor<3>,
    /// Patch embeddings at stride 16, `[b, n16, embed16]`, rows of unit length.
    pub e16: Tensor<3>,
}

impl View {
    /// Rows and columns of the grid at stride 8.
    pub fn grid8(&self) -> [usize; 2] {
        let [_, _, h4, w4] = self.detail.dims();
        [h4 / 2, w4 / 2]
    }

    /// Rows and columns of the grid at stride 16.
    pub fn grid16(&self) -> [usize; 2] {
        self.grid8().map(|side| side / 2)
    }
}

/// What the alignment hands to the decoder. `n8`, `n16` are numbers of cells.
pub struct Aligned {
    /// Prompt embedding brought to the query, `[b, n16, embed16]`.
    pub p16: Tensor<3>,
    /// `1 - max_j cos`, `[b, n16, 1]`.
    pub nearest16: Tensor<3>,
    /// Prompt embedding brought to the query, `[b, n8, embed8]`.
    pub p8: Tensor<3>,
    /// Prompt detail brought to the query, as an image at stride 4.
    pub p4: Tensor<4>,
    /// `1 - max_j cos` over the whole prompt, `[b, n8, 1]`.
    pub nearest8: Tensor<3>,
    /// Predicted displacement and its spread, `[b, n8, 3]`, in units of [`FLOW_UNIT`] cells.
    pub flow: Tensor<3>,
}

impl Aligned {
    /// `1 - cos` of each stride-8 patch of the query, `[b, n8, embed8]` with rows of unit length,
    /// to the prompt's patch brought to it, `[b, n8, 1]`. A mean of several patches is shorter
    /// than one, so an unsure alignment counts as a distance.
    pub fn distance(&self, e8: &Tensor<3>) -> Tensor<3> {
        (e8.clone() * self.p8.clone()).sum_dim(2).neg().add_scalar(1.0)
    }
}

/// Displacements are divided by this many stride-8 cells before the decoder sees them.
pub const FLOW_UNIT: f32 = 8.0;

impl Alignment {
    /// Start values: sharp enough to match, wide enough to be trained.
    pub fn new(device: &Device) -> Self {
        let scalar = |v: f32| Param::from_tensor(Tensor::from_floats([v.ln()], device));
        Alignment { log_t16: scalar(12.0), log_t8: scalar(12.0), log_var: scalar(4.0) }
    }

    /// Brings the prompt's features to the query's cells.
    pub fn forward(&self, q: &View, p: &View) -> Aligned {
        let b = q.e8.dims()[0];
        let ([h8, w8], [h16, w16]) = (q.grid8(), q.grid16());
        let device = q.e8.device();

        let cos16 = q.e16.clone().matmul(p.e16.clone().swap_dims(1, 2));
        let nearest16 = cos16.clone().max_dim(2).neg().add_scalar(1.0);
        let t16 = self.log_t16.val().exp().reshape([1, 1, 1]);
        let a16 = softmax(cos16 * t16, 2);
        let values =
            Tensor::cat(vec![p.e16.clone(), coordinates(h16, w16, &device).repeat(&[b, 1, 1])], 2);
        let moved = a16.matmul(values);
        let width = moved.dims()[2] - 3;
        let p16 = moved.clone().narrow(2, 0, width);
        let place = upsample(to_image(moved.narrow(2, width, 3), h16, w16), 2);
        let place = place.reshape([b, 3, h8 * w8]).swap_dims(1, 2);

        // Means and second moment are in stride-16 cells; a stride-8 cell is half of one, and
        // cell centres are offset by half a cell.
        let mean16 = place.clone().narrow(2, 0, 2);
        let square16 = place.narrow(2, 2, 1);
        let var16 = (square16 - mean16.clone().square().sum_dim(2)).clamp_min(0.0);
        let mean8 = mean16.mul_scalar(2.0).add_scalar(0.5);
        let var8 = var16.mul_scalar(4.0) + self.log_var.val().exp().reshape([1, 1, 1]);
        let weight = var8.clone().mul_scalar(2.0).recip();

        let cos8 = q.e8.clone().matmul(p.e8.clone().swap_dims(1, 2));
        let nearest8 = cos8.clone().max_dim(2).neg().add_scalar(1.0);
        let prior_rows =
            Tensor::cat(vec![mean8.clone().mul_scalar(2.0) * weight.clone(), weight.neg()], 2);
        let grid8 = coordinates(h8, w8, &device);
        let prior = prior_rows.matmul(grid8.clone().swap_dims(1, 2).repeat(&[b, 1, 1]));
        let t8 = self.log_t8.val().exp().reshape([1, 1, 1]);
        let a8 = softmax(cos8 * t8 + prior, 2);

        let detail_rows = space_to_rows(p.detail.clone());
        let moved8 = a8.matmul(Tensor::cat(vec![p.e8.clone(), detail_rows], 2));
        let e = p.e8.dims()[2];
        let d = moved8.dims()[2] - e;
        let p4 = rows_to_space(moved8.clone().narrow(2, e, d), h8, w8);
        let flow = Tensor::cat(
            vec![
                (mean8 - grid8.narrow(2, 0, 2)).div_scalar(FLOW_UNIT),
                var8.add_scalar(1.0).log().div_scalar(FLOW_UNIT),
            ],
            2,
        );
        Aligned { p16, nearest16, p8: moved8.narrow(2, 0, e), p4, nearest8, flow }
    }
}

/// `[1, h * w, 3]`: x, y and `x^2 + y^2` of every cell, in cells.
pub fn coordinates(h: usize, w: usize, device: &Device) -> Tensor<3> {
    let data = TensorData::new(coordinate_values(h, w), [1, h * w, 3]);
    Tensor::from_data(data, device)
}

/// The numbers of [`coordinates`].
pub fn coordinate_values(h: usize, w: usize) -> Vec<f32> {
    (0..h * w)
        .flat_map(|i| {
            let (x, y) = ((i % w) as f32, (i / w) as f32);
            [x, y, x * x + y * y]
        })
        .collect()
}

/// `[b, d, 2h, 2w]` to `[b, h * w, 4 d]`: the four stride-4 cells of each stride-8 cell.
/// Column order is (dy, dx, channel).
pub fn space_to_rows(x: Tensor<4>) -> Tensor<3> {
    let [b, d, h2, w2] = x.dims();
    let (h, w) = (h2 / 2, w2 / 2);
    x.reshape([b, d, h, 2, w, 2]).permute([0, 2, 4, 3, 5, 1]).reshape([b, h * w, 4 * d])
}

/// Inverse of [`space_to_rows`].
pub fn rows_to_space(x: Tensor<3>, h: usize, w: usize) -> Tensor<4> {
    let [b, _, d4] = x.dims();
    let d = d4 / 4;
    x.reshape([b, h, w, 2, 2, d]).permute([0, 5, 1, 3, 2, 4]).reshape([b, d, 2 * h, 2 * w])
}
