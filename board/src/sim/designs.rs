//! The parts that run on the simulated line.

use super::PartKind;
use super::design::{Design, Finish, Hole, HoleShape, Material, Style, Texel};
use super::geometry::{Point, at, mix, rounded_box, segment, smooth, tint};
use super::lettering::Lettering;
use std::f32::consts::PI;

const STEEL: [f32; 3] = [0.30, 0.305, 0.315];
const BRASS: [f32; 3] = [0.46, 0.31, 0.11];
const ZINC: [f32; 3] = [0.42, 0.42, 0.40];

impl Design {
    /// The design of a kind of part.
    pub(super) fn of(kind: PartKind) -> Design {
        match kind {
            PartKind::Bracket => bracket(),
            PartKind::Washer => washer(),
            PartKind::Cap => cap(),
            PartKind::Connector => connector(),
        }
    }
}

fn round(x: f32, y: f32, radius: f32, sink: f32) -> Hole {
    Hole { centre: at(x, y), shape: HoleShape::Round(radius), sink, through: true, missable: true }
}

fn letterings(texts: &[&str], centre: Point, height: f32) -> Vec<Lettering> {
    texts.iter().map(|text| Lettering::new(text, centre, height)).collect()
}

/// A ridge of half width `half` along distance zero: 1 on its back, 0 beside it.
fn ridge(distance: f32, half: f32) -> f32 {
    smooth(half, half * 0.25, distance.abs())
}

// ---- Bracket: stamped sheet steel, brushed, with a screw already in place. ----

const BORE: Point = at(-0.04, -0.05);
const SCREW: Point = at(-0.26, -0.12);
const SCREW_RADIUS: f32 = 0.054;

fn bracket() -> Design {
    let bore = Hole { missable: false, ..round(BORE.x, BORE.y, 0.085, 0.014) };
    let slot = HoleShape::Slot { half: 0.075, radius: 0.026, standing: false };
    Design {
        outline: |p| {
            let plate = rounded_box(p, at(0.41, 0.29), 0.045);
            let notch = rounded_box(p - at(0.36, 0.26), at(0.13, 0.10), 0.03);
            let clipped = p.dot(at(-0.707, -0.707)) - 0.447;
            plate.max(-notch).max(clipped)
        },
        ornament: bracket_face,
        inlay: nothing_inside,
        holes: vec![
            bore,
            round(-0.31, 0.19, 0.042, 0.012),
            round(0.32, -0.19, 0.042, 0.012),
            Hole {
                centre: at(0.0, 0.205),
                shape: slot,
                sink: 0.007,
                through: true,
                missable: true,
            },
            round(0.33, 0.08, 0.025, 0.008),
        ],
        marking: Lettering::new("TS-40", at(0.20, -0.035), 0.05),
        wrong: letterings(&["TS-75", "PR-40", "MS-16"], at(0.20, -0.035), 0.05),
        style: Style::Engraved,
        corners: vec![at(0.41, -0.29), at(-0.41, 0.29), at(0.41, 0.16), at(0.23, 0.29)],
        material: Material {
            colour: STEEL,
            gloss: 0.55,
            finish: Finish::Brushed(at(0.996, 0.087)),
            roughness: 0.11,
        },
        bevel: 0.012,
        thickness: 0.03,
    }
}

fn bracket_face(p: Point, texel: &mut Texel) {
    // Drawn collar about the bore.
    let collar = (p - BORE).length() - 0.112;
    texel.height += 0.010 * smooth(0.020, 0.004, collar.abs());
    // Stiffening rib.
    let rib = segment(p, at(-0.17, 0.125), at(0.19, 0.125)).0;
    texel.height += 0.012 * smooth(0.024, 0.0, rib);
    // Ejector marks of the press tool.
    for mark in [at(-0.20, 0.045), at(0.14, -0.20)] {
        texel.height -= 0.0018 * ridge((p - mark).length() - 0.022, 0.005);
    }
    let q = p - SCREW;
    let distance = q.length();
    if distance < SCREW_RADIUS + 0.025 {
        screw(q, distance, texel);
    }
}

/// Zinc-plated pan head with a cross recess, on a washer face.
fn screw(q: Point, distance: f32, texel: &mut Texel) {
    let shade = smooth(SCREW_RADIUS + 0.022, SCREW_RADIUS, distance);
    texel.colour = texel.colour.map(|c| c * (1.0 - 0.45 * shade));
    if distance > SCREW_RADIUS {
        return;
    }
    let r = distance / SCREW_RADIUS;
    texel.height += 0.022 * (1.0 - r * r * r * r) - 0.004;
    texel.colour = ZINC;
    texel.gloss = 0.75;
    texel.grain = 0.15;
    let turned = at(q.x * 0.80 - q.y * 0.60, q.x * 0.60 + q.y * 0.80);
    let (long, narrow) = (0.033, 0.0075);
    let (x, y) = (turned.x.abs(), turned.y.abs());
    let in_cross = (x - narrow).max(y - long).min((y - narrow).max(x - long));
    let recess = smooth(0.003, -0.003, in_cross);
    texel.height -= 0.014 * recess * (1.0 - 0.5 * distance / long).max(0.0);
    texel.colour = texel.colour.map(|c| c * mix(1.0, 0.30, recess));
    texel.gloss *= mix(1.0, 0.25, recess);
}

