//! Drawn industrial parts, made without any data: circuit boards, machined metal, weaves and grids,
//! printed labels, and cut-out things on a plain ground.

use super::base::{Base, BaseKind, Drawing, Twin, surface};
use super::dice::{Dice, Grain};
use super::library::Library;
use super::noise::Perlin;
use super::raster::Rgb;
use super::shapes::{self, Stencil};

/// Share of grained parts whose prompt side shows another piece (same structure, other grain).
const OTHER_GRAIN_SHARE: f32 = 0.3;

/// Draws a part of any kind into a base of `side` pixels.
pub fn draw(library: &Library, side: usize, dice: &mut Dice) -> Base {
    match dice.weighted(&[0.34, 0.2, 0.14, 0.12, 0.2]) {
        0 => board(side, dice),
        1 => metal(side, dice),
        2 => weave(side, dice),
        3 => label(side, dice),
        _ => bench(library, side, dice),
    }
}

/// Sets coverage `value` wherever the stencil covers more.
fn stamp(map: &mut [u8], side: usize, stencil: Option<Stencil>, erase: bool) {
    let Some(stencil) = stencil else { return };
    for row in 0..stencil.h {
        let start = (stencil.y + row) * side + stencil.x;
        for (to, a) in map[start..start + stencil.w].iter_mut().zip(&stencil.a[row * stencil.w..]) {
            *to = if erase { (*to).min(255 - a) } else { (*to).max(*a) };
        }
    }
}

/// Manhattan and diagonal traces with pads on a grid, perhaps with filled planes.
fn board(side: usize, dice: &mut Dice) -> Base {
    let s = side as f32;
    let pitch = dice.log_range(0.028, 0.08) * s;
    let trace = (pitch * dice.range(0.25, 0.6)).max(2.0);
    let cells = (s / pitch) as usize + 2;
    let shift = (dice.around(0.5) * pitch, dice.around(0.5) * pitch);
    let place = |c: (usize, usize)| (c.0 as f32 * pitch + shift.0, c.1 as f32 * pitch + shift.1);
    let mut copper = vec![0_u8; side * side];
    let mut taken = vec![false; cells * cells];
    for _ in 0..dice.below(3) {
        plane(&mut copper, &mut taken, side, cells, pitch, place, dice);
    }
    let walks = cells * cells / dice.between(5, 14);
    for _ in 0..walks {
        walk(&mut copper, &mut taken, side, cells, (pitch, trace), place, dice);
    }
    let (mut fore, mut back) = match dice.below(4) {
        0 => (
            dice.colour(120.0, 220.0, 40.0),
            [dice.range(0.0, 40.0), dice.range(50.0, 110.0), dice.range(10.0, 60.0)],
        ),
        1 => (dice.colour(150.0, 230.0, 10.0), dice.colour(20.0, 90.0, 10.0)),
        _ => (dice.colour(215.0, 255.0, 2.0), dice.colour(0.0, 35.0, 2.0)),
    };
    if dice.chance(0.3) {
        std::mem::swap(&mut fore, &mut back);
    }
    let mut canvas = Rgb::plain(side, side, [0; 3]);
    for (i, a) in copper.iter().enumerate() {
        let t = *a as f32 / 255.0;
        canvas.set(i % side, i / side, [0, 1, 2].map(|c| back[c] + t * (fore[c] - back[c])));
    }
    Base {
        drawing: Some(Drawing { copper, fore, back, trace }),
        ..Base::bare(canvas, BaseKind::Board)
    }
}

/// A filled rectangle of copper with cleared dots.
fn plane(
    copper: &mut [u8],
    taken: &mut [bool],
    side: usize,
    cells: usize,
    pitch: f32,
    place: impl Fn((usize, usize)) -> (f32, f32),
    dice: &mut Dice,
) {
    let (x, y) = (dice.below(cells), dice.below(cells));
    let (w, h) = (dice.between(2, 2 + cells / 3), dice.between(2, 2 + cells / 3));
    let (x1, y1) = ((x + w).min(cells - 1), (y + h).min(cells - 1));
    let (a, b) = (place((x, y)), place((x1, y1)));
    let half = 0.3 * pitch;
    let corners = vec![
        (a.0 - half, a.1 - half),
        (b.0 + half, a.1 - half),
        (b.0 + half, b.1 + half),
        (a.0 - half, b.1 + half),
    ];
    stamp(copper, side, shapes::polygon(side, &[corners]), false);
    let holes = dice.range(0.0, 0.25);
    for cy in y..=y1 {
        for cx in x..=x1 {
            taken[cy * cells + cx] = true;
            if dice.chance(holes) {
                let radius = pitch * dice.range(0.2, 0.4);
                stamp(copper, side, shapes::disc(side, place((cx, cy)), radius, 1.0), true);
                if dice.chance(0.6) {
                    stamp(
                        copper,
                        side,
                        shapes::disc(side, place((cx, cy)), 0.6 * radius, 1.0),
                        false,
                    );
                }
            }
        }
    }
}

