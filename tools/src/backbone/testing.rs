//! A small encoder such as somebody else could have, for tests.

use crate::export::onnx::{ConvWeights, GraphBuilder, Value};

/// Channels of its maps at strides 4, 8, 16 and 32.
pub const CHANNELS: [usize; 4] = [6, 8, 10, 12];
/// Side of the picture that its declared shapes are for.
pub const SIDE: usize = 64;

/// `count` values in -1..1 that depend on `seed`: a linear congruential generator's upper bits.
fn noise(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn strided(g: &mut GraphBuilder, x: &Value, [inputs, outputs, stride]: [usize; 3]) -> Value {
    let count = outputs * inputs * stride * stride;
    let gain = (6.0 / (inputs * stride * stride) as f32).sqrt();
    let conv = ConvWeights {
        shape: [outputs, inputs, stride, stride],
        weight: noise(count as u32, count).into_iter().map(|v| v * gain).collect(),
        bias: noise(outputs as u32, outputs),
        stride,
        padding: [0; 2],
        groups: 1,
    };
    let y = g.conv(x, &conv);
    g.relu(&y)
}

/// Four strided convolutions, then a classifier of three classes. `outputs` are indices into
/// [`CHANNELS`], 4 for the classes; each becomes the output `out0`, `out1`, ...
pub fn encoder(outputs: &[usize]) -> Vec<u8> {
    let mut g = GraphBuilder::new("somebody's");
    let image = g.input("pixels", &[1, 3, SIDE, SIDE]);
    let mut made = Vec::new();
    let (mut x, mut inputs) = (image, 3);
    for (level, channels) in CHANNELS.into_iter().enumerate() {
        x = strided(&mut g, &x, [inputs, channels, if level == 0 { 4 } else { 2 }]);
        made.push((x.clone(), vec![1, channels, SIDE >> (level + 2), SIDE >> (level + 2)]));
        inputs = channels;
    }
    let mean = g.mean_axes(&x, &[2, 3]);
    let mean = g.reshape(&mean, &[1, inputs]);
    let weights = g.constant(&[inputs, 3], &noise(7, inputs * 3));
    made.push((g.matmul(&mean, &weights), vec![1, 3]));
    for (index, output) in outputs.iter().enumerate() {
        let (value, shape) = made[*output].clone();
        g.output(value, &format!("out{index}"), &shape);
    }
    g.finish()
}
