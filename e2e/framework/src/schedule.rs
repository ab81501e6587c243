//! How a run is disturbed. A schedule is chosen on the command line, never in a fixture: the same snapshots must hold under all.

use std::fmt;
use std::str::FromStr;

/// What happens to the subject and its services while a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Schedule {
    /// Nothing: messages first, then the subject, then SIGTERM. The only schedule that asserts object boundaries and writes snapshots.
    #[default]
    Plain,
    /// Every message is sent twice.
    Twice,
    /// The subject is stopped in good order halfway through the messages and started again.
    Restarted,
    /// The subject is killed at its K-th call to AWS, and started again. A subject that makes fewer calls is left alone.
    Killed {
        /// Which call, from 1.
        call: usize,
        /// Whether the service carries the call out before the subject dies.
        carried_out: bool,
    },
    /// AWS refuses every second write and asks for less.
    Throttled,
}

impl Schedule {
    /// Whether the subject is started more than once.
    pub fn restarts(self) -> bool {
        matches!(self, Self::Restarted | Self::Killed { .. })
    }

    /// Whether object boundaries, their listing, and the number of times a row appears have to match too.
    pub fn is_plain(self) -> bool {
        self == Self::Plain
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Twice => f.write_str("twice"),
            Self::Restarted => f.write_str("restarted"),
            Self::Killed { call, carried_out: false } => write!(f, "killed:{call}"),
            Self::Killed { call, carried_out: true } => write!(f, "killed:{call}:after"),
            Self::Throttled => f.write_str("throttled"),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, argument) = text.split_once(':').unwrap_or((text, ""));
        match (name, argument) {
            ("plain", "") => Ok(Self::Plain),
            ("twice", "") => Ok(Self::Twice),
            ("restarted", "") => Ok(Self::Restarted),
            ("throttled", "") => Ok(Self::Throttled),
            ("killed", argument) => {
                let (call, carried_out) =
                    argument.strip_suffix(":after").map_or((argument, false), |call| (call, true));
                match call.parse() {
                    Ok(call) if call > 0 => Ok(Self::Killed { call, carried_out }),
                    _ => Err(format!(
                        "schedule `{text}`: write `killed:K` or `killed:K:after`, K the number of the call to AWS, from 1"
                    )),
                }
            }
            _ => Err(format!(
                "schedule `{text}`: there are plain, twice, restarted, throttled, killed:K and killed:K:after"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_read_as_it_is_shown() {
        for text in ["plain", "twice", "restarted", "killed:3", "killed:1:after", "throttled"] {
            assert_eq!(text.parse::<Schedule>().expect(text).to_string(), text);
        }
        for wrong in ["", "planned", "killed", "killed:0", "killed:x", "plain:1"] {
            assert!(wrong.parse::<Schedule>().is_err(), "{wrong}");
        }
    }
}
