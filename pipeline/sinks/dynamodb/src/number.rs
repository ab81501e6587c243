//! Decimal numbers as DynamoDB holds them: at most 38 significant digits, magnitudes of 1E-130 to 9.99…E+125, and zero.

use std::fmt;

/// The most significant digits of a number. Leading and trailing zeros do not count.
const DIGITS: usize = 38;

/// Smallest and largest power of ten of a number's first significant digit.
const POWERS: std::ops::RangeInclusive<i64> = -130..=125;

/// A number that DynamoDB can hold, in its parts.
///
/// Two numbers are equal exactly if their values are: `1`, `1.0` and `10e-1` are one number, and one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Number {
    negative: bool,
    /// The digits without leading and trailing zeros; empty for zero.
    digits: String,
    /// Power of ten of the last digit.
    exponent: i64,
}

/// Why a text is not a number that DynamoDB can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
pub enum NumberError {
    /// Not a decimal number.
    #[error("`{0}` is not a number; DynamoDB wants decimal digits with an optional sign, fraction and exponent")]
    NotANumber(String),
    /// Too many digits.
    #[error(
        "{text} has {digits} significant digits; DynamoDB stores at most {DIGITS} without changing the value: send \
         fewer digits, or the number as a string"
    )]
    TooManyDigits {
        /// The number, shortened.
        text: String,
        /// How many it has.
        digits: usize,
    },
    /// Too large or too small.
    #[error(
        "{0} is outside of the magnitudes that DynamoDB stores (1E-130 to 9.99E+125, and zero): send it as a string"
    )]
    NumberOutOfRange(String),
}

impl NumberError {
    /// The cause's name, as a dead letter names it.
    pub fn class(&self) -> &'static str {
        self.into()
    }
}

/// A number's parts, as positions in its text.
struct Parts<'t> {
    negative: bool,
    /// Digits and the point, without the exponent.
    mantissa: &'t str,
    /// How many digits are significant.
    significant: usize,
    /// How many digits there are before the first significant one.
    leading: usize,
    /// Power of ten of the first significant digit.
    power: i64,
}

impl Number {
    /// Reads and checks a number.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        let parts = checked(text)?;
        let digits: String =
            parts.mantissa.chars().filter(char::is_ascii_digit).skip(parts.leading).take(parts.significant).collect();
        // The range check has limited both, so neither can overflow.
        let exponent = if digits.is_empty() { 0 } else { parts.power + 1 - digits.len().cast_signed() as i64 };
        Ok(Self { negative: parts.negative && !digits.is_empty(), digits, exponent })
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.digits.is_empty() {
            return f.write_str("0");
        }
        let sign = if self.negative { "-" } else { "" };
        if self.exponent == 0 {
            write!(f, "{sign}{}", self.digits)
        } else {
            write!(f, "{sign}{}E{}", self.digits, self.exponent)
        }
    }
}

/// Checks a number. Gives the text that is sent, and the bytes that it adds to the size of an item.
///
/// A zero is always sent as `0`: DynamoDB would refuse `0e126`, because it limits the exponent and the digits of a zero
/// like those of other numbers.
///
/// AWS documents "approximately" one byte for two significant digits, and one more. What DynamoDB counts is never less,
/// so no row is refused here that the table would store.
pub fn check(text: &str) -> Result<(&str, usize), NumberError> {
    let significant = checked(text)?.significant;
    Ok((if significant == 0 { "0" } else { text }, significant.div_ceil(2) + 1))
}

fn checked(text: &str) -> Result<Parts<'_>, NumberError> {
    let parts = parts(text).ok_or_else(|| NumberError::NotANumber(shortened(text)))?;
    if parts.significant > DIGITS {
        return Err(NumberError::TooManyDigits { text: shortened(text), digits: parts.significant });
    }
    if parts.significant > 0 && !POWERS.contains(&parts.power) {
        return Err(NumberError::NumberOutOfRange(shortened(text)));
    }
    Ok(parts)
}

