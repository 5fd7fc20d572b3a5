//! Defects: what each does to a part's outline, relief and colour.

use super::DefectKind;
use super::design::{Design, Marking, Texel, Without};
use super::geometry::{Noise, Point, at, chain, mix, smooth, tint};
use super::random::Random;

/// One defect on one part, in the part's own coordinates.
#[derive(Clone, Debug)]
pub(super) struct Flaw {
    shape: Shape,
    /// Nothing changes farther than `reach` (per axis) from `centre`.
    pub(super) centre: Point,
    pub(super) reach: Point,
    /// Moves the defect's ragged edges to another place of the noise.
    phase: f32,
}

#[derive(Clone, Debug)]
enum Shape {
    Scratch { path: Vec<Point>, half: f32, depth: f32, bare: f32 },
    Dent { radius: f32, depth: f32 },
    Stain { radius: f32, colour: [f32; 3], strength: f32 },
    MissingHole { index: usize },
    Edge { radius: f32, amount: f32 },
    BrokenCorner { normal: Point, offset: f32 },
    Fibre { path: Vec<Point>, half: f32, colour: [f32; 3] },
    Blob { radius: f32, colour: [f32; 3], gloss: f32 },
    Engraving { marking: Marking },
    Crack { path: Vec<Point>, half: f32 },
}

const RUST: [f32; 3] = [0.16, 0.060, 0.018];
const OIL: [f32; 3] = [0.030, 0.026, 0.018];
const RESIDUE: [f32; 3] = [0.62, 0.61, 0.57];
const CLEAN_BREAK: [f32; 3] = [0.24, 0.24, 0.24];
const TRIES: usize = 400;

impl Flaw {
    /// A random defect of that kind where the design can have it; `boost` (1 and more) makes it deeper, for
    /// surfaces that hide a shallow one.
    pub(super) fn draw(kind: DefectKind, design: &Design, boost: f32, random: &mut Random) -> Flaw {
        let phase = random.between(0.0, 200.0);
        let (shape, centre, reach) = match kind {
            DefectKind::Scratch => scratch(design, boost, random),
            DefectKind::Dent => {
                let radius = random.between(0.028, 0.055);
                let depth = boost * radius * random.between(0.22, 0.42);
                (
                    Shape::Dent { radius, depth },
                    inside(design, random, radius * 0.7),
                    at(radius, radius) * 1.2,
                )
            }
            DefectKind::Stain => {
                let radius = random.between(0.030, 0.080);
                let colour = [RUST, OIL, RESIDUE][random.below(3)];
                let shape = Shape::Stain { radius, colour, strength: random.between(0.45, 0.85) };
                (shape, inside(design, random, 0.02), at(radius, radius) * 1.9)
            }
            DefectKind::MissingHole => missing_hole(design, random),
            DefectKind::Burr | DefectKind::Chip => {
                let radius = random.between(0.026, 0.048);
                let sign = if kind == DefectKind::Burr { -1.0 } else { 1.0 };
                let amount = sign * random.between(0.018, 0.034);
                (Shape::Edge { radius, amount }, rim(design, random).0, at(radius, radius) * 1.6)
            }
            DefectKind::BrokenCorner => {
                let corner = design.corners[random.below(design.corners.len())];
                let normal = (corner.unit() + at(random.around(0.25), random.around(0.25))).unit();
                let bite = random.between(0.032, 0.065);
                let shape = Shape::BrokenCorner { normal, offset: corner.dot(normal) - bite };
                (shape, corner, at(bite, bite) * 2.2)
            }
            DefectKind::Contamination => contamination(design, random),
            DefectKind::Engraving => {
                let choice = random.below(design.wrong.len() + 1);
                let marking = if choice == 0 { Marking::None } else { Marking::Wrong(choice - 1) };
                let (centre, half) = design.marking.place();
                (Shape::Engraving { marking }, centre, half + at(0.015, 0.015))
            }
            DefectKind::Crack => crack(design, random),
        };
        Flaw { shape, centre, reach, phase }
    }

    /// What of the design is not there.
    pub(super) fn without(&self) -> Without {
        match self.shape {
            Shape::MissingHole { index } => Without { hole: Some(index), ..Without::default() },
            Shape::Engraving { marking } => Without { marking, ..Without::default() },
            _ => Without::default(),
        }
    }

    fn near(&self, p: Point) -> bool {
        let q = p - self.centre;
        q.x.abs() <= self.reach.x && q.y.abs() <= self.reach.y
    }

    /// The outer edge's signed distance `edge` at `p` as the defect leaves it.
    pub(super) fn bend_edge(&self, p: Point, edge: f32, noise: &Noise) -> f32 {
        if !self.near(p) {
            return edge;
        }
        let ragged =
            |scale: f32| noise.cloud(at(p.x * scale + self.phase, p.y * scale - self.phase), 2);
        match self.shape {
            Shape::Edge { radius, amount } => {
                let r = (p - self.centre).length() / radius;
                let bump = (1.0 - r * r).max(0.0);
                edge + amount * bump * (1.0 + 0.9 * ragged(70.0))
            }
            Shape::BrokenCorner { normal, offset } => {
                // Fades towards the reach, so that a long straight side is not cut elsewhere.
                let r = (p - self.centre).length() / self.reach.x;
                let cut = p.dot(normal) - offset + 0.012 * ragged(45.0);
                edge.max(cut - 0.1 * smooth(0.6, 1.0, r))
            }
            _ => edge,
        }
    }

