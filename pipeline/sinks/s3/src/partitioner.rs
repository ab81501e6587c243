//! `partitioner.class`: the folders between a topic's prefix and an object's name.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use fms_layout::{Field, PathFormat};
use fms_record::{Row, json};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Where a row belongs. A function of the row and of its event time alone.
#[derive(Debug, Clone)]
pub enum Partitioner {
    /// `partition=<Kafka partition>`: the partition written last, and its folder.
    Kafka(Option<(i32, String)>),
    /// `field=value/…`, then the event time's folders; at least one of both.
    Row {
        /// The fields, in the order of `partition.field.name`.
        fields: Vec<Field>,
        /// How event time becomes folders.
        time: Option<TimeFolders>,
    },
}

/// Why a row belongs nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementError {
    /// The cause's name, as a dead letter names it.
    pub class: &'static str,
    /// What is wrong.
    pub error: String,
}

impl PlacementError {
    /// A cause of this name.
    pub fn new(class: &'static str, error: impl Into<String>) -> Self {
        Self { class, error: error.into() }
    }
}

/// Appends the folder of a row's field: its name and value. The value is the text of a string, number or boolean.
fn write_field(field: &Field, row: &Row<'_>, out: &mut String) -> Result<(), PlacementError> {
    let name = field.name();
    let wrong = |class, problem: &str| {
        PlacementError::new(class, format!("field `{name}`, which `partition.field.name` asks for, {problem}"))
    };
    let found = match row.find(name) {
        None => return Err(wrong("MissingField", "is absent")),
        Some("null") => return Err(wrong("MissingField", "is null")),
        Some(value) => value,
    };
    let value = match found.as_bytes().first() {
        Some(b'"') => json::raw(found)
            .and_then(|raw| json::decode(raw).ok())
            .ok_or_else(|| wrong("LoneSurrogate", &format!("is not a text in Unicode: {}", shown(found))))?,
        Some(b'{' | b'[') => {
            let problem = format!("is {}; it has to be a string, number or boolean", shown(found));
            return Err(wrong("NotScalar", &problem));
        }
        _ => Cow::Borrowed(found),
    };
    field.write(&value, out);
    Ok(())
}

/// The beginning of a value, for an error.
fn shown(json: &str) -> Cow<'_, str> {
    match json.char_indices().nth(80) {
        Some((at, _)) => format!("`{}…`", &json[..at]).into(),
        None => format!("`{json}`").into(),
    }
}

/// The years 0 to 9999: what has folders, in milliseconds since 1970 of local time.
const YEARS: RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// Event time, rounded down to `partition.duration.ms` in `timezone`, in `path.format`.
#[derive(Debug, Clone)]
pub struct TimeFolders {
    format: PathFormat,
    duration: i64,
    zone: TimeZone,
    /// The span written last, and its folders: consecutive rows mostly share them.
    last: Option<(i64, String)>,
}

impl TimeFolders {
    /// `duration` is in milliseconds, more than 0.
    pub fn new(format: PathFormat, duration: i64, zone: TimeZone) -> Self {
        Self { format, duration, zone, last: None }
    }

    /// The form of the folders.
    pub fn format(&self) -> &PathFormat {
        &self.format
    }

    fn write(&mut self, millis: i64, out: &mut String) -> Result<(), PlacementError> {
        let unusable = || {
            let zone = self.zone.iana_name().unwrap_or("UTC");
            let error = format!(
                "event time {millis} (milliseconds since 1970) is not within the years 0 to 9999 of `timezone` = \
                 `{zone}`"
            );
            PlacementError::new("TimeOutOfRange", error)
        };
        // jiff's instants end a day before the calendar does; zones have long had their last offset by then.
        let second = millis.div_euclid(1000).clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
        let instant = Timestamp::from_second(second).map_err(|_| unusable())?;
        let offset = self.zone.to_offset(instant);
        // Rounded in local time, as Kafka Connect does: a day begins at local midnight.
        let local = millis.checked_add(i64::from(offset.seconds()) * 1000);
        let local = local.filter(|local| YEARS.contains(local)).ok_or_else(unusable)?;
        let span = local.div_euclid(self.duration);
        match &self.last {
            Some((last, folders)) if *last == span => out.push_str(folders),
            Some(_) | None => {
                let start = out.len();
                // The first span may begin before year 0.
                let begin =
                    span.checked_mul(self.duration).filter(|begin| YEARS.contains(begin)).ok_or_else(unusable)?;
                let begin = DateTime::constant(1970, 1, 1, 0, 0, 0, 0).checked_add(SignedDuration::from_millis(begin));
                let begin = begin.map_err(|_| unusable())?;
                self.format.write(begin, out);
                self.last = Some((span, out[start..].to_owned()));
            }
        }
        Ok(())
    }
}

