//! `[watchdog]`: who starts the machine anew when this program hangs.

use super::ConfigError;
use super::table::{Source, path};
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// Times a board file may set, in seconds: shorter than the feeding allows or longer than drivers do.
pub const TIMEOUT_RANGE_S: RangeInclusive<u32> = 2..=600;

/// The hardware's watchdog. systemd's needs no setting: the unit file's `WatchdogSec` switches it on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchdogConfig {
    /// The device, as `/dev/watchdog0`; none leaves the hardware's to systemd or to nobody.
    pub device: Option<PathBuf>,
    /// Without a feed for this long the machine restarts; the driver's own time where left out.
    pub timeout: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WatchdogTable {
    device: Option<Spanned<PathBuf>>,
    timeout_s: Option<Spanned<u32>>,
}

pub(super) fn watchdog(
    source: &Source<'_>,
    table: Option<&Spanned<WatchdogTable>>,
) -> Result<WatchdogConfig, ConfigError> {
    let Some(table) = table else { return Ok(WatchdogConfig::default()) };
    let (place, table) = (table.span(), table.get_ref());
    let device = path(source, &table.device, &place, "[watchdog] device")?;
    let timeout = table.timeout_s.as_ref();
    let timeout =
        timeout.map(|t| source.within(t, TIMEOUT_RANGE_S, "[watchdog] timeout_s")).transpose()?;
    let timeout = timeout.map(|s| Duration::from_secs(u64::from(s)));
    Ok(WatchdogConfig { device: Some(device), timeout })
}

#[cfg(test)]
mod tests {
    use crate::config::{Board, WatchdogConfig};
    use std::path::PathBuf;
    use std::time::Duration;

    fn parse(table: &str) -> Result<WatchdogConfig, String> {
        let text = format!("name = \"x\"\n[camera]\nkind = \"simulated\"\n{table}");
        Board::parse(&text).map(|board| board.watchdog).map_err(|e| e.to_string())
    }

    #[test]
    fn a_device_with_or_without_a_time() {
        assert_eq!(parse(""), Ok(WatchdogConfig::default()));
        let wanted = WatchdogConfig {
            device: Some(PathBuf::from("/dev/watchdog0")),
            timeout: Some(Duration::from_secs(20)),
        };
        assert_eq!(parse("[watchdog]\ndevice = \"/dev/watchdog0\"\ntimeout_s = 20"), Ok(wanted));
        let bare = parse("[watchdog]\ndevice = \"/dev/watchdog0\"").unwrap();
        assert_eq!(bare.timeout, None);
    }

    #[test]
    fn errors_name_key_line_and_remedy() {
        let error = parse("[watchdog]\ntimeout_s = 9").unwrap_err();
        assert_eq!(error, "board file line 4: [watchdog] device: missing; add it to this table");
        let error = parse("[watchdog]\ndevice = \"/dev/w\"\ntimeout_s = 0").unwrap_err();
        assert!(
            error.contains("line 6: [watchdog] timeout_s: 0 is out of range; set it from 2 to 600")
        );
        let error = parse("[watchdog]\ndevice = \"\"").unwrap_err();
        assert!(error.contains("[watchdog] device: not a path"), "{error}");
    }
}
