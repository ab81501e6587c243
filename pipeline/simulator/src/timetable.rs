//! When a vehicle drives: each day has the same windows for it, with one trip at some time of each.
//!
//! Some days a vehicle stays at home, and on others it leaves a way and its return out; which, its calendar says.
//! A vehicle leaves its home with every even trip of a day and returns with the odd one after it, on the same way. So
//! where it is, and how far it has driven in all the years, follows from the calendar alone.

use serde::{Deserialize, Serialize};

use crate::random::Key;
use crate::recordings::recorded;
use crate::vehicle::{Draw, Vehicle};

/// Seconds between UTC and the local time of the fleet, which is that of Korea and knows no summer time.
pub const LOCAL: i64 = 9 * 3600;
const DAY: i64 = 86_400;
/// The local day from which kilometres are counted, in days since 1970-01-01: Monday, 2020-01-06.
const FIRST_DAY: i64 = 18_267;
/// The first second that can be simulated, in seconds since the Unix epoch.
pub const FIRST_SECOND: i64 = FIRST_DAY * DAY - LOCAL;
/// The first second that can not be simulated any more, 2100-01-01T00:00:00Z.
pub const LAST_SECOND: i64 = 4_102_444_800;

/// How long the ignition is on before the vehicle moves, in seconds.
pub(crate) const BEFORE: i64 = 20;
/// How long, at least, the ignition is on after the trip, in seconds.
const AFTER: i64 = 20;
/// How long an electric vehicle reports that it is charging, after it has come home, in seconds.
pub(crate) const CHARGING: i64 = 900;
/// How long after a trip its last message may leave, in seconds: 15 minutes late, and 3 more for a copy. The next trip
/// begins later.
pub(crate) const LATEST: i64 = 18 * 60 + 2;

/// How days pass for the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rhythm {
    /// Rush hours, nights and weekends.
    #[default]
    Days,
    /// Every vehicle drives 20 times a day, about 60 % of the time, which is a steady load.
    Steady,
}

/// Windows of a day, in local minutes, each with one trip. Their number is even.
type Windows = &'static [(i64, i64)];

const COMMUTER: [Windows; 2] = [&[(390, 540), (1020, 1200)], &[(600, 840), (840, 1080)]];
const VAN: [Windows; 2] =
    [&[(480, 600), (600, 720), (780, 900), (900, 1020), (1020, 1110), (1110, 1200)], &[(540, 720), (720, 900)]];
const TAXI: [Windows; 2] = [
    &[(360, 480), (480, 600), (720, 900), (1020, 1140), (1140, 1260), (1260, 1440)],
    &[(0, 120), (600, 780), (1080, 1260), (1260, 1440)],
];
const NIGHT_TRUCK: [Windows; 2] = [&[(0, 120), (120, 240), (240, 360), (1320, 1440)], &[(1200, 1320), (1320, 1440)]];
const STEADY: [Windows; 2] = [&EVEN, &EVEN];
/// After how many days a vehicle's calendar begins again; it is of whole weeks.
const CALENDAR: i64 = 91;
/// Of so many days of work, one is a day off; and of so many ways there and back, one is left out.
const SELDOM: u64 = 10;
/// The number of these draws. With it, the small fleets of the tests of others drive on the days of these tests.
const DRAWN: u64 = 1716;
/// After how many days of a steady load a vehicle is replaced by a new one of its name, which has driven nothing since
/// then; it is of whole weeks. A steady vehicle drives some 650 km each day.
const REPLACED: i64 = 182;
/// A window each 72 minutes.
const EVEN: [(i64, i64); 20] = {
    let mut windows = [(0, 72); 20];
    let mut at = 1;
    while at < windows.len() {
        let before = windows[at - 1].1;
        windows[at] = (before, before + 72);
        at += 1;
    }
    windows
};

/// What a vehicle is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Commuter,
    Van,
    Taxi,
    NightTruck,
}

impl Use {
    pub(crate) fn of(share: f64) -> Self {
        match share {
            share if share < 0.55 => Self::Commuter,
            share if share < 0.80 => Self::Van,
            share if share < 0.95 => Self::Taxi,
            _ => Self::NightTruck,
        }
    }

    /// The windows of a day. Days are counted since 1970-01-01, which was a Thursday.
    fn windows(self, rhythm: Rhythm, day: i64) -> Windows {
        let weekend = usize::from((day + 3).rem_euclid(7) >= 5);
        match (rhythm, self) {
            (Rhythm::Steady, _) => STEADY[weekend],
            (_, Self::Commuter) => COMMUTER[weekend],
            (_, Self::Van) => VAN[weekend],
            (_, Self::Taxi) => TAXI[weekend],
            (_, Self::NightTruck) => NIGHT_TRUCK[weekend],
        }
    }
}

