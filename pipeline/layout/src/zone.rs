//! Time zones by name, for the folders of days and hours.

use jiff::Error;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// The time zone of an IANA name such as `Asia/Seoul`, by the rules that are compiled into the program and not by those
/// of the machine: all machines with one version name the same rows' folders alike, whatever is installed on them. The
/// error says that no zone has this name.
pub fn time_zone(name: &str) -> Result<TimeZone, Error> {
    TimeZoneDatabase::bundled().get(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_known_by_their_names() {
        for name in ["UTC", "Asia/Seoul", "America/New_York"] {
            assert_eq!(time_zone(name).expect("a zone").iana_name(), Some(name));
        }
        let problem = time_zone("Asia/Nowhere").expect_err("no zone").to_string();
        assert!(problem.contains("Asia/Nowhere"), "{problem}");
    }
}
