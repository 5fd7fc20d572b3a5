//! Change pairs for training: two pictures of the same thing, and a mask of what differs.
//!
//! Follows section 3 of `../shared/methods/metauas.md` (object changes by outlines, Perlin-shaped local
//! changes, own geometry and light on each side), and adds what industrial parts need: drawn boards,
//! metal, weaves and labels as bases, thin and small damage, surfaces seen at another place.
//!
//! Knows nothing of networks: the trainer asks a [`Library`] for pair number N from any thread.

mod base;
mod changes;
mod command;
mod dice;
mod fill;
mod geometry;
mod gloss;
mod industrial;
mod label;
mod lamp;
mod library;
mod light;
mod noise;
mod pair;
mod product;
mod raster;
mod relief;
mod shapes;
#[cfg(test)]
mod testing;

pub use base::BaseKind;
pub use changes::ChangeKind;
pub use command::{SynthArgs, run};
pub use dice::Dice;
pub use geometry::Geometry;
pub use gloss::Gloss;
pub use lamp::Lamp;
pub(crate) use library::pictures_below;
pub use library::{Library, Scene};
pub use light::{Light, view_light};
pub use pair::{Pair, SIZE_MAX, SIZE_MIN, SynthConfig};
pub use product::{Defective, Product};
pub use raster::{Affine, Rgb, Source};