/// One trace: a walk over free cells with a pad at each end.
fn walk(
    copper: &mut [u8],
    taken: &mut [bool],
    side: usize,
    cells: usize,
    (pitch, trace): (f32, f32),
    place: impl Fn((usize, usize)) -> (f32, f32),
    dice: &mut Dice,
) {
    const WAYS: [(isize, isize); 8] =
        [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)];
    let start = (dice.below(cells), dice.below(cells));
    if taken[start.1 * cells + start.0] {
        return;
    }
    let mut way = 2 * dice.below(4);
    let mut path = vec![start];
    let length = dice.between(2, 3 * cells / 2);
    taken[start.1 * cells + start.0] = true;
    for _ in 0..length {
        if dice.chance(0.2) {
            way = (way + *dice.pick(&[1, 7, 2, 6])) % 8;
        }
        let here = path[path.len() - 1];
        let next =
            here.0.checked_add_signed(WAYS[way].0).zip(here.1.checked_add_signed(WAYS[way].1));
        let Some(next) = next.filter(|n| n.0 < cells && n.1 < cells && !taken[n.1 * cells + n.0])
        else {
            way = 2 * dice.below(4);
            continue;
        };
        taken[next.1 * cells + next.0] = true;
        path.push(next);
    }
    let width = trace * if dice.chance(0.15) { 1.5 } else { 1.0 };
    let line: Vec<_> = path.iter().map(|c| place(*c)).map(|(x, y)| (x, y, width)).collect();
    stamp(copper, side, shapes::stroke(side, &line), false);
    for end in [path[0], path[path.len() - 1]] {
        pad(copper, side, place(end), pitch, trace, dice);
    }
}

fn pad(copper: &mut [u8], side: usize, at: (f32, f32), pitch: f32, trace: f32, dice: &mut Dice) {
    if dice.chance(0.15) {
        return;
    }
    let radius = (0.5 * trace * dice.range(1.4, 2.2)).min(0.48 * pitch);
    if dice.chance(0.6) {
        stamp(copper, side, shapes::disc(side, at, radius, 1.0), false);
    } else {
        let (w, h) = (radius * dice.range(0.8, 1.5), radius * dice.range(0.7, 1.0));
        let corners = vec![
            (at.0 - w, at.1 - h),
            (at.0 + w, at.1 - h),
            (at.0 + w, at.1 + h),
            (at.0 - w, at.1 + h),
        ];
        stamp(copper, side, shapes::polygon(side, &[corners]), false);
    }
    if radius > 3.0 && dice.chance(0.4) {
        stamp(copper, side, shapes::disc(side, at, 0.45 * radius, 1.0), true);
    }
}

/// A plain ground with a gradient, perhaps faintly mottled.
pub fn ground(side: usize, dice: &mut Dice) -> Rgb {
    let colour = match dice.below(3) {
        0 => dice.colour(5.0, 60.0, 8.0),
        1 => dice.colour(170.0, 250.0, 8.0),
        _ => dice.colour(40.0, 220.0, 30.0),
    };
    let slope = (dice.around(18.0), dice.around(18.0));
    let mottle = if dice.chance(0.5) { dice.range(1.0, 7.0) } else { 0.0 };
    let (noise, cell) = (Perlin::new(dice.bits()), dice.log_range(2.0, 0.2 * side as f32));
    let mut out = Rgb::plain(side, side, [0; 3]);
    for y in 0..side {
        for x in 0..side {
            let (fx, fy) = (x as f32, y as f32);
            let mut lift = slope.0 * (fx / side as f32 - 0.5) + slope.1 * (fy / side as f32 - 0.5);
            if mottle > 0.0 {
                lift += mottle * noise.at(fx / cell, fy / cell);
            }
            out.set(x, y, colour.map(|v| (v + lift).clamp(0.0, 255.0)));
        }
    }
    out
}

