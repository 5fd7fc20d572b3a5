//! Convolutions in tiles of 4x4 results, with fewer products than results times weights: Winograd's F(4x4, 3x3) and
//! F(4x4, 2x2) (Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015). 3x3 cells take 36 products
//! for each tile where the plain sum has 144. Kernels of 2s x 2s cells with a stride of s are kernels of 2x2 over s x s
//! times as many channels; they take 25 where the sum has 64.
//!
//! A tile's window, the kernel and the result are polynomials in either direction, and products of polynomials are
//! products of their values at as many points as they have coefficients. The points are 0, +-sqrt(1/2), +-sqrt(2) and
//! infinity for 3x3, and +-1/2, +-3/2 and infinity for 2x2: sums are off by less than twice what plain sums are off by
//! (five and ten times with the usual 0, +-1, +-2).

use super::convolution::{Convolution, Shape, finish, spread};
use super::crew::{hands, shared};
use super::factors::{self, Factors, Halves, ProductKernel, Stored, settle};
use super::isa::Isa;
use super::lanes::{LANES_MAX, Lanes};
use super::product::{Target, at_least, fetch, with_scratch};
use std::ops::Range;

/// Rows and columns of the results of a tile.
const TILE: usize = 4;
/// Rows and columns of a window, what a tile is made of, for kernels of 3x3 and of 2x2 cells.
const WINDOW_3: usize = TILE + 2;
const WINDOW_2: usize = TILE + 1;
/// Channels on either side from which on fewer products are worth what it takes to get to them.
const CHANNELS_MIN: usize = 12;
/// Pieces that work is cut into where there are fewer groups of tiles than threads.
const PIECES: usize = 8;
/// Weights that are asked of the memory before they are needed: those of a whole network do not stay in any cache
/// from one picture to the next.
const AHEAD: usize = 1024;
/// Pieces of a map that a register of tiles is read from and written to.
const CHUNKS: usize = 4;

/// Numbers of the scratch memories; the second is lent for a piece of work at a time.
const WINDOWS: usize = 0;
const PIECE: usize = 1;

/// Weights at every point, and where the tiles of a map lie.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Winograd {
    /// Rows and columns of a window.
    window: usize,
    /// Cells from one value of an input to the next: it is taken apart into `stride * stride`.
    stride: usize,
    /// Rows and columns of tiles, some of them beyond the map.
    tiles: [usize; 2],
    /// Who multiplies, if it is done with 16 bits; what is on either side of the products is `f32` always.
    halves: Option<Halves>,
    /// `[out / block][points][in][block]`, the last block filled up with zeros.
    weights: Stored,
    /// [`CHUNKS`] for each register of `f32`, as many registers as fill up those of the products.
    chunks: Vec<Chunk>,
}

/// Tiles side by side in a row, a quarter of a register of them.
#[derive(Clone, Debug, PartialEq)]
struct Chunk {
    /// Where the first value of the first window lies, in an input with its borders.
    from: usize,
    /// Where the first result lies in the map.
    to: usize,
    /// Rows and columns of results that are within the map.
    extent: [usize; 2],
}

/// A line of a kernel of three cells, at the points of windows of six.
fn three_at_points([a, b, c]: [f64; 3]) -> [f64; WINDOW_3] {
    let root = std::f64::consts::SQRT_2;
    let (near, far) = (-(2.0 * a + c) / 3.0, (a + 2.0 * c) / 6.0);
    let (near_odd, far_odd) = (-root * b / 3.0, root * b / 6.0);
    [a, near + near_odd, near - near_odd, far + far_odd, far - far_odd, c]
}

/// A line of a kernel of two cells, at the points of windows of five.
fn two_at_points([a, b]: [f64; 2]) -> [f64; WINDOW_2] {
    let (near, far) = ([-a / 2.0, -b / 4.0], [a / 6.0, b / 4.0]);
    [near[0] + near[1], near[1] - near[0], far[0] + far[1], far[1] - far[0], b]
}

/// A kernel of `K` x `K` cells at all points of windows of `W`.
fn at_points<const K: usize, const W: usize>(
    kernel: [[f64; K]; K],
    line: impl Fn([f64; K]) -> [f64; W],
) -> [[f64; W]; W] {
    let rows = kernel.map(&line);
    let columns: [[f64; W]; W] = std::array::from_fn(|x| line(rows.map(|row| row[x])));
    std::array::from_fn(|y| columns.map(|column| column[y]))
}

