//! Numbers as a column may hold them. A number fits a type if nothing of it is lost.

use std::fmt::LowerExp;
use std::str::FromStr;

/// The digits that every double holds.
const DOUBLE_DIGITS: usize = 15;
/// The powers of ten up to as many decimals as that. A double holds each of them.
const POWERS_OF_TEN: [f64; DOUBLE_DIGITS] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14];
/// The digits that every float holds.
const FLOAT_DIGITS: usize = 6;

/// The most digits that a double has, written exactly. A number with more is none.
const MOST_DIGITS: usize = 767;

/// The integer that a JSON number is, in whatever form it is written (`1`, `1.0`, `10e-1`), if 64 bits hold it.
pub(crate) fn integer(text: &str) -> Option<i64> {
    if let Ok(value) = text.parse() {
        return Some(value);
    }
    let is_plain = text.contains('.') && !has_exponent(text);
    if is_plain && matches!(text.as_bytes().last(), Some(b'1'..=b'9')) {
        // It has decimals.
        return None;
    }
    let (negative, digits, exponent) = decimal(text)?;
    let zeros = u32::try_from(exponent).ok()?;
    let mut value: i64 = 0;
    // Counted below zero, where there is one integer more.
    for digit in digits {
        value = value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    for _ in 0..zeros {
        if value == 0 {
            break;
        }
        value = value.checked_mul(10)?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// The double nearest to a JSON number, if it holds the number: written as short as it can be, or with as many digits
/// as the number has, it gives the number again. Programs write doubles in one of both ways.
pub(crate) fn double(text: &str) -> Option<f64> {
    short_double(text).or_else(|| nearest(text, DOUBLE_DIGITS))
}

/// What [`double`] gives for a JSON value that is a number of few characters without an exponent, and not zero.
#[inline]
pub(crate) fn short_double(value: &str) -> Option<f64> {
    // A quotient of two integers that doubles hold is the double that is nearest to it. Zero may have a sign.
    let (digits, decimals) = short(value).filter(|(digits, _)| *digits != 0)?;
    #[expect(clippy::cast_precision_loss, reason = "it has no more than DOUBLE_DIGITS digits")]
    Some(digits as f64 / POWERS_OF_TEN[decimals])
}

/// A number without an exponent, of so few characters that a double holds it, as an integer of all of its digits and
/// how many of these are decimals. `None` for any other text.
fn short(text: &str) -> Option<(i64, usize)> {
    let unsigned = text.strip_prefix('-').unwrap_or(text).as_bytes();
    if unsigned.len() > DOUBLE_DIGITS || !unsigned.first()?.is_ascii_digit() {
        return None;
    }
    let (mut value, mut point) = (0_i64, None);
    for (at, byte) in unsigned.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + i64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    let decimals = point.map_or(0, |point| unsigned.len() - 1 - point);
    Some((if unsigned.len() < text.len() { -value } else { value }, decimals))
}

/// The float nearest to a JSON number, if it holds the number as [`double`] says it.
pub(crate) fn float(text: &str) -> Option<f32> {
    nearest(text, FLOAT_DIGITS)
}

/// The nearest value, if it holds the number. A value of this type holds every number of up to `digits` digits.
fn nearest<F: FromStr + LowerExp + Default + PartialEq>(text: &str, digits: usize) -> Option<F> {
    let value = text.parse().ok()?;
    (is_short(text, digits) || holds(text, &value)).then_some(value)
}

/// Whether a text is that of a JSON number.
pub(crate) fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = split_exponent(unsigned);
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, part)| (whole, Some(part)));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(is_digits)
        && exponent.is_none_or(|exponent| is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// Whether a number has so few characters, and no exponent, that it cannot have more digits than these.
fn is_short(text: &str, digits: usize) -> bool {
    text.len() <= digits && !has_exponent(text)
}

/// Whether a value, written in one of the two ways, is the number of the text. Infinity is none.
fn holds<F: LowerExp + Default + PartialEq>(text: &str, value: &F) -> bool {
    let Some(number) = decimal(text).filter(|(_, digits, _)| digits.len() <= MOST_DIGITS) else { return false };
    let is_zero = *value == F::default();
    if number.1.is_empty() || is_zero {
        return number.1.is_empty() && is_zero;
    }
    let is_number = |written: &str| decimal(written).is_some_and(|written| written == number);
    let digits = number.1.len() - 1;
    is_number(&format!("{value:e}")) || is_number(&format!("{value:.digits$e}"))
}

/// A number as a sign, its digits without zeros at either end, and the power of ten of the last of them. Zero has no
/// digits. `None` for an exponent that no number of this world has.
fn decimal(text: &str) -> Option<(bool, Vec<u8>, i64)> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = split_exponent(unsigned);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut power: i64 = exponent.map_or(Some(0), |exponent| exponent.parse().ok())?;
    power = power.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).skip_while(|&digit| digit == b'0').collect();
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    while digits.last() == Some(&b'0') {
        digits.pop();
        power = power.checked_add(1)?;
    }
    let is_zero = digits.is_empty();
    Some((unsigned.len() < text.len() && !is_zero, digits, if is_zero { 0 } else { power }))
}