impl Partitioner {
    /// Whether rows need an event time.
    pub fn needs_time(&self) -> bool {
        matches!(self, Self::Row { time: Some(_), .. })
    }

    /// Appends the row's folders to `out`, without slashes around them. `millis` is its event time, if it
    /// [needs](Self::needs_time) one. The error names the field, or says what is wrong with the time; `out` is then of
    /// no use.
    pub fn write(
        &mut self,
        row: &Row<'_>,
        partition: i32,
        millis: Option<i64>,
        out: &mut String,
    ) -> Result<(), PlacementError> {
        match self {
            Self::Kafka(Some((last, folder))) if *last == partition => out.push_str(folder),
            Self::Kafka(last) => {
                let (_, folder) = last.insert((partition, format!("partition={partition}")));
                out.push_str(folder);
            }
            Self::Row { fields, time } => {
                for (index, field) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push('/');
                    }
                    write_field(field, row, out)?;
                }
                if let Some(time) = time {
                    if !fields.is_empty() {
                        out.push('/');
                    }
                    time.write(
                        millis.ok_or_else(|| PlacementError::new("MissingTime", "the row has no event time"))?,
                        out,
                    )?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fms_record::Parser;
    use proptest::prelude::*;

    use super::*;

    /// The folders of the one row that `message` is.
    fn folders(partitioner: &mut Partitioner, message: &str, millis: Option<i64>) -> Result<String, PlacementError> {
        let parsed = Parser::new(None).parse(message.as_bytes()).expect("a valid message");
        let row = parsed.rows().next().expect("one row").expect("a valid row");
        let mut out = String::new();
        partitioner.write(&row, 3, millis, &mut out).map(|()| out)
    }

    fn by(fields: &[&str]) -> Partitioner {
        Partitioner::Row { fields: fields.iter().map(|name| Field::new(name)).collect(), time: None }
    }

    fn hourly(zone: &str) -> Partitioner {
        let format = PathFormat::parse("ymd=%F/hour=%H").expect("a valid format");
        let zone = TimeZone::get(zone).expect("a known zone");
        Partitioner::Row { fields: Vec::new(), time: Some(TimeFolders::new(format, 3_600_000, zone)) }
    }

    #[test]
    fn kafka_partition() {
        assert_eq!(folders(&mut Partitioner::Kafka(None), "{}", None), Ok("partition=3".into()));
    }

    /// Strings by their text, numbers and booleans by their JSON, in the configured order.
    #[test]
    fn fields() {
        let message = r#"{"id":10022,"object":"ve\u0068icle/..","ok":true,"empty":""}"#;
        let mut partitioner = by(&["object", "id", "ok", "empty"]);
        let expected = "object=vehicle%2F../id=10022/ok=true/empty=__HIVE_DEFAULT_PARTITION__";
        assert_eq!(folders(&mut partitioner, message, None), Ok(expected.into()));
    }

    /// A path names a field that is deeper, and its folder.
    #[test]
    fn paths() {
        let message = r#"{"device":{"id":7,"a/b":{"c":true}},"device.name":"own"}"#;
        let mut partitioner = by(&["device.id", "device.name", "device.a/b.c"]);
        let expected = "device.id=7/device.name=own/device.a%2Fb.c=true";
        assert_eq!(folders(&mut partitioner, message, None), Ok(expected.into()));
        assert!(folders(&mut by(&["device.id.x"]), message, None).is_err());
    }

    /// A row that cannot be placed says which field is at fault.
    #[test]
    fn unusable_fields_are_named() {
        for (message, problem) in [
            (r#"{"a":1}"#, "`type`, which `partition.field.name` asks for, is absent"),
            (r#"{"type":null}"#, "`type`, which `partition.field.name` asks for, is null"),
            (r#"{"type":{"a":1}}"#, r#"is `{"a":1}`; it has to be a string"#),
            (r#"{"type":[]}"#, "is `[]`"),
        ] {
            let error = folders(&mut by(&["type"]), message, None).expect_err(message);
            assert!(error.error.contains(problem), "{message}: {error:?}");
        }
    }

    /// Hours are those of the zone, also where its offset is not whole hours and before 1970.
    #[test]
    fn hours() {
        let new_year = 1_672_498_800_000; // 2023-01-01T00:00:00+09:00
        for (zone, millis, expected) in [
            ("UTC", new_year, "ymd=2022-12-31/hour=15"),
            ("Asia/Tokyo", new_year, "ymd=2023-01-01/hour=00"),
            ("Asia/Tokyo", new_year - 1, "ymd=2022-12-31/hour=23"),
            ("Asia/Kolkata", new_year, "ymd=2022-12-31/hour=20"),
            ("UTC", -1, "ymd=1969-12-31/hour=23"),
        ] {
            assert_eq!(folders(&mut hourly(zone), "{}", Some(millis)), Ok(expected.into()), "{zone} {millis}");
        }
    }

    /// What was written last has no influence on what is written next.
    #[test]
    fn cached_folders_are_those_of_their_hour() {
        let mut partitioner = hourly("UTC");
        for (millis, hour) in [(0, "00"), (3_599_999, "00"), (3_600_000, "01"), (0, "00")] {
            assert_eq!(folders(&mut partitioner, "{}", Some(millis)), Ok(format!("ymd=1970-01-01/hour={hour}")));
        }
    }

    /// With a day as duration, `hour` is that of local midnight.
    #[test]
    fn durations_round_down_in_local_time() {
        let format = PathFormat::parse("%F/%H").expect("a valid format");
        let zone = TimeZone::get("Asia/Tokyo").expect("a known zone");
        let time = Some(TimeFolders::new(format, 86_400_000, zone));
        let mut partitioner = Partitioner::Row { fields: vec![Field::new("a")], time };
        assert_eq!(folders(&mut partitioner, r#"{"a":1}"#, Some(0)), Ok("a=1/1970-01-01/00".into()));
    }

    /// The first and the last millisecond of the years 0 to 9999, in the zone, have folders; the ones beside them have
    /// none.
    #[test]
    fn years_are_those_of_the_calendar() {
        let (first, last) = (-62_167_219_200_000, 253_402_300_799_999);
        for (zone, offset) in [("UTC", 0), ("Asia/Tokyo", 9 * 3_600_000), ("Etc/GMT+5", -5 * 3_600_000)] {
            // In year 0 clocks showed the sun's time, in Tokyo 18:59 later than 09:00.
            let offset_then = if zone == "Asia/Tokyo" { offset + 1_139_000 } else { offset };
            for (millis, expected) in [
                (last - offset, Some("ymd=9999-12-31/hour=23")),
                (last - offset - 26 * 3_600_000, Some("ymd=9999-12-30/hour=21")),
                (last - offset + 1, None),
                (first - offset_then, Some("ymd=0000-01-01/hour=00")),
                (first - offset_then - 1, None),
                (i64::MAX, None),
                (i64::MIN, None),
            ] {
                let folders = folders(&mut hourly(zone), "{}", Some(millis));
                if let Some(expected) = expected {
                    assert_eq!(folders, Ok(expected.into()), "{zone} {millis}");
                    continue;
                }
                let error = folders.expect_err("no such year").error;
                let text = format!(
                    "{millis} (milliseconds since 1970) is not within the years 0 to 9999 of `timezone` = `{zone}`"
                );
                assert!(error.contains(&text), "{error}");
            }
        }
    }

    proptest! {
        /// Different values give different folders, each exactly two deep and named after its field.
        #[test]
        fn values_stay_apart_and_in_place(one in any::<[String; 2]>(), other in any::<[String; 2]>()) {
            let of = |[a, b]: &[String; 2]| {
                let message = serde_json::json!({"a": a, "b": b}).to_string();
                folders(&mut by(&["a", "b"]), &message, None).expect("two strings")
            };
            let (first, second) = (of(&one), of(&other));
            prop_assert_eq!(one == other, first == second);
            let segments: Vec<&str> = first.split('/').collect();
            prop_assert!(matches!(segments[..], [a, b] if a.starts_with("a=") && b.starts_with("b=")), "{}", first);
        }
    }
}