fn parts(text: &str) -> Option<Parts<'_>> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !fraction.is_none_or(all_digits) {
        return None;
    }
    let exponent = match exponent {
        None => 0,
        Some(text) => {
            let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
            if !all_digits(digits) {
                return None;
            }
            // An exponent that does not fit is far out of range, whatever its sign is.
            let value = digits.parse::<i64>().unwrap_or(i64::MAX / 2).min(i64::MAX / 2);
            if text.starts_with('-') { -value } else { value }
        }
    };

    let fraction = fraction.unwrap_or("");
    let digits = || whole.bytes().chain(fraction.bytes());
    let count = whole.len() + fraction.len();
    let leading = digits().take_while(|b| *b == b'0').count();
    let significant =
        if leading == count { 0 } else { count - leading - digits().rev().take_while(|b| *b == b'0').count() };
    let power = (whole.len().cast_signed() as i64 - 1 - leading.cast_signed() as i64).saturating_add(exponent);
    Some(Parts { negative: unsigned.len() < text.len(), mantissa, significant, leading, power })
}

/// The beginning of a number, enough to recognize it.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits() {
        let digits = |n: usize| "9".repeat(n);
        for good in [
            "0",
            "-0",
            "0.000",
            "0e999999999999999999999",
            "1",
            "-1.5",
            "1E-130",
            "1E125",
            "10E+124",
            "9.9999999999999999999999999999999999999E+125",
            "100000000000000000000000000000000000000000000000",
            "0.00000000000000000000000000000000000000000000001",
            &digits(38),
            &format!("{}000.000", digits(38)),
        ] {
            assert!(check(good).is_ok(), "{good}: {:?}", check(good));
            assert!(Number::parse(good).is_ok());
        }
        assert!(matches!(check(&digits(39)), Err(NumberError::TooManyDigits { digits: 39, .. })));
        for outside in ["1E126", "10E125", "1E-131", "0.1E-130", "1e99999999999999999999", "1e-99999999999999999999"] {
            assert!(matches!(check(outside), Err(NumberError::NumberOutOfRange(_))), "{outside}");
        }
        for wrong in ["", "-", "1.", ".5", "1e", "1e+", "+1", " 1", "1 ", "0x1", "NaN", "1.2.3", "--1", "1_0", "１"] {
            assert!(matches!(check(wrong), Err(NumberError::NotANumber(_))), "{wrong}");
        }
    }

    #[test]
    fn equal_values_are_one_number() {
        for same in [["1", "1.0"], ["10", "1e1"], ["-0", "0"], ["0.5", "5E-1"], ["1200", "12e2"], ["007", "7"]] {
            assert_eq!(Number::parse(same[0]), Number::parse(same[1]), "{same:?}");
        }
        for different in [["1", "-1"], ["1", "10"], ["0.5", "0.05"]] {
            assert_ne!(Number::parse(different[0]), Number::parse(different[1]), "{different:?}");
        }
    }

    #[test]
    fn size_follows_significant_digits() {
        for (text, bytes) in [("0", 1), ("1", 2), ("12", 2), ("123", 3), ("1000000", 2), ("0.0012", 2)] {
            assert_eq!(check(text).map(|(_, bytes)| bytes), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_zero_is_sent_as_zero_and_any_other_number_as_it_is_written() {
        let digits = "0".repeat(200);
        for zero in
            ["0", "-0", "0.000", "0e126", "0.0e-130", "-0e400", "0E+999999999999999999999", &format!("0.{digits}")]
        {
            assert_eq!(check(zero), Ok(("0", 1)), "{zero}");
            assert_eq!(Number::parse(zero).map(|zero| zero.to_string()).as_deref(), Ok("0"), "{zero}");
        }
        for other in ["1", "-1.50", "0.010", "10E-3"] {
            assert_eq!(check(other).map(|(sent, _)| sent), Ok(other));
        }
    }

    proptest! {
        /// What is shown reads as the same number.
        #[test]
        fn shown_number_is_the_same(whole in "-?[0-9]{1,20}", fraction in "(\\.[0-9]{1,18})?", exponent in -80i64..80) {
            let number = Number::parse(&format!("{whole}{fraction}e{exponent}")).expect("within the limits");
            prop_assert_eq!(Number::parse(&number.to_string()), Ok(number));
        }

        /// No text makes it panic, and both readings agree.
        #[test]
        fn any_text_is_judged(text in "[-+0-9.eE]{0,50}") {
            prop_assert_eq!(check(&text).is_ok(), Number::parse(&text).is_ok());
        }
    }
}