fn write<'a>(places: impl Iterator<Item = &'a mut f32>, values: &[f64]) {
    for (place, value) in places.zip(values) {
        *place = *value as f32;
    }
}

impl Winograd {
    /// `weight` is `[out, in, rows, columns]`. None if it is another kind of convolution.
    pub fn new(
        isa: Isa,
        halves: Option<Halves>,
        shape: &Shape,
        weight: &[f32],
    ) -> Option<Winograd> {
        let Shape { kernel: [cells, across], stride: [stride, stride_across], .. } = *shape;
        let even = cells == across && stride == stride_across && shape.dilation == [1, 1];
        let window = match (cells, stride) {
            (3, 1) => WINDOW_3,
            (cells, stride) if cells == 2 * stride => WINDOW_2,
            _ => return None,
        };
        if !even || shape.depthwise {
            return None;
        }
        let [outputs, rows, columns] = shape.output;
        let inputs = shape.input[0] * stride * stride;
        let block = isa.rows();
        let per_block = window * window * inputs * block;
        let mut weights = vec![0.0; outputs.div_ceil(block) * per_block];
        for (number, weights) in weights.chunks_exact_mut(per_block).enumerate() {
            let own = number * block..outputs.min((number + 1) * block);
            for input in 0..inputs {
                let (channel, phase) = (input / (stride * stride), input % (stride * stride));
                for output in own.clone() {
                    let kernel = &weight[(output * shape.input[0] + channel) * cells * cells..];
                    let cell = |y: usize, x: usize| {
                        let (y, x) = (y * stride + phase / stride, x * stride + phase % stride);
                        f64::from(kernel[y * cells + x])
                    };
                    // One weight of all outputs of the block side by side.
                    let places = weights[input * block + output - own.start..].iter_mut();
                    let places = places.step_by(inputs * block);
                    if window == WINDOW_3 {
                        let kernel = [0, 1, 2].map(|y| [0, 1, 2].map(|x| cell(y, x)));
                        write(places, at_points(kernel, three_at_points).as_flattened());
                    } else {
                        let kernel = [0, 1].map(|y| [0, 1].map(|x| cell(y, x)));
                        write(places, at_points(kernel, two_at_points).as_flattened());
                    }
                }
            }
        }
        let per_chunk = isa.lanes() / CHUNKS;
        let tiles = [rows.div_ceil(TILE), columns.div_ceil(TILE).next_multiple_of(per_chunk)];
        let together = CHUNKS * factors::width(halves);
        let chunks = Chunk::all(tiles, per_chunk, [rows, columns], together);
        let weights = match halves {
            None => Stored::Whole(weights),
            Some(halves) => halves.store(weights),
        };
        Some(Winograd { window, stride, tiles, halves, weights, chunks })
    }

    /// Whether it pays.
    pub fn pays(shape: &Shape) -> bool {
        let [down, across] = shape.stride;
        (shape.input[0] * down * across).min(shape.output[0]) >= CHANNELS_MIN
    }

    /// `out` = the convolution of `input`, plus `added`.
    pub fn apply(&self, op: &Convolution, input: &[f32], added: Option<&[f32]>, out: &mut [f32]) {
        let [channels, rows, columns] = op.shape().input;
        let (outputs, plane) = op.out_planes();
        assert!(input.len() == channels * rows * columns && out.len() == outputs * plane);
        assert!(added.is_none_or(|added| added.len() == out.len()));
        let inputs = channels * self.stride * self.stride;
        let job = Job { op, winograd: self, inputs, input, added, target: Target::new(out) };
        let together = CHUNKS * factors::width(self.halves);
        let registers = self.chunks.len() / together;
        let groups = registers.div_ceil(op.isa().registers());
        // As even as can be: a last group of one register would be as slow as one of two.
        let group = |index: usize| {
            let [first, end] = [index, index + 1].map(|index| index * registers / groups);
            Group { chunks: &self.chunks[first * together..end * together] }
        };
        let blocks = outputs.div_ceil(op.isa().rows());
        if groups >= hands() {
            // Whoever makes a group's windows uses them up, while they are in the nearest caches.
            shared(groups, |index| {
                with_scratch(WINDOWS, |windows| {
                    let windows = job.room(group(index), windows);
                    job.windows(group(index), 0..inputs, Target::new(windows));
                    job.products(group(index), 0..blocks, windows);
                });
            });
            return;
        }
        for index in 0..groups {
            let group = group(index);
            with_scratch(WINDOWS, |windows| {
                let windows = job.room(group, windows);
                let target = Target::new(windows);
                in_pieces(inputs, |numbers| job.windows(group, numbers, target));
                in_pieces(blocks, |blocks| job.products(group, blocks, windows));
            });
        }
    }

