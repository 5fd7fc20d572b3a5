//! From a design and a scene to a photograph: relief, light, belt, lens, sensor.
//!
//! Edges are anti-aliased by their exact signed distance, relief is lit through normals taken from the
//! height field, machining marks tilt those normals and shine across their lay (the bow tie of a turned
//! face, the sheen of a brushed one).

use super::design::{Design, Finish, Texel};
use super::flaw::Flaw;
use super::geometry::{Noise, Point, at, mix, smooth, tint};
use super::random::{Random, four_normals};

/// What is different about every single picture of the same product.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) shift: Point,
    /// The part's x axis in the frame.
    pub(super) axis: Point,
    pub(super) gain: f32,
    /// Brightness gradient over the frame: direction times strength.
    pub(super) gradient: Point,
    /// Towards the light: unit vector, z up from the belt.
    pub(super) light: [f32; 3],
    pub(super) blur: f32,
    /// Where in the noise this part's tool marks and this piece of belt lie.
    pub(super) grain_at: Point,
    pub(super) belt_at: Point,
    /// Dust: place, radius, colour.
    pub(super) dust: Vec<(Point, f32, [f32; 3])>,
}

/// How much nuisance a scene gets; the fields mean what they mean in [`super::SimConfig`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Nuisance {
    pub(super) shift: f32,
    pub(super) rotation_deg: f32,
    pub(super) light: f32,
}

/// Most dust specks on one part.
const DUST_MAX: usize = 9;

impl Scene {
    pub(super) fn draw(nuisance: Nuisance, random: &mut Random) -> Scene {
        let azimuth = -2.25 + random.around(1.0) * nuisance.light;
        let lean = 0.72 + random.around(0.35) * nuisance.light;
        let up = (1.0 - (lean * lean).min(0.9)).sqrt();
        let lean = (1.0 - up * up).sqrt();
        Scene {
            shift: at(random.around(nuisance.shift), random.around(nuisance.shift)),
            axis: Point::toward(random.around(nuisance.rotation_deg).to_radians()),
            gain: 1.0 + random.around(nuisance.light),
            gradient: Point::toward(random.between(0.0, std::f32::consts::TAU))
                * (nuisance.light * random.between(0.2, 0.8)),
            light: [azimuth.cos() * lean, azimuth.sin() * lean, up],
            blur: random.between(0.07, 0.17),
            grain_at: at(random.between(0.0, 256.0), random.between(0.0, 256.0)),
            belt_at: at(random.between(0.0, 40.0), random.between(0.0, 40.0)),
            dust: (0..random.below(DUST_MAX + 1)).map(|_| speck(random)).collect(),
        }
    }

    /// Frame coordinates to the part's own.
    fn part(&self, p: Point) -> Point {
        let q = p - self.shift;
        at(q.dot(self.axis), q.dot(self.axis.across()))
    }

    /// The part's own coordinates to the frame's.
    fn frame(&self, p: Point) -> Point {
        self.axis * p.x + self.axis.across() * p.y + self.shift
    }
}

fn speck(random: &mut Random) -> (Point, f32, [f32; 3]) {
    let place = at(random.around(0.38), random.around(0.34));
    let grey =
        if random.chance(0.6) { random.between(0.30, 0.5) } else { random.between(0.04, 0.1) };
    (place, random.between(0.0010, 0.0026), [grey, grey, grey * 0.95])
}

/// Distance of the lamp, in frame widths.
const LAMP: f32 = 1.5;

/// Linear light, RGB, row-major.
pub(super) type Picture = Vec<[f32; 3]>;

/// Pixels `x0..x1` by `y0..y1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    x0: usize,
    y0: usize,
    x1: usize,
    y1: usize,
}

/// Draws parts of one design.
#[derive(Debug)]
pub(super) struct Studio {
    pub(super) design: Design,
    noise: Noise,
    width: usize,
    height: usize,
    /// Pixels per unit: the shorter side.
    scale: f32,
    tone: Vec<u8>,
}