/// The outline of a machined part: disc, ring, gear, nut or bracket, with holes.
fn part_shape(side: usize, dice: &mut Dice) -> Vec<u8> {
    let s = side as f32;
    let mid = (0.5 * s + dice.around(0.06 * s), 0.5 * s + dice.around(0.06 * s));
    let radius = s * dice.range(0.22, 0.46);
    let mut map = vec![0_u8; side * side];
    let style = dice.below(4);
    let turn = dice.range(0.0, std::f32::consts::TAU);
    let ring = |count: usize, r: &dyn Fn(usize) -> f32| -> Vec<(f32, f32)> {
        let angle = |k: usize| turn + k as f32 / count as f32 * std::f32::consts::TAU;
        (0..count).map(|k| (mid.0 + r(k) * angle(k).cos(), mid.1 + r(k) * angle(k).sin())).collect()
    };
    match style {
        0 => stamp(&mut map, side, shapes::disc(side, mid, radius, 1.0), false),
        1 => {
            let (teeth, depth) = (dice.between(8, 24), dice.range(0.06, 0.18));
            let outline = ring(4 * teeth, &|k| {
                if k % 4 < 2 { radius } else { radius * (1.0 - depth) }
            });
            stamp(&mut map, side, shapes::polygon(side, &[outline]), false);
        }
        2 => stamp(&mut map, side, shapes::polygon(side, &[ring(6, &|_| radius)]), false),
        _ => {
            let (w, h) = (radius, radius * dice.range(0.4, 0.9));
            let (sin, cos) = turn.sin_cos();
            let corner = |u: f32, v: f32| (mid.0 + cos * u - sin * v, mid.1 + sin * u + cos * v);
            let cut = h * dice.range(0.1, 0.6);
            let outline = vec![
                corner(-w, -h),
                corner(w - cut, -h),
                corner(w, -h + cut),
                corner(w, h),
                corner(-w + cut, h),
                corner(-w, h - cut),
            ];
            stamp(&mut map, side, shapes::polygon(side, &[outline]), false);
        }
    }
    if style != 3 && dice.chance(0.7) {
        stamp(&mut map, side, shapes::disc(side, mid, radius * dice.range(0.2, 0.6), 1.0), true);
    }
    let holes = dice.below(7);
    let (orbit, size) = (radius * dice.range(0.6, 0.8), radius * dice.range(0.04, 0.12));
    for k in 0..holes {
        let angle = turn + k as f32 / holes as f32 * std::f32::consts::TAU;
        let at = (mid.0 + orbit * angle.cos(), mid.1 + orbit * angle.sin());
        stamp(&mut map, side, shapes::disc(side, at, size, 1.0), true);
    }
    map
}

/// Brushed metal on a plain ground.
fn metal(side: usize, dice: &mut Dice) -> Base {
    let backdrop = ground(side, dice);
    let fill_frame = dice.chance(0.2);
    let subject = if fill_frame { vec![255; side * side] } else { part_shape(side, dice) };
    let finish = Finish::draw(side, dice);
    let (grain, other) = (dice.bits(), dice.bits());
    let compose = |grain: u64| {
        let mut canvas = backdrop.clone();
        finish.paint(&mut canvas, &subject, grain);
        canvas
    };
    let twin = dice.chance(OTHER_GRAIN_SHARE).then(|| Twin::Instance(compose(other)));
    let mut base = Base { twin, ..Base::bare(compose(grain), BaseKind::Metal) };
    if !fill_frame {
        base.backdrop = Some(backdrop);
        base.subject = Some(subject);
    }
    base
}

/// How a metal surface is machined and lit.
struct Finish {
    colour: [f32; 3],
    rough: f32,
    turned: bool,
    mid: (f32, f32),
    way: (f32, f32),
    sheen: f32,
    sheen_way: (f32, f32),
    side: usize,
}

impl Finish {
    fn draw(side: usize, dice: &mut Dice) -> Finish {
        let s = side as f32;
        let (sin, cos) = dice.range(0.0, std::f32::consts::PI).sin_cos();
        let light = dice.range(0.0, std::f32::consts::TAU).sin_cos();
        Finish {
            colour: dice.colour(70.0, 210.0, 12.0),
            rough: dice.range(3.0, 22.0),
            turned: dice.chance(0.4),
            mid: (0.5 * s + dice.around(0.1 * s), 0.5 * s + dice.around(0.1 * s)),
            way: (cos, sin),
            sheen: dice.around(45.0),
            sheen_way: (light.1, light.0),
            side,
        }
    }