    /// Rows and columns of an input with its borders, and what chunks read beyond.
    fn bordered(&self) -> [usize; 2] {
        [self.tiles[0] * TILE + self.window - TILE, (self.tiles[1] + 1) * TILE]
    }

    /// The rows of that which a group sees.
    fn rows_of(&self, group: Group<'_>) -> Range<usize> {
        let width = self.bordered()[1];
        let mut rows = group.chunks.iter().filter(|c| c.extent[0] > 0).map(|c| c.from / width);
        let first = rows.next().unwrap_or(0);
        first..rows.next_back().unwrap_or(first) + self.window
    }
}

/// Shares the numbers below `count` in a few pieces.
fn in_pieces(count: usize, work: impl Fn(Range<usize>) + Sync) {
    let pieces = count.min(PIECES);
    shared(pieces, |piece| work(piece * count / pieces..(piece + 1) * count / pieces));
}

/// A convolution of one map.
struct Job<'a> {
    op: &'a Convolution,
    winograd: &'a Winograd,
    /// Channels, each as many times as it has phases.
    inputs: usize,
    input: &'a [f32],
    added: Option<&'a [f32]>,
    target: Target,
}

impl Job<'_> {
    /// Room for a group's windows.
    fn room<'s>(&self, group: Group<'_>, scratch: &'s mut Vec<f32>) -> &'s mut [f32] {
        let points = self.winograd.window * self.winograd.window;
        at_least(scratch, points * group.per_point(self.inputs, self.op.isa().lanes()))
    }

    /// The windows of some inputs at their points.
    fn windows(&self, group: Group<'_>, numbers: Range<usize>, target: Target) {
        let Job { op, winograd, inputs, .. } = *self;
        let (isa, rows) = (op.isa(), winograd.rows_of(group));
        with_scratch(PIECE, |bordered| {
            for number in numbers {
                let bordered = self.border(number, rows.clone(), bordered);
                let windows = Windows { op: winograd, group, bordered, inputs, number, target };
                factors::call(isa, winograd.halves, windows);
            }
        });
    }

    /// Some blocks of channels of a group's results.
    fn products(&self, group: Group<'_>, blocks: Range<usize>, windows: &[f32]) {
        let Job { op, winograd, inputs, added, target, .. } = *self;
        let isa = op.isa();
        with_scratch(PIECE, |sums| {
            let points = winograd.window * winograd.window;
            let len = points * isa.rows() * group.registers() * isa.lanes();
            let sums = Target::new(at_least(sums, len));
            let products =
                Products { op, winograd, inputs, group, windows, blocks, sums, added, target };
            factors::call(isa, winograd.halves, products);
        });
    }

    /// One phase of one channel with its borders, as far as these rows go.
    fn border<'s>(
        &self,
        number: usize,
        seen: Range<usize>,
        bordered: &'s mut Vec<f32>,
    ) -> &'s [f32] {
        let Winograd { stride, .. } = *self.winograd;
        let Shape { input: [_, rows, columns], pad: [above, left], .. } = *self.op.shape();
        let [height, width] = self.winograd.bordered();
        let (channel, phase) = (number / (stride * stride), number % (stride * stride));
        let input = &self.input[channel * rows * columns..][..rows * columns];
        let bordered = at_least(bordered, height * width);
        for y in seen {
            let out = &mut bordered[y * width..][..width];
            let y = (y * stride + phase / stride).checked_sub(above);
            match y.filter(|y| *y < rows) {
                Some(y) => {
                    let row = &input[y * columns..][..columns];
                    spread(row, out, [phase % stride, stride, left], 0.0);
                }
                None => out.fill(0.0),
            }
        }
        bordered
    }
}

