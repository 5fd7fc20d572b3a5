//! Every operator beside a plain loop in f64, on every instruction set of this machine, and beside tract's
//! own operators in a graph.

use super::along::{Along, Axis};
use super::attention::{Nearest, Order, Pairs, Use};
use super::convolution::{Convolution, Shape};
use super::crew::{Crew, with_crew};
use super::dots::Dots;
use super::eight::Levels;
use super::isa::{Isa, Kernel};
use super::lanes::Lanes;
use super::normalise::Normalise;
use super::sum::Sum;
use super::turn::Turn;
use super::{super::optimized, rewrite};
use proptest::prelude::*;
use tract_core::internal::*;
use tract_core::ops::array::TypedConcat;
use tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec, PoolSpec};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::math;
use tract_core::ops::nn::{DataFormat, Reduce, Reducer, Softmax, SoftmaxKind};

mod halves;

/// Numbers between -1 and 1 that depend on `seed` alone.
fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn assert_near(got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let off = (f64::from(*got) - want).abs();
        assert!(off <= tolerance * want.abs().max(1.0), "{i}: {got} is not {want}");
    }
}

fn run(op: &dyn EvalOp, inputs: &[(&[usize], &[f32])]) -> Vec<f32> {
    let inputs = inputs
        .iter()
        .map(|(shape, data)| Tensor::from_shape(shape, data).unwrap().into_tvalue())
        .collect();
    let out = op.eval_out_of_plan(inputs).unwrap().unwrap();
    out[0].view().as_slice::<f32>().unwrap().to_vec()
}

fn convolved(shape: &Shape, weight: &[f32], bias: &[f32], input: &[f32]) -> Vec<f64> {
    let [inputs, rows, columns] = shape.input;
    let [outputs, out_rows, out_columns] = shape.output;
    let channels = if shape.depthwise { 1 } else { inputs };
    let mut out = Vec::new();
    for (o, bias) in bias.iter().enumerate().take(outputs) {
        for y in 0..out_rows {
            for x in 0..out_columns {
                let mut sum = f64::from(*bias);
                for c in 0..channels {
                    for ky in 0..shape.kernel[0] {
                        for kx in 0..shape.kernel[1] {
                            let iy = y * shape.stride[0] + ky * shape.dilation[0];
                            let ix = x * shape.stride[1] + kx * shape.dilation[1];
                            let (Some(iy), Some(ix)) =
                                (iy.checked_sub(shape.pad[0]), ix.checked_sub(shape.pad[1]))
                            else {
                                continue;
                            };
                            if iy >= rows || ix >= columns {
                                continue;
                            }
                            let from = if shape.depthwise { o } else { c };
                            let w =
                                ((o * channels + c) * shape.kernel[0] + ky) * shape.kernel[1] + kx;
                            sum += f64::from(weight[w])
                                * f64::from(input[(from * rows + iy) * columns + ix]);
                        }
                    }
                }
                out.push(sum);
            }
        }
    }
    out
}