/// Whether a JSON number is written as an integer: without decimals, even zeros, and without an exponent.
pub(crate) fn is_integer(number: &str) -> bool {
    !number.contains('.') && !has_exponent(number)
}

/// Whether a JSON value is an integer that every type of numbers holds, by how it is written.
pub(crate) fn is_short_integer(value: &str) -> bool {
    value.len() <= DOUBLE_DIGITS && value.strip_prefix('-').unwrap_or(value).bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a JSON value is a number that a double holds, by how it is written.
pub(crate) fn is_short_number(value: &str) -> bool {
    value.len() <= DOUBLE_DIGITS && value.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
}

fn has_exponent(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b'e' | b'E'))
}

fn split_exponent(text: &str) -> (&str, Option<&str>) {
    text.split_once(['e', 'E']).map_or((text, None), |(mantissa, exponent)| (mantissa, Some(exponent)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_are_read_in_every_form_that_loses_nothing() {
        for (text, expected) in [
            ("1", Some(1)),
            ("1.0", Some(1)),
            ("-120e-1", Some(-12)),
            ("1e18", Some(1_000_000_000_000_000_000)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808.0", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("1.5", None),
            ("1e19", None),
            ("1e-1", None),
            ("0e999999", Some(0)),
            ("-0.0", Some(0)),
            ("1e99999999999999999999", None),
        ] {
            assert_eq!(integer(text), expected, "{text}");
        }
    }

    #[test]
    fn doubles_are_read_if_they_give_the_number_again() {
        for (text, expected) in [
            ("21.50", Some(21.5)),
            ("0.1", Some(0.1)),
            ("0.10000000000000001", Some(0.1)),
            // Of 17 digits, the nearest to this double ends in 2; that it is written so is enough.
            ("-2033345841273709.3", Some(-2_033_345_841_273_709.3)),
            ("9007199254740992", Some(9_007_199_254_740_992.0)),
            ("9007199254740993", None),
            ("0.12345678901234567890123", None),
            ("1e400", None),
            ("1e-99999999999999999999", None),
            ("1".repeat(100_000).as_str(), None),
            (format!("0.{}", "1".repeat(100_000)).as_str(), None),
            ("1e-400", None),
            ("0e-400", Some(0.0)),
            ("1.7976931348623157e308", Some(f64::MAX)),
            ("5e-324", Some(5e-324)),
            ("126.98211700000002", Some(126.982_117_000_000_02)),
            // No double has this as its nearest number of 17 digits.
            ("126.98211700000001", None),
        ] {
            assert_eq!(double(text), expected, "{text}");
        }
        assert_eq!(double("-0.0").map(f64::is_sign_negative), Some(true));
        assert_eq!((float("0.1"), float("16777217"), float("1e39")), (Some(0.1), None, None));
    }

    #[test]
    fn only_the_numbers_of_json_are_numbers() {
        for text in ["0", "-1", "1.5", "1e5", "1E+5", "-0.0e-0"] {
            assert!(is_number(text), "{text}");
        }
        for text in ["", "-", "+1", "01", ".5", "1.", "1e", "NaN", "0x1", " 1", "1 ", "1e5.0", "inf"] {
            assert!(!is_number(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_double_fits_as_it_is_commonly_written(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            for text in [format!("{value}"), format!("{value:e}"), format!("{value:.16e}")] {
                prop_assert_eq!(double(&text).map(f64::to_bits), Some(value.to_bits()), "{}", text);
            }
        }

        #[test]
        fn a_short_number_is_what_the_standard_library_reads(text in "-?(0|[1-9][0-9]{0,6})(\\.[0-9]{1,7})?") {
            let expected: f64 = text.parse().expect("a number");
            prop_assert_eq!(double(&text).map(f64::to_bits), Some(expected.to_bits()), "{}", text);
            prop_assert_eq!(short_double(&text), Some(expected).filter(|value| *value != 0.0), "{}", text);
            if is_integer(&text) {
                prop_assert_eq!(integer(&text), text.parse().ok(), "{}", text);
            }
        }

        #[test]
        fn every_integer_fits(value in any::<i64>(), zeros in 0_usize..3) {
            let text = format!("{value}.{}", "0".repeat(zeros + 1));
            prop_assert_eq!(integer(&text), Some(value));
        }
    }
}
