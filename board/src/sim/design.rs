//! What a part is: outline, holes, marking and material, shared by every design in [`super::designs`].

use super::geometry::{Point, at, mix, rounded_box, segment, smooth, tint};
use super::lettering::Lettering;

/// Surface of one pixel before light falls on it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Texel {
    /// Above the part's top face, in frame widths.
    pub(super) height: f32,
    /// Share of the pixel that is part, 0..1.
    pub(super) cover: f32,
    /// Diffuse colour, linear light.
    pub(super) colour: [f32; 3],
    /// Strength of the mirror-like reflection.
    pub(super) gloss: f32,
    /// Strength of the machining marks, 0..1.
    pub(super) grain: f32,
    /// Signed distance to the part's edge, for contact shade on the belt.
    pub(super) edge: f32,
}

/// How a surface was finished, which is the way it shines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Finish {
    /// Brushed along a direction.
    Brushed(Point),
    /// Turned on a lathe about the origin.
    Turned,
    /// Moulded in a spark-eroded tool.
    Moulded,
}

/// What a part is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Material {
    pub(super) colour: [f32; 3],
    pub(super) gloss: f32,
    pub(super) finish: Finish,
    /// Depth of the tool marks as a tilt of the surface.
    pub(super) roughness: f32,
}

/// Outline of a hole about its centre.
#[derive(Clone, Copy, Debug)]
pub(super) enum HoleShape {
    Round(f32),
    /// Half length and radius, lying or standing.
    Slot {
        half: f32,
        radius: f32,
        standing: bool,
    },
    Box(Point),
}

/// A hole or blind pocket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    pub(super) centre: Point,
    pub(super) shape: HoleShape,
    /// Width of its countersink.
    pub(super) sink: f32,
    /// One sees the belt through it.
    pub(super) through: bool,
    /// A part without it can happen (an unpunched hole, a short mould pin).
    pub(super) missable: bool,
}

impl Hole {
    /// Signed distance to the hole's rim, negative inside the hole.
    pub(super) fn distance(&self, p: Point) -> f32 {
        let q = p - self.centre;
        match self.shape {
            HoleShape::Round(radius) => q.length() - radius,
            HoleShape::Slot { half, radius, standing } => {
                let end = if standing { at(0.0, half) } else { at(half, 0.0) };
                segment(q, end * -1.0, end).0 - radius
            }
            HoleShape::Box(half) => rounded_box(q, half, 0.006),
        }
    }

    /// How far the hole and its countersink reach from the centre.
    pub(super) fn reach(&self) -> f32 {
        self.sink
            + match self.shape {
                HoleShape::Round(radius) => radius,
                HoleShape::Slot { half, radius, .. } => half + radius,
                HoleShape::Box(half) => half.length(),
            }
    }
}

/// One kind of part.
#[derive(Clone, Debug)]
pub(super) struct Design {
    /// Signed distance to the outer edge.
    pub(super) outline: fn(Point) -> f32,
    /// Ribs, screws, rings: changes a texel of the bare face.
    pub(super) ornament: fn(Point, &mut Texel),
    /// What stands inside the pockets, drawn after them; told which pocket is missing.
    pub(super) inlay: fn(Point, Option<Point>, &mut Texel),
    pub(super) holes: Vec<Hole>,
    pub(super) marking: Lettering,
    /// Markings that must not be on this part.
    pub(super) wrong: Vec<Lettering>,
    pub(super) style: Style,
    /// Where a corner or rim piece can break off.
    pub(super) corners: Vec<Point>,
    pub(super) material: Material,
    /// Width of the edge's bevel.
    pub(super) bevel: f32,
    /// Height of the top face above the belt: how far the shadow falls.
    pub(super) thickness: f32,
}

/// How a marking is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Style {
    Engraved,
    /// Moulded with the part.
    Raised,
    /// Printed in a colour.
    Printed([f32; 3]),
}

/// Half width of an engraved stroke.
const STROKE: f32 = 0.0042;

/// What of the design a flaw takes away.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Without {
    pub(super) hole: Option<usize>,
    pub(super) marking: Marking,
}

/// Which marking the part carries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Marking {
    #[default]
    Right,
    None,
    Wrong(usize),
}

impl Design {
    /// Distance to the nearest rim of a through hole or of a pocket (negative inside), and the hole.
    fn nearest_hole(&self, p: Point, without: &Without) -> (f32, Option<&Hole>) {
        let mut best = (f32::MAX, None);
        for (i, hole) in self.holes.iter().enumerate() {
            if without.hole != Some(i) {
                let distance = hole.distance(p);
                if distance < best.0 {
                    best = (distance, Some(hole));
                }
            }
        }
        best
    }

