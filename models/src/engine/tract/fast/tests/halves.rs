//! Products of numbers of 16 bits: as a core with such numbers computes them, and as they are computed step by step
//! where there is none.

use super::*;
use crate::engine::tract::fast::factors::Halves;
use tract_core::ops::cast::Cast;

/// Who computes with 16 bits beside a set: rounded at every step everywhere, and the machine's own.
fn halves(isa: Isa) -> Vec<Halves> {
    [Some(Halves::Rounded), Halves::beside(isa)].into_iter().flatten().collect()
}

/// Whether graphs are computed so on this machine.
fn has_halves() -> bool {
    Halves::beside(Isa::best()).is_some()
}

/// How far off a sum of products may be, of the sum of their sizes.
const OFF: f64 = 2e-3;

fn holds_in_halves(shape: &Shape) {
    let weight = noise(shape.output[0] * shape.input[0] * shape.kernel[0] * shape.kernel[1], 1);
    let (bias, input) = (noise(shape.output[0], 2), noise(shape.input.iter().product(), 3));
    let want = convolved(shape, &weight, &bias, &input);
    let sizes = |values: &[f32]| values.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let most = convolved(shape, &sizes(&weight), &bias, &sizes(&input));
    let most = most.into_iter().fold(1.0, f64::max);
    let mut found = 0;
    for isa in Isa::available() {
        for halves in halves(*isa) {
            let in_tiles = Convolution::in_tiles(*isa, Some(halves), shape, &weight, &bias);
            let in_sums = Convolution::in_sums(*isa, Some(halves), shape, &weight, &bias);
            let ways = [in_tiles, in_sums].into_iter().flatten();
            found += ways.map(|op| gives(op, shape, &input, &want, OFF * most)).count();
        }
    }
    assert!(found > 0, "{shape:?} fits no set");
}

#[test]
fn convolutions() {
    // A register of tiles that is half empty, several, and more channels than are added up in 16 bits.
    for (inputs, outputs, rows, columns) in [(12, 12, 5, 9), (70, 20, 33, 31), (150, 24, 16, 64)] {
        holds_in_halves(&shape([inputs, rows, columns], outputs, 3, 1, 1, 1));
    }
    holds_in_halves(&shape([20, 40, 36], 32, 4, 2, 1, 1));
    holds_in_halves(&shape([6, 64, 64], 24, 8, 4, 1, 2));
    // As sums alone, one of them of a map whose rows are no whole registers.
    holds_in_halves(&shape([100, 16, 16], 30, 1, 1, 1, 0));
    holds_in_halves(&shape([7, 33, 37], 9, 1, 1, 1, 0));
    holds_in_halves(&shape([5, 40, 70], 11, 5, 2, 1, 2));
}

/// Through 16 bits and back.
fn halved(m: &mut TypedModel, factor: OutletId) -> OutletId {
    let to = |m: &mut TypedModel, from: OutletId, to: DatumType| {
        let name = format!("{}.{}.{to:?}", m.node(from.node).name, m.nodes().len());
        m.wire_node(name, Cast { to }, &[from]).unwrap()[0]
    };
    let half = to(m, factor, f16::datum_type());
    to(m, half, f32::datum_type())
}

#[test]
fn an_attention_is_recognised_behind_casts() {
    let want = outputs(matching(|_, factor| factor));
    let ours = optimized(matching(halved)).unwrap();
    let count = |name: &str| ours.nodes().iter().filter(|n| n.op.name() == name).count();
    let found = ["TouchstoneAttention", "TouchstoneGreatestProduct", "Cast"].map(count);
    assert_eq!(found, [1, 0, 0]);
    let tolerance = if has_halves() { 3e-3 } else { 1e-4 };
    for (got, want) in outputs_of(ours).iter().zip(&want) {
        let want: Vec<f64> = want.iter().map(|v| f64::from(*v)).collect();
        assert_near(got, &want, tolerance);
    }
}

#[test]
fn marks_that_nobody_takes_are_left_out() {
    let mut m = TypedModel::default();
    let x = m.add_source("x", f32::fact([1, 3, 64, 64])).unwrap();
    let cast = halved(&mut m, x);
    let sum = m.wire_node("sum", math::add(), &[x, cast]).unwrap()[0];
    m.select_output_outlets(&[sum]).unwrap();
    let ours = optimized(m).unwrap();
    assert!(!ours.nodes().iter().any(|n| n.op_is::<Cast>()));
    let want: Vec<f64> = noise(3 * 64 * 64, 15).iter().map(|v| f64::from(2.0 * v)).collect();
    assert_near(&outputs_of(ours)[0], &want, 0.0);
}

proptest! {
    #[test]
    fn any_attention_in_halves(
        queries in 1usize..70, keys in 1usize..140, depth in 1usize..150, width in 1usize..20,
        seed: u32,
    ) {
        // Products are about as large as those of features of length 1.
        let size = (depth as f32).sqrt();
        let [q, k] = [(queries, seed), (keys, seed ^ 1)]
            .map(|(n, seed)| noise(n * depth, seed).iter().map(|v| v / size).collect::<Vec<f32>>());
        let v = noise(keys * width, seed ^ 2);
        let inputs: [(&[usize], &[f32]); 3] =
            [(&[1, queries, depth], &q), (&[1, keys, depth], &k), (&[1, keys, width], &v)];
        let nearest = Some(Nearest { depth: depth.div_ceil(2), factor: 0.5 });
        for isa in Isa::available() {
            let with = |halves| {
                let purpose = Use::Attend { scale: 10.0, nearest };
                let (queries, keys) = (Order::Rows, Order::Rows);
                let op = Pairs { isa: *isa, halves, queries, keys, purpose };
                let inputs = inputs.map(|(shape, data)| {
                    Tensor::from_shape(shape, data).unwrap().into_tvalue()
                });
                let given = op.eval_out_of_plan(inputs.into_iter().collect()).unwrap().unwrap();
                [0, 1].map(|i| given[i].view().as_slice::<f32>().unwrap().to_vec())
            };
            let want = with(None).map(|all| all.into_iter().map(f64::from).collect::<Vec<_>>());
            for halves in halves(*isa) {
                let got = with(Some(halves));
                assert_near(&got[0], &want[0], 1e-2);
                assert_near(&got[1], &want[1], 1e-3);
            }
        }
    }
}
