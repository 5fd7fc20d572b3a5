//! Posteriors of whole pictures that travel between cameras which judge the same product (BayPrAnoMeta section 4.10).
//!
//! What is written down are the embeddings of the good parts, camera by camera: of so few parts they are the smallest
//! sufficient statistic there is (one number for each dimension and part, against one for each pair of dimensions),
//! they are exact under any prior, and what a camera gave can be taken out again to the last bit. An embedding means
//! something under the encoder that made it and no other, so its hash comes along and is asked for.
//!
//! The file: [`MAGIC`], SHA-256 of the encode graph, then little-endian `u16` dimensions and looks, a byte for the
//! registration, a byte for the number of cameras; for each its name (a byte for the length) and a `u16` for its parts,
//! then `f32` by look, part, dimension; last the first [`CHECK_BYTES`] bytes of the SHA-256 of all before.

use crate::files::is_safe_name;
use crate::package::ModelCard;
use crate::recipe::Registration;
use crate::student_t::{LowRankPosterior, LowRankPrior, StudentTError};
use sha2::{Digest, Sha256};
use std::fmt;

/// First bytes of a file.
pub const MAGIC: &[u8; 8] = b"TSGOOD01";
/// Most cameras of one file.
pub const CAMERAS_MAX: usize = 32;
/// Most parts of one camera.
pub const PARTS_MAX: usize = 256;
/// Most bytes of a file: 32 cameras with ten parts each, looked at in two tiles and as a whole, need half of it.
pub const IMAGE_POSTERIOR_BYTES_MAX: u64 = 1 << 20;
/// Bytes of the checksum.
pub const CHECK_BYTES: usize = 8;
/// Most dimensions and looks.
const DIM_MAX: usize = 4096;
const LOOKS_MAX: usize = 128;

/// What good parts of one product look like as a whole, to one or several cameras with the same encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ImagePosterior {
    encoder: [u8; 32],
    registration: Registration,
    dim: usize,
    looks: usize,
    cameras: Vec<Contribution>,
}

/// What one camera has seen.
#[derive(Debug, Clone, PartialEq)]
struct Contribution {
    camera: String,
    /// By look, part, dimension.
    values: Vec<f32>,
    parts: usize,
}

impl ImagePosterior {
    /// What `camera` has seen: for each look (the picture as a whole, then its tiles) the embeddings of its parts.
    ///
    /// # Errors
    /// No parts, lists of different lengths, a value that is not finite, or a name that is none.
    pub fn new(
        card: &ModelCard,
        registration: Registration,
        camera: &str,
        looks: &[Vec<Vec<f32>>],
    ) -> Result<ImagePosterior, ImagePosteriorError> {
        let parts = looks.first().map_or(0, Vec::len);
        let all = || looks.iter().flatten();
        let dim = all().next().map_or(0, Vec::len);
        let same = looks.iter().all(|look| look.len() == parts) && all().all(|e| e.len() == dim);
        if !same {
            return Err(ImagePosteriorError::Broken { what: "lists of different lengths" });
        }
        let values = all().flatten().copied().collect();
        let own = Contribution { camera: camera.to_owned(), values, parts };
        let encoder = encoder_of(card)?;
        let looks = looks.len();
        ImagePosterior { encoder, registration, dim, looks, cameras: vec![own] }.checked()
    }

    fn checked(self) -> Result<ImagePosterior, ImagePosteriorError> {
        use ImagePosteriorError::{Broken, Camera, TooMany};
        if !(1..=DIM_MAX).contains(&self.dim) || !(1..=LOOKS_MAX).contains(&self.looks) {
            return Err(Broken { what: "dimensions or looks out of bounds" });
        }
        if !(1..=CAMERAS_MAX).contains(&self.cameras.len()) {
            return Err(TooMany { cameras: self.cameras.len() });
        }
        for (i, one) in self.cameras.iter().enumerate() {
            let camera = one.camera.clone();
            let twice = self.cameras.iter().take(i).any(|other| other.camera == camera);
            if !is_safe_name(&camera) || twice {
                return Err(Camera { camera });
            }
            let count = self.looks * one.parts * self.dim;
            if !(1..=PARTS_MAX).contains(&one.parts) || one.values.len() != count {
                return Err(Broken { what: "number of parts out of bounds" });
            }
            if !one.values.iter().all(|v| v.is_finite()) {
                return Err(Broken { what: "a value that is not finite" });
            }
        }
        if self.bytes() > IMAGE_POSTERIOR_BYTES_MAX {
            return Err(Broken { what: "more parts than one file may hold" });
        }
        Ok(self)
    }

