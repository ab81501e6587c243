//! Numbers of bytes, as people write them: `200MB`, `1.5 GiB`, or `4096`.

use std::fmt;
use std::str::FromStr;

/// The units by their names in lower case, the largest first.
const UNITS: [(&str, u64); 9] = [
    ("tib", 1 << 40),
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("tb", 1_000_000_000_000),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("b", 1),
];

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// How many bytes they are.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl From<u64> for Size {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no number of bytes; write it as 4096, 200MB or 1.5GiB");
        let lower = text.trim().to_ascii_lowercase();
        let unit = UNITS.iter().find_map(|(name, bytes)| Some((lower.strip_suffix(name)?, *bytes)));
        let (number, unit) = unit.unwrap_or((&lower, 1));
        let number = number.trim();
        if !number.starts_with(|c: char| c.is_ascii_digit()) || !number.chars().all(|c| c.is_ascii_digit() || c == '.')
        {
            return Err(wrong());
        }
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        // More digits than nine do not make a byte of the largest unit that is used.
        let digits = &part[..part.len().min(9)];
        let part: u64 = digits.parse().map_err(|_| wrong())?;
        let scale = 10_u128.pow(u32::try_from(digits.len()).map_err(|_| wrong())?);
        let part = u64::try_from(u128::from(part) * u128::from(unit) / scale).map_err(|_| wrong())?;
        whole.checked_mul(unit).and_then(|whole| whole.checked_add(part)).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        match UNITS[4..8].iter().find(|(_, unit)| bytes >= *unit) {
            // Tenths, rounded down.
            Some((name, unit)) => {
                let tenths = bytes / (unit / 10) % 10;
                let name = if *name == "kb" { "kB".to_owned() } else { name.to_ascii_uppercase() };
                write!(f, "{}.{tenths} {name}", bytes / unit)
            }
            None => write!(f, "{bytes} B"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        for (text, bytes) in [
            ("4096", 4096),
            ("200MB", 200_000_000),
            ("1.5 GiB", 3 << 29),
            ("10kb", 10_000),
            ("7 B", 7),
            ("0.5tb", 500_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "MB", "-1", "1e3", "1.2.3", "1 XB", "99999999TB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit() {
        for (bytes, text) in [(999, "999 B"), (1_000, "1.0 kB"), (1_299_999, "1.2 MB"), (2_000_000_000, "2.0 GB")] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
