//! What can be wrong with a picture, and what to do about it.

use super::{PICTURE_BYTES_MAX, PICTURE_PIXELS_MAX, PICTURE_SIDE_MAX, PICTURE_SIDE_MIN, Rect};
use std::fmt;
use std::path::{Path, PathBuf};

/// A fault, and the file it lies in (if it lies in one).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureError {
    /// The file.
    pub path: Option<PathBuf>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No such file.
    Missing,
    /// A folder.
    Folder,
    /// A pipe, a device or a socket.
    NotAFile,
    /// The system would not read it.
    Unreadable(String),
    /// A file of 0 bytes.
    Empty,
    /// More than [`PICTURE_BYTES_MAX`] bytes.
    TooManyBytes,
    /// Neither PNG nor JPEG; the format's name where it is known.
    Format(Option<&'static str>),
    /// The file ends before the picture does.
    Truncated,
    /// The file breaks its format's rules.
    Damaged(String),
    /// An animated PNG: which frame is the part?
    Animated,
    /// Colours for printing, which have no RGB without a profile.
    Cmyk,
    /// A side below [`PICTURE_SIDE_MIN`].
    TooSmall {
        /// Columns.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// A side above [`PICTURE_SIDE_MAX`], or more than [`PICTURE_PIXELS_MAX`] pixels.
    TooLarge {
        /// Columns.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// The bytes do not fill the stated size.
    Length {
        /// Bytes given.
        given: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// A rectangle that is empty or does not lie within the picture.
    Outside {
        /// The rectangle.
        rect: Rect,
        /// The picture's width.
        width: u32,
        /// The picture's height.
        height: u32,
    },
    /// The system would not write it.
    Unwritable(String),
}

impl Fault {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Fault::Missing => "check the path",
            Fault::Folder => "name the pictures in it, not the folder",
            Fault::NotAFile => "copy the picture into an ordinary file",
            Fault::Unreadable(_) => "check the permissions and the disk",
            Fault::Empty | Fault::Truncated | Fault::Damaged(_) => "copy or record it again",
            Fault::TooManyBytes => "save it as JPEG or in a smaller size",
            Fault::Format(_) => "save it as PNG or JPEG",
            Fault::Animated => "save the frame that shows the part as a still PNG",
            Fault::Cmyk => "save it in RGB",
            Fault::TooSmall { .. } => "record it with more pixels",
            Fault::TooLarge { .. } => "scale it down",
            Fault::Length { .. } => "check the camera's format and size",
            Fault::Outside { .. } => "correct the region of interest",
            Fault::Unwritable(_) => "choose a folder that exists and that you may write to",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Missing => f.write_str("there is no such file"),
            Fault::Folder => f.write_str("it is a folder"),
            Fault::NotAFile => f.write_str("it is not an ordinary file"),
            Fault::Unreadable(why) | Fault::Unwritable(why) => f.write_str(why),
            Fault::Empty => f.write_str("the file is empty"),
            Fault::TooManyBytes => {
                write!(f, "the file is larger than {} MiB", PICTURE_BYTES_MAX >> 20)
            }
            Fault::Format(Some(name)) => {
                write!(f, "it is {name}; only PNG and JPEG are read")
            }
            Fault::Format(None) => {
                f.write_str("it is no picture of a known format; only PNG and JPEG are read")
            }
            Fault::Truncated => f.write_str("it is truncated: the file ends before the picture"),
            Fault::Damaged(why) => write!(f, "it is damaged: {why}"),
            Fault::Animated => f.write_str("it is an animated PNG"),
            Fault::Cmyk => f.write_str("its colours are CMYK"),
            Fault::TooSmall { width, height } => write!(
                f,
                "it has {width} x {height} pixels; each side needs {PICTURE_SIDE_MIN} or more"
            ),
            Fault::TooLarge { width, height } => write!(
                f,
                "it has {width} x {height} pixels; at most {PICTURE_SIDE_MAX} a side and {} \
                 megapixels are allowed",
                PICTURE_PIXELS_MAX >> 20
            ),
            Fault::Length { given, expected } => {
                write!(f, "there are {given} bytes where its size needs {expected}")
            }
            Fault::Outside { rect: Rect { x, y, w, h }, width, height } => write!(
                f,
                "the rectangle x={x} y={y} w={w} h={h} is empty or not within its {width} x \
                 {height} pixels"
            ),
        }
    }
}

impl PictureError {
    /// The same fault, with the file it lies in.
    pub fn in_file(self, path: &Path) -> PictureError {
        PictureError { path: Some(path.to_path_buf()), fault: self.fault }
    }
}

impl From<Fault> for PictureError {
    fn from(fault: Fault) -> PictureError {
        PictureError { path: None, fault }
    }
}

impl fmt::Display for PictureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if matches!(self.fault, Fault::Unwritable(_)) { "write" } else { "use" };
        match &self.path {
            Some(path) => write!(f, "cannot {verb} picture {}: ", path.display())?,
            None => write!(f, "cannot {verb} the picture: ")?,
        }
        write!(f, "{}; {}", self.fault, self.fault.remedy())
    }
}

impl std::error::Error for PictureError {}