/// Fineness of the table from linear light to 8 bits.
const TONE_STEPS: usize = 4096;

impl Studio {
    pub(super) fn new(design: Design, (width, height): (u32, u32), seed: u64) -> Studio {
        let tone = (0..=TONE_STEPS)
            .map(|i| ((i as f32 / TONE_STEPS as f32).powf(1.0 / 2.2) * 255.0).round() as u8)
            .collect();
        let noise = Noise::new(&mut Random::new(seed, 0x4E01, 0));
        let scale = width.min(height) as f32;
        Studio { design, noise, width: width as usize, height: height as usize, scale, tone }
    }

    fn point(&self, x: f32, y: f32) -> Point {
        at(
            (x + 0.5 - self.width as f32 / 2.0) / self.scale,
            (y + 0.5 - self.height as f32 / 2.0) / self.scale,
        )
    }

    pub(super) fn whole(&self) -> Window {
        Window { x0: 0, y0: 0, x1: self.width, y1: self.height }
    }

    /// The pixels that a flaw can change, its shadow included.
    pub(super) fn window(&self, scene: &Scene, flaw: &Flaw) -> Window {
        let centre = scene.frame(flaw.centre);
        let (shade, margin) = (self.shadow_offset(scene), 0.02);
        // A few degrees of rotation widen the box; the shadow falls away from the light.
        let half = flaw.reach * 1.1 + at(shade.x.abs() + margin, shade.y.abs() + margin);
        let bound = |centre: f32, half: f32, size: usize| {
            let middle = centre * self.scale + size as f32 / 2.0;
            let low = (middle - half * self.scale).floor().clamp(0.0, size as f32);
            let high = (middle + half * self.scale).ceil().clamp(0.0, size as f32);
            (low as usize, high as usize)
        };
        let (x0, x1) = bound(centre.x, half.x, self.width);
        let (y0, y1) = bound(centre.y, half.y, self.height);
        Window { x0, y0, x1, y1 }
    }

    fn shadow_offset(&self, scene: &Scene) -> Point {
        let [x, y, z] = scene.light;
        at(x, y) * (self.design.thickness / z.max(0.2))
    }

    /// Draws `window` of the scene into `picture` (of the frame's size), with the flaw if there is one.
    pub(super) fn expose(
        &self,
        scene: &Scene,
        flaw: Option<&Flaw>,
        window: Window,
        picture: &mut Picture,
    ) {
        let (columns, rows) = (window.x1 - window.x0 + 2, window.y1 - window.y0 + 2);
        // One pixel more on every side, for the slopes.
        let mut texels = Vec::with_capacity(columns * rows);
        for row in 0..rows {
            for column in 0..columns {
                let x = (window.x0 + column) as f32 - 1.0;
                let y = (window.y0 + row) as f32 - 1.0;
                texels.push(self.texel(scene.part(self.point(x, y)), scene, flaw));
            }
        }
        for y in window.y0..window.y1 {
            for x in window.x0..window.x1 {
                let i = (y - window.y0 + 1) * columns + (x - window.x0 + 1);
                let here = &texels[i];
                let p = self.point(x as f32, y as f32);
                let mut light = [0.0; 3];
                if here.cover < 1.0 {
                    light = self.belt(p, here.edge, scene, flaw);
                }
                if here.cover > 0.0 {
                    let slope = self.scale * 0.5;
                    let dx = (texels[i + 1].height - texels[i - 1].height) * slope;
                    let dy = (texels[i + columns].height - texels[i - columns].height) * slope;
                    let face = self.face(scene.part(p), at(dx, dy), here, scene);
                    light = tint(light, face, here.cover);
                }
                let fall = 1.0 - 0.30 * p.dot(p) + p.dot(scene.gradient) * 1.4;
                picture[y * self.width + x] = light.map(|c| c * scene.gain * fall);
            }
        }
    }