    fn paint(&self, canvas: &mut Rgb, subject: &[u8], grain: u64) {
        let mut source = Grain::new(grain);
        let lines: Vec<f32> = (0..4 * self.side).map(|_| source.bell() * self.rough).collect();
        let s = self.side as f32;
        for y in 0..self.side {
            for x in 0..self.side {
                let a = subject[y * self.side + x];
                if a == 0 {
                    continue;
                }
                let (dx, dy) = (x as f32 - self.mid.0, y as f32 - self.mid.1);
                let across = if self.turned {
                    dx.hypot(dy)
                } else {
                    dx * self.way.0 + dy * self.way.1 + 2.0 * s
                };
                let index = across.max(0.0) as usize;
                let t = across.fract();
                let (this, next) = (lines[index % lines.len()], lines[(index + 1) % lines.len()]);
                let streak = this + t * (next - this);
                let shade = self.sheen * (dx * self.sheen_way.0 + dy * self.sheen_way.1) / s;
                let speck = 0.25 * self.rough * source.bell();
                let under = canvas.at(x, y);
                let mut out = [0.0; 3];
                for c in 0..3 {
                    let v = (self.colour[c] + streak + shade + speck).clamp(0.0, 255.0);
                    out[c] = under[c] as f32 + a as f32 / 255.0 * (v - under[c] as f32);
                }
                canvas.set(x, y, out);
            }
        }
    }
}

/// A weave, wire grid, or field of holes or dots.
fn weave(side: usize, dice: &mut Dice) -> Base {
    let s = side as f32;
    let pitch = dice.log_range(5.0_f32.max(0.02 * s), 0.16 * s);
    let squeeze = dice.range(0.7, 1.4);
    let (sin, cos) = if dice.chance(0.5) { (0.0, 1.0) } else { dice.around(0.8).sin_cos() };
    let style = dice.below(4);
    let fill = dice.range(0.25, 0.6);
    let (warp, weft, gap) = (
        dice.colour(60.0, 240.0, 25.0),
        dice.colour(60.0, 240.0, 25.0),
        dice.colour(0.0, 90.0, 15.0),
    );
    let rough = dice.range(2.0, 14.0);
    let sway = dice.range(0.0, 0.15) * pitch;
    let field = Perlin::new(dice.bits());
    let render = |grain: u64| {
        let mut source = Grain::new(grain);
        let mut out = Rgb::plain(side, side, [0; 3]);
        for y in 0..side {
            for x in 0..side {
                let (fx, fy) = (x as f32, y as f32);
                let drift = sway * field.at(fx / (4.0 * pitch), fy / (4.0 * pitch));
                let u = (cos * fx + sin * fy + drift) / pitch + 64.0;
                let v = (cos * fy - sin * fx + drift) / (pitch * squeeze) + 64.0;
                let (a, b) = ((u.fract() - 0.5) * 2.0, (v.fract() - 0.5) * 2.0);
                let even = ((u as i32) + (v as i32)) % 2 == 0;
                let colour = match style {
                    // Plain weave: the upper thread alternates and is round.
                    0 => {
                        let (t, c) = if even { (a, warp) } else { (b, weft) };
                        c.map(|l| l * (1.0 - 0.55 * t * t))
                    }
                    // Wires over a ground.
                    1 => {
                        let near = a.abs().min(b.abs());
                        let t = ((fill * 0.6 - near) * 0.5 * pitch + 0.5).clamp(0.0, 1.0);
                        [0, 1, 2].map(|c| gap[c] + t * (warp[c] - gap[c]))
                    }
                    // Holes.
                    2 => {
                        let t = ((a.hypot(b) - fill * 1.4) * 0.5 * pitch + 0.5).clamp(0.0, 1.0);
                        [0, 1, 2].map(|c| gap[c] + t * (warp[c] - gap[c]))
                    }
                    // Stripes with a soft profile.
                    _ => {
                        let t = 0.5 + 0.5 * (a * std::f32::consts::PI).cos();
                        [0, 1, 2].map(|c| gap[c] + t * (weft[c] - gap[c]))
                    }
                };
                let n = rough * source.bell();
                out.set(x, y, colour.map(|l| (l + n).clamp(0.0, 255.0)));
            }
        }
        out
    };
    let (grain, other) = (dice.bits(), dice.bits());
    let twin = dice.chance(OTHER_GRAIN_SHARE).then(|| Twin::Instance(render(other)));
    Base { twin, ..Base::bare(render(grain), BaseKind::Weave) }
}