    /// Draws the defect onto the surface at `p`; `pixel` is the size of a pixel.
    pub(super) fn mark(&self, p: Point, pixel: f32, noise: &Noise, texel: &mut Texel) {
        if !self.near(p) {
            return;
        }
        match &self.shape {
            Shape::Scratch { path, half, depth, bare } => {
                let (distance, along) = chain(p, path);
                let taper = 0.3 + 0.7 * (along * (1.0 - along) * 4.0).max(0.0).sqrt();
                let wobble = 1.0 + 0.35 * noise.at(along * 40.0, self.phase);
                let half = half * taper * wobble;
                let cut = smooth(half, half * 0.35, distance);
                let lip = smooth(half * 2.0, half, distance) - cut;
                texel.height += depth * (0.5 * lip - cut);
                texel.colour = tint(texel.colour, texel.colour.map(|c| c * bare), 0.8 * cut);
                texel.gloss *= mix(1.0, bare.min(1.6), cut);
                texel.grain *= 1.0 - cut;
            }
            Shape::Dent { radius, depth } => {
                let q = p - self.centre;
                let r = at(q.x, q.y * 1.15).length() / radius;
                if r < 1.0 {
                    let bowl = (1.0 - r * r) * (1.0 - r * r);
                    texel.height -= depth * bowl;
                    texel.grain *= 1.0 - 0.7 * bowl;
                }
            }
            Shape::Stain { radius, colour, strength } => {
                let shift = at(self.phase, -self.phase);
                let blotch = 0.55 * noise.cloud(p * 22.0 + shift, 3);
                let r = (p - self.centre).length() / radius + blotch;
                let body = smooth(1.0, 0.72, r) * (0.75 + 0.25 * noise.at(p.x * 60.0, p.y * 60.0));
                let ring = smooth(0.22, 0.0, (r - 0.85).abs());
                let weight = strength * (body * 0.85 + 0.3 * ring * body).min(1.0);
                texel.colour = tint(texel.colour, *colour, weight);
                texel.gloss *= 1.0 - 0.75 * weight;
            }
            Shape::Edge { radius, amount } => {
                // Torn material is bright and rough.
                let r = (p - self.centre).length() / radius;
                let fresh = (1.0 - r).clamp(0.0, 1.0) * smooth(-0.022, -0.004, texel.edge);
                let tear = noise.cloud(at(p.x * 130.0 + self.phase, p.y * 130.0), 2);
                texel.height += 0.006 * fresh * tear - amount.signum() * 0.005 * fresh;
                texel.colour = texel.colour.map(|c| c * (1.0 + 0.5 * fresh * tear));
            }
            Shape::BrokenCorner { normal, offset } => {
                let inward = offset - p.dot(*normal);
                let face = smooth(0.020, 0.002, inward) * 0.9;
                let grit = noise.cloud(at(p.x * 150.0, p.y * 150.0 + self.phase), 2);
                texel.height += 0.010 * face * grit;
                texel.colour = tint(texel.colour, CLEAN_BREAK, 0.5 * face);
                texel.gloss *= 1.0 - 0.6 * face;
                texel.grain *= 1.0 - face;
            }
            Shape::Fibre { path, half, colour } => {
                let distance = chain(p, path).0;
                let over = (0.5 - (distance - half) / pixel).clamp(0.0, 1.0);
                // A thin shadow lies beside it.
                let shade =
                    smooth(half * 3.0, *half, chain(p - at(half * 0.9, half * 1.1), path).0);
                texel.colour = tint(texel.colour.map(|c| c * (1.0 - 0.45 * shade)), *colour, over);
                texel.gloss *= (1.0 - over) * (1.0 - 0.4 * shade);
                texel.height += 0.5 * half * over;
                texel.cover = texel.cover.max(over);
            }
            Shape::Blob { radius, colour, gloss } => {
                let q = p - self.centre;
                let lump = 0.28 * noise.cloud(p * 30.0 + at(self.phase, 0.0), 2);
                let r = q.length() / radius + lump;
                let body = smooth(1.03, 0.93, r);
                texel.colour = tint(texel.colour, *colour, 0.93 * body);
                texel.height += 0.35 * radius * body * (1.0 - 0.8 * r * r).max(0.0).sqrt();
                texel.gloss = mix(texel.gloss, *gloss, body);
                texel.grain *= 1.0 - body;
            }
            Shape::Crack { path, half } => {
                let (distance, along) = chain(p, path);
                let half = half * (1.0 - 0.75 * along);
                let gap = smooth(half * 1.5, half * 0.4, distance);
                texel.height -= 0.006 * gap;
                texel.colour = texel.colour.map(|c| c * (1.0 - 0.93 * gap));
                texel.gloss *= 1.0 - 0.95 * gap;
                texel.grain *= 1.0 - gap;
            }
            Shape::MissingHole { .. } | Shape::Engraving { .. } => {}
        }
    }
}

