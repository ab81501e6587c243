//! A clock for the processes of a pipeline that somebody sets. It is the machine's own with an offset, which a library adds
//! that is loaded into them; see `clock/clock.rs`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use tempfile::TempDir;

/// The library. It is empty where there is none.
static LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/clock.so"));

/// A clock. The processes that have it lose it when this value is dropped.
#[derive(Debug)]
pub(crate) struct Clock {
    folder: TempDir,
    /// What the library reads and writes: the offset, and how often a time was told that was shifted.
    shared: File,
}

impl Clock {
    /// A clock that tells the machine's time. It is `None` on a system for which there is no such library.
    pub(crate) fn new() -> io::Result<Option<Self>> {
        if LIBRARY.is_empty() {
            return Ok(None);
        }
        let folder = TempDir::with_prefix("e2e-clock-")?;
        std::fs::write(folder.path().join("clock.so"), LIBRARY)?;
        let shared =
            File::options().create(true).truncate(true).read(true).write(true).open(folder.path().join("now"))?;
        shared.write_all_at(&[0; 16], 0)?;
        Ok(Some(Self { folder, shared }))
    }

    /// Sets the offset to the machine's time, in seconds.
    pub(crate) fn set(&self, seconds: i64) -> io::Result<()> {
        self.shared.write_all_at(&seconds.to_ne_bytes(), 0)
    }

    /// How often the processes were told a time that was not the machine's.
    pub(crate) fn told(&self) -> io::Result<u64> {
        let mut told = [0; 8];
        self.shared.read_exact_at(&mut told, 8)?;
        Ok(u64::from_ne_bytes(told))
    }

    /// Lets a process that is started with this environment have this clock. A library that it is given already is loaded
    /// as well.
    pub(crate) fn put_into(&self, environment: &mut BTreeMap<String, String>) {
        let at = |name: &str| -> PathBuf { self.folder.path().join(name) };
        let others = environment.get("LD_PRELOAD").cloned().or_else(|| std::env::var("LD_PRELOAD").ok());
        let others = others.filter(|others| !others.is_empty()).map(|others| format!(":{others}")).unwrap_or_default();
        environment.insert("LD_PRELOAD".to_owned(), format!("{}{others}", at("clock.so").display()));
        environment.insert("E2E_CLOCK".to_owned(), at("now").display().to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::SystemTime;

    use super::*;

    /// The seconds by which the time of a process is ahead of the machine's, by `date`, which asks the C library.
    fn ahead(clock: &Clock) -> i64 {
        let mut environment = BTreeMap::new();
        clock.put_into(&mut environment);
        let output = Command::new("date").arg("+%s").envs(environment).output().expect("date runs");
        let told: i64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("seconds");
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970").as_secs();
        told - i64::try_from(now).expect("seconds")
    }

    #[test]
    fn a_process_has_the_clock_that_it_is_given() {
        let clock = Clock::new().expect("a clock");
        assert_eq!(clock.is_some(), cfg!(all(target_os = "linux", target_env = "gnu")));
        let Some(clock) = clock else { return };
        assert!(ahead(&clock).abs() < 60);
        assert_eq!(clock.told().expect("a number"), 0);
        clock.set(3600).expect("set");
        assert!((ahead(&clock) - 3600).abs() < 60);
        assert!(clock.told().expect("a number") > 0);
        clock.set(-3600).expect("set");
        assert!((ahead(&clock) + 3600).abs() < 60);
    }
}