    fn bytes(&self) -> u64 {
        let header = MAGIC.len() + 32 + 6 + CHECK_BYTES;
        let cameras = self.cameras.iter().map(|c| c.camera.len() + 3 + 4 * c.values.len());
        (header + cameras.sum::<usize>()) as u64
    }

    /// The cameras and how many parts each has seen.
    pub fn cameras(&self) -> impl Iterator<Item = (&str, usize)> {
        self.cameras.iter().map(|c| (c.camera.as_str(), c.parts))
    }

    /// How many looks each part was given: the picture as a whole, and its tiles.
    pub fn looks(&self) -> usize {
        self.looks
    }

    /// An error unless embeddings of `card`'s encoder, taken with such a registration in so many looks, may stand
    /// beside these.
    ///
    /// # Errors
    /// What differs.
    pub fn check_fits(
        &self,
        card: &ModelCard,
        registration: Registration,
        looks: usize,
    ) -> Result<(), ImagePosteriorError> {
        if self.encoder != encoder_of(card)? || self.dim != card.embedding.mu0.len() {
            return Err(ImagePosteriorError::OtherEncoder);
        }
        if self.registration != registration || self.looks != looks {
            return Err(ImagePosteriorError::OtherLooks);
        }
        Ok(())
    }

    /// What both have seen.
    ///
    /// # Errors
    /// Another encoder, other looks, or a camera that is in both.
    pub fn merge(&self, other: &ImagePosterior) -> Result<ImagePosterior, ImagePosteriorError> {
        if self.encoder != other.encoder || self.dim != other.dim {
            return Err(ImagePosteriorError::OtherEncoder);
        }
        if self.registration != other.registration || self.looks != other.looks {
            return Err(ImagePosteriorError::OtherLooks);
        }
        let cameras = self.cameras.iter().chain(&other.cameras).cloned().collect();
        ImagePosterior { cameras, ..self.clone() }.checked()
    }

    /// What is left without one camera; `None` if it was the only one.
    ///
    /// # Errors
    /// A camera that gave nothing.
    pub fn unmerge(&self, camera: &str) -> Result<Option<ImagePosterior>, ImagePosteriorError> {
        let rest: Vec<_> = self.cameras.iter().filter(|c| c.camera != camera).cloned().collect();
        if rest.len() == self.cameras.len() {
            return Err(ImagePosteriorError::Camera { camera: camera.to_owned() });
        }
        let left = ImagePosterior { cameras: rest, ..self.clone() };
        Ok((!left.cameras.is_empty()).then_some(left))
    }

    /// Embeddings of all parts in one look.
    pub fn samples(&self, look: usize) -> Vec<Vec<f64>> {
        let of = |one: &Contribution| -> Vec<Vec<f64>> {
            let parts = one.values.chunks_exact(self.dim).skip(look * one.parts).take(one.parts);
            parts.map(|part| part.iter().copied().map(f64::from).collect()).collect()
        };
        self.cameras.iter().flat_map(of).collect()
    }

    /// The posterior that one camera would have that had seen all parts, in one look.
    ///
    /// # Errors
    /// A prior of other dimensions.
    pub fn posterior(
        &self,
        look: usize,
        prior: &LowRankPrior,
    ) -> Result<LowRankPosterior, StudentTError> {
        prior.posterior(&self.samples(look))
    }