    fn texel(&self, p: Point, scene: &Scene, flaw: Option<&Flaw>) -> Texel {
        let mut edge = (self.design.outline)(p);
        let pixel = 1.0 / self.scale;
        let mut texel;
        match flaw {
            None => texel = self.design.texel(p, edge, pixel, &super::design::Without::default()),
            Some(flaw) => {
                edge = flaw.bend_edge(p, edge, &self.noise);
                texel = self.design.texel(p, edge, pixel, &flaw.without());
                flaw.mark(p, pixel, &self.noise, &mut texel);
            }
        }
        if texel.cover > 0.0 {
            for (place, radius, colour) in &scene.dust {
                let q = p - *place;
                if q.x.abs() < 0.004 && q.y.abs() < 0.004 {
                    texel.colour =
                        tint(texel.colour, *colour, 0.7 * smooth(*radius, 0.0, q.length()));
                }
            }
        }
        texel
    }

    /// Tilt of the surface by tool marks, and the marks' own shade.
    fn marks(&self, p: Point, scene: &Scene) -> (Point, f32) {
        let (noise, o) = (&self.noise, scene.grain_at);
        match self.design.material.finish {
            Finish::Brushed(_) => {
                let along = self.design.lay(p);
                let (u, v) = (p.dot(along), p.dot(along.across()));
                let g = 0.6 * noise.at(u * 5.0 + o.x, v * 190.0 + o.y)
                    + 0.4 * noise.at(u * 14.0 - o.y, v * 330.0 + o.x);
                (along.across() * g, g)
            }
            Finish::Turned => {
                let r = p.length();
                let turn = p.y.atan2(p.x) / std::f32::consts::TAU;
                let g = 0.7 * noise.around(turn * 24.0, r * 210.0 + o.x, 24)
                    + 0.3 * noise.around(turn * 60.0, r * 90.0 + o.y, 60);
                (p.unit() * g, g)
            }
            Finish::Moulded => {
                let g = at(
                    noise.at(p.x * 150.0 + o.x, p.y * 150.0 + o.y),
                    noise.at(p.x * 150.0 - o.y, p.y * 150.0 + o.x),
                );
                (g, 0.5 * g.x)
            }
        }
    }

    fn face(&self, p: Point, slope: Point, texel: &Texel, scene: &Scene) -> [f32; 3] {
        let material = &self.design.material;
        let metal = !matches!(material.finish, Finish::Moulded);
        let (tilt, shade) = self.marks(p, scene);
        let rough = material.roughness * texel.grain;
        let (nx, ny) = (-slope.x + tilt.x * rough, -slope.y + tilt.y * rough);
        let length = 1.0 / (nx * nx + ny * ny + 1.0).sqrt();
        let (nx, ny, nz) = (nx * length, ny * length, length);
        // The lamp hangs near enough that its direction changes over the part.
        let flat = at(scene.light[0], scene.light[1]) * LAMP;
        let flat = at(flat.dot(scene.axis), flat.dot(scene.axis.across())) - p;
        let lz = scene.light[2] * LAMP;
        let near = 1.0 / (flat.dot(flat) + lz * lz).sqrt();
        let (lx, ly, lz) = (flat.x * near, flat.y * near, lz * near);
        let diffuse = (nx * lx + ny * ly + nz * lz).max(0.0);
        // Half-way vector between the light and a camera straight above.
        let half = 1.0 / (lx * lx + ly * ly + (lz + 1.0) * (lz + 1.0)).sqrt();
        let mirror = ((nx * lx + ny * ly + nz * (lz + 1.0)) * half).clamp(0.0, 1.0);
        // What a face sees of the hall: bright above, darker towards the belt.
        let sky = 0.5 - 0.60 * ny - 0.30 * nx;
        let (body, gleam) = if metal {
            let lay = self.design.lay(p);
            let along = lx * lay.x + ly * lay.y;
            let across = (1.0 - along * along).max(0.0).powi(6) * texel.grain;
            (
                0.20 + 0.22 * sky + 0.52 * diffuse,
                0.60 * mirror.powi(20) + 0.62 * across * diffuse + 0.14 * sky,
            )
        } else {
            (0.28 + 0.20 * sky + 0.66 * diffuse, 0.62 * mirror.powi(28) + 0.14 * sky)
        };
        let gleam = gleam * texel.gloss * near * LAMP;
        let streak = 1.0 + if metal { 0.20 } else { 0.06 } * shade * texel.grain;
        texel.colour.map(|c| (c * body + gleam * mix(c, 1.0, 0.35) * 0.75) * streak)
    }

