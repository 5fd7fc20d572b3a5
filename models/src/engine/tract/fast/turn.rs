//! An axis moved to another place: a matrix of runs turned on its side, in tiles that stay in the nearest cache.
//! tract's own walks through the result value by value.

use super::convolution::tensor_for;
use super::crew::shared;
use super::isa::{Isa, Kernel};
use super::lanes::Lanes;
use super::product::Target;
use tract_core::internal::*;

/// Rows of a tile, and columns that its own are a multiple of.
const TILE: usize = 16;
/// Columns of a tile at most. A few lines of each row, one after the other: rows a power of two apart push each other
/// out of the cache, and a line that is shared by two tiles would be fetched twice.
const WIDE: usize = 64;
/// Bands of the widest tiles from which on a matrix is shared in those.
const BANDS_MIN: usize = 8;

/// The operator: axis `from` comes to stand at `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub from: usize,
    pub to: usize,
}

impl Turn {
    /// How many matrices, their rows and columns, and the values of a cell.
    fn extents(&self, shape: &[usize]) -> [usize; 4] {
        let (first, last) = (self.from.min(self.to), self.from.max(self.to));
        let all = |axes: &[usize]| axes.iter().product::<usize>();
        let split = if self.from < self.to { first + 1 } else { last };
        let [outer, inner] = [all(&shape[..first]), all(&shape[last + 1..])];
        [outer, all(&shape[first..split]), all(&shape[split..=last]), inner]
    }

    fn apply(&self, shape: &[usize], input: &[f32], out: &mut [f32]) {
        let [outer, rows, columns, inner] = self.extents(shape);
        let len = rows * columns * inner;
        assert!(input.len() == outer * len && out.len() == input.len());
        if len == 0 {
            return;
        }
        let band = if columns >= BANDS_MIN * WIDE { WIDE } else { TILE };
        let bands = columns.div_ceil(band);
        let target = Target::new(out);
        shared(outer * bands, |index| {
            let (matrix, first) = (index / bands, index % bands * band);
            let wide = band.min(columns - first);
            let input = &input[matrix * len..][..len];
            // SAFETY: rows of the result from `first` on are this band's, and lie within the matrix.
            let out = unsafe {
                let at = target.at(matrix * len + first * rows * inner);
                std::slice::from_raw_parts_mut(at, wide * rows * inner)
            };
            if inner > 1 {
                for (cell, out) in out.chunks_exact_mut(inner).enumerate() {
                    let (column, row) = (first + cell / rows, cell % rows);
                    out.copy_from_slice(&input[(row * columns + column) * inner..][..inner]);
                }
                return;
            }
            turned([rows, wide], (&input[first..], columns), (out, rows));
        });
    }
}

/// Writes a matrix of so many rows and columns on its side, row `x` of the result from column `x`. Rows of `input` lie
/// `apart` from each other, those of `out` `out_apart`.
///
/// # Panics
/// Rows that are not there, or lie within each other.
pub(crate) fn turned(
    [rows, columns]: [usize; 2],
    (input, apart): (&[f32], usize),
    (out, out_apart): (&mut [f32], usize),
) {
    if rows * columns == 0 {
        return;
    }
    assert!(apart >= columns && input.len() >= (rows - 1) * apart + columns);
    assert!(out_apart >= rows && out.len() >= (columns - 1) * out_apart + rows);
    let isa = Isa::best();
    let mut first = 0;
    while first < columns {
        let left = columns - first;
        let wide = if left < TILE { left } else { (left / TILE * TILE).min(WIDE) };
        for top in (0..rows).step_by(TILE) {
            let high = TILE.min(rows - top);
            let input = &input[top * apart + first..];
            let out = &mut out[first * out_apart + top..];
            if high == TILE && wide >= TILE {
                isa.call(Tile { input, apart, wide, out, out_apart });
                continue;
            }
            for y in 0..high {
                for x in 0..wide {
                    out[x * out_apart + y] = input[y * apart + x];
                }
            }
        }
        first += wide;
    }
}

/// A whole tile, by way of registers: a line of memory on either side is touched once.
struct Tile<'a> {
    input: &'a [f32],
    apart: usize,
    wide: usize,
    out: &'a mut [f32],
    out_apart: usize,
}

/// Rows and columns that registers turn at a time.
const BLOCK: usize = 4;

impl Kernel for Tile<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) {
        let Tile { input, apart, wide, out, out_apart } = self;
        let mut turned = [[0.0; WIDE]; TILE];
        // SAFETY: `turned` has found so many rows of so many values on either side; `wide` is a multiple of every
        // register's length.
        unsafe {
            for y in (0..TILE).step_by(BLOCK) {
                for x in (0..wide).step_by(L::COUNT) {
                    let mut four = [L::splat(0.0); BLOCK];
                    for i in 0..BLOCK {
                        four[i] = L::load(input.as_ptr().add((y + i) * apart + x));
                    }
                    let four = L::turn(four);
                    for i in 0..BLOCK {
                        four[i].store(turned[y + i].as_mut_ptr().add(x));
                    }
                }
            }
            for x in 0..wide {
                for y in (0..TILE).step_by(BLOCK) {
                    let from = turned[y + x % BLOCK].as_ptr().add(x / BLOCK * BLOCK);
                    let to = out.as_mut_ptr().add(x * out_apart + y);
                    std::ptr::copy_nonoverlapping(from, to, BLOCK);
                }
            }
        }
    }
}

impl Op for Turn {
    fn name(&self) -> StaticName {
        "TouchstoneTurn".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Turn {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let shape = inputs[0].shape();
        let mut out_shape: TVec<usize> = shape.into();
        let axis = out_shape.remove(self.from);
        out_shape.insert(self.to, axis);
        let mut out = tensor_for::<f32>(&out_shape)?;
        self.apply(shape, inputs[0].view().as_slice()?, out.view_mut().as_slice_mut()?);
        Ok(tvec!(out.into_tvalue()))
    }
}

impl TypedOp for Turn {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape: TVec<TDim> = inputs[0].shape.iter().cloned().collect();
        let axis = shape.remove(self.from);
        shape.insert(self.to, axis);
        Ok(tvec!(f32::fact(shape)))
    }
}