// ---- Washer: a lathe-turned flange with a bolt circle and a keyway. ----

fn washer() -> Design {
    let mut holes = vec![Hole { missable: false, ..round(0.0, 0.0, 0.12, 0.014) }];
    let keyway = HoleShape::Box(at(0.028, 0.05));
    holes.push(Hole {
        centre: at(0.0, -0.115),
        shape: keyway,
        sink: 0.0,
        through: true,
        missable: true,
    });
    for i in 0..6 {
        let p = Point::toward((30.0 + 60.0 * i as f32) * PI / 180.0) * 0.293;
        holes.push(round(p.x, p.y, 0.034, 0.015));
    }
    Design {
        outline: |p| (p.length() - 0.41).max(-p.y - 0.385),
        inlay: nothing_inside,
        ornament: |p, texel| {
            let r = p.length();
            // Sealing groove, raised hub, stepped rim.
            let groove = ridge(r - 0.205, 0.008);
            texel.height -= 0.007 * groove;
            texel.colour = texel.colour.map(|c| c * (1.0 - 0.5 * groove));
            texel.height += 0.010 * smooth(0.180, 0.170, r);
            texel.height -= 0.008 * smooth(0.365, 0.373, r);
            // Index marks at the flat.
            for side in [-0.11, 0.11] {
                let tick = segment(p, at(side, -0.345), at(side * 0.93, -0.315)).0;
                let cut = smooth(0.0055, 0.001, tick);
                texel.height -= 0.004 * cut;
                texel.colour = texel.colour.map(|c| c * (1.0 - 0.6 * cut));
            }
        },
        holes,
        marking: Lettering::new("M8-6", at(0.29, 0.0), 0.042),
        wrong: letterings(&["M6-5", "F8-4", "M5-3"], at(0.29, 0.0), 0.042),
        style: Style::Engraved,
        corners: vec![
            at(0.29, 0.29),
            at(-0.29, 0.29),
            at(-0.14, -0.385),
            at(0.14, -0.385),
            at(-0.41, 0.0),
        ],
        material: Material {
            colour: [0.36, 0.355, 0.35],
            gloss: 0.62,
            finish: Finish::Turned,
            roughness: 0.10,
        },
        bevel: 0.012,
        thickness: 0.035,
    }
}

// ---- Cap: moulded plastic with vents, grip ribs and brass inserts. ----

const INSERTS: [Point; 2] = [at(-0.245, -0.245), at(0.245, -0.245)];
const RING: Point = at(0.0, -0.075);

fn cap() -> Design {
    let slot = HoleShape::Slot { half: 0.055, radius: 0.013, standing: true };
    let mut holes: Vec<Hole> = (-2..=2)
        .map(|i| Hole {
            centre: at(i as f32 * 0.066, 0.205),
            shape: slot,
            sink: 0.006,
            through: false,
            missable: true,
        })
        .collect();
    holes.extend(INSERTS.map(|p| round(p.x, p.y, 0.018, 0.005)));
    Design {
        outline: |p| {
            let body = rounded_box(p, at(0.37, 0.35), 0.09);
            if p.x.abs() > 0.34 && p.y.abs() < 0.21 {
                body + 0.005 * (1.0 - (p.y * 2.0 * PI / 0.035).cos())
            } else {
                body
            }
        },
        ornament: cap_face,
        inlay: nothing_inside,
        holes,
        marking: Lettering::new("CAP2", RING, 0.052),
        wrong: letterings(&["CAP7", "TAP4", "CAF1"], RING, 0.052),
        style: Style::Raised,
        corners: vec![at(0.34, 0.32), at(-0.34, 0.32), at(0.34, -0.32), at(-0.34, -0.32)],
        material: Material {
            colour: [0.035, 0.085, 0.15],
            gloss: 0.20,
            finish: Finish::Moulded,
            roughness: 0.09,
        },
        bevel: 0.045,
        thickness: 0.05,
    }
}

