//! Losses.

use burn::tensor::Tensor;

/// Pixel binary cross-entropy on logits (methods/metauas.md section 4) with the changed pixels
/// weighted, plus a soft Dice term over the whole batch. Changed pixels are a few percent, and
/// the Dice term keeps their share of the gradient when the cross-entropy is nearly solved.
pub fn change_loss(logits: Tensor<4>, truth: Tensor<4>, positive_weight: f32) -> Tensor<1> {
    // max(x, 0) - x y + ln(1 + exp(-|x|)): never overflows.
    let softplus = logits.clone().abs().neg().exp().log1p();
    let entropy = logits.clone().clamp_min(0.0) - logits.clone() * truth.clone() + softplus;
    let weight = truth.clone().mul_scalar(positive_weight - 1.0).add_scalar(1.0);
    let entropy = (entropy * weight.clone()).sum() / weight.sum();

    let p = burn::tensor::activation::sigmoid(logits);
    let overlap = (p.clone() * truth.clone()).sum().mul_scalar(2.0).add_scalar(1.0);
    let dice = (overlap / (p.sum() + truth.sum()).add_scalar(1.0)).neg().add_scalar(1.0);
    entropy + dice.mul_scalar(DICE_WEIGHT)
}

const DICE_WEIGHT: f32 = 0.3;

/// Below this `1 - cos` a patch counts as matched, above [`APART`] as not matched.
const TOGETHER: f32 = 0.05;
/// See [`TOGETHER`].
const APART: f32 = 0.5;
/// A stride-8 patch is changed when this share of its pixels is, and unchanged when none is; in
/// between it is neither.
const CHANGED_SHARE: f32 = 0.12;

/// Contrast of patch distances: unchanged patches together, changed ones apart, each side
/// weighing the same however few the changed ones are. `mismatch` are `[b, 1, h, w]` of
/// `1 - cos`, `truth` is `[b, 1, s h, s w]` of 0/1.
pub fn match_loss(mismatch: &[Tensor<4>], truth: Tensor<4>) -> Tensor<1> {
    let Some(first) = mismatch.first() else {
        return Tensor::zeros([1], &truth.device());
    };
    let [b, _, h, w] = first.dims();
    let [_, _, rows, columns] = truth.dims();
    let (sy, sx) = (rows / h, columns / w);
    let share = truth.reshape([b, h, sy, w, sx]).mean_dim(4).mean_dim(2).reshape([b, 1, h, w]);
    let changed = share.clone().greater_equal_elem(CHANGED_SHARE).float();
    let same = share.lower_equal_elem(0.0).float();
    let (count_changed, count_same) =
        (changed.clone().sum().add_scalar(1.0), same.clone().sum().add_scalar(1.0));
    let mut total = Tensor::zeros([1], &first.device());
    for distance in mismatch {
        let near = (distance.clone() - TOGETHER).clamp_min(0.0) * same.clone();
        let far = (distance.clone().neg() + APART).clamp_min(0.0) * changed.clone();
        total = total + near.sum() / count_same.clone() + far.sum() / count_changed.clone();
    }
    total
}

/// Mean squared difference of two cosine matrices: the student's own similarities must be the
/// teacher's. `student`, `teacher` are `[groups, rows, dim]` with rows of unit length; rows are
/// compared within their group.
pub fn relation_loss(student: Tensor<3>, teacher: Tensor<3>) -> Tensor<1> {
    let s = student.clone().matmul(student.swap_dims(1, 2));
    let t = teacher.clone().matmul(teacher.swap_dims(1, 2));
    (s - t).square().mean()
}

/// Mean squared difference of how far apart the same cell of two pictures is: `[twos, cells, dim]`
/// each, rows of unit length. It is what a registered comparison will look at, so every cell
/// counts, not a sample.
pub fn registered_loss(student: [Tensor<3>; 2], teacher: [Tensor<3>; 2]) -> Tensor<1> {
    let cosine = |[a, b]: [Tensor<3>; 2]| (a * b).sum_dim(2);
    (cosine(student) - cosine(teacher)).square().mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn tensor(v: &[f32]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(v.to_vec(), [1, 1, 1, v.len()]), &Device::flex())
    }

    #[test]
    fn change_loss_matches_hand_computed_values() {
        // Logit 0 everywhere: entropy ln 2, p = 0.5, dice = 1 - (2 * 0.5 + 1) / (1 + 1 + 1).
        let got = change_loss(tensor(&[0.0, 0.0]), tensor(&[1.0, 0.0]), 3.0);
        let want = std::f32::consts::LN_2 + DICE_WEIGHT * (1.0 - 2.0 / 3.0);
        assert!((got.into_scalar::<f32>() - want).abs() < 1e-6);
    }

    #[test]
    fn match_loss_matches_hand_computed_values() {
        // One row of two patches of 1x2 pixels: the first unchanged, the second changed.
        let truth = tensor(&[0.0, 0.0, 1.0, 1.0]);
        let distances = tensor(&[0.25, 0.2]);
        // (0.25 - 0.05) / 2 + (0.5 - 0.2) / 2, each count with its one on top.
        let got = match_loss(&[distances], truth).into_scalar::<f32>();
        assert!((got - 0.25).abs() < 1e-6, "{got}");
    }

    #[test]
    fn change_loss_is_finite_for_huge_logits() {
        let got = change_loss(tensor(&[1e4, -1e4]), tensor(&[0.0, 1.0]), 2.0);
        assert!(got.into_scalar::<f32>().is_finite());
    }
}