/// A printed label: frame, lines of glyph-like marks, a bar code, a logo.
fn label(side: usize, dice: &mut Dice) -> Base {
    let s = side as f32;
    let mut canvas = ground(side, dice);
    let paper_light = canvas.mean(0, 0, side, side).iter().sum::<f32>() > 380.0;
    let ink =
        if paper_light { dice.colour(0.0, 70.0, 30.0) } else { dice.colour(180.0, 255.0, 20.0) };
    let accent = dice.colour(40.0, 220.0, 90.0);
    let mut print = |stencil: Option<Stencil>, colour: [f32; 3]| {
        if let Some(stencil) = stencil {
            stencil.blend(&mut canvas, |_, _, _| colour);
        }
    };
    let rect = |x: f32, y: f32, w: f32, h: f32| {
        shapes::polygon(side, &[vec![(x, y), (x + w, y), (x + w, y + h), (x, y + h)]])
    };
    let mut y = s * dice.range(0.06, 0.16);
    while y < 0.9 * s {
        let height = s * dice.log_range(0.035, 0.12);
        let x0 = s * dice.range(0.06, 0.3);
        match dice.below(6) {
            0 => {
                let mut x = x0;
                while x < 0.9 * s {
                    let bar = dice.range(1.0, 0.02 * s + 1.5);
                    print(rect(x, y, bar, 1.6 * height), ink);
                    x += bar + dice.range(1.2, 0.02 * s + 2.0);
                }
                y += 0.8 * height;
            }
            1 => print(rect(x0, y, s * dice.range(0.2, 0.6), height), accent),
            2 => {
                let shape = shapes::superellipse(
                    dice,
                    side,
                    (x0 + height, y + 0.5 * height),
                    1.8 * height,
                    1.0,
                );
                print(shape, accent);
            }
            _ => {
                let mut x = x0;
                let end = s * dice.range(0.5, 0.95);
                while x < end {
                    let wide = height * dice.range(0.4, 0.7);
                    if dice.chance(0.85) {
                        for _ in 0..dice.between(2, 4) {
                            let spot = |dice: &mut Dice| {
                                let (i, j) = (dice.below(3) as f32, dice.below(3) as f32);
                                (
                                    x + 0.42 * wide * i,
                                    y + 0.45 * height * j,
                                    (0.14 * height).max(1.1),
                                )
                            };
                            let line = [spot(dice), spot(dice), spot(dice)];
                            print(shapes::stroke(side, &line), ink);
                        }
                    }
                    x += 1.25 * wide;
                }
            }
        }
        y += height * dice.range(1.3, 1.9);
    }
    Base::bare(canvas, BaseKind::Label)
}

/// Cut-out things on a plain ground: one large, or several equal small ones.
fn bench(library: &Library, side: usize, dice: &mut Dice) -> Base {
    let s = side as f32;
    let backdrop = ground(side, dice);
    let stuff = surface(library, side, dice);
    let mut subject = vec![0_u8; side * side];
    if dice.chance(0.65) {
        let at = (0.5 * s + dice.around(0.08 * s), 0.5 * s + dice.around(0.08 * s));
        let size = s * dice.range(0.4, 0.85);
        stamp(&mut subject, side, shapes::random_shape(dice, side, at.0, at.1, size), false);
    } else {
        let count = dice.between(2, 5);
        let pitch = s / count as f32;
        let size = pitch * dice.range(0.45, 0.85);
        let round = dice.chance(0.5);
        let skew = if dice.chance(0.5) { 0.0 } else { 0.12 * pitch };
        for row in 0..count {
            for column in 0..count {
                let at = (
                    (column as f32 + 0.5) * pitch + dice.around(skew),
                    (row as f32 + 0.5) * pitch + dice.around(skew),
                );
                let shape = if round {
                    shapes::disc(side, at, 0.5 * size, 1.0)
                } else {
                    shapes::superellipse(dice, side, at, size, 1.0)
                };
                stamp(&mut subject, side, shape, false);
            }
        }
    }
    let mut canvas = backdrop.clone();
    let bulge = dice.range(0.0, 60.0);
    for (i, a) in subject.iter().enumerate().filter(|(_, a)| **a > 0) {
        let (x, y) = (i % side, i / side);
        let (under, over) = (canvas.at(x, y), stuff.at(x, y));
        let shade = bulge * (0.5 - (x + y) as f32 / (2.0 * s));
        let t = *a as f32 / 255.0;
        let colour = [0, 1, 2].map(|c| {
            let v = (over[c] as f32 + shade).clamp(0.0, 255.0);
            under[c] as f32 + t * (v - under[c] as f32)
        });
        canvas.set(x, y, colour);
    }
    Base { backdrop: Some(backdrop), subject: Some(subject), ..Base::bare(canvas, BaseKind::Bench) }
}