/// A trip of a vehicle, with the time before and after it in which the ignition is on. The device is awake for as long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Session {
    /// A number that the vehicle's other trips do not have. They grow with time.
    pub number: i64,
    /// Seconds since the Unix epoch at which the ignition is turned on.
    pub start: i64,
    /// Seconds for which it stays on, whole minutes.
    pub length: i64,
    /// Seconds of driving, which begin after [`BEFORE`].
    pub(crate) drive: i64,
    /// The recorded trip that is driven.
    pub(crate) track: usize,
    /// How much faster than the recording, 0.85 to 1.15.
    pub(crate) faster: f64,
    /// Whether the vehicle leaves its home; if not, it returns.
    pub(crate) outbound: bool,
    /// Whether it is the first trip of its day.
    pub(crate) first_of_day: bool,
    /// Its draws.
    pub(crate) key: Key,
    /// Minutes from its start in which there is no coverage, from the first to before the second.
    pub(crate) tunnel: Option<(i64, i64)>,
}

/// The trip of the window that this second, since the Unix epoch, is in, whether it has begun or is over. Between the
/// windows there is none.
pub(crate) fn session(vehicle: &Vehicle, rhythm: Rhythm, second: i64, tunnels: f64) -> Option<Session> {
    // A steady fleet begins its trips one vehicle after the other.
    let zone = LOCAL + if rhythm == Rhythm::Steady { vehicle.draw(Draw::Track).with(1).between(0, 72 * 60) } else { 0 };
    let day = (second + zone).div_euclid(DAY);
    let minute = (second + zone).rem_euclid(DAY) / 60;
    let windows = vehicle.used_as().windows(rhythm, day);
    let place = windows.iter().position(|(from, to)| (*from..*to).contains(&minute))?;
    let drives = |place: usize| drives(vehicle, rhythm, day, place);
    if !drives(place) {
        return None;
    }
    let number = day * 32 + i64::try_from(place).ok()?;
    let key = vehicle.draw(Draw::Session).at(number);
    let (from, to) = windows[place];
    let track = track_of(vehicle, place);
    #[expect(clippy::cast_precision_loss, reason = "a hundred percents")]
    let faster = key.with(0).between(85, 116) as f64 / 100.0;
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "less than an hour")]
    let drive = (recorded()[track].seconds() as f64 / faster).ceil() as i64;
    let length = (BEFORE + drive + AFTER + 59) / 60 * 60;
    let latest = (to - from) * 60 - length - LATEST;
    let start = day * DAY - zone + from * 60 + key.with(1).between(0, latest.max(1));
    let tunnel = key.with(2).happens(tunnels).then(|| {
        let minutes = length / 60;
        let begin = key.with(3).between(1, minutes - 1);
        (begin, (begin + key.with(4).between(2, 11)).min(minutes))
    });
    let (outbound, first_of_day) = (place % 2 == 0, !(0..place).any(drives));
    Some(Session { number, start, length, drive, track, faster, outbound, first_of_day, key, tunnel })
}

/// Whether a vehicle makes the trip of a window of this day. It makes the return if it has left.
fn drives(vehicle: &Vehicle, rhythm: Rhythm, day: i64, place: usize) -> bool {
    if rhythm == Rhythm::Steady {
        return true;
    }
    let mut draws = vehicle.draw(Draw::Off).with(DRAWN).at((day - FIRST_DAY).rem_euclid(CALENDAR)).bits();
    let is_off = draws.is_multiple_of(SELDOM);
    for _ in 0..=place / 2 {
        draws /= SELDOM;
    }
    !is_off && !draws.is_multiple_of(SELDOM)
}

/// The recorded trip of a window. A vehicle drives the same way on every day.
fn track_of(vehicle: &Vehicle, place: usize) -> usize {
    let trips = recorded().len();
    let first = vehicle.draw(Draw::Track).between(0, i64::try_from(trips).unwrap_or(1));
    (place / 2 + trips - 1 - usize::try_from(first).unwrap_or(0)) % trips
}

