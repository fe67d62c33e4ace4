//! Statistics of repeated timings. Only the raw samples are stored; everything here is derived from them.
//!
//! Timings are not normally distributed (they have a lower bound and a long tail), so order statistics are used: the median,
//! quantiles, and the distribution-free confidence interval of the median.

use serde::{Deserialize, Serialize};

/// Confidence of [`Summary::interval`].
pub const CONFIDENCE: f64 = 0.95;

/// Statistics of a list of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of samples.
    pub count: usize,
    /// The smallest sample.
    pub min: f64,
    /// The largest sample.
    pub max: f64,
    /// The middle sample, or the mean of the two middle ones.
    pub median: f64,
    /// Low and high end of an interval that contains the true median with probability at least [`CONFIDENCE`], or the whole
    /// range of the samples if there are too few for that.
    pub interval: (f64, f64),
    /// Why the numbers may be unreliable.
    pub warnings: Vec<Warning>,
}

/// A reason why a [`Summary`] may be unreliable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warning {
    /// There are too few samples for an interval with this confidence.
    FewSamples,
    /// The interval of the median is wider than a tenth of the median.
    WideInterval,
    /// More than a tenth of the samples are above one and a half times the median.
    Outliers,
    /// The medians of the first and the second half differ by more than a tenth: the machine changed during the measurement.
    Drift,
}

impl Summary {
    /// The summary of samples in order of measurement. `None` if there are no samples.
    pub fn of(samples: &[f64]) -> Option<Summary> {
        let sorted = sorted(samples);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let median = quantile_of_sorted(&sorted, 0.5);
        let ranks = median_ranks(sorted.len(), CONFIDENCE);
        let interval = ranks.map_or((min, max), |(low, high)| (sorted[low], sorted[high]));

        let mut warnings = Vec::new();
        if ranks.is_none() {
            warnings.push(Warning::FewSamples);
        }
        if interval.1 - interval.0 > 0.1 * median {
            warnings.push(Warning::WideInterval);
        }
        if sorted.iter().filter(|&&s| s > 1.5 * median).count() * 10 > sorted.len() {
            warnings.push(Warning::Outliers);
        }
        let (first, second) = samples.split_at(samples.len() / 2);
        if first.len() >= 5 && (self::median(first) - self::median(second)).abs() > 0.1 * median {
            warnings.push(Warning::Drift);
        }
        Some(Summary { count: sorted.len(), min, max, median, interval, warnings })
    }
}

/// The median of samples. NaN if there are no samples.
pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// The `q`-quantile of the samples, `q` in `0..=1`, with linear interpolation between neighbours. NaN if there are no samples.
pub fn quantile(samples: &[f64], q: f64) -> f64 {
    quantile_of_sorted(&sorted(samples), q)
}

/// An interval that contains the true median with probability at least `confidence`. `None` if there are too few samples for
/// that.
pub fn median_interval(samples: &[f64], confidence: f64) -> Option<(f64, f64)> {
    let sorted = sorted(samples);
    median_ranks(sorted.len(), confidence).map(|(low, high)| (sorted[low], sorted[high]))
}

/// Zero-based ranks of the sorted samples that enclose the true median with probability at least `confidence`. `None` if even
/// the whole range is not enough.
///
/// The number of samples below the true median is binomial with probability one half. So the interval from the `k`-th smallest
/// to the `k`-th largest sample misses the median with probability `2 · P(X < k)`.
fn median_ranks(count: usize, confidence: f64) -> Option<(usize, usize)> {
    let n = count as f64;
    let mut log_probability = -n * std::f64::consts::LN_2;
    let mut below = 0.0;
    let mut rank = None;
    for k in 0..count.div_ceil(2) {
        below += log_probability.exp();
        if 2.0 * below > 1.0 - confidence {
            break;
        }
        rank = Some(k);
        log_probability += ((n - k as f64) / (k as f64 + 1.0)).ln();
    }
    rank.map(|k| (k, count - 1 - k))
}

fn quantile_of_sorted(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = q.clamp(0.0, 1.0) * last as f64;
    let (low, share) = (position.floor() as usize, position.fract());
    sorted[low] + share * (sorted[(low + 1).min(last)] - sorted[low])
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quantile(&[0.0, 10.0], 0.25), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ranks_are_those_of_the_sign_test() {
        // The values are tabulated, for example, in Conover, "Practical Nonparametric Statistics".
        assert_eq!(median_ranks(5, 0.95), None);
        assert_eq!(median_ranks(6, 0.95), Some((0, 5)));
        assert_eq!(median_ranks(10, 0.95), Some((1, 8)));
        assert_eq!(median_ranks(25, 0.95), Some((7, 17)));
        assert_eq!(median_ranks(100, 0.95), Some((39, 60)));
        assert!(median_ranks(10_000, 0.95).is_some_and(|(low, high)| low > 4_890 && high < 5_110));
    }

    #[test]
    fn warnings_name_the_trouble() {
        let warnings = |samples: &[f64]| Summary::of(samples).expect("not empty").warnings;
        assert_eq!(warnings(&[1.0; 20]), vec![]);
        assert_eq!(warnings(&[1.0; 3]), vec![Warning::FewSamples]);
        let drifting: Vec<f64> = (0..20).map(|i| if i < 10 { 1.0 } else { 1.3 }).collect();
        assert_eq!(warnings(&drifting), vec![Warning::WideInterval, Warning::Drift]);
        let mut noisy = vec![1.0; 20];
        noisy[3..6].fill(9.0);
        assert_eq!(warnings(&noisy), vec![Warning::Outliers]);
        assert_eq!(Summary::of(&[]), None);
    }
}
