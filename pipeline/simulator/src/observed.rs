//! What was seen of a vehicle second by second, with the flaws of what has seen it: the recordings as they are.

use crate::track::{TRIPS, text};

/// Where a vehicle was in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// The second, since the Unix epoch.
    pub second: i64,
    /// Degrees.
    pub latitude: f64,
    /// Degrees.
    pub longitude: f64,
    /// Kilometres an hour.
    pub speed: f64,
}

/// The recorded trips, as the logger has written them: seconds without a fix are missing.
pub fn recorded_trips() -> Vec<Vec<Observed>> {
    let text = text();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let column = |name: &str| names.iter().position(|known| *known == name);
    let columns = ["t_utc", "FixType", "Latitude", "Longitude", "Speed"].map(column);
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let trip = |trip: &&str| -> Vec<Observed> {
        let rows = rows.iter().filter(|cells| cells[0] == *trip);
        let seen = rows.filter_map(|cells| {
            let [time, fix, latitude, longitude, speed] = columns.map(|column| cells.get(column?).copied());
            let number = |cell: Option<&str>| cell?.parse::<f64>().ok();
            let second = time?.parse::<jiff::Timestamp>().ok()?.as_second();
            let (latitude, longitude, speed) = (number(latitude)?, number(longitude)?, number(speed)? * 3.6);
            (number(fix) == Some(3.0)).then_some(Observed { second, latitude, longitude, speed })
        });
        seen.collect()
    };
    TRIPS.iter().map(trip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_trips_are_read() {
        let trips = recorded_trips();
        assert_eq!(trips.iter().map(Vec::len).collect::<Vec<_>>(), [2160, 1845]);
        assert!(trips.iter().flatten().all(|seen| (55.8..56.2).contains(&seen.latitude) && seen.speed < 90.0));
    }
}