    /// The woven conveyor belt, shaded by the part that lies on it.
    fn belt(&self, p: Point, edge: f32, scene: &Scene, flaw: Option<&Flaw>) -> [f32; 3] {
        let q = p + scene.belt_at;
        let wave = |t: f32| {
            let t = t - t.floor();
            1.0 - (4.0 * (t - 0.5).abs() - 1.0).powi(2)
        };
        let (u, v) = ((q.x + q.y) * 40.0, (q.x - q.y) * 40.0);
        let over = if (u.floor() as i32 + v.floor() as i32) & 1 == 0 { wave(u) } else { wave(v) };
        let cloud = self.noise.cloud(q * 5.0, 3);
        let fuzz = self.noise.at(q.x * 240.0, q.y * 240.0);
        let tone = 0.68 + 0.34 * over + 0.26 * cloud + 0.12 * fuzz;
        let lit = scene.part(p + self.shadow_offset(scene));
        let mut caster = (self.design.outline)(lit);
        if let Some(flaw) = flaw {
            caster = flaw.bend_edge(lit, caster, &self.noise);
        }
        let without = flaw.map(Flaw::without).unwrap_or_default();
        let shadow = smooth(0.014, -0.010, self.design.solid(lit, caster, &without));
        let contact = 1.0 / (1.0 + (edge.max(0.0) / 0.012).powi(2));
        let light = tone * (1.0 - 0.62 * shadow) * (1.0 - 0.5 * contact);
        [0.062 * light, 0.082 * light, 0.076 * light]
    }

    /// The lens: a blur of well under a pixel.
    pub(super) fn focus(&self, picture: &Picture, blur: f32) -> Picture {
        let keep = 1.0 - 2.0 * blur;
        let pass = |source: &Picture, step: usize| -> Picture {
            let last = source.len() - 1;
            (0..source.len())
                .map(|i| {
                    let (a, b, c) =
                        (source[i.saturating_sub(step)], source[i], source[(i + step).min(last)]);
                    [0, 1, 2].map(|k| blur * (a[k] + c[k]) + keep * b[k])
                })
                .collect()
        };
        pass(&pass(picture, 1), self.width)
    }

    /// Linear light to 8 bits without any noise: what the defect mask is judged on.
    pub(super) fn develop(&self, light: f32) -> u8 {
        self.tone[(light.clamp(0.0, 1.0) * TONE_STEPS as f32) as usize]
    }

    /// The sensor: shot and read noise of strength `noise` (1 is a good industrial camera), then 8 bits.
    pub(super) fn read_out(&self, picture: &Picture, noise: f32, random: &mut Random) -> Vec<u8> {
        const SHOT: f32 = 0.013;
        const READ: f32 = 0.0030;
        let mut rgb = Vec::with_capacity(picture.len() * 3);
        for pixel in picture {
            let [grey, r, g, b] = four_normals(random);
            for (light, own) in pixel.iter().zip([r, g, b]) {
                let spread = noise * (SHOT * SHOT * light.max(0.0) + READ * READ).sqrt();
                // Demosaicing makes neighbours share part of their noise.
                rgb.push(self.develop(light + spread * (0.8 * grey + 0.6 * own)));
            }
        }
        rgb
    }
}