    /// Signed distance to where the part ends: outside or in a through hole it is positive.
    pub(super) fn solid(&self, p: Point, edge: f32, without: &Without) -> f32 {
        self.holes
            .iter()
            .enumerate()
            .filter(|(i, hole)| hole.through && without.hole != Some(*i))
            .fold(edge, |d, (_, hole)| d.max(-hole.distance(p)))
    }

    /// The face at `p`; `edge` is the (possibly flawed) signed distance to the outer edge and `pixel` the
    /// size of a pixel.
    pub(super) fn texel(&self, p: Point, edge: f32, pixel: f32, without: &Without) -> Texel {
        if edge > pixel {
            let height = self.bevel_height(edge);
            return Texel { edge, height, ..Texel::default() };
        }
        let (rim, hole) = self.nearest_hole(p, without);
        let through = hole.is_some_and(|h| h.through);
        let solid = if through { edge.max(-rim) } else { edge };
        let mut texel = Texel {
            height: 0.0,
            cover: (0.5 - solid / pixel).clamp(0.0, 1.0),
            colour: self.material.colour,
            gloss: self.material.gloss,
            grain: 1.0,
            edge: solid,
        };
        if texel.cover <= 0.0 {
            // Just off the edge: its height still shapes the slope of the last pixel on it.
            let sink = hole.filter(|_| rim < 0.0).map_or(0.0, |hole| hole.sink);
            texel.height = self.bevel_height(edge) - sink;
            return texel;
        }
        (self.ornament)(p, &mut texel);
        texel.height += self.bevel_height(edge);
        if let Some(hole) = hole {
            Design::hole_relief(hole, rim, &mut texel);
        }
        let missing = without.hole.and_then(|i| self.holes.get(i)).map(|hole| hole.centre);
        (self.inlay)(p, missing, &mut texel);
        self.mark(p, without.marking, &mut texel);
        texel
    }

    /// The bevel goes on downwards a little outside, or its last pixel would seem to face the other way.
    fn bevel_height(&self, edge: f32) -> f32 {
        let outer = (1.0 + edge / self.bevel).clamp(0.0, 1.2);
        -self.bevel * 0.62 * outer * outer
    }

    fn hole_relief(hole: &Hole, rim: f32, texel: &mut Texel) {
        if hole.sink > 0.0 && rim < hole.sink {
            let depth = (1.0 - rim / hole.sink).clamp(0.0, 1.2);
            texel.height -= hole.sink * 0.7 * depth * depth;
            texel.grain *= 0.3;
        }
        if !hole.through && rim < 0.004 {
            let inside = smooth(0.003, -0.005, rim);
            texel.height -= 0.02 * inside;
            texel.colour = tint(texel.colour, texel.colour.map(|c| c * 0.16), inside);
            texel.gloss *= 1.0 - 0.9 * inside;
        }
    }

    fn mark(&self, p: Point, marking: Marking, texel: &mut Texel) {
        let lettering = match marking {
            Marking::Right => &self.marking,
            Marking::None => return,
            Marking::Wrong(i) => match self.wrong.get(i) {
                Some(lettering) => lettering,
                None => return,
            },
        };
        let Some(distance) = lettering.distance(p, STROKE * 1.8) else {
            return;
        };
        let depth = smooth(STROKE * 1.6, STROKE * 0.2, distance);
        match self.style {
            // Letters are polished in the tool, so they shine.
            Style::Raised => {
                texel.height += 0.0060 * depth;
                texel.colour = texel.colour.map(|c| c * mix(1.0, 2.3, depth));
            }
            // Engraving keeps dirt and oil.
            Style::Engraved => {
                texel.height -= 0.0040 * depth;
                texel.colour = texel.colour.map(|c| c * mix(1.0, 0.30, depth));
                texel.gloss *= mix(1.0, 0.25, depth);
                texel.grain *= 1.0 - 0.6 * depth;
            }
            Style::Printed(ink) => texel.colour = tint(texel.colour, ink, 0.9 * depth),
        }
    }

    /// Angle of the machining marks at `p` as a unit direction.
    pub(super) fn lay(&self, p: Point) -> Point {
        match self.material.finish {
            Finish::Brushed(along) => along,
            Finish::Turned => p.across().unit(),
            Finish::Moulded => at(1.0, 0.0),
        }
    }
}
