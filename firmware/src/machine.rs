//! What the kernel tells of this process and this board, for measurements: time on the processor, memory,
//! temperature, clock. What a board does not tell is absent, never a guess.

use std::fs;
use std::path::Path;

/// The kernel counts processor time in these, on every Linux of the last twenty years (`USER_HZ`).
const TICKS_PER_S: f64 = 100.0;

/// Seconds that all threads of this process have spent on processors.
pub fn cpu_s() -> Option<f64> {
    let fields = stat()?;
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / TICKS_PER_S)
}

/// Seconds since this process was started, to a hundredth.
pub fn age_s() -> Option<f64> {
    let started: u64 = stat()?.get(19)?.parse().ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    Some((uptime - started as f64 / TICKS_PER_S).max(0.0))
}

/// The fields of `/proc/self/stat` from the third on: the second, the name, may hold anything.
fn stat() -> Option<Vec<String>> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    Some(text.rsplit_once(") ")?.1.split_whitespace().map(str::to_owned).collect())
}

/// Most memory that this process ever had at a time, in kB.
pub fn peak_memory_kb() -> Option<u64> {
    status_kb(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

fn status_kb(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The hottest of the board's own thermometers, in degrees Celsius.
pub fn temperature_c() -> Option<f64> {
    hottest(Path::new("/sys/class/thermal"))
}

fn hottest(thermal: &Path) -> Option<f64> {
    let zones = fs::read_dir(thermal).ok()?.flatten();
    let zones = zones.filter(|zone| zone.file_name().to_string_lossy().starts_with("thermal_zone"));
    // Thousandths of a degree. Zones that are switched off tell nothing or absurdities.
    let told = zones.filter_map(|zone| number(&zone.path().join("temp")));
    told.map(|c| c as f64 / 1000.0).filter(|c| (-60.0..200.0).contains(c)).reduce(f64::max)
}

/// The fastest core's clock right now, in MHz.
pub fn clock_mhz() -> Option<f64> {
    fastest(Path::new("/sys/devices/system/cpu"))
}

fn fastest(cpus: &Path) -> Option<f64> {
    let cpus = fs::read_dir(cpus).ok()?.flatten();
    let told = cpus.filter_map(|cpu| number(&cpu.path().join("cpufreq/scaling_cur_freq")));
    told.max().map(|khz| khz as f64 / 1000.0)
}

fn number(file: &Path) -> Option<i64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, file: &str, text: &str) {
        let file = dir.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn the_hottest_zone_and_the_fastest_core_count() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert_eq!((hottest(dir), fastest(dir)), (None, None));
        put(dir, "thermal_zone0/temp", "41500\n");
        put(dir, "thermal_zone1/temp", "63250\n");
        put(dir, "thermal_zone2/temp", "-274000\n");
        put(dir, "cooling_device0/temp", "99000\n");
        assert_eq!(hottest(dir), Some(63.25));
        put(dir, "cpu0/cpufreq/scaling_cur_freq", "1200000\n");
        put(dir, "cpu1/cpufreq/scaling_cur_freq", "1510000\n");
        put(dir, "cpuidle/current_driver", "none\n");
        assert_eq!(fastest(dir), Some(1510.0));
    }

    #[test]
    fn memory_is_read_by_its_key() {
        let status = "Name:\tx\nVmPeak:\t  200 kB\nVmHWM:\t   1234 kB\n";
        assert_eq!(status_kb(status, "VmHWM:"), Some(1234));
        assert_eq!(status_kb(status, "VmRSS:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_a_past() {
        let before = cpu_s().unwrap();
        let mut sum = 0u64;
        while cpu_s().unwrap() < before + 0.02 {
            sum = (0..100_000u64).fold(sum, |s, i| s.wrapping_mul(31).wrapping_add(i));
        }
        assert_ne!(sum, 1);
        assert!(age_s().unwrap() >= 0.0);
        assert!(peak_memory_kb().unwrap() > 1000);
    }
}
