//! What happens on a trip that a device reports as an event, found in the track by the thresholds of the device.

use crate::track::Point;

/// An event of a trip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Happening {
    /// The second of the recorded trip.
    pub second: f64,
    /// Its `event_type`.
    pub kind: &'static str,
    /// Its `value`, in the unit of its type.
    pub value: f64,
    /// How the value grows when the trip is driven faster by a factor: with this power of it.
    pub power: i32,
    /// From 0, information, to 3.
    pub severity: u8,
}

/// Braking harder than this is an event, in m/s².
const BRAKE: f64 = -2.2;
/// Accelerating harder than this is an event, in m/s².
const ACCELERATE: f64 = 1.9;
/// Being pressed to a side harder than this is an event, in m/s².
const CORNER: f64 = 2.5;
/// Driving faster than the first is an event, until the vehicle is slower than the second, in m/s.
const OVERSPEED: (f64, f64) = (80.0 / 3.6, 70.0 / 3.6);
/// Standing for as many seconds is a stop of the trip …
const STOP: u32 = 15;
/// … and, with the engine running, for as many is idling.
const IDLE: u32 = 120;

/// Finds the events of a trip, in the order of time. `trip_start`, `trip_end` and what belongs to sites are not among
/// them, because they follow from when and where a vehicle drives.
pub(crate) fn happenings(points: &[Point]) -> Vec<Happening> {
    let mut found = Vec::new();
    let (mut standing, mut fast, mut quiet) = (0_u32, false, 0_u32);
    let drives_on = points.iter().rposition(|point| point.speed > 0.0).unwrap_or(0);
    for (at, point) in points.iter().enumerate() {
        let second = f64::from(u32::try_from(at).unwrap_or(u32::MAX));
        let mut happens = |kind, value, power, severity| {
            found.push(Happening { second, kind, value, power, severity });
        };
        // One manoeuvre is one event, however many seconds it takes.
        let harsh = [
            ("harsh_brake", point.accel_x, point.accel_x < BRAKE),
            ("harsh_accel", point.accel_x, point.accel_x > ACCELERATE),
            ("harsh_corner", point.accel_y, point.accel_y.abs() > CORNER),
        ];
        quiet = quiet.saturating_sub(1);
        if let Some((kind, value, _)) = harsh.into_iter().find(|(_, _, is)| *is && quiet == 0) {
            happens(kind, value, 2, if value.abs() > 3.0 { 2 } else { 1 });
            quiet = 5;
        }
        if point.speed > OVERSPEED.0 && !fast {
            fast = true;
            happens("overspeed", point.speed * 3.6, 1, 1);
        } else if point.speed < OVERSPEED.1 {
            fast = false;
        }
        if point.speed > 0.0 {
            if standing >= STOP {
                happens("trip_resume", f64::from(standing), -1, 0);
            }
            standing = 0;
        } else if (1..drives_on).contains(&at) {
            standing += 1;
            match standing {
                STOP => happens("trip_stop", 0.0, 0, 0),
                IDLE => happens("idling", f64::from(standing), -1, 1),
                _ => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recordings::recorded;

    #[test]
    fn the_recorded_trips_have_events_of_each_kind() {
        let kinds = |track: usize| {
            let mut kinds: Vec<_> = recorded()[track].happenings.iter().map(|happening| happening.kind).collect();
            assert!((5..=60).contains(&kinds.len()), "{kinds:?}");
            kinds.sort_unstable();
            kinds.dedup();
            kinds
        };
        assert_eq!(kinds(0), ["harsh_accel", "harsh_brake", "harsh_corner", "overspeed", "trip_resume", "trip_stop"]);
        assert_eq!(
            kinds(1),
            ["harsh_accel", "harsh_brake", "harsh_corner", "idling", "overspeed", "trip_resume", "trip_stop"]
        );
    }

    #[test]
    fn a_manoeuvre_is_one_event() {
        let mut points = vec![Point { speed: 10.0, ..Point::default() }; 40];
        for at in [10, 11, 12, 30] {
            points[at].accel_x = -4.0;
        }
        let found = happenings(&points);
        assert_eq!(found.iter().map(|one| one.second).collect::<Vec<_>>(), [10.0, 30.0]);
        assert!(found.iter().all(|one| one.kind == "harsh_brake" && one.severity == 2), "{found:?}");
    }
}
