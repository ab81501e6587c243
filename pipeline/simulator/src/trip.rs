//! What happens in a second of a trip.

use crate::departure::Event;
use crate::recordings::recorded;
use crate::timetable::{BEFORE, Session};

/// The second of a trip at which the device has booted.
pub(crate) const BOOT: i64 = 4;
/// The share of trips with a crash, and of trips in which a trouble code appears.
const CRASHES: f64 = 0.0005;
const TROUBLE: f64 = 0.02;

/// What happens in a second of a trip, whatever the vehicle is.
pub(crate) fn trip_events(session: &Session, second: i64, happened: &mut impl FnMut(Event)) {
    let key = session.key;
    let plain = |kind| Event::Vehicle(kind, 0.0, 0, false);
    match second {
        0 => happened(plain("ignition_on")),
        BOOT => happened(Event::Boot),
        BEFORE => happened(plain("trip_start")),
        30 if session.first_of_day => happened(Event::Diagnostics(false)),
        _ if second == BEFORE + session.drive => {
            if !session.outbound {
                happened(Event::Vehicle("site_arrive", 0.0, 0, true));
            }
            happened(plain("trip_end"));
        }
        _ if second == session.length - 1 => happened(plain("ignition_off")),
        _ => {}
    }
    // The recorded seconds that this second covers, which are more or fewer than one.
    let track = &recorded()[session.track];
    #[expect(clippy::cast_precision_loss, reason = "within a trip")]
    let recorded_at = |second: i64| (second - BEFORE) as f64 * session.faster;
    let (from, to) = (recorded_at(second), recorded_at(second + 1));
    if from < 0.0 {
        return;
    }
    for event in track.happenings.iter().skip(track.happenings.partition_point(|event| event.second < from)) {
        if event.second >= to {
            break;
        }
        happened(Event::Vehicle(event.kind, event.value * session.faster.powi(event.power), event.severity, false));
    }
    let (leaves, arrives) = track.near_home();
    if session.outbound && (from..to).contains(&leaves) {
        happened(Event::Vehicle("site_depart", 0.0, 0, true));
    } else if !session.outbound && (from..to).contains(&arrives) {
        happened(Event::Vehicle("site_enter", 0.0, 0, true));
    }
    if key.with(13).happens(TROUBLE) && second == key.with(14).between(BEFORE, BEFORE + session.drive) {
        happened(Event::Diagnostics(true));
    }
    if key.with(15).happens(CRASHES) && second == key.with(16).between(BEFORE + 60, BEFORE + session.drive) {
        happened(Event::Crash);
    }
}