type Drawn = (Shape, Point, Point);

/// A point on the part, at least `margin` from every edge and hole.
fn inside(design: &Design, random: &mut Random, margin: f32) -> Point {
    for _ in 0..TRIES {
        let p = at(random.around(0.42), random.around(0.42));
        let pockets = design.holes.iter().map(|hole| hole.distance(p)).fold(f32::MAX, f32::min);
        if (design.outline)(p) < -margin && pockets > margin {
            return p;
        }
    }
    at(0.0, 0.16)
}

/// A point on the outer edge and the direction outwards.
fn rim(design: &Design, random: &mut Random) -> (Point, Point) {
    let outward = Point::toward(random.between(0.0, std::f32::consts::TAU));
    let (mut low, mut high) = (0.0, 0.7);
    for _ in 0..24 {
        let middle = 0.5 * (low + high);
        if (design.outline)(outward * middle) < 0.0 { low = middle } else { high = middle }
    }
    (outward * low, outward)
}

fn bounds(path: &[Point], margin: f32) -> (Point, Point) {
    let (mut low, mut high) = (path[0], path[0]);
    for p in path {
        low = at(low.x.min(p.x), low.y.min(p.y));
        high = at(high.x.max(p.x), high.y.max(p.y));
    }
    ((low + high) * 0.5, (high - low) * 0.5 + at(margin, margin))
}

/// A gently bent line of `links` pieces.
fn arc(start: Point, heading: f32, length: f32, bend: f32, links: usize) -> Vec<Point> {
    let step = length / links as f32;
    let mut path = vec![start];
    for i in 0..links {
        let angle = heading + bend * (i as f32 / links as f32 - 0.5);
        path.push(path[i] + Point::toward(angle) * step);
    }
    path
}

fn scratch(design: &Design, boost: f32, random: &mut Random) -> Drawn {
    let length = random.between(0.10, 0.30);
    let heading = random.between(0.0, std::f32::consts::TAU);
    let start = inside(design, random, 0.02) - Point::toward(heading) * (0.5 * length);
    let path = arc(start, heading, length, random.around(0.5), 10);
    let half = random.between(0.0038, 0.0068);
    let (centre, reach) = bounds(&path, half * 4.0);
    let bare =
        if random.chance(0.5) { random.between(1.5, 2.1) } else { random.between(0.25, 0.5) };
    (
        Shape::Scratch { path, half, depth: boost * random.between(0.003, 0.006), bare },
        centre,
        reach,
    )
}

fn missing_hole(design: &Design, random: &mut Random) -> Drawn {
    let missable: Vec<usize> =
        (0..design.holes.len()).filter(|&i| design.holes[i].missable).collect();
    let index = missable[random.below(missable.len())];
    let reach = design.holes[index].reach() + 0.03;
    (Shape::MissingHole { index }, design.holes[index].centre, at(reach, reach))
}

fn contamination(design: &Design, random: &mut Random) -> Drawn {
    if random.chance(0.5) {
        let heading = random.between(0.0, std::f32::consts::TAU);
        let length = random.between(0.09, 0.24);
        let start = inside(design, random, 0.02);
        let path = arc(start, heading, length, random.sign() * random.between(1.0, 4.0), 16);
        let half = random.between(0.0032, 0.0052);
        let colour =
            [[0.45, 0.06, 0.05], [0.62, 0.60, 0.55], [0.02, 0.02, 0.025], [0.05, 0.12, 0.40]];
        let (centre, reach) = bounds(&path, half * 6.0);
        return (Shape::Fibre { path, half, colour: colour[random.below(4)] }, centre, reach);
    }
    let radius = random.between(0.017, 0.036);
    let (colour, gloss) =
        [([0.02, 0.018, 0.012], 0.7), ([0.34, 0.27, 0.10], 0.5), ([0.5, 0.5, 0.52], 0.1)]
            [random.below(3)];
    (Shape::Blob { radius, colour, gloss }, inside(design, random, 0.01), at(radius, radius) * 1.6)
}

fn crack(design: &Design, random: &mut Random) -> Drawn {
    let (start, outward) = rim(design, random);
    let mut heading = (outward.y).atan2(outward.x) + std::f32::consts::PI + random.around(0.7);
    let links = 8 + random.below(6);
    let step = random.between(0.10, 0.24) / links as f32;
    let mut path = vec![start];
    for i in 0..links {
        heading += random.around(0.75);
        path.push(path[i] + Point::toward(heading) * (step * random.between(0.6, 1.4)));
    }
    let half = random.between(0.0030, 0.0048);
    let (centre, reach) = bounds(&path, half * 3.0);
    (Shape::Crack { path, half }, centre, reach)
}