/// The shape of a convolution with padding on all sides.
fn shape(
    [inputs, rows, columns]: [usize; 3],
    outputs: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
) -> Shape {
    let out = |n: usize| (n + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1;
    Shape {
        input: [inputs, rows, columns],
        output: [outputs, out(rows), out(columns)],
        kernel: [kernel; 2],
        stride: [stride; 2],
        dilation: [dilation; 2],
        pad: [pad; 2],
        depthwise: false,
    }
}

fn holds(shape: &Shape) -> usize {
    let channels = if shape.depthwise { 1 } else { shape.input[0] };
    let weight = noise(shape.output[0] * channels * shape.kernel[0] * shape.kernel[1], 1);
    let bias = noise(shape.output[0], 2);
    let input = noise(shape.input.iter().product(), 3);
    let want = convolved(shape, &weight, &bias, &input);
    let mut sets = 0;
    for isa in Isa::available() {
        let in_sums = Convolution::in_sums(*isa, None, shape, &weight, &bias);
        let in_tiles = Convolution::in_tiles(*isa, None, shape, &weight, &bias);
        for op in [in_sums, in_tiles].into_iter().flatten() {
            sets += 1;
            gives(op, shape, &input, &want, 2e-5);
        }
    }
    sets
}

/// By itself, and with something added and a ReLU behind it.
fn gives(op: Convolution, shape: &Shape, input: &[f32], want: &[f64], tolerance: f64) {
    let added = noise(shape.output.iter().product(), 4);
    let both: Vec<f64> =
        want.iter().zip(&added).map(|(w, a)| (w + f64::from(*a)).max(0.0)).collect();
    let full = |s: [usize; 3]| [1, s[0], s[1], s[2]];
    let (in_shape, out_shape) = (full(shape.input), full(shape.output));
    let inputs: [(&[usize], &[f32]); 2] = [(&in_shape, input), (&out_shape, &added)];
    assert_near(&run(&op, &inputs[..1]), want, tolerance);
    assert_near(&run(&op.adding().rectified(), &inputs), &both, tolerance);
}

/// Weights on whole steps of their channel's scale, the greatest of them 127.
fn stepped(shape: &Shape) -> Vec<f32> {
    let own = shape.input[0] * shape.kernel[0] * shape.kernel[1];
    let steps = noise(shape.output[0] * own, 21).into_iter().map(|w| (w * 127.0).round());
    let weights = steps.enumerate().map(|(i, w)| {
        let scale = 0.01 / (1 + i / own) as f32;
        scale * if i % own == 0 { -127.0 } else { w }
    });
    weights.collect()
}

/// What is left of a value in 8 bits.
fn in_levels(levels: Levels, value: f32) -> f32 {
    let zero = f32::from(levels.zero);
    let steps = (value / levels.scale).round_ties_even().clamp(-zero, 255.0 - zero);
    steps * levels.scale
}

fn holds_in_levels(shape: &Shape, levels: Levels) -> bool {
    let weight = stepped(shape);
    let bias = noise(shape.output[0], 2);
    // Some of it beyond the levels. Not where rounding is a matter of the last digit.
    let input: Vec<f32> = noise(shape.input.iter().product(), 3)
        .into_iter()
        .map(|v| ((v * 150.0).floor() + 0.25) * levels.scale)
        .collect();
    let left: Vec<f32> = input.iter().map(|v| in_levels(levels, *v)).collect();
    let want = convolved(shape, &weight, &bias, &left);
    let Some(op) = Convolution::of_levels(shape, levels, &weight, &bias) else { return false };
    // Weights are as far from their steps as f32 has them: to be held against all that is added up.
    let [weight, left]: [Vec<f32>; 2] =
        [weight, left].map(|all| all.iter().map(|v| v.abs()).collect());
    let most = convolved(shape, &weight, &bias, &left).into_iter().fold(1.0, f64::max);
    gives(op, shape, &input, &want, 1e-6 * most);
    true
}

fn has_dots() -> bool {
    Isa::available().first().and_then(|isa| Dots::beside(*isa)).is_some()
}

#[test]
fn convolutions_of_our_networks_in_levels() {
    for (input, outputs, kernel, stride, pad) in [
        ([3, 64, 64], 24, 8, 4, 2),
        ([9, 32, 32], 17, 3, 1, 1),
        ([8, 16, 16], 12, 1, 1, 0),
        ([5, 34, 34], 8, 3, 2, 1),
        ([1, 20, 20], 1, 7, 1, 3),
    ] {
        for levels in [Levels { scale: 0.02, zero: 0 }, Levels { scale: 0.5, zero: 117 }] {
            let shape = shape(input, outputs, kernel, stride, 1, pad);
            assert_eq!(holds_in_levels(&shape, levels), has_dots(), "{input:?}");
        }
    }
    // 30 x 18 and 1 x 37 are no whole number of registers.
    for (input, kernel, pad) in [([6, 30, 18], 3, 1), ([6, 1, 37], 1, 0)] {
        let levels = Levels { scale: 0.1, zero: 255 };
        assert_eq!(holds_in_levels(&shape(input, 9, kernel, 1, 1, pad), levels), has_dots());
    }
}

#[test]
fn weights_between_levels_are_left_to_floats() {
    let shape = shape([4, 32, 32], 8, 3, 1, 1, 1);
    let levels = Levels { scale: 0.1, zero: 3 };
    let mut weight = stepped(&shape);
    assert_eq!(Convolution::of_levels(&shape, levels, &weight, &[0.0]).is_some(), has_dots());
    for odd in [weight[5] + 0.004, f32::NAN] {
        weight[5] = odd;
        assert!(Convolution::of_levels(&shape, levels, &weight, &[0.0]).is_none());
    }
    let depthwise = Shape { depthwise: true, ..shape };
    assert!(Convolution::of_levels(&depthwise, levels, &weight[..36], &[0.0]).is_none());
}

#[test]
fn convolutions_of_our_networks() {
    for (input, outputs, kernel, stride, pad) in [
        ([3, 64, 64], 24, 8, 4, 2),
        ([3, 64, 64], 10, 4, 2, 1),
        ([9, 32, 32], 17, 3, 1, 1),
        ([9, 16, 16], 12, 1, 1, 0),
        ([5, 34, 18], 8, 3, 2, 1),
        ([1, 20, 20], 1, 7, 1, 3),
        ([4, 33, 31], 6, 3, 3, 0),
    ] {
        assert!(holds(&shape(input, outputs, kernel, stride, 1, pad)) > 0, "{input:?} fits no set");
    }
    let depthwise = Shape { depthwise: true, ..shape([7, 32, 32], 7, 3, 1, 1, 1) };
    assert!(holds(&depthwise) > 0);
    let strided = Shape { depthwise: true, ..shape([7, 32, 32], 7, 5, 2, 1, 2) };
    assert!(holds(&strided) > 0);
}

#[test]
fn a_map_narrower_than_every_register_is_left_to_tract() {
    let narrow = shape([3, 3, 3], 4, 3, 1, 1, 1);
    assert!(Convolution::new(&narrow, &noise(108, 1), &noise(4, 2)).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_convolution(
        inputs in 1usize..6, outputs in 1usize..20, rows in 1usize..24, columns in 8usize..40,
        kernel in 1usize..6, stride in 1usize..5, dilation in 1usize..3, pad in 0usize..4,
        depthwise: bool,
    ) {
        let reach = (kernel - 1) * dilation + 1;
        prop_assume!(rows + 2 * pad >= reach && columns + 2 * pad >= reach);
        let outputs = if depthwise { inputs } else { outputs };
        let plain = shape([inputs, rows, columns], outputs, kernel, stride, dilation, pad);
        holds(&Shape { depthwise, ..plain });
    }

    #[test]
    fn any_convolution_in_levels(
        inputs in 1usize..11, outputs in 1usize..20, rows in 1usize..24, columns in 8usize..40,
        kernel in 1usize..6, stride in 1usize..5, dilation in 1usize..3, pad in 0usize..4,
        scale in 0.001f32..10.0, zero: u8,
    ) {
        let reach = (kernel - 1) * dilation + 1;
        prop_assume!(rows + 2 * pad >= reach && columns + 2 * pad >= reach);
        let shape = shape([inputs, rows, columns], outputs, kernel, stride, dilation, pad);
        holds_in_levels(&shape, Levels { scale, zero });
    }

    #[test]
    fn any_matrix_along_an_axis(
        channels in 1usize..4, rows in 1usize..20, columns in 4usize..40, extent in 4usize..50,
        across: bool, reach in 0usize..40,
    ) {
        let axis = if across { Axis::Columns } else { Axis::Rows };
        let from = if across { columns } else { rows };
        let matrix = noise(from * extent, 5);
        let input = noise(channels * rows * columns, 6);
        // Of places far away nothing counts.
        let near = |to: usize, f: usize| (to * from / extent).abs_diff(f) <= reach;
        let at = |to: usize, f: usize| if near(to, f) { matrix[to * from + f] } else { 0.0 };
        let mut want = Vec::new();
        let (out_rows, out_columns) = if across { (rows, extent) } else { (extent, columns) };
        for c in 0..channels {
            for y in 0..out_rows {
                for x in 0..out_columns {
                    want.push((0..from).map(|f| {
                        let (value, weight) = if across {
                            (input[(c * rows + y) * columns + f], at(x, f))
                        } else {
                            (input[(c * rows + f) * columns + x], at(y, f))
                        };
                        f64::from(value) * f64::from(weight)
                    }).sum::<f64>());
                }
            }
        }
        for isa in Isa::available() {
            let Some(op) = Along::on(*isa, axis, [channels, rows, columns], extent, at) else {
                continue;
            };
            let shape: &[usize] = &[1, channels, rows, columns];
            assert_near(&run(&op, &[(shape, &input)]), &want, 2e-5);
        }
    }

    #[test]
    fn any_axis_moved(
        extents in prop::collection::vec(1usize..40, 2..5), from: prop::sample::Index,
        to: prop::sample::Index,
    ) {
        let (from, to) = (from.index(extents.len()), to.index(extents.len()));
        prop_assume!(extents.iter().product::<usize>() < 60_000);
        let input = noise(extents.iter().product(), 31);
        let tensor = Tensor::from_shape(&extents, &input).unwrap();
        let want = AxisOp::Move(from, to).eval_out_of_plan(tvec![tensor.into_tvalue()]);
        let want = want.unwrap().unwrap();
        let got = run(&Turn { from, to }, &[(&extents, &input)]);
        prop_assert_eq!(&got[..], want[0].view().as_slice::<f32>().unwrap());
    }

    #[test]
    fn any_vectors_to_the_length_of_one(
        extents in prop::collection::vec(1usize..90, 2..4), axis: prop::sample::Index,
        epsilon in 1e-9f32..1e-3,
    ) {
        let axis = axis.index(extents.len());
        let input = noise(extents.iter().product(), 32);
        let inner: usize = extents[axis + 1..].iter().product();
        let length = extents[axis];
        let want: Vec<f64> = (0..input.len()).map(|i| {
            let first = i / (length * inner) * length * inner + i % inner;
            let squares = (0..length).map(|k| f64::from(input[first + k * inner]).powi(2));
            f64::from(input[i]) / (squares.sum::<f64>() + f64::from(epsilon)).sqrt()
        }).collect();
        assert_near(&run(&Normalise { axis, epsilon }, &[(&extents, &input)]), &want, 2e-6);
    }

    #[test]
    fn any_sum_along_an_axis(
        outer in 1usize..3, length in 0usize..300, inner in 1usize..140, seed: u32,
    ) {
        let shape = [outer, length, inner];
        let input = noise(shape.iter().product(), seed);
        let want: Vec<f64> = (0..outer * inner)
            .map(|i| {
                let first = i / inner * length * inner + i % inner;
                (0..length).map(|n| f64::from(input[first + n * inner])).sum()
            })
            .collect();
        assert_near(&run(&Sum { axis: 1 }, &[(&shape, &input)]), &want, 1e-5);
    }

    #[test]
    fn any_attention(
        queries in 1usize..70, keys in 1usize..40, depth in 1usize..12, width in 1usize..20,
        turned: bool, scale in 0.1f32..20.0,
    ) {
        let (q, k) = (noise(queries * depth, 7), noise(keys * depth, 8));
        let v = noise(keys * width, 9);
        let key = |j: usize, d: usize| if turned { k[d * keys + j] } else { k[j * depth + d] };
        let product = |i: usize, j: usize| -> f64 {
            (0..depth).map(|d| f64::from(q[i * depth + d]) * f64::from(key(j, d))).sum()
        };
        let (mut attended, mut greatest) = (Vec::new(), Vec::new());
        for i in 0..queries {
            let most = (0..keys).map(|j| product(i, j)).fold(f64::MIN, f64::max);
            greatest.push(most);
            let weights: Vec<f64> =
                (0..keys).map(|j| (f64::from(scale) * (product(i, j) - most)).exp()).collect();
            let total: f64 = weights.iter().sum();
            attended.extend((0..width).map(|e| {
                (0..keys).map(|j| weights[j] / total * f64::from(v[j * width + e])).sum::<f64>()
            }));
        }
        let key_shape = if turned { [1, depth, keys] } else { [1, keys, depth] };
        let order = if turned { Order::Columns } else { Order::Rows };
        for isa in Isa::available() {
            let pairs =
                |purpose| Pairs { isa: *isa, halves: None, queries: Order::Rows, keys: order, purpose };
            let inputs: [(&[usize], &[f32]); 3] =
                [(&[1, queries, depth], &q), (&key_shape, &k), (&[1, keys, width], &v)];
            let attend = |nearest| pairs(Use::Attend { scale, nearest });
            assert_near(&run(&attend(None), &inputs), &attended, 5e-5);
            // As far as half of the values, to the last of them.
            for part in [depth.div_ceil(2), depth] {
                let both = attend(Some(Nearest { depth: part, factor: 0.5 }));
                let inputs = inputs.map(|(shape, data)| {
                    Tensor::from_shape(shape, data).unwrap().into_tvalue()
                });
                let given = both.eval_out_of_plan(inputs.into_iter().collect()).unwrap().unwrap();
                let given = [0, 1].map(|i| given[i].view().as_slice::<f32>().unwrap().to_vec());
                assert_near(&given[0], &attended, 5e-5);
                let want: Vec<f64> = (0..queries).map(|i| {
                    let products = (0..keys).map(|j| -> f64 {
                        (0..part).map(|d| f64::from(q[i * depth + d]) * f64::from(key(j, d))).sum()
                    });
                    0.5 * products.fold(f64::MIN, f64::max)
                }).collect();
                assert_near(&given[1], &want, 2e-5);
            }
            assert_near(&run(&pairs(Use::Greatest), &inputs[..2]), &greatest, 2e-5);
        }
    }
}

/// A weight may be far too small for f32; it must neither be NaN nor slow the rest down.
#[test]
fn one_key_far_above_all_others() {
    let q = vec![100.0f32; 20];
    let k: Vec<f32> = (0..30).map(|j| if j == 7 { 90.0 } else { -90.0 }).collect();
    let v: Vec<f32> = (0..30).map(|j| j as f32).collect();
    for isa in Isa::available() {
        let purpose = Use::Attend { scale: 1.0, nearest: None };
        let op =
            Pairs { isa: *isa, halves: None, queries: Order::Rows, keys: Order::Rows, purpose };
        let inputs: [(&[usize], &[f32]); 3] =
            [(&[1, 20, 1], &q), (&[1, 30, 1], &k), (&[1, 30, 1], &v)];
        assert!(run(&op, &inputs).iter().all(|v| (v - 7.0).abs() < 1e-6));
    }
}

#[test]
fn the_exponential() {
    struct Exp(Vec<f32>);
    impl Kernel for Exp {
        type Out = Vec<f32>;
        #[inline(always)]
        unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) -> Vec<f32> {
            let mut values = self.0;
            for part in values.chunks_exact_mut(L::COUNT) {
                // SAFETY: a part is a register long.
                unsafe { L::load(part.as_ptr()).exp().store(part.as_mut_ptr()) };
            }
            values
        }
    }
    let from: Vec<f32> = (0..1600).map(|i| -80.0 + i as f32 * 0.1).collect();
    for isa in Isa::available() {
        for (got, x) in isa.call(Exp(from.clone())).iter().zip(&from) {
            let want = f64::from(*x).exp();
            let off = (f64::from(*got) - want).abs() / want;
            assert!(off < 3e-7, "{isa:?}: exp({x}) = {got}, not {want}");
        }
    }
}

/// A small network with all that the rules know: strided convolution, a residual block, resizing, and
/// attention between two of its maps.
fn network() -> TypedModel {
    let mut m = TypedModel::default();
    let x = m.add_source("x", f32::fact([1, 3, 64, 64])).unwrap();
    let conv = |m: &mut TypedModel, name: &str, x: OutletId, io: [usize; 2], k: usize, s: usize| {
        let weight = Tensor::from_shape(&[io[1], io[0], k, k], &noise(io[0] * io[1] * k * k, 11));
        let weight = m.add_const(format!("{name}.w"), weight.unwrap()).unwrap();
        let bias = m.add_const(format!("{name}.b"), tensor1(&noise(io[1], 12))).unwrap();
        let pad: TVec<usize> = tvec![(k - s) / 2 + (k - s) % 2; 2];
        let padding = PaddingSpec::Explicit(pad.clone(), pad);
        let (kernel, strides) = (tvec![k; 2], Some(tvec![s; 2]));
        let spec = PoolSpec::new(DataFormat::NCHW, kernel, padding, None, strides, io[0], io[1]);
        let op = Conv::new(spec, KernelFormat::OIHW, 1, None);
        m.wire_node(name, op, &[x, weight, bias]).unwrap()[0]
    };
    let zero = m.add_const("zero", tensor4(&[[[[0.0f32]]]])).unwrap();
    let down = conv(&mut m, "down", x, [3, 10], 4, 2);
    let down = m.wire_node("relu", math::max(), &[down, zero]).unwrap()[0];
    let a = conv(&mut m, "a", down, [10, 10], 3, 1);
    let sum = m.wire_node("sum", math::add(), &[down, a]).unwrap()[0];
    let block = m.wire_node("relu2", math::max(), &[sum, zero]).unwrap()[0];
    let wide = Tensor::from_shape(&[1, 1, 32, 64], &noise(32 * 64, 13)).unwrap();
    let high = Tensor::from_shape(&[1, 1, 64, 32], &noise(32 * 64, 14)).unwrap();
    let product = |m: &mut TypedModel, name: &str, a: OutletId, b: OutletId| {
        let rank = m.outlet_fact(a).unwrap().rank();
        let axes = AxesMapping::for_numpy_matmul(rank, false, false, false).unwrap();
        let op = EinSum { axes, operating_dt: f32::datum_type(), q_params: None };
        m.wire_node(name, op, &[a, b]).unwrap()[0]
    };
    let wide = m.add_const("wide", wide).unwrap();
    let high = m.add_const("high", high).unwrap();
    let across = product(&mut m, "across", block, wide);
    let big = product(&mut m, "big", high, across);
    let rows = |m: &mut TypedModel, name: &str, map: OutletId| {
        let flat = AxisOp::Reshape(2, tvec![32.into(), 32.into()], tvec![1024.into()]);
        m.wire_node(name, flat, &[map]).unwrap()[0]
    };
    let keys = rows(&mut m, "keys", down);
    let turned = |m: &mut TypedModel, name: &str, x: OutletId| {
        m.wire_node(name, AxisOp::Move(1, 2), &[x]).unwrap()[0]
    };
    let values = turned(&mut m, "values", keys);
    let queries = rows(&mut m, "flat", block);
    let queries = turned(&mut m, "queries", queries);
    let all = product(&mut m, "all", queries, keys);
    let scale = m.add_const("scale", tensor3(&[[[0.125f32]]])).unwrap();
    let scaled = m.wire_node("scaled", math::mul(), &[all, scale]).unwrap()[0];
    let softmax = Softmax { axes: tvec![2], quant_output_dt: None, kind: SoftmaxKind::default() };
    let weights = m.wire_node("weights", softmax, &[scaled]).unwrap()[0];
    let attended = product(&mut m, "attended", weights, values);
    let most = Reduce { axes: tvec![2], reducer: Reducer::Max };
    let most = m.wire_node("most", most, &[all]).unwrap()[0];
    m.select_output_outlets(&[big, attended, most]).unwrap();
    m
}

/// One convolution of a map that goes through 8 bits before, where a residual branch reads it as it was.
fn rounded_network(levels: Levels, least: f32) -> TypedModel {
    let mut m = TypedModel::default();
    let x = m.add_source("x", f32::fact([1, 3, 64, 64])).unwrap();
    let number = |m: &mut TypedModel, name: &str, value: f32| {
        m.add_const(name, tensor4(&[[[[value]]]])).unwrap()
    };
    let by = number(&mut m, "by", 1.0 / levels.scale);
    let least = number(&mut m, "least", least);
    let most = number(&mut m, "most", 255.0 - f32::from(levels.zero));
    let scale = number(&mut m, "scale", levels.scale);
    let steps = m.wire_node("steps", math::mul(), &[x, by]).unwrap()[0];
    let whole = m.wire_node("whole", math::round_half_to_even(), &[steps]).unwrap()[0];
    let above = m.wire_node("above", math::max(), &[whole, least]).unwrap()[0];
    let within = m.wire_node("within", math::min(), &[above, most]).unwrap()[0];
    let rounded = m.wire_node("rounded", math::mul(), &[within, scale]).unwrap()[0];
    let weight = stepped(&shape([3, 64, 64], 3, 3, 1, 1, 1));
    let weight = m.add_const("w", Tensor::from_shape(&[3, 3, 3, 3], &weight).unwrap()).unwrap();
    let bias = m.add_const("b", tensor1(&noise(3, 12))).unwrap();
    let padding = PaddingSpec::Explicit(tvec![1; 2], tvec![1; 2]);
    let spec = PoolSpec::new(DataFormat::NCHW, tvec![3; 2], padding, None, None, 3, 3);
    let op = Conv::new(spec, KernelFormat::OIHW, 1, None);
    let conv = m.wire_node("conv", op, &[rounded, weight, bias]).unwrap()[0];
    let sum = m.wire_node("sum", math::add(), &[x, conv]).unwrap()[0];
    m.select_output_outlets(&[sum]).unwrap();
    m
}

#[test]
fn rounding_before_a_convolution_is_done_as_it_reads() {
    let levels = Levels { scale: 1.0 / 128.0, zero: 100 };
    let want = outputs(rounded_network(levels, -100.0));
    let mut ours = rounded_network(levels, -100.0);
    rewrite(&mut ours).unwrap();
    let left = |m: &TypedModel| m.nodes().iter().any(|n| n.op.name().contains("Round"));
    let got = outputs(ours.clone());
    let reached = ours.into_optimized().unwrap();
    assert_eq!(left(&reached), !has_dots(), "rounding is in the operator");
    let want: Vec<f64> = want[0].iter().map(|v| f64::from(*v)).collect();
    assert_near(&got[0], &want, 1e-4);
    // Not 8 bits: left as it is.
    let mut seven = rounded_network(levels, -27.0);
    rewrite(&mut seven).unwrap();
    assert!(left(&seven.into_optimized().unwrap()));
}

/// An attention whose queries and keys begin with what is matched beside it; factors go through `made`.
fn matching(made: impl Fn(&mut TypedModel, OutletId) -> OutletId) -> TypedModel {
    let mut m = TypedModel::default();
    let x = m.add_source("x", f32::fact([1, 3, 64, 64])).unwrap();
    let keys = AxisOp::Reshape(1, tvec![3.into(), 64.into()], tvec![192.into()]);
    let keys = m.wire_node("keys", keys, &[x]).unwrap()[0];
    let queries = m.wire_node("queries", AxisOp::Move(1, 2), &[keys]).unwrap()[0];
    let two = m.add_const("two", tensor3(&[[[2.0f32]]])).unwrap();
    let doubled = m.wire_node("doubled", math::mul(), &[queries, two]).unwrap()[0];
    let place = |shape: &[usize], seed| Tensor::from_shape(shape, &noise(192, seed)).unwrap();
    let rows = m.add_const("rows", place(&[1, 64, 3], 41)).unwrap();
    let columns = m.add_const("columns", place(&[1, 3, 64], 42)).unwrap();
    let joined = TypedConcat { axis: 2 };
    let placed = m.wire_node("placed", joined, &[doubled, rows]).unwrap()[0];
    let joined = TypedConcat { axis: 1 };
    let places = m.wire_node("places", joined, &[keys, columns]).unwrap()[0];
    let product = |m: &mut TypedModel, name: &str, a: OutletId, b: OutletId| {
        let axes = AxesMapping::for_numpy_matmul(3, false, false, false).unwrap();
        let op = EinSum { axes, operating_dt: f32::datum_type(), q_params: None };
        let factors = [a, b].map(|factor| made(m, factor));
        m.wire_node(name, op, &factors).unwrap()[0]
    };
    let all = product(&mut m, "all", placed, places);
    let softmax = Softmax { axes: tvec![2], quant_output_dt: None, kind: SoftmaxKind::default() };
    let weights = m.wire_node("weights", softmax, &[all]).unwrap()[0];
    let attended = product(&mut m, "attended", weights, queries);
    let alike = product(&mut m, "alike", queries, keys);
    let most = Reduce { axes: tvec![2], reducer: Reducer::Max };
    let most = m.wire_node("most", most, &[alike]).unwrap()[0];
    m.select_output_outlets(&[attended, most]).unwrap();
    m
}

#[test]
fn an_attention_passes_through_the_nearest_neighbour() {
    let m = matching(|_, factor| factor);
    let want = outputs(m.clone());
    let ours = optimized(m).unwrap();
    let count = |name: &str| ours.nodes().iter().filter(|n| n.op.name() == name).count();
    assert_eq!((count("TouchstoneAttention"), count("TouchstoneGreatestProduct")), (1, 0));
    for (got, want) in outputs_of(ours).iter().zip(&want) {
        let want: Vec<f64> = want.iter().map(|v| f64::from(*v)).collect();
        assert_near(got, &want, 1e-4);
    }
}

#[test]
fn features_are_made_as_long_as_one_and_turned() {
    let mut m = TypedModel::default();
    let x = m.add_source("x", f32::fact([1, 3, 64, 64])).unwrap();
    let epsilon = m.add_const("epsilon", tensor4(&[[[[1e-6f32]]]])).unwrap();
    let squares = m.wire_node("squares", math::mul(), &[x, x]).unwrap()[0];
    let sum = Reduce { axes: tvec![1], reducer: Reducer::Sum };
    let sum = m.wire_node("sum", sum, &[squares]).unwrap()[0];
    let sum = m.wire_node("add", math::add(), &[sum, epsilon]).unwrap()[0];
    let length = m.wire_node("length", math::sqrt(), &[sum]).unwrap()[0];
    let ones = m.wire_node("ones", math::div(), &[x, length]).unwrap()[0];
    let flat = AxisOp::Reshape(2, tvec![64.into(), 64.into()], tvec![4096.into()]);
    let flat = m.wire_node("flat", flat, &[ones]).unwrap()[0];
    let turned = m.wire_node("turned", AxisOp::Move(1, 2), &[flat]).unwrap()[0];
    m.select_output_outlets(&[turned]).unwrap();
    let want: Vec<f64> = outputs(m.clone())[0].iter().map(|v| f64::from(*v)).collect();
    let ours = optimized(m).unwrap();
    let count = |name: &str| ours.nodes().iter().filter(|n| n.op.name() == name).count();
    assert_eq!((count("TouchstoneNormalise"), count("TouchstoneTurn")), (1, 1));
    assert_near(&outputs_of(ours)[0], &want, 2e-6);
}

fn outputs(model: TypedModel) -> Vec<Vec<f32>> {
    outputs_of(model.into_optimized().unwrap())
}

fn outputs_of(model: TypedModel) -> Vec<Vec<f32>> {
    let plan = model.into_runnable().unwrap();
    let x = Tensor::from_shape(&[1, 3, 64, 64], &noise(3 * 64 * 64, 15)).unwrap();
    let given = plan.run(tvec![x.into_tvalue()]).unwrap();
    given.iter().map(|v| v.view().as_slice::<f32>().unwrap().to_vec()).collect()
}

#[test]
fn a_graph_gives_what_tract_gives_with_our_operators_in_it() {
    let want = outputs(network());
    let mut ours = network();
    rewrite(&mut ours).unwrap();
    let count = |name: &str| ours.nodes().iter().filter(|n| n.op.name().contains(name)).count();
    assert_eq!(count("TouchstoneConvolution"), 2);
    assert_eq!(count("TouchstoneAlong"), 2);
    assert_eq!(count("TouchstoneAttention"), 1);
    // The attention passes through it.
    assert_eq!(count("TouchstoneGreatestProduct"), 0);
    let crew = Arc::new(Crew::new(2).unwrap());
    for got in [outputs(ours.clone()), with_crew(Some(&crew), || outputs(ours))] {
        for (got, want) in got.iter().zip(&want) {
            let want: Vec<f64> = want.iter().map(|v| f64::from(*v)).collect();
            assert_near(got, &want, 1e-4);
        }
    }
}
