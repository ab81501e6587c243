//! Random numbers by counter: each is a function of a key alone, so any message can be made again without those before.

/// The step of the counter, an odd number whose multiples spread over all 64 bits.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes all bits of a number into all others (the finalizer of `SplitMix64`). It is a bijection.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a draw belongs to: a seed, and under it a vehicle, a stream, a tick, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// The key of a whole fleet.
    pub const fn new(seed: u64) -> Self {
        Self(mix(seed ^ STEP))
    }

    /// The key of part `number` of what this key belongs to.
    #[must_use]
    pub const fn with(self, number: u64) -> Self {
        Self(mix(self.0.wrapping_add(mix(number.wrapping_add(1).wrapping_mul(STEP)))))
    }

    /// As [`Key::with`]; negative numbers are parts of their own.
    #[must_use]
    pub const fn at(self, number: i64) -> Self {
        self.with(number.cast_unsigned())
    }

    /// 64 random bits.
    pub const fn bits(self) -> u64 {
        mix(self.0.wrapping_add(STEP))
    }

    /// A number from 0 to below 1, of which each multiple of 2⁻⁵³ is as likely.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub fn share(self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something happens that happens with this probability.
    pub fn happens(self, probability: f64) -> bool {
        probability > 0.0 && self.share() < probability
    }

    /// A whole number from `from` to below `to`, which is larger.
    pub const fn between(self, from: i64, to: i64) -> i64 {
        // The product's upper half is spread evenly enough: the ranges here are tiny beside 2⁶⁴.
        let width = (to - from).cast_unsigned() as u128;
        from + ((self.bits() as u128 * width) >> 64) as i64
    }

    /// A number around 0 with a standard deviation of 1, of which none is beyond ±3.5: the sum of four even ones. It
    /// takes additions and a multiplication only, which give the same on every processor.
    pub fn noise(self) -> f64 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|part| self.with(part).share());
        (a + b + c + d - 2.0) * 1.732_050_807_568_877_2
    }

    /// A noise that changes slowly with the tick: it is drawn anew at each multiple of `apart`, and goes in a straight
    /// line from one to the next. So any tick can be computed alone. At a multiple, its standard deviation is 1.
    #[expect(clippy::cast_precision_loss, reason = "ticks within a step")]
    pub fn slow_noise(self, tick: i64, apart: i64) -> f64 {
        let (step, into) = (tick.div_euclid(apart), tick.rem_euclid(apart));
        let (from, to) = (self.at(step).noise(), self.at(step + 1).noise());
        from + (to - from) * (into as f64 / apart as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_key_are_independent() {
        let key = Key::new(7);
        let mut seen: Vec<u64> = (0..1000).flat_map(|n| [key.with(n).bits(), key.with(n).with(0).bits()]).collect();
        seen.push(key.at(-1).bits());
        seen.push(Key::new(8).with(0).bits());
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 2002);
    }

    /// With these fixed keys the figures are fixed too; the bounds are five standard errors wide.
    #[test]
    fn draws_have_the_distribution_that_they_say() {
        let draws: Vec<Key> = (0..40_000).map(|n| Key::new(1).with(n)).collect();
        let mean = |value: &dyn Fn(&Key) -> f64| draws.iter().map(value).sum::<f64>() / 40_000.0;
        assert!((mean(&|key| key.share()) - 0.5).abs() < 0.0073);
        assert!(mean(&|key| key.noise()).abs() < 0.025);
        assert!((mean(&|key| key.noise() * key.noise()) - 1.0).abs() < 0.035);
        assert!((mean(&|key| f64::from(u8::from(key.happens(0.1)))) - 0.1).abs() < 0.0075);
        let counts = draws.iter().fold([0_u32; 7], |mut counts, key| {
            counts[usize::try_from(key.between(-3, 4) + 3).expect("in range")] += 1;
            counts
        });
        assert!(counts.iter().all(|count| count.abs_diff(5714) < 350), "{counts:?}");
    }

    /// It changes by a small part of its size from one tick to the next, before and after 0 alike.
    #[test]
    fn slow_noise_is_as_large_as_other_noise_and_never_jumps() {
        let key = Key::new(3);
        let noise: Vec<f64> = (-30_000..30_000).map(|tick| key.slow_noise(tick, 60)).collect();
        assert!(noise.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 7.0 / 60.0));
        assert!(noise.iter().any(|noise| *noise < -1.5) && noise.iter().any(|noise| *noise > 1.5));
        // Between two draws, the variance is two thirds of theirs on average.
        let variance = noise.iter().map(|noise| noise * noise).sum::<f64>() / 60_000.0;
        assert!((variance - 0.667).abs() < 0.1, "{variance}");
    }
}
