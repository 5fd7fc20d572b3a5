//! `[display]`: the operator's screen.

use super::ConfigError;
use super::table::{Source, path};
use crate::display::{SCREEN_MAX, SCREEN_MIN};
use serde::Deserialize;
use std::path::PathBuf;
use toml::Spanned;

/// What the picture goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DisplayKind {
    /// `/dev/fb0`: 16 or 32 bits a pixel, as the kernel says.
    Framebuffer,
    /// A DRM device's dumb buffer; needs a build with the feature `display-drm`.
    Drm,
    /// A PNG file, written anew with each picture.
    Png,
}

/// The operator's screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplayConfig {
    /// What it is.
    pub kind: DisplayKind,
    /// The device or file.
    pub path: PathBuf,
    /// Size of a PNG; a screen knows its own.
    pub size: (u32, u32),
}

/// A PNG's size where none is given.
const PNG_SIZE: (u32, u32) = (1280, 720);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DisplayTable {
    kind: Spanned<DisplayKind>,
    path: Option<Spanned<PathBuf>>,
    width: Option<Spanned<u32>>,
    height: Option<Spanned<u32>>,
}

pub(super) fn display(
    source: &Source<'_>,
    table: Option<&Spanned<DisplayTable>>,
) -> Result<Option<DisplayConfig>, ConfigError> {
    let Some(table) = table else { return Ok(None) };
    let (place, table) = (table.span(), table.get_ref());
    let kind = *table.kind.get_ref();
    if kind == DisplayKind::Drm && !cfg!(feature = "display-drm") {
        let what = "this build has no DRM screens";
        let remedy = "build with the feature display-drm, or set kind = \"framebuffer\"";
        return Err(source.error(&table.kind.span(), "[display] kind", what, remedy));
    }
    let side = |value: &Option<Spanned<u32>>, key: &str, usual: u32| match value {
        Some(value) if kind != DisplayKind::Png => {
            let what = "does not belong to this kind of display";
            Err(source.error(&value.span(), key, what, "remove it: a screen knows its size"))
        }
        Some(value) => source.within(value, SCREEN_MIN..=SCREEN_MAX, key),
        None => Ok(usual),
    };
    let size = (
        side(&table.width, "[display] width", PNG_SIZE.0)?,
        side(&table.height, "[display] height", PNG_SIZE.1)?,
    );
    let path = match (kind, &table.path) {
        (DisplayKind::Framebuffer, None) => PathBuf::from("/dev/fb0"),
        (DisplayKind::Drm, None) => PathBuf::from("/dev/dri/card0"),
        _ => path(source, &table.path, &place, "[display] path")?,
    };
    Ok(Some(DisplayConfig { kind, path, size }))
}

#[cfg(test)]
mod tests {
    use crate::config::{Board, DisplayConfig, DisplayKind};
    use std::path::PathBuf;

    fn parse(table: &str) -> Result<Option<DisplayConfig>, String> {
        let text = format!("name = \"x\"\n[camera]\nkind = \"simulated\"\n{table}");
        Board::parse(&text).map(|board| board.display).map_err(|e| e.to_string())
    }

    #[test]
    fn kinds_and_their_usual_paths() {
        assert_eq!(parse(""), Ok(None));
        let screen = parse("[display]\nkind = \"framebuffer\"").unwrap().unwrap();
        assert_eq!((screen.kind, screen.path), (DisplayKind::Framebuffer, "/dev/fb0".into()));
        let png = parse("[display]\nkind = \"png\"\npath = \"a.png\"\nwidth = 640").unwrap();
        let wanted = DisplayConfig {
            kind: DisplayKind::Png,
            path: PathBuf::from("a.png"),
            size: (640, 720),
        };
        assert_eq!(png, Some(wanted));
    }

    #[test]
    fn errors_name_key_line_and_remedy() {
        let error = parse("[display]\nkind = \"png\"").unwrap_err();
        assert_eq!(error, "board file line 4: [display] path: missing; add it to this table");
        let error = parse("[display]\nkind = \"framebuffer\"\nwidth = 640").unwrap_err();
        assert!(error.contains("line 6: [display] width: does not belong"), "{error}");
        let error = parse("[display]\nkind = \"png\"\npath = \"a\"\nheight = 20").unwrap_err();
        assert!(error.contains("20 is out of range; set it from 64 to 8192"), "{error}");
        let error = parse("[display]\nkind = \"hologram\"").unwrap_err();
        assert!(error.contains("line 5") && error.contains("`framebuffer`"), "{error}");
        let error = parse("[display]\nkind = \"png\"\npth = \"a\"").unwrap_err();
        assert!(error.contains("unknown field `pth`"), "{error}");
    }

    #[test]
    fn a_build_without_drm_says_so() {
        let parsed = parse("[display]\nkind = \"drm\"");
        match cfg!(feature = "display-drm") {
            true => assert_eq!(parsed.unwrap().unwrap().path, PathBuf::from("/dev/dri/card0")),
            false => assert!(parsed.unwrap_err().contains("build with the feature display-drm")),
        }
    }
}
