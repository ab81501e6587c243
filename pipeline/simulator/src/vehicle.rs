//! A vehicle of the fleet: what it is, what is built into it, and where its home is. All of it follows from the seed and
//! its number.

use crate::random::Key;
use crate::timetable::Use;
use crate::track::METRES_A_DEGREE;

/// A fleet: the seed of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    key: Key,
}

impl Fleet {
    /// The fleet of this seed. It has as many vehicles as one asks for.
    pub const fn new(seed: u64) -> Self {
        Self { key: Key::new(seed) }
    }
}

/// What a vehicle's draws are for. The numbers are part of every message: none is ever used for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Draw {
    Use = 0,
    Electric = 1,
    Home = 2,
    Rotation = 3,
    Built = 4,
    Odometer = 5,
    Track = 6,
    Session = 7,
    Message = 8,
    Control = 9,
    Upload = 10,
    Parked = 11,
    Fault = 12,
    Second = 13,
    Drift = 14,
    Off = 15,
}

/// A vehicle.
#[derive(Debug, Clone, Copy)]
pub struct Vehicle {
    /// Its number in the fleet, from 0.
    pub index: u64,
    key: Key,
}

/// The id of the first vehicle.
const FIRST_ID: u64 = 10_001;

/// Where the fleet is at home, in degrees: the middle, and how far from it homes are.
const HOME: (f64, f64) = (37.5, 127.0);
const AROUND: (f64, f64) = (0.2, 0.25);
/// Cosine and sine of the middle's latitude.
const COSINE: f64 = 0.793_353_340_291_235;
const SINE: f64 = 0.608_761_429_008_721;

impl Vehicle {
    /// A vehicle by its number.
    pub const fn new(fleet: &Fleet, index: u64) -> Self {
        Self { index, key: fleet.key.with(index) }
    }

    /// Its `id`, which is the key of its messages.
    pub const fn id(&self) -> u64 {
        FIRST_ID + self.index
    }

    pub(crate) const fn draw(&self, of: Draw) -> Key {
        self.key.with(of as u64)
    }

    pub(crate) fn used_as(&self) -> Use {
        Use::of(self.draw(Draw::Use).share())
    }

    /// Whether it is electric, which trucks are not.
    pub fn is_electric(&self) -> bool {
        self.used_as() != Use::NightTruck && self.draw(Draw::Electric).happens(0.3)
    }

    pub(crate) fn has_adas(&self) -> bool {
        self.draw(Draw::Built).with(0).happens(0.6)
    }

    pub(crate) fn has_blackbox(&self) -> bool {
        self.draw(Draw::Built).with(1).happens(0.7)
    }

    /// How many sensors there are in its cargo space, which cars do not have.
    pub(crate) fn cargo_sensors(&self) -> u64 {
        match self.used_as() {
            Use::Commuter | Use::Taxi => 0,
            Use::Van => 1,
            Use::NightTruck => 2,
        }
    }

    /// The wheels of each axle.
    pub(crate) fn axles(&self) -> &'static [i64] {
        if self.used_as() == Use::NightTruck { &[2, 4] } else { &[2, 2] }
    }

    /// Metres on the odometer in 2020.
    pub(crate) fn first_odometer(&self) -> i64 {
        self.draw(Draw::Odometer).between(0, 90_000_000)
    }

    /// How its way is turned against the recording: cosine, sine, and degrees to the left.
    ///
    /// The cosine and sine are rational numbers, so they take no function whose last bit differs between machines.
    pub(crate) fn rotation(&self) -> (f64, f64, f64) {
        let key = self.draw(Draw::Rotation);
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let half = key.with(0).between(-64, 65) as f64 / 64.0;
        let square = half * half;
        let (cosine, sine) = ((1.0 - square) / (1.0 + square), 2.0 * half / (1.0 + square));
        let degrees = (half.atan().to_degrees() * 200.0).round() / 100.0;
        if key.with(1).happens(0.5) { (cosine, sine, degrees) } else { (-cosine, -sine, degrees + 180.0) }
    }

    /// The latitude and longitude at so many metres to the north and to the east of its home.
    pub(crate) fn place(&self, north: f64, east: f64) -> (f64, f64) {
        let key = self.draw(Draw::Home);
        let latitude = HOME.0 + (key.with(0).share() * 2.0 - 1.0) * AROUND.0;
        let longitude = HOME.1 + (key.with(1).share() * 2.0 - 1.0) * AROUND.1;
        // The cosine of the home's latitude, by the tangent at the middle.
        let cosine = COSINE - SINE * (latitude - HOME.0) * (std::f64::consts::PI / 180.0);
        (latitude + north / METRES_A_DEGREE, longitude + east / (METRES_A_DEGREE * cosine))
    }
}
