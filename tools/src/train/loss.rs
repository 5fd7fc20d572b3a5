//! Losses.

use burn::tensor::Tensor;

/// How much a pixel counts in [`change_loss`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelWeights {
    /// A changed pixel against an unchanged one.
    pub positive: f32,
    /// Share of the unchanged pixels, those with the largest loss, that count [`HARD_WEIGHT`] more;
    /// 0 for none.
    pub hard_negatives: f32,
}

impl PixelWeights {
    /// The same without the hard negatives: losses of validations stay comparable.
    pub fn plain(self) -> Self {
        PixelWeights { hard_negatives: 0.0, ..self }
    }
}

/// Pixel binary cross-entropy on logits (methods/metauas.md section 4) with the changed pixels
/// weighted, plus a soft Dice term over the whole batch. Changed pixels are a few percent, and
/// the Dice term keeps their share of the gradient when the cross-entropy is nearly solved.
pub fn change_loss(logits: Tensor<4>, truth: Tensor<4>, weights: PixelWeights) -> Tensor<1> {
    // max(x, 0) - x y + ln(1 + exp(-|x|)): never overflows.
    let softplus = logits.clone().abs().neg().exp().log1p();
    let entropy = logits.clone().clamp_min(0.0) - logits.clone() * truth.clone() + softplus;
    let mut weight = truth.clone().mul_scalar(weights.positive - 1.0).add_scalar(1.0);
    if weights.hard_negatives > 0.0 {
        let hard = hard_negatives(entropy.clone().detach(), truth.clone(), weights.hard_negatives);
        weight = weight + hard.mul_scalar(HARD_WEIGHT);
    }
    let entropy = (entropy * weight.clone()).sum() / weight.sum();

    let p = burn::tensor::activation::sigmoid(logits);
    let overlap = (p.clone() * truth.clone()).sum().mul_scalar(2.0).add_scalar(1.0);
    let dice = (overlap / (p.sum() + truth.sum()).add_scalar(1.0)).neg().add_scalar(1.0);
    entropy + dice.mul_scalar(DICE_WEIGHT)
}

/// 1 where an unchanged pixel is among the worst `share` of all unchanged pixels of the batch, else 0.
/// At least one pixel is, and pixels as bad as the last one are too. Nothing is read from the device.
fn hard_negatives(entropy: Tensor<4>, truth: Tensor<4>, share: f32) -> Tensor<4> {
    let [b, c, h, w] = entropy.dims();
    let pixels = b * c * h * w;
    let unchanged = truth.neg().add_scalar(1.0);
    // Entropies are not negative, so changed pixels come last.
    let negative = (entropy + 1.0) * unchanged.clone();
    let worst = negative.clone().reshape([pixels]).sort_descending(0);
    let count = (unchanged.clone().sum() * share).round().clamp_min(1.0);
    let last = (count - 1.0).int();
    let threshold = worst.select(0, last).reshape([1, 1, 1, 1]);
    negative.greater_equal(threshold.expand([b, c, h, w])).float() * unchanged
}

/// What a hard negative counts on top of 1: together with the changed pixels' weight it keeps a few
/// false alarms from drowning in thousands of easy pixels.
const HARD_WEIGHT: f32 = 4.0;

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

    fn plain(positive: f32) -> PixelWeights {
        PixelWeights { positive, hard_negatives: 0.0 }
    }

    #[test]
    fn hard_negatives_are_the_worst_of_the_unchanged() {
        // The first pixel is changed and the worst of all; of the four others a half are the two
        // with the largest logits.
        let logits = tensor(&[-9.0, 2.0, -3.0, 0.5, -1.0]);
        let truth = tensor(&[1.0, 0.0, 0.0, 0.0, 0.0]);
        let entropy = |x: f32, y: f32| x.max(0.0) - x * y + (-x.abs()).exp().ln_1p();
        let entropies = tensor(&[
            entropy(-9.0, 1.0),
            entropy(2.0, 0.0),
            entropy(-3.0, 0.0),
            entropy(0.5, 0.0),
            entropy(-1.0, 0.0),
        ]);
        let hard = |share| {
            let hard = hard_negatives(entropies.clone(), truth.clone(), share);
            hard.into_data().try_to_vec::<f32>().expect("floats")
        };
        assert_eq!(hard(0.5), [0.0, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(hard(0.25), [0.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(hard(0.01), hard(0.25), "one at least");
        assert_eq!(hard(1.0), [0.0, 1.0, 1.0, 1.0, 1.0]);

        let weights = PixelWeights { positive: 2.0, hard_negatives: 0.5 };
        let with = change_loss(logits.clone(), truth.clone(), weights).into_scalar::<f32>();
        let without = change_loss(logits, truth, weights.plain()).into_scalar::<f32>();
        let (a, b, c, d, e) = (
            entropy(-9.0, 1.0),
            entropy(2.0, 0.0),
            entropy(-3.0, 0.0),
            entropy(0.5, 0.0),
            entropy(-1.0, 0.0),
        );
        let more = (2.0 * a + 5.0 * b + c + 5.0 * d + e) / 14.0 - (2.0 * a + b + c + d + e) / 6.0;
        assert!((with - without - more).abs() < 1e-5, "{with} {without} {more}");
    }

    #[test]
    fn hard_negatives_of_nothing_unchanged_are_none() {
        let all = tensor(&[1.0, 1.0]);
        let hard = hard_negatives(tensor(&[3.0, 0.5]), all, 0.5);
        assert_eq!(hard.into_data().try_to_vec::<f32>().expect("floats"), [0.0, 0.0]);
    }

    #[test]
    fn change_loss_matches_hand_computed_values() {
        // Logit 0 everywhere: entropy ln 2, p = 0.5, dice = 1 - (2 * 0.5 + 1) / (1 + 1 + 1).
        let got = change_loss(tensor(&[0.0, 0.0]), tensor(&[1.0, 0.0]), plain(3.0));
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
        let got = change_loss(tensor(&[1e4, -1e4]), tensor(&[0.0, 1.0]), plain(2.0));
        assert!(got.into_scalar::<f32>().is_finite());
    }
}
