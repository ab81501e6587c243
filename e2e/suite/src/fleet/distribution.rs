//! Values by their size, and how far two sets of them are apart.

/// Values, sorted.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution(Vec<f64>);

impl Distribution {
    /// Those of these values that are numbers.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        Self(values)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that so many of a hundred do not exceed; 0 if there is none.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the place of a value"
    )]
    pub fn percentile(&self, percent: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let place = (percent / 100.0 * last as f64).round() as usize;
        self.0.get(place.min(last)).copied().unwrap_or(0.0)
    }

    /// The share of the values that do not exceed one.
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    fn share(&self, value: f64) -> f64 {
        self.0.partition_point(|one| *one <= value) as f64 / self.0.len().max(1) as f64
    }
}

/// The largest difference, over all values, of the shares that do not exceed one (Kolmogorov and Smirnov): 0 if both are
/// distributed alike, 1 if all of one are smaller than all of the other, or if one has no values.
pub fn apart(one: &Distribution, other: &Distribution) -> f64 {
    if one.is_empty() || other.is_empty() {
        return 1.0;
    }
    let values = one.0.iter().chain(&other.0);
    values.map(|value| (one.share(*value) - other.share(*value)).abs()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_compared() {
        let values = |from: i32, to: i32| Distribution::of((from..to).map(f64::from));
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        near(apart(&values(0, 100), &values(0, 100)), 0.0);
        near(apart(&values(0, 100), &values(100, 200)), 1.0);
        near(apart(&values(0, 100), &values(25, 125)), 0.25);
        near(apart(&values(0, 100), &values(0, 0)), 1.0);
        near(values(0, 101).percentile(90.0), 90.0);
        near(Distribution::of([f64::NAN]).percentile(50.0), 0.0);
    }
}
