//! Machined metal parts on a plain ground.

use super::super::base::{Base, BaseKind, Twin};
use super::super::dice::{Dice, Grain};
use super::super::raster::{Rgb, blend};
use super::super::shapes;
use super::{ground, stamp};

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

/// Brushed metal on a plain ground; `twins` is the share with another piece as prompt.
pub fn metal(twins: f32, side: usize, dice: &mut Dice) -> Base {
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
    let twin = dice.chance(twins).then(|| Twin::Instance(compose(other)));
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
                let lift = streak + shade + speck;
                let own = self.colour.map(|v| (v + lift).clamp(0.0, 255.0));
                canvas.set(x, y, blend(under.map(f32::from), own, f32::from(a) / 255.0));
            }
        }
    }
}