impl Chunk {
    /// All chunks of a map, and as many that lie nowhere as fill up the last `together`.
    fn all(
        tiles: [usize; 2],
        per_chunk: usize,
        [rows, columns]: [usize; 2],
        together: usize,
    ) -> Vec<Chunk> {
        let width = (tiles[1] + 1) * TILE;
        let mut all = Vec::new();
        for row in 0..tiles[0] {
            for column in (0..tiles[1]).step_by(per_chunk) {
                let (y, x) = (row * TILE, column * TILE);
                all.push(Chunk {
                    from: y * width + x,
                    to: y * columns + x,
                    extent: [TILE.min(rows - y), (per_chunk * TILE).min(columns.saturating_sub(x))],
                });
            }
        }
        let nowhere = Chunk { from: 0, to: 0, extent: [0, 0] };
        all.resize(all.len().next_multiple_of(together), nowhere);
        all
    }
}

/// Registers that are worked on together.
#[derive(Clone, Copy)]
struct Group<'a> {
    chunks: &'a [Chunk],
}

impl Group<'_> {
    /// Of `f32`.
    fn registers(&self) -> usize {
        self.chunks.len() / CHUNKS
    }

    /// Values, of whatever size, from one point to the next. All points of a register are written at once, and where
    /// they lay a power of two apart they pushed each other out of the cache.
    fn per_point(&self, inputs: usize, lanes: usize) -> usize {
        (inputs * self.registers() + 1) * lanes
    }
}

/// The values of a line of a window at the points: for every point what is left of the product of all `x - p` without
/// its own.
#[inline(always)]
unsafe fn analyse<L: Lanes, const W: usize>(d: [L; W]) -> [L; W] {
    // SAFETY: the caller promises the set.
    unsafe {
        let mut out = d;
        if W == WINDOW_3 {
            // x (x^2 - 1/2) (x^2 - 2)
            let near = d[2].mul_add(L::splat(-2.0), d[4]);
            let near_odd = d[1].mul_add(L::splat(-2.0), d[3]);
            let near_odd = near_odd.mul(L::splat(std::f32::consts::FRAC_1_SQRT_2));
            let far = d[2].mul_add(L::splat(-0.5), d[4]);
            let far_odd = d[1].mul_add(L::splat(-0.5), d[3]);
            let far_odd = far_odd.mul(L::splat(std::f32::consts::SQRT_2));
            out[0] = d[2].mul_add(L::splat(-2.5), d[0].add(d[4]));
            out[1] = near.add(near_odd);
            out[2] = near.sub(near_odd);
            out[3] = far.add(far_odd);
            out[4] = far.sub(far_odd);
            out[W - 1] = d[3].mul_add(L::splat(-2.5), d[1].add(d[W - 1]));
        } else {
            // (x^2 - 1/4) (x^2 - 9/4)
            let near = d[1].mul_add(L::splat(-2.25), d[3]);
            let near_even = d[0].mul_add(L::splat(-2.25), d[2]).mul(L::splat(0.5));
            let far = d[1].mul_add(L::splat(-0.25), d[3]);
            let far_even = d[0].mul_add(L::splat(-0.25), d[2]).mul(L::splat(1.5));
            out[0] = near.add(near_even);
            out[1] = near.sub(near_even);
            out[2] = far.add(far_even);
            out[3] = far.sub(far_even);
            out[4] = d[2].mul_add(L::splat(-2.5), d[0].mul_add(L::splat(0.5625), d[4]));
        }
        out
    }
}

/// The results in a line of their values at the points.
#[inline(always)]
unsafe fn synthesise<L: Lanes, const W: usize>(m: [L; W]) -> [L; TILE] {
    // SAFETY: the caller promises the set.
    unsafe {
        if W == WINDOW_3 {
            let (near, far) = (m[1].add(m[2]), m[3].add(m[4]));
            let near_odd = m[1].sub(m[2]).mul(L::splat(std::f32::consts::FRAC_1_SQRT_2));
            let far_odd = m[3].sub(m[4]).mul(L::splat(std::f32::consts::SQRT_2));
            [
                m[0].add(near.add(far)),
                near_odd.add(far_odd),
                near.mul_add(L::splat(0.5), far.mul(L::splat(2.0))),
                near_odd.mul_add(L::splat(0.5), far_odd.mul_add(L::splat(2.0), m[W - 1])),
            ]
        } else {
            let (near, far) = (m[0].add(m[1]), m[2].add(m[3]));
            let near_odd = m[0].sub(m[1]).mul(L::splat(0.5));
            let far_odd = m[2].sub(m[3]).mul(L::splat(1.5));
            [
                near.add(far),
                near_odd.add(far_odd),
                near.mul_add(L::splat(0.25), far.mul(L::splat(2.25))),
                near_odd.mul_add(L::splat(0.25), far_odd.mul_add(L::splat(2.25), m[4])),
            ]
        }
    }
}

