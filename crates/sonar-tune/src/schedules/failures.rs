//! Why trials failed.

use serde::Serialize;
use sonar_measure::Cause;
use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;

/// How many trials failed for each [kind](Cause::kind) of cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Failures(BTreeMap<&'static str, usize>);

impl Failures {
    /// Whether no trial failed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many trials failed.
    pub fn count(&self) -> usize {
        self.0.values().sum()
    }

    /// How many trials failed for this kind of cause.
    pub fn of(&self, kind: &str) -> usize {
        self.0.get(kind).copied().unwrap_or(0)
    }
}

impl<'a> FromIterator<&'a Cause> for Failures {
    fn from_iter<I: IntoIterator<Item = &'a Cause>>(causes: I) -> Self {
        let mut failures = Failures::default();
        for cause in causes {
            *failures.0.entry(cause.kind()).or_default() += 1;
        }
        failures
    }
}

impl Sum for Failures {
    fn sum<I: Iterator<Item = Failures>>(parts: I) -> Self {
        let mut all = Failures::default();
        for (kind, count) in parts.flat_map(|part| part.0) {
            *all.0.entry(kind).or_default() += count;
        }
        all
    }
}

/// The most frequent first: `3 × wrong output, 1 × crash`.
impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut causes: Vec<(&str, usize)> = self.0.iter().map(|(&kind, &count)| (kind, count)).collect();
        causes.sort_by_key(|&(kind, count)| (std::cmp::Reverse(count), kind));
        let causes: Vec<String> = causes.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
        f.write_str(&causes.join(", "))
    }
}
