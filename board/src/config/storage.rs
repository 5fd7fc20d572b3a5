//! `[storage]`: USB sticks.

use super::ConfigError;
use super::table::{Source, path};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// Whether USB sticks are looked at, and where they are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageConfig {
    /// Whether sticks are mounted at all. Off unless the file says so.
    pub removable: bool,
    /// The folder under which they are mounted, each in one of its own.
    pub mount_root: PathBuf,
    /// How long a stick has to stay before it is mounted.
    pub settle: Duration,
}

/// How long a stick has to stay before it counts, unless the board file says otherwise: a plug makes
/// contact several times, and the kernel lists partitions one after the other. Short, because the kernel's own
/// driver has let it settle for a second by then (`usb_storage.delay_use`).
pub const SETTLE: Duration = Duration::from_millis(250);
/// Longest time that a stick has to stay, in milliseconds.
const SETTLE_MAX_MS: u32 = 10_000;
const MOUNT_ROOT: &str = "/run/touchstone/media";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StorageTable {
    removable: bool,
    mount_root: Option<Spanned<PathBuf>>,
    settle_ms: Option<Spanned<u32>>,
}

impl Default for StorageConfig {
    fn default() -> StorageConfig {
        StorageConfig { removable: false, mount_root: PathBuf::from(MOUNT_ROOT), settle: SETTLE }
    }
}

pub(super) fn storage(
    source: &Source<'_>,
    table: Option<&Spanned<StorageTable>>,
) -> Result<StorageConfig, ConfigError> {
    let usual = StorageConfig::default();
    let Some(table) = table else { return Ok(usual) };
    let (place, table) = (table.span(), table.get_ref());
    let mount_root = match &table.mount_root {
        Some(root) if !root.get_ref().is_absolute() || root.get_ref().parent().is_none() => {
            let what = format!("{} is no folder below /", root.get_ref().display());
            let remedy = format!("set a path like {MOUNT_ROOT}");
            return Err(source.error(&root.span(), "[storage] mount_root", what, remedy));
        }
        Some(_) => path(source, &table.mount_root, &place, "[storage] mount_root")?,
        None => usual.mount_root,
    };
    let settle = match &table.settle_ms {
        Some(ms) => {
            let ms = source.within(ms, 0..=SETTLE_MAX_MS, "[storage] settle_ms")?;
            Duration::from_millis(u64::from(ms))
        }
        None => usual.settle,
    };
    Ok(StorageConfig { removable: table.removable, mount_root, settle })
}

#[cfg(test)]
mod tests {
    use crate::config::{Board, StorageConfig};
    use std::path::PathBuf;
    use std::time::Duration;

    fn parse(table: &str) -> Result<StorageConfig, String> {
        let text = format!("name = \"x\"\n[camera]\nkind = \"simulated\"\n{table}");
        Board::parse(&text).map(|board| board.storage).map_err(|e| e.to_string())
    }

    #[test]
    fn sticks_are_off_unless_the_file_says_so() {
        assert_eq!(parse("").unwrap(), StorageConfig::default());
        assert!(!StorageConfig::default().removable);
        let on = parse("[storage]\nremovable = true\nsettle_ms = 750\nmount_root = \"/mnt/t\"");
        let wanted = StorageConfig {
            removable: true,
            mount_root: PathBuf::from("/mnt/t"),
            settle: Duration::from_millis(750),
        };
        assert_eq!(on, Ok(wanted));
    }

    #[test]
    fn errors_name_key_line_and_remedy() {
        let error = parse("[storage]\nremovable = true\nmount_root = \"media\"").unwrap_err();
        assert!(
            error.contains("line 6: [storage] mount_root: media is no folder below /; set a path")
        );
        assert!(parse("[storage]\nremovable = true\nmount_root = \"/\"").is_err());
        let error = parse("[storage]\nremovable = true\nsettle_ms = 99999").unwrap_err();
        assert!(error.contains("set it from 0 to 10000"), "{error}");
        assert!(parse("[storage]\n").unwrap_err().contains("missing field `removable`"));
        assert!(parse("[storage]\nremovable = 1\n").unwrap_err().contains("line 5"));
    }
}