/// The windows of one input at their points.
struct Windows<'a> {
    op: &'a Winograd,
    group: Group<'a>,
    bordered: &'a [f32],
    inputs: usize,
    number: usize,
    target: Target,
}

impl ProductKernel for Windows<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, N: Factors<L>, const M: usize, const V: usize>(self) {
        // SAFETY: the caller's.
        unsafe {
            match self.op.window {
                WINDOW_3 => self.of::<L, N, WINDOW_3>(),
                _ => self.of::<L, N, WINDOW_2>(),
            }
        }
    }
}

impl Windows<'_> {
    #[inline(always)]
    unsafe fn of<L: Lanes, N: Factors<L>, const W: usize>(&self) {
        let width = self.op.bordered()[1];
        let registers = self.group.registers();
        let own = self.number * registers * L::COUNT;
        let next = self.group.per_point(self.inputs, L::COUNT);
        // SAFETY: a chunk's windows, and a register's length from their fifth column on, lie within the input with its
        // borders; `apply` has made room for all points, and every input and register writes its own.
        unsafe {
            // Numbers of 16 bits take half of the room that was made.
            let target = self.target.at(0).cast::<N::Value>();
            for (v, chunks) in self.group.chunks.chunks_exact(CHUNKS).enumerate() {
                let mut rows = [[L::splat(0.0); W]; W];
                for y in 0..W {
                    let (mut left, mut right) = ([L::splat(0.0); CHUNKS], [L::splat(0.0); CHUNKS]);
                    for i in 0..CHUNKS {
                        let from = self.bordered.as_ptr().add(chunks[i].from + y * width);
                        left[i] = L::load(from);
                        right[i] = L::load(from.add(TILE));
                    }
                    let (left, right) = (L::turn(left), L::turn(right));
                    let mut row = [L::splat(0.0); W];
                    for x in 0..W {
                        row[x] = if x < TILE { left[x] } else { right[x - TILE] };
                    }
                    rows[y] = analyse(row);
                }
                for x in 0..W {
                    let mut column = [L::splat(0.0); W];
                    for y in 0..W {
                        column[y] = rows[y][x];
                    }
                    let column = analyse(column);
                    for y in 0..W {
                        let at = own + v * L::COUNT + (y * W + x) * next;
                        N::put(column[y], target.add(at));
                    }
                }
            }
        }
    }
}

/// Some blocks of channels of some registers of tiles.
struct Products<'a> {
    op: &'a Convolution,
    winograd: &'a Winograd,
    inputs: usize,
    group: Group<'a>,
    windows: &'a [f32],
    blocks: Range<usize>,
    /// Room for the sums of a block at all points.
    sums: Target,
    added: Option<&'a [f32]>,
    target: Target,
}

impl ProductKernel for Products<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, N: Factors<L>, const M: usize, const V: usize>(self) {
        // SAFETY: the caller's; `apply` has checked all that is read and written.
        unsafe {
            match (self.winograd.window, self.group.registers() / N::WIDE) {
                (WINDOW_3, n) if n == V => self.blocks::<L, N, M, V, WINDOW_3>(),
                (WINDOW_3, 2) => self.blocks::<L, N, M, 2, WINDOW_3>(),
                (WINDOW_3, _) => self.blocks::<L, N, M, 1, WINDOW_3>(),
                (_, n) if n == V => self.blocks::<L, N, M, V, WINDOW_2>(),
                (_, 2) => self.blocks::<L, N, M, 2, WINDOW_2>(),
                _ => self.blocks::<L, N, M, 1, WINDOW_2>(),
            }
        }
    }
}