    /// Bytes of the file; the same posterior gives the same bytes.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.encoder);
        bytes.extend((self.dim as u16).to_le_bytes());
        bytes.extend((self.looks as u16).to_le_bytes());
        bytes.extend([registration_byte(self.registration), self.cameras.len() as u8]);
        for one in &self.cameras {
            bytes.push(one.camera.len() as u8);
            bytes.extend(one.camera.as_bytes());
            bytes.extend((one.parts as u16).to_le_bytes());
            bytes.extend(one.values.iter().flat_map(|v| v.to_le_bytes()));
        }
        let check = Sha256::digest(&bytes);
        bytes.extend(&check[..CHECK_BYTES]);
        bytes
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// Anything that [`ImagePosterior::emit`] does not write.
    pub fn parse(bytes: &[u8]) -> Result<ImagePosterior, ImagePosteriorError> {
        use ImagePosteriorError::{Broken, NoneSuch, Truncated};
        if bytes.len() as u64 > IMAGE_POSTERIOR_BYTES_MAX {
            return Err(Broken { what: "larger than any" });
        }
        if !bytes.starts_with(MAGIC) {
            return Err(NoneSuch);
        }
        let (content, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(Truncated)?;
        if Sha256::digest(content)[..CHECK_BYTES] != check[..] {
            return Err(Broken { what: "the checksum does not fit" });
        }
        let mut reader = Reader(content.get(MAGIC.len()..).ok_or(Truncated)?);
        let encoder = reader.array::<32>()?;
        let (dim, looks) = (reader.number()?, reader.number()?);
        let [registration, count] = reader.array::<2>()?;
        let registration = registration_of(registration)
            .ok_or(Broken { what: "a registration that is not known" })?;
        let mut cameras = Vec::new();
        for _ in 0..count {
            let [length] = reader.array::<1>()?;
            let camera = std::str::from_utf8(reader.take(usize::from(length))?)
                .map_err(|_| Broken { what: "a camera's name that is no text" })?
                .to_owned();
            let parts = reader.number()?;
            let bytes = [looks, parts, dim].iter().try_fold(4usize, |n, by| n.checked_mul(*by));
            let values = reader.take(bytes.ok_or(Truncated)?)?;
            let values = values.as_chunks::<4>().0.iter().map(|v| f32::from_le_bytes(*v)).collect();
            cameras.push(Contribution { camera, values, parts });
        }
        if !reader.0.is_empty() {
            return Err(Broken { what: "more bytes than it says" });
        }
        ImagePosterior { encoder, registration, dim, looks, cameras }.checked()
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ImagePosteriorError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(ImagePosteriorError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImagePosteriorError> {
        self.take(N)?.first_chunk::<N>().copied().ok_or(ImagePosteriorError::Truncated)
    }

    fn number(&mut self) -> Result<usize, ImagePosteriorError> {
        Ok(usize::from(u16::from_le_bytes(self.array()?)))
    }
}

fn registration_byte(registration: Registration) -> u8 {
    match registration {
        Registration::Off => 0,
        Registration::Small => 1,
        Registration::Any => 2,
        Registration::Auto => 3,
    }
}

fn registration_of(byte: u8) -> Option<Registration> {
    Registration::ALL.into_iter().find(|registration| registration_byte(*registration) == byte)
}

/// SHA-256 of the graph that makes the embeddings.
fn encoder_of(card: &ModelCard) -> Result<[u8; 32], ImagePosteriorError> {
    let digits = card.encode.sha256.as_bytes();
    let broken = ImagePosteriorError::Broken { what: "the model card has no hash of its encoder" };
    let (pairs, []) = digits.as_chunks::<2>() else { return Err(broken) };
    let byte = |pair: &[u8; 2]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(broken)
}

/// Why a posterior cannot be read or used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImagePosteriorError {
    /// The file is something else.
    NoneSuch,
    /// The file ends too soon.
    Truncated,
    /// What is wrong with it.
    Broken {
        /// In words.
        what: &'static str,
    },
    /// Made with other weights.
    OtherEncoder,
    /// Parts were registered or tiled otherwise.
    OtherLooks,
    /// A name that is none, that is there twice, or that gave nothing.
    Camera {
        /// The name.
        camera: String,
    },
    /// No camera, or more than [`CAMERAS_MAX`].
    TooMany {
        /// How many.
        cameras: usize,
    },
}

impl fmt::Display for ImagePosteriorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoneSuch => f.write_str(
                "no posterior of whole pictures; `touchstone recipe posterior` writes one",
            ),
            Self::Truncated => f.write_str("the posterior ends too soon; copy it again"),
            Self::Broken { what } => write!(f, "the posterior is broken: {what}; write it anew"),
            Self::OtherEncoder => f.write_str(
                "the posterior was made with another encoder; write it anew on a camera with this model",
            ),
            Self::OtherLooks => f.write_str(
                "the posterior was made with another registration or other tiles; both recipes must \
                 be taught alike",
            ),
            Self::Camera { camera } => write!(
                f,
                "camera '{}': there twice, or not at all; names are [a-z0-9-_]{{1,64}}",
                camera.escape_debug()
            ),
            Self::TooMany { cameras } => {
                write!(f, "{cameras} cameras; give 1 to {CAMERAS_MAX}, unmerge some")
            }
        }
    }
}

impl std::error::Error for ImagePosteriorError {}

#[cfg(test)]
mod tests;
