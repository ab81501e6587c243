//! The plan of a simulation: its messages in the order in which they leave, as an iterator that holds one second of one
//! vehicle.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::departure::Departure;
use crate::simulation::Simulation;
use crate::timetable::session;
use crate::vehicle::Vehicle;

/// Which part of the vehicles one process simulates. The parts of all processes together are the whole fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: u64,
    of: u64,
}

impl Shard {
    /// All vehicles.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// Whether the vehicle of this number is in this part.
    pub(crate) const fn has(self, number: u64) -> bool {
        number % self.of == self.number - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    /// Reads `1/2`, the first of two parts.
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        numbers
            .filter(|(number, of)| (1..=*of).contains(number))
            .map(|(number, of)| Self { number, of })
            .ok_or_else(|| format!("`{text}` is no part of a fleet; write 1/2 for the first of two parts"))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// The messages of a fleet in the order of the seconds in which they leave, and within a second by vehicle.
///
/// It needs the same memory for any number of vehicles and any time. A plan that begins later gives what the longer one
/// gives from then on.
#[derive(Debug)]
pub struct Plan<'s> {
    simulation: &'s Simulation,
    vehicles: Range<u64>,
    /// Every which vehicle of them.
    step: u64,
    second: i64,
    until: i64,
    vehicle: u64,
    leaving: Vec<Departure>,
    at: usize,
}

impl Simulation {
    /// The messages of so many vehicles that leave from one second to before another, in seconds since the Unix epoch.
    pub fn plan(&self, vehicles: u64, shard: Shard, from: i64, until: i64) -> Plan<'_> {
        self.plan_of(0..vehicles, shard, from, until)
    }

    /// The same of the vehicles with these numbers.
    pub fn plan_of(&self, vehicles: Range<u64>, shard: Shard, from: i64, until: i64) -> Plan<'_> {
        let first = vehicles.start + (shard.number - 1 + shard.of - vehicles.start % shard.of) % shard.of;
        let vehicles = first..vehicles.end;
        let vehicle = first;
        Plan { simulation: self, vehicles, step: shard.of, second: from, until, vehicle, leaving: Vec::new(), at: 0 }
    }

    /// How many of so many vehicles are on a trip in a second, and how many there are in this part of the fleet.
    pub fn driving(&self, vehicles: u64, shard: Shard, second: i64) -> (u64, u64) {
        let part = (shard.number - 1..vehicles).step_by(usize::try_from(shard.of).unwrap_or(usize::MAX));
        part.fold((0, 0), |(driving, all), index| {
            let vehicle = Vehicle::new(&self.fleet, index);
            let is_driving = session(&vehicle, self.rhythm, second, 0.0)
                .is_some_and(|session| (0..session.length).contains(&(second - session.start)));
            (driving + u64::from(is_driving), all + 1)
        })
    }
}

impl Iterator for Plan<'_> {
    type Item = Departure;

    fn next(&mut self) -> Option<Departure> {
        loop {
            if let Some(departure) = self.leaving.get(self.at) {
                self.at += 1;
                return Some(*departure);
            }
            if self.second >= self.until || self.vehicles.is_empty() {
                return None;
            }
            self.leaving.clear();
            self.at = 0;
            let vehicle = Vehicle::new(&self.simulation.fleet, self.vehicle);
            self.simulation.leaving(&vehicle, self.second, &mut self.leaving);
            self.vehicle += self.step;
            if self.vehicle >= self.vehicles.end {
                self.vehicle = self.vehicles.start;
                self.second += 1;
            }
        }
    }
}
