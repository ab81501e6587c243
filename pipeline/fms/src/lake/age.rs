//! A length of time as people write it: `90d`, `36h`, `15m` or `30s`.

use std::time::Duration;

/// Reads a whole number with its unit.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let units = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
    let read = units.iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(*unit)?.parse().ok()?;
        number.checked_mul(*seconds).map(Duration::from_secs)
    });
    read.ok_or_else(|| "write a whole number of days, hours, minutes or seconds, such as `90d` or `36h`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_number_and_a_unit() {
        assert_eq!(age("90d"), Ok(Duration::from_hours(90 * 24)));
        assert_eq!(age("15m"), Ok(Duration::from_mins(15)));
        for wrong in ["90", "d", "1.5h", "-1d", "1w", "99999999999999999999d", "999999999999999999d"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