/// Metres that a vehicle has driven from 2020, or since it replaces another one, until it began a trip.
pub(crate) fn driven_before(vehicle: &Vehicle, rhythm: Rhythm, session: &Session) -> f64 {
    let (day, place) = (session.number.div_euclid(32), session.number.rem_euclid(32));
    let of_day = |day: i64, places: i64| -> f64 {
        let places = 0..usize::try_from(places).unwrap_or(0);
        let driven = places.filter(|place| drives(vehicle, rhythm, day, *place));
        driven.map(|place| recorded()[track_of(vehicle, place)].end().distance).sum()
    };
    let windows = |day: i64| i64::try_from(vehicle.used_as().windows(rhythm, day).len()).unwrap_or(0);
    let since = match rhythm {
        Rhythm::Days => FIRST_DAY,
        Rhythm::Steady => {
            let first = FIRST_DAY - vehicle.draw(Draw::Off).between(0, REPLACED);
            day - (day - first).rem_euclid(REPLACED)
        }
    };
    // What a vehicle has driven in its calendar, it has driven as often as that has passed.
    let (calendars, rest) = ((day - since).div_euclid(CALENDAR), (day - since).rem_euclid(CALENDAR));
    let (mut whole, mut last) = (0.0, 0.0);
    for number in 0..CALENDAR {
        if number == rest {
            last = whole;
        }
        whole += of_day(since + number, windows(since + number));
    }
    #[expect(clippy::cast_precision_loss, reason = "calendars of some centuries")]
    let calendars = calendars as f64;
    calendars * whole + last + of_day(day, place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::Track;
    use crate::vehicle::Fleet;

    #[test]
    fn every_trip_ends_with_its_last_message_within_its_window() {
        let longest = recorded().iter().map(Track::seconds).max().expect("two");
        let longest = (longest * 100 / 85 + BEFORE + AFTER + 60) / 60 * 60;
        for windows in [COMMUTER, VAN, TAXI, NIGHT_TRUCK, STEADY].concat() {
            assert_eq!(windows.len() % 2, 0);
            assert!(windows.len() < 32 && windows.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            for (from, to) in windows {
                assert!((to - from) * 60 - longest - LATEST >= 0 && CHARGING <= LATEST, "{from} to {to}");
            }
        }
    }

    /// A vehicle's way is the sum of its trips, however it is computed.
    #[test]
    fn what_was_driven_is_the_sum_of_the_trips_before() {
        for rhythm in [Rhythm::Days, Rhythm::Steady] {
            for index in 0..12 {
                let vehicle = Vehicle::new(&Fleet::new(3), index);
                // Its calendar begins again in these days, which are those of an old vehicle and not of a new one.
                let from = match rhythm {
                    Rhythm::Days => FIRST_SECOND + 4 * CALENDAR * DAY - 3 * DAY,
                    Rhythm::Steady => {
                        FIRST_SECOND + (7 * REPLACED - 20) * DAY - vehicle.draw(Draw::Off).between(0, REPLACED) * DAY
                    }
                };
                let mut sum = None;
                let mut last = None;
                for second in (from..from + 9 * DAY).step_by(60) {
                    let Some(session) = session(&vehicle, rhythm, second, 0.0) else { continue };
                    if last == Some(session.number) {
                        continue;
                    }
                    last = Some(session.number);
                    let before = driven_before(&vehicle, rhythm, &session);
                    assert!((sum.unwrap_or(before) - before).abs() < 0.01, "{session:?}");
                    sum = Some(before + recorded()[session.track].end().distance);
                }
                assert!(sum.is_some());
            }
        }
    }

    /// A year of a vehicle has days on which it stays at home, and no more kilometres than real ones drive.
    #[test]
    fn vehicles_have_days_off_and_drive_as_much_in_a_year_as_real_ones() {
        let (mut kilometres, mut off) = (Vec::new(), 0);
        for index in 0..60 {
            let vehicle = Vehicle::new(&Fleet::new(1), index);
            let at = |day: i64| {
                let begin = (FIRST_DAY + day) * DAY - LOCAL;
                (0..1440).step_by(15).find_map(|minute| session(&vehicle, Rhythm::Days, begin + minute * 60, 0.0))
            };
            off += (700..707).filter(|day| at(*day).is_none()).count();
            let driven = |day: i64| (day..).find_map(at).map(|session| driven_before(&vehicle, Rhythm::Days, &session));
            kilometres.push((driven(1065).expect("a trip") - driven(700).expect("a trip")) / 1000.0);
            let steady = session(&vehicle, Rhythm::Steady, FIRST_SECOND + 2500 * DAY, 0.0).expect("it drives");
            assert!(driven_before(&vehicle, Rhythm::Steady, &steady) < 130e6);
        }
        assert!(kilometres.iter().all(|driven| (10_000.0..65_000.0).contains(driven)), "{kilometres:?}");
        assert!((20..130).contains(&off), "{off} of 420 days");
    }

    #[test]
    fn the_fleet_is_on_the_road_in_rush_hours_and_parks_at_night_and_at_weekends() {
        let fleet = Fleet::new(1);
        let moving = |day: i64, hour: i64| {
            let second = (FIRST_DAY + 700 + day) * DAY - LOCAL + hour * 3600;
            let drives = |index: &u64| {
                session(&Vehicle::new(&fleet, *index), Rhythm::Days, second, 0.0)
                    .is_some_and(|session| (0..session.length).contains(&(second - session.start)))
            };
            (0..2000).filter(drives).count()
        };
        let [rush, night, weekend] = [(0, 8), (0, 3), (5, 8)].map(|(day, hour)| moving(day, hour));
        assert!(rush > 300 && night < 100 && weekend < 100, "{rush} {night} {weekend}");
    }
}
