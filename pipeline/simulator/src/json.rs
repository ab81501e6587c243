//! Writing JSON text: objects field by field, decimals from whole steps, times from milliseconds.

use jiff::civil::Date;

use crate::timetable::LOCAL;

/// An object that is being written. It ends when it is dropped.
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    is_first: bool,
    /// The field, counted from 0 among those of its type, that is written with another type.
    odd: Option<Odd>,
}

/// A field of a row whose JSON type is not that of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Odd {
    /// The number so many numbers ahead, as a string.
    NumberAsText(u8),
    /// The next string, as a number.
    TextAsNumber,
}

impl<'o> Object<'o> {
    pub(crate) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_first: true, odd: None }
    }

    /// Writes one of the following fields with another type.
    pub(crate) const fn set_odd(&mut self, odd: Option<Odd>) {
        self.odd = odd;
    }

    /// Whether the field that was to be odd has not been written.
    pub(crate) const fn is_odd(&self) -> bool {
        self.odd.is_some()
    }

    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(if self.is_first { b"\"" } else { b",\"" });
        self.is_first = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A string. Its characters are such that none has to be escaped.
    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        if self.odd == Some(Odd::TextAsNumber) {
            self.odd = None;
            integer(self.out, i64::try_from(value.len()).unwrap_or(0));
            return self;
        }
        self.out.push(b'"');
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(b'"');
        self
    }

    /// A number of `steps` steps, of which 10 to the power of `decimals` make a unit.
    pub(crate) fn decimal(&mut self, name: &str, steps: i64, decimals: u32) -> &mut Self {
        self.name(name);
        let is_odd = match self.odd {
            Some(Odd::NumberAsText(0)) => true,
            Some(Odd::NumberAsText(left)) => {
                self.odd = Some(Odd::NumberAsText(left - 1));
                false
            }
            _ => false,
        };
        if is_odd {
            self.odd = None;
            self.out.push(b'"');
            decimal(self.out, steps, decimals);
            self.out.push(b'"');
        } else {
            decimal(self.out, steps, decimals);
        }
        self
    }

    pub(crate) fn integer(&mut self, name: &str, value: i64) -> &mut Self {
        self.decimal(name, value, 0)
    }

    pub(crate) fn boolean(&mut self, name: &str, value: bool) -> &mut Self {
        self.raw(name, if value { b"true" } else { b"false" })
    }

    pub(crate) fn null(&mut self, name: &str) -> &mut Self {
        self.raw(name, b"null")
    }

    /// A value as JSON text.
    pub(crate) fn raw(&mut self, name: &str, json: &[u8]) -> &mut Self {
        self.name(name);
        self.out.extend_from_slice(json);
        self
    }

    /// An instant as RFC 3339 in local time, with milliseconds.
    pub(crate) fn time(&mut self, name: &str, millis: i64) -> &mut Self {
        self.name(name);
        self.out.push(b'"');
        time(self.out, millis);
        self.out.push(b'"');
        self
    }

    /// A value that `write` writes.
    pub(crate) fn value(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        self.name(name);
        write(self.out);
        self
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}

fn integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    digits(out, value.unsigned_abs(), 1);
}

/// The digits of a number, at least `width` of them.
fn digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    while value > 0 {
        at -= 1;
        let digit = (value % 10) as u8;
        text[at] = b'0' + digit;
        value /= 10;
    }
    out.extend_from_slice(&text[at.min(text.len() - width)..]);
}

/// A decimal without trailing zeros.
fn decimal(out: &mut Vec<u8>, mut steps: i64, mut decimals: u32) {
    while decimals > 0 && steps % 10 == 0 {
        steps /= 10;
        decimals -= 1;
    }
    if decimals == 0 {
        return integer(out, steps);
    }
    if steps < 0 {
        out.push(b'-');
    }
    let unit = 10_u64.pow(decimals);
    digits(out, steps.unsigned_abs() / unit, 1);
    out.push(b'.');
    digits(out, steps.unsigned_abs() % unit, decimals as usize);
}

/// An instant, in milliseconds since the Unix epoch, as `2026-11-27T08:00:00.000+09:00`.
fn time(out: &mut Vec<u8>, millis: i64) {
    let local = millis + LOCAL * 1000;
    let day = local.div_euclid(86_400_000);
    let date = date(day);
    let mut part = |value: i64, width, after| {
        digits(out, value.unsigned_abs(), width);
        out.push(after);
    };
    part(i64::from(date.year()), 4, b'-');
    part(i64::from(date.month()), 2, b'-');
    part(i64::from(date.day()), 2, b'T');
    let of_day = local.rem_euclid(86_400_000);
    part(of_day / 3_600_000, 2, b':');
    part(of_day / 60_000 % 60, 2, b':');
    part(of_day / 1000 % 60, 2, b'.');
    part(of_day % 1000, 3, b'+');
    out.extend_from_slice(b"09:00");
}

/// The date of a day since 1970-01-01, of the years 1970 to 2100.
pub(crate) fn date(day: i64) -> Date {
    // Whole days of this era are always within the range of dates.
    Date::constant(1970, 1, 1).checked_add(jiff::Span::new().days(day.clamp(0, 80_000))).unwrap_or(Date::MAX)
}

/// A ULID: 48 bits of time in milliseconds and 80 random bits, in Crockford's base 32.
pub(crate) fn ulid(millis: i64, random: [u64; 2]) -> String {
    let bits = u128::from(millis.unsigned_abs()) << 80 | u128::from(random[0] & 0xffff) << 64 | u128::from(random[1]);
    (0..26).rev().map(|at| char::from(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(bits >> (at * 5) & 31) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_devices_write_them() {
        let mut out = Vec::new();
        Object::begin(&mut out)
            .decimal("a", 12_500, 3)
            .decimal("b", -5, 2)
            .decimal("c", -1200, 2)
            .integer("d", 0)
            .decimal("e", 37_518_342, 6)
            .text("f", "x")
            .boolean("g", true)
            .null("h")
            .time("i", 1_672_542_000_123);
        assert_eq!(
            String::from_utf8_lossy(&out),
            r#"{"a":12.5,"b":-0.05,"c":-12,"d":0,"e":37.518342,"f":"x","g":true,"h":null,"i":"2023-01-01T12:00:00.123+09:00"}"#
        );
    }

    #[test]
    fn one_field_may_have_another_type() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.set_odd(Some(Odd::NumberAsText(1)));
        object.decimal("a", 1, 0).text("t", "text").decimal("b", 25, 1).decimal("c", 3, 0);
        assert!(!object.is_odd());
        object.set_odd(Some(Odd::TextAsNumber));
        object.integer("d", 4).text("e", "text");
        drop(object);
        assert_eq!(String::from_utf8_lossy(&out), r#"{"a":1,"t":"text","b":"2.5","c":3,"d":4,"e":4}"#);
    }

    #[test]
    fn times_and_ids_are_those_of_others() {
        for millis in [0, 951_868_799_999, 1_709_164_800_000, 4_102_444_799_999] {
            let mut out = Vec::new();
            time(&mut out, millis);
            let read: jiff::Timestamp = String::from_utf8(out).expect("text").parse().expect("a time");
            assert_eq!(read.as_millisecond(), millis);
        }
        assert_eq!(ulid(1_469_918_176_385, [0xffff, u64::MAX]), "01ARYZ6S41ZZZZZZZZZZZZZZZZ");
    }
}