fn cap_face(p: Point, texel: &mut Texel) {
    if p.x.abs() > 0.315 && p.y.abs() < 0.21 {
        let rib = 0.5 + 0.5 * (p.y * 2.0 * PI / 0.035).cos();
        texel.height += 0.006 * rib * smooth(0.315, 0.335, p.x.abs());
    }
    let r = (p - RING).length();
    texel.height += 0.010 * smooth(0.016, 0.003, (r - 0.165).abs());
    texel.height -= 0.006 * smooth(0.140, 0.128, r);
    // Arrow above the marking, gate mark below.
    let tip = p - (RING + at(0.0, -0.075));
    let arrow = (tip.x.abs() * 0.9 + tip.y * 0.5 - 0.012).max(-tip.y - 0.020);
    texel.height += 0.0045 * smooth(0.002, -0.002, arrow);
    let gate = (p - (RING + at(0.0, 0.078))).length();
    texel.height -= 0.004 * smooth(0.014, 0.008, gate) - 0.003 * smooth(0.006, 0.002, gate);
    for insert in INSERTS {
        let ring = (p - insert).length() - 0.038;
        let brass = smooth(0.0015, -0.0015, ring);
        texel.colour = tint(texel.colour, BRASS, brass);
        texel.gloss = mix(texel.gloss, 0.6, brass);
        texel.height += 0.004 * brass;
        texel.height -= 0.006 * ridge(ring - 0.004, 0.004);
    }
}

// ---- Connector: natural nylon housing, two rows of plated contacts, polarising rib. ----

const PITCH: f32 = 0.105;
const ROW: f32 = 0.075;

fn connector() -> Design {
    let mut holes = Vec::new();
    for row in [-ROW, ROW] {
        for i in 0..6 {
            let centre = at((i as f32 - 2.5) * PITCH, row + 0.02);
            let shape = HoleShape::Box(at(0.036, 0.040));
            holes.push(Hole { centre, shape, sink: 0.007, through: false, missable: true });
        }
    }
    Design {
        outline: |p| {
            let body = rounded_box(p, at(0.40, 0.20), 0.022);
            let ear = rounded_box(p, at(0.43, 0.07), 0.02);
            let latch = rounded_box(p - at(0.0, -0.21), at(0.10, 0.045), 0.014);
            body.min(ear).min(latch)
        },
        ornament: connector_face,
        inlay: contacts,
        holes,
        marking: Lettering::new("C12-4", at(-0.235, -0.160), 0.042),
        wrong: letterings(&["C18-7", "F12-6", "C74-4"], at(-0.235, -0.160), 0.042),
        style: Style::Printed([0.05, 0.05, 0.06]),
        corners: vec![
            at(0.40, 0.20),
            at(-0.40, 0.20),
            at(0.40, -0.20),
            at(-0.40, -0.20),
            at(0.10, -0.255),
        ],
        material: Material {
            colour: [0.50, 0.485, 0.43],
            gloss: 0.14,
            finish: Finish::Moulded,
            roughness: 0.07,
        },
        bevel: 0.014,
        thickness: 0.06,
    }
}

fn connector_face(p: Point, texel: &mut Texel) {
    let frame = rounded_box(p - at(0.0, 0.02), at(0.345, 0.150), 0.012);
    texel.height += 0.007 * smooth(0.008, 0.001, frame.abs());
    // Latch step and pin-one triangle.
    texel.height +=
        0.008 * smooth(0.003, -0.003, rounded_box(p - at(0.0, -0.20), at(0.075, 0.030), 0.01));
    let one = p - at(-2.5 * PITCH, 0.187);
    let triangle = (one.x.abs() * 0.9 + one.y * 0.5 - 0.008).max(-one.y - 0.012);
    let mark = smooth(0.002, -0.002, triangle);
    texel.colour = tint(texel.colour, [0.05, 0.05, 0.06], 0.9 * mark);
}

/// The plated pins stand inside the cavities; a cavity that was never formed has none.
fn contacts(p: Point, missing: Option<Point>, texel: &mut Texel) {
    for row in [-ROW, ROW] {
        let y = p.y - row - 0.02;
        let column = (p.x / PITCH + 2.5).round();
        if y.abs() > 0.03 || !(0.0..=5.0).contains(&column) {
            continue;
        }
        let centre = at((column - 2.5) * PITCH, row + 0.02);
        if missing.is_some_and(|m| (m - centre).length() < 0.01) {
            continue;
        }
        let pin = rounded_box(p - centre, at(0.017, 0.017), 0.005);
        let plated = smooth(0.002, -0.001, pin);
        texel.colour = tint(texel.colour, [0.50, 0.36, 0.13], plated);
        texel.gloss = mix(texel.gloss, 0.75, plated);
        texel.height += plated * (0.016 + 0.25 * (-pin).clamp(0.0, 0.008));
    }
}

fn nothing_inside(_p: Point, _missing: Option<Point>, _texel: &mut Texel) {}