impl Products<'_> {
    #[inline(always)]
    unsafe fn blocks<L: Lanes, N: Factors<L>, const M: usize, const V: usize, const W: usize>(
        &self,
    ) {
        let (inputs, points) = (self.inputs, W * W);
        let (channels, plane) = self.op.out_planes();
        let per_point = self.group.per_point(inputs, L::COUNT);
        let windows = self.windows[..points * per_point].as_ptr().cast::<N::Value>();
        let per_block = points * inputs * M;
        let (wide, step) = (V * N::WIDE, N::WIDE * L::COUNT);
        for block in self.blocks.clone() {
            let weights = N::of(&self.winograd.weights);
            let mut weights = weights[block * per_block..][..per_block].as_ptr();
            // SAFETY: windows and weights were cut to their lengths just now, `apply` has made room for the sums; the
            // results of a tile are written by the one chunk that has it.
            unsafe {
                for point in 0..points {
                    let mut from = windows.add(point * per_point);
                    let sums_at = self.sums.at(point * L::COUNT);
                    let mut begun = 0;
                    while begun < inputs {
                        let end = inputs.min(begun.saturating_add(N::RUN));
                        let mut sums = [[N::nothing(); V]; M];
                        for _ in begun..end {
                            fetch(weights.wrapping_add(AHEAD).cast());
                            let mut values = [N::nothing(); V];
                            for v in 0..V {
                                values[v] = N::read(from.add(v * step));
                            }
                            N::add_products(&mut sums, weights, values);
                            weights = weights.add(M);
                            from = from.add(V * step);
                        }
                        settle::<L, N, M, V>(&sums, begun == 0, sums_at, points * L::COUNT);
                        begun = end;
                    }
                }
                for m in 0..M.min(channels - block * M) {
                    let channel = block * M + m;
                    let bias = L::splat(self.op.bias()[channel]);
                    for v in 0..wide {
                        let from = self.sums.at((m * wide + v) * points * L::COUNT);
                        let chunks = &self.group.chunks[v * CHUNKS..][..CHUNKS];
                        self.results::<L, W>(from, chunks, bias, channel * plane);
                    }
                }
            }
        }
    }

    /// The results of a register's tiles.
    #[inline(always)]
    unsafe fn results<L: Lanes, const W: usize>(
        &self,
        sums: *const f32,
        chunks: &[Chunk],
        bias: L,
        plane: usize,
    ) {
        let columns = self.op.shape().output[2];
        // SAFETY: the caller's.
        unsafe {
            let mut half = [[L::splat(0.0); W]; TILE];
            for x in 0..W {
                let mut column = [L::splat(0.0); W];
                for y in 0..W {
                    column[y] = L::load(sums.add((y * W + x) * L::COUNT));
                }
                let column = synthesise(column);
                for y in 0..TILE {
                    half[y][x] = column[y];
                }
            }
            for y in 0..TILE {
                let rows = L::turn(synthesise(half[y]));
                for i in 0..CHUNKS {
                    let [within, count] = chunks[i].extent;
                    if y < within {
                        let at = plane + chunks[i].to + y * columns;
                        self.write(rows[i].add(bias), count, at);
                    }
                }
            }
        }
    }

    /// Writes the first `count` of results that lie side by side.
    #[inline(always)]
    unsafe fn write<L: Lanes>(&self, row: L, count: usize, at: usize) {
        let relu = self.op.is_rectified();
        // SAFETY: the caller's.
        unsafe {
            if count == L::COUNT {
                finish(row, self.added, relu, self.target, at);
                return;
            }
            let mut values = [0.0; LANES_MAX];
            row.store(values.as_mut_ptr());
            for x in 0..count {
                let sum = values[x] + self.added.map_or(0.0, |added| added[at + x]);
                *self.target.at(at + x) = if relu { sum.max(0.0) } else { sum };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_is_written_by_one_chunk() {
        for (rows, columns) in [(16, 16), (9, 30), (4, 67), (33, 31), (64, 64), (1, 1)] {
            for per_chunk in [1, 2, 4] {
                let tiles = [rows, columns].map(|n: usize| n.div_ceil(TILE));
                let tiles = [tiles[0], tiles[1].next_multiple_of(per_chunk)];
                let mut written = vec![0; rows * columns];
                let chunks = Chunk::all(tiles, per_chunk, [rows, columns], 2 * CHUNKS);
                assert_eq!(chunks.len() % (2 * CHUNKS), 0);
                for chunk in chunks {
                    assert!(chunk.extent[1] <= per_chunk * TILE);
                    for y in 0..chunk.extent[0] {
                        for x in 0..chunk.extent[1] {
                            written[chunk.to + y * columns + x] += 1;
                        }
                    }
                }
                assert!(written.iter().all(|n| *n == 1), "{rows} x {columns}, {per_chunk}");
            }
        }
    }
}
