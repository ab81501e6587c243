//! Identifies processes. The system gives a process id to another process later, so the start time is part of the
//! identity.

use std::fs;

/// A process, identified by its id and its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Process {
    pid: i32,
    /// The start time in clock ticks since the machine was started. It is 0 where the system does not tell it.
    started: u64,
}

/// The fields of `/proc/PID/stat` that are used here.
struct Stat {
    name: String,
    state: char,
    parent: i32,
    started: u64,
}

impl Process {
    /// This process.
    pub fn itself() -> Self {
        Self::of(nix::unistd::getpid().as_raw())
    }

    /// The process that has this id now.
    pub fn of(pid: i32) -> Self {
        Self { pid, started: stat(pid).map_or(0, |stat| stat.started) }
    }

    /// The id of the process.
    pub fn pid(self) -> i32 {
        self.pid
    }

    /// The nearest ancestor whose name is one of these.
    pub fn ancestor(names: &[&str]) -> Option<Self> {
        let mut pid = nix::unistd::getppid().as_raw();
        while pid > 1 {
            let stat = stat(pid)?;
            if names.contains(&stat.name.as_str()) {
                return Some(Self { pid, started: stat.started });
            }
            pid = stat.parent;
        }
        None
    }

    /// The process that started this one.
    pub fn parent() -> Self {
        Self::of(nix::unistd::getppid().as_raw())
    }

    /// Whether the process has not ended. A process that has ended and was not waited for yet (a zombie) counts as
    /// ended.
    pub fn is_alive(self) -> bool {
        match stat(self.pid) {
            Some(stat) => stat.started == self.started && !matches!(stat.state, 'Z' | 'X'),
            None if self.started > 0 => false,
            // There is no /proc here, so any process that has this id now counts.
            None => nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), None).is_ok(),
        }
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)
    }
}

impl std::str::FromStr for Process {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('-').and_then(|(pid, started)| Some((pid.parse().ok()?, started.parse().ok()?)));
        parsed.map(|(pid, started)| Self { pid, started }).ok_or_else(|| format!("`{text}` is no process"))
    }
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may itself contain any characters.
    let (start, end) = (text.find('(')?, text.rfind(')')?);
    let fields: Vec<&str> = text[end + 1..].split_whitespace().collect();
    Some(Stat {
        name: text[start + 1..end].to_owned(),
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_alive_until_it_ends_and_its_id_alone_is_not_it() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let process = Process::of(i32::try_from(child.id()).expect("a pid"));
        assert!(process.is_alive());
        assert_eq!(process.to_string().parse(), Ok(process));
        child.kill().expect("killed");
        if cfg!(target_os = "linux") {
            // The process is a zombie until it is waited for.
            while process.is_alive() {
                std::thread::yield_now();
            }
            let other = Process { started: Process::itself().started + 1, ..Process::itself() };
            assert!(!other.is_alive());
        }
        child.wait().expect("waited for");
        assert!(!process.is_alive());
        assert!(Process::itself().is_alive() && Process::parent().is_alive());
    }
}
