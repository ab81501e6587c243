//! What is seen of vehicles: quantities that are computed alike of recorded trips and of messages.

use std::collections::BTreeMap;

use fms_simulator::{Fleet, METRES_A_DEGREE, Observed, Protocols, Rates, Rhythm, Shard, Simulation};
use serde::Deserialize;

use super::distribution::Distribution;

/// Friday, 2026-11-27, 08:00 in Korea.
const MORNING: i64 = 1_795_734_000;
/// A longer time without a row is the time between two trips.
const TRIP_GAP: i64 = 60;

/// A quantity, with its values.
#[derive(Debug, Clone)]
pub struct Quantity {
    /// What it is, with its unit.
    pub name: String,
    /// How it is computed.
    pub about: &'static str,
    /// Whether its plot shows how large values are, without their signs.
    pub is_magnitude: bool,
    /// Its values.
    pub values: Distribution,
    magnitudes: Distribution,
}

impl Quantity {
    fn new(name: &str, about: &'static str, is_magnitude: bool, values: Vec<f64>) -> Self {
        let magnitudes = Distribution::of(values.iter().map(|value| value.abs()));
        Self { name: name.to_owned(), about, is_magnitude, values: Distribution::of(values), magnitudes }
    }

    /// The percentile that its plot shows. The last of a hundred is left out: a single fault would hide all others.
    pub(super) fn shown(&self, percent: f64) -> f64 {
        let of = if self.is_magnitude { &self.magnitudes } else { &self.values };
        of.percentile(percent.min(99.0))
    }
}

/// The quantities of vehicles, each of which is given second by second.
pub fn quantities(vehicles: &[Vec<Observed>]) -> [Quantity; 4] {
    let (mut speeds, mut accelerations, mut gaps, mut noises) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for seen in vehicles {
        speeds.extend(seen.iter().map(|seen| seen.speed));
        for pair in seen.windows(2) {
            let seconds = pair[1].second - pair[0].second;
            if seconds <= TRIP_GAP {
                #[expect(clippy::cast_precision_loss, reason = "a minute at most")]
                gaps.push(seconds as f64);
            }
            if seconds == 1 {
                accelerations.push((pair[1].speed - pair[0].speed) / 3.6);
            }
        }
        for three in seen.windows(3) {
            let is_dense = three[2].second - three[0].second == 2;
            // Without a movement, a receiver gives the same position again and again.
            if is_dense && three.iter().all(|seen| seen.speed > 5.0) {
                noises.push(off_the_line(three));
            }
        }
    }
    [
        Quantity::new("Speed, km/h", "The speed of every row.", false, speeds),
        Quantity::new(
            "Acceleration, m/s²",
            "The change of the speed from one second to the next.",
            true,
            accelerations,
        ),
        Quantity::new("Gap, s", "The time from one row to the next of a trip.", false, gaps),
        Quantity::new(
            "Noise of positions, m",
            "How far a position is from the middle between those a second before and after, while the vehicle moves. \
             Curves and accelerations are a part of it.",
            false,
            noises,
        ),
    ]
}

/// How far the position in the middle is from the middle of the others, in metres.
fn off_the_line(three: &[Observed]) -> f64 {
    let middle = |of: fn(&Observed) -> f64| of(&three[1]) - f64::midpoint(of(&three[0]), of(&three[2]));
    let north = middle(|seen| seen.latitude) * METRES_A_DEGREE;
    let east = middle(|seen| seen.longitude) * METRES_A_DEGREE * three[1].latitude.to_radians().cos();
    north.hypot(east)
}

#[derive(Deserialize)]
struct Kinematic {
    id: u64,
    measurements: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    timestamp_iso: String,
    fix_type: String,
    latitude: f64,
    longitude: f64,
    speed: f64,
}

/// What the messages of a fleet tell of its vehicles, with the faults that were seen in the field. Messages that are no
/// JSON or have fields of other types, and rows without a fix, are left out.
pub fn simulated(seed: u64, vehicles: u64, seconds: i64) -> Vec<Vec<Observed>> {
    let simulation = Simulation {
        fleet: Fleet::new(seed),
        since: MORNING,
        rhythm: Rhythm::Steady,
        rates: Rates::field(),
        protocols: Protocols::parse("vehicle/kinematic").unwrap_or_else(|_| Protocols::all()),
    };
    let mut by_vehicle: BTreeMap<u64, Vec<Observed>> = BTreeMap::new();
    for departure in simulation.plan(vehicles, Shard::WHOLE, MORNING, MORNING + seconds) {
        let message = simulation.message(&departure);
        let read = message.value.as_deref().and_then(|value| serde_json::from_slice::<Kinematic>(value).ok());
        let Some(Kinematic { id, measurements }) = read else { continue };
        let rows = measurements.into_iter().filter(|row| row.fix_type == "THREE_D").filter_map(|row| {
            let second = row.timestamp_iso.parse::<jiff::Timestamp>().ok()?.as_second();
            Some(Observed { second, latitude: row.latitude, longitude: row.longitude, speed: row.speed })
        });
        by_vehicle.entry(id).or_default().extend(rows);
    }
    let mut vehicles: Vec<Vec<Observed>> = by_vehicle.into_values().collect();
    for vehicle in &mut vehicles {
        // Late batches come last, and some seconds twice.
        vehicle.sort_by_key(|seen| seen.second);
        vehicle.dedup_by_key(|seen| seen.second);
    }
    vehicles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::apart;

    /// At no value, the shares differ by more than this.
    #[test]
    fn the_fleet_drives_as_the_recordings_do() {
        let recorded = quantities(&fms_simulator::recorded_trips());
        let simulated = quantities(&simulated(1, 10, 3600));
        for ((recorded, simulated), most) in recorded.iter().zip(&simulated).zip([0.25, 0.1, 0.05, 0.15]) {
            let apart = apart(&recorded.values, &simulated.values);
            assert!(simulated.values.len() > 5000, "{}: {} values", recorded.name, simulated.values.len());
            assert!(
                apart < most,
                "{}: {apart} apart\n{}",
                recorded.name,
                crate::fleet::text(std::slice::from_ref(recorded), std::slice::from_ref(simulated))
            );
        }
    }
}
