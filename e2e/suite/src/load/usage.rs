//! What processes use: processor time, memory and open files, from `/proc`.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// What a process uses at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// How many cores it has kept busy since the moment before.
    pub cores: f64,
    /// Its resident memory in bytes.
    pub memory: u64,
    /// How many files and connections it has open.
    pub open: u64,
}

/// Measures a process.
#[derive(Debug)]
pub struct Meter {
    id: i32,
    last: Option<(Instant, u64)>,
}

/// How many ticks of `/proc/…/stat` a second has: on Linux it is 100 for every program.
const TICKS: f64 = 100.0;

impl Meter {
    /// Of the process with this number.
    pub const fn new(id: i32) -> Self {
        Self { id, last: None }
    }

    /// What it uses now; `None` if it has ended, or where there is no `/proc`.
    #[expect(clippy::cast_precision_loss, reason = "ticks of some hours")]
    pub fn measure(&mut self) -> Option<Usage> {
        let folder = Path::new("/proc").join(self.id.to_string());
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        let ticks = ticks(&stat)?;
        let status = std::fs::read_to_string(folder.join("status")).ok()?;
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let memory = memory.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024;
        let open = std::fs::read_dir(folder.join("fd")).map_or(0, |files| files.count() as u64);
        let now = Instant::now();
        let cores = self.last.map_or(0.0, |(at, before)| {
            (ticks - before) as f64 / TICKS / now.duration_since(at).as_secs_f64().max(0.001)
        });
        self.last = Some((now, ticks));
        Some(Usage { cores, memory, open })
    }
}

/// The ticks of user and system time in `/proc/…/stat`. The name of the process, in brackets, may have spaces.
fn ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_those_of_user_and_system() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 7 8 20 0 1 0 100 1000 10";
        assert_eq!(ticks(stat), Some(300));
    }

    #[test]
    fn this_process_uses_memory_and_files() {
        let mut meter = Meter::new(std::process::id().cast_signed());
        let usage = meter.measure().expect("it runs");
        assert!(usage.memory > 1_000_000 && usage.open >= 3, "{usage:?}");
        assert_eq!(Meter::new(i32::MAX).measure(), None);
    }
}
