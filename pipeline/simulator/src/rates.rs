//! How often each fault happens: as it was seen in the field, not at all, or what a file says.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::faults::{FAULTS, Fault};
use crate::refused::RefusedFile;

/// How often each fault happens, and when firmware is updated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct Rates {
    rates: [f64; FAULTS.len()],
    /// Seconds since the Unix epoch from which updated vehicles have the new firmware.
    pub firmware_update_at: i64,
}

/// Rates as an expectation has them: those that are not 0, by name. They are text, so that no digit is lost.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    firmware_update_at: i64,
    rates: BTreeMap<String, String>,
}

impl From<Rates> for Written {
    fn from(rates: Rates) -> Self {
        let some = FAULTS.iter().filter(|about| rates.of(about.fault) > 0.0);
        let some = some.map(|about| (about.name.to_owned(), rates.of(about.fault).to_string())).collect();
        Self { firmware_update_at: rates.firmware_update_at, rates: some }
    }
}

impl TryFrom<Written> for Rates {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let none = Self { firmware_update_at: written.firmware_update_at, ..Self::none() };
        written.rates.iter().try_fold(none, |rates, (name, text)| {
            let rate = text.parse().map_err(|_| format!("the rate of `{name}` is `{text}`, which is no number"))?;
            Ok(rates.with(known(name)?, rate))
        })
    }
}

/// The fault of this name. An error names the nearest one.
fn known(name: &str) -> Result<Fault, String> {
    Fault::named(name)
        .map_err(|nearest| format!("`rates` has `{name}`, which is no kind of fault; did you mean `{nearest}`?"))
}

/// A file of rates.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Where rates come from that are not in the file.
    #[serde(default)]
    base: Base,
    /// All rates are multiplied by it.
    scale: Option<f64>,
    firmware_update_at: Option<String>,
    #[serde(default)]
    rates: toml::Table,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Base {
    Field,
    #[default]
    None,
}

/// 2026-01-01T00:00:00Z.
const FIRMWARE_UPDATE_AT: i64 = 1_767_225_600;

impl Rates {
    /// No faults at all.
    pub const fn none() -> Self {
        Self { rates: [0.0; FAULTS.len()], firmware_update_at: FIRMWARE_UPDATE_AT }
    }

    /// The rates that were seen in the field.
    pub fn field() -> Self {
        Self { rates: std::array::from_fn(|at| FAULTS[at].field), ..Self::none() }
    }

    /// These rates, with one changed.
    #[must_use]
    pub fn with(mut self, fault: Fault, rate: f64) -> Self {
        self.rates[fault as usize] = rate;
        self
    }

    /// How often a fault happens, from 0 to 1.
    pub fn of(&self, fault: Fault) -> f64 {
        self.rates[fault as usize]
    }

    /// `field`, `none`, or what a TOML file says.
    pub fn load(text: &str) -> Result<Self, RefusedFile> {
        match text {
            "field" => Ok(Self::field()),
            "none" => Ok(Self::none()),
            path => {
                let path = Path::new(path);
                let file = std::fs::read_to_string(path).map_err(|error| RefusedFile::Read {
                    what: "the rates of faults",
                    path: path.into(),
                    error,
                    advice: "; write `field`, `none` or the path of a TOML file",
                })?;
                Self::read(&file).map_err(|problem| RefusedFile::Content { path: path.into(), problem })
            }
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let mut rates = match file.base {
            Base::Field => Self::field(),
            Base::None => Self::none(),
        };
        for (name, value) in &file.rates {
            let fault = known(name)?;
            #[expect(clippy::cast_precision_loss, reason = "only 0 and 1 are taken")]
            let rate = value.as_float().or(value.as_integer().map(|whole| whole as f64));
            let rate = rate.ok_or_else(|| format!("the rate of `{name}` is {value}; write a number from 0 to 1"))?;
            rates = rates.with(fault, rate);
        }
        let scale = file.scale.unwrap_or(1.0);
        for (rate, about) in rates.rates.iter_mut().zip(&FAULTS) {
            *rate *= scale;
            if !(0.0..=1.0).contains(rate) {
                let with = if file.scale.is_some() { format!(" with the scale {scale}") } else { String::new() };
                return Err(format!("the rate of `{}` is {rate}{with}; a rate is from 0 to 1", about.name));
            }
        }
        if let Some(text) = file.firmware_update_at {
            let at: jiff::Timestamp = text.parse().map_err(|_| {
                format!("`firmware_update_at` is `{text}`; write a time such as \"2026-11-27T08:00:00+09:00\"")
            })?;
            rates.firmware_update_at = at.as_second();
        }
        Ok(rates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Fault as F;

    #[test]
    fn an_expectation_keeps_every_digit_of_a_rate() {
        let rates = Rates::field().with(F::Late, 0.039 * 2.2).with(F::Jump, f64::from_bits(0.1_f64.to_bits() + 1));
        let text = serde_json::to_string(&rates).expect("written");
        assert_eq!(serde_json::from_str::<Rates>(&text).expect("read"), rates);
        let error = serde_json::from_str::<Rates>(&text.replace("\"late\"", "\"laet\"")).expect_err("misspelt");
        assert!(error.to_string().contains("did you mean `late`?"), "{error}");
    }

    #[test]
    fn a_file_changes_rates() {
        let read = Rates::read("base = \"field\"\nscale = 2\n[rates]\nlate = 0.25\ntunnel = 0").expect("rates");
        assert!((read.of(F::Late) - 0.5).abs() < 1e-9 && read.of(F::Tunnel) == 0.0);
        assert!((read.of(F::Twice) - 0.05).abs() < 1e-9);
        let read = Rates::read("firmware_update_at = \"2026-11-27T03:00:00Z\"\n[rates]\njump = 1").expect("rates");
        assert_eq!(read.firmware_update_at, 1_795_748_400);
        assert_eq!(Rates { firmware_update_at: FIRMWARE_UPDATE_AT, ..read }, Rates::none().with(F::Jump, 1.0));
        assert_eq!(Rates::load("none").expect("none"), Rates::none());
    }

    #[test]
    fn mistakes_in_a_file_are_explained() {
        for (text, says) in [
            ("[rates]\nlaet = 0.1", "`laet`, which is no kind of fault; did you mean `late`?"),
            ("[rates]\nlate = \"often\"", "the rate of `late` is \"often\"; write a number from 0 to 1"),
            ("scale = 20\nbase = \"field\"", "the rate of `tunnel` is 6 with the scale 20; a rate is from 0 to 1"),
            ("late = 0.1", "unknown field `late`"),
        ] {
            let error = Rates::read(text).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
        let error = Rates::load("/nowhere/rates.toml").expect_err("no file").to_string();
        assert!(error.contains("/nowhere/rates.toml") && error.contains("`field`, `none`"), "{error}");
    }
}
