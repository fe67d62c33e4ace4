//! The range of an affine function, given bounds on other affine functions.
//!
//! [`Scope::within`] proves that an address stays within a range in three ways, each more precise and slower than the one
//! before:
//!
//! 1. by the extents of the loops alone;
//! 2. by intervals, where each known bound also narrows its variables, and a part of the address that is a multiple of a
//!    bounded function (`64·y + 64·k + x` has 64 times `y + k`) takes that function's range;
//! 3. by trying every point, if there are at most [`MAX_POINTS`].
//!
//! An address that none of them proves is refused: code for it could touch memory of others.

use crate::entity::EntityVec;
use crate::loops::{Affine, Bound, Var};

/// How many points [`Scope::within`] tries at most.
const MAX_POINTS: u128 = 1 << 18;

/// The most bounds combined for one address; every subset of them is tried.
const MAX_COMBINED: usize = 8;

/// How often the bounds narrow the variables.
const ROUNDS: usize = 3;

/// The variables in scope and the bounds that hold.
pub(super) struct Scope {
    /// The extent of each variable that is declared, by its index.
    extents: EntityVec<Var, Option<usize>>,
    /// The bounds of the enclosing guards.
    facts: Vec<Bound>,
}

/// The range of each variable.
type Ranges = EntityVec<Var, Range>;

/// `low..=high`; empty if `low > high`. The product of two 62-bit numbers fits.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    low: i128,
    high: i128,
}

impl Scope {
    /// A scope in which none of the `variables` is declared, and no bound holds.
    pub(super) fn new(variables: usize) -> Self {
        Scope { extents: EntityVec::filled(None, variables), facts: Vec::new() }
    }

    /// The extent of a variable, if it is declared.
    pub(super) fn extent(&self, var: Var) -> Option<usize> {
        self.extents.get(var).copied().flatten()
    }

    /// Declares one of the variables, or with `None` forgets it.
    pub(super) fn set_extent(&mut self, var: Var, extent: Option<usize>) {
        self.extents[var] = extent;
    }

    /// Adds bounds that hold from now on; [`Scope::retract`] removes them.
    pub(super) fn assume(&mut self, bounds: &[Bound]) {
        self.facts.extend_from_slice(bounds);
    }

    /// Takes back the latest bounds.
    pub(super) fn retract(&mut self, bounds: &[Bound]) {
        self.facts.truncate(self.facts.len() - bounds.len());
    }

    /// Whether `low <= index < high` is proved wherever the known bounds hold. All variables must be declared.
    pub(super) fn within(&self, index: &Affine, low: i128, high: i128) -> bool {
        let allowed = Range { low, high: high - 1 };
        let loops: Ranges = self.extents.map(|(_, extent)| Range::extent(*extent));
        if range(index, &loops).is_within(allowed) {
            return true;
        }
        let narrowed = self.narrow(loops);
        let facts: Vec<(&Affine, Range)> =
            self.facts.iter().map(|fact| (&fact.expr, range(&fact.expr, &narrowed).and(Range::bound(fact)))).collect();
        if narrowed.iter().chain(facts.iter().map(|fact| &fact.1)).any(|range| range.is_empty()) {
            return true;
        }
        let mut useful: Vec<(&Affine, Range)> =
            facts.into_iter().filter(|(expr, _)| expr.terms.len() > 1 && multiple(index, expr).is_some()).collect();
        useful.truncate(MAX_COMBINED);
        combined(index, &useful, &narrowed).is_within(allowed) || self.tried(index, &narrowed, allowed)
    }

    /// The ranges of the variables, narrowed by each fact.
    fn narrow(&self, mut ranges: Ranges) -> Ranges {
        for _ in 0..ROUNDS {
            for fact in &self.facts {
                for &(var, coefficient) in &fact.expr.terms {
                    let others = range(&fact.expr.clone().plus(var, -coefficient), &ranges);
                    let rest = Range::bound(fact).plus(others.times(-1));
                    let own = &mut ranges[var];
                    *own = own.and(rest.divided_by(i128::from(coefficient)));
                }
            }
        }
        ranges
    }

    /// Whether the index is in range at every point where the facts hold; `false` if there are too many points to try.
    fn tried(&self, index: &Affine, ranges: &Ranges, allowed: Range) -> bool {
        let (vars, facts) = self.connected(index);
        let points = vars.iter().map(|var| ranges[*var].count()).fold(1, u128::saturating_mul);
        let mut values = EntityVec::filled(0, ranges.len());
        points <= MAX_POINTS
            && every_point(&vars, ranges, &mut values, &|values| {
                let eval = |affine: &Affine| affine.eval(|var| values[var]);
                allowed.contains(eval(index)) || !facts.iter().all(|fact| Range::bound(fact).contains(eval(&fact.expr)))
            })
    }

    /// The variables of an affine function, the facts that share one with it, the variables of these, and so on.
    fn connected(&self, index: &Affine) -> (Vec<Var>, Vec<&Bound>) {
        let mut vars: Vec<Var> = index.terms.iter().map(|term| term.0).collect();
        let mut rest: Vec<&Bound> = self.facts.iter().collect();
        let mut facts = Vec::new();
        loop {
            let (new, others): (Vec<&Bound>, Vec<&Bound>) =
                rest.into_iter().partition(|fact| fact.expr.terms.iter().any(|term| vars.contains(&term.0)));
            if new.is_empty() {
                return (vars, facts);
            }
            vars.extend(new.iter().flat_map(|fact| &fact.expr.terms).map(|term| term.0));
            vars.sort_unstable();
            vars.dedup();
            facts.extend(new);
            rest = others;
        }
    }
}

/// Whether `holds` for all values that variables take in their ranges.
fn every_point(
    vars: &[Var],
    ranges: &Ranges,
    values: &mut EntityVec<Var, i64>,
    holds: &impl Fn(&EntityVec<Var, i64>) -> bool,
) -> bool {
    let Some((&var, inner)) = vars.split_first() else {
        return holds(values);
    };
    let Range { low, high } = ranges[var];
    (low..=high).all(|value| {
        values[var] = value as i64;
        every_point(inner, ranges, values, holds)
    })
}

/// The range of an affine function, by the ranges of its variables.
fn range(affine: &Affine, ranges: &Ranges) -> Range {
    let start = Range::point(affine.offset.into());
    affine.terms.iter().fold(start, |sum, &(var, c)| sum.plus(ranges[var].times(c.into())))
}

/// The range of an affine function, by the ranges of its variables and of other functions that it contains multiples of.
fn combined(index: &Affine, facts: &[(&Affine, Range)], ranges: &Ranges) -> Range {
    let Some((&(expr, known), others)) = facts.split_first() else {
        return range(index, ranges);
    };
    let without = combined(index, others, ranges);
    match multiple(index, expr) {
        None => without,
        Some(k) => {
            let rest = combined(&index.add(&expr.scale(-k)), others, ranges);
            without.and(rest.plus(known.times(k.into())))
        }
    }
}

/// The `k` for which `index` contains `k` times every term of `expr`. `None` if there is none, or if the remainder overflows.
fn multiple(index: &Affine, expr: &Affine) -> Option<i64> {
    let &(var, coefficient) = expr.terms.first()?;
    let k = index.coefficient(var) / coefficient;
    let contained = expr.terms.iter().all(|&(var, c)| c.checked_mul(k) == Some(index.coefficient(var)));
    let offset = expr.offset.checked_mul(k).and_then(|offset| index.offset.checked_sub(offset));
    (k != 0 && contained && offset.is_some()).then_some(k)
}

impl Range {
    fn point(value: i128) -> Self {
        Range { low: value, high: value }
    }

    /// The values of a variable; for an undeclared one they do not matter.
    fn extent(extent: Option<usize>) -> Self {
        Range { low: 0, high: extent.map_or(0, |extent| extent as i128 - 1) }
    }

    fn bound(bound: &Bound) -> Self {
        Range { low: bound.low.into(), high: i128::from(bound.high) - 1 }
    }

    fn is_empty(self) -> bool {
        self.low > self.high
    }

    fn count(self) -> u128 {
        u128::try_from(self.high - self.low + 1).unwrap_or(0)
    }

    fn contains(self, value: i64) -> bool {
        (self.low..=self.high).contains(&value.into())
    }

    fn is_within(self, other: Range) -> bool {
        self.is_empty() || (self.low >= other.low && self.high <= other.high)
    }

    fn and(self, other: Range) -> Self {
        Range { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    fn plus(self, other: Range) -> Self {
        Range { low: self.low + other.low, high: self.high + other.high }
    }

    fn times(self, factor: i128) -> Self {
        let (a, b) = (self.low * factor, self.high * factor);
        if factor < 0 { Range { low: b, high: a } } else { Range { low: a, high: b } }
    }

    /// The numbers that are in range when multiplied by a divisor other than 0.
    fn divided_by(self, divisor: i128) -> Self {
        let Range { low, high } = if divisor < 0 { self.times(-1) } else { self };
        let divisor = divisor.abs();
        Range { low: -(-low).div_euclid(divisor), high: high.div_euclid(divisor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Entity;
    use proptest::prelude::*;

    const Y: Var = Var(0);
    const K: Var = Var(1);
    const X: Var = Var(2);

    fn scope(extents: &[usize], facts: &[Bound]) -> Scope {
        let mut scope = Scope::new(extents.len());
        for (var, &extent) in (0..).map(Var).zip(extents) {
            scope.set_extent(var, Some(extent));
        }
        scope.assume(facts);
        scope
    }

    #[test]
    fn padded_rows_are_proved_without_trying_points() {
        // 0 <= y + k - 1 < 1000 around x[1000·y + 1000·k + x - 1000]
        let row = Affine::var(Y, 1).plus(K, 1).shift(-1);
        let index = row.scale(1000).plus(X, 1);
        let extents = [1000, 3, 1000];
        let guarded = scope(&extents, &[Bound { expr: row, low: 0, high: 1000 }]);
        assert!(guarded.within(&index, 0, 1_000_000));
        assert!(!guarded.within(&index, 0, 999_999));
        assert!(!scope(&extents, &[]).within(&index, 0, 1_000_000));
    }

    #[test]
    fn what_never_runs_is_in_bounds() {
        let never = Bound { expr: Affine::var(Y, 1), low: 8, high: 20 };
        assert!(scope(&[8, 1, 1], &[never]).within(&Affine::constant(99), 0, 1));
    }

    fn affine() -> impl Strategy<Value = Affine> {
        (-5i64..5, -5i64..5, -5i64..5, -9i64..9)
            .prop_map(|(y, k, x, offset)| Affine::constant(offset).plus(Y, y).plus(K, k).plus(X, x))
    }

    fn bound() -> impl Strategy<Value = Bound> {
        (affine(), -9i64..9, 1i64..12).prop_map(|(expr, low, len)| Bound { expr, low, high: low + len })
    }

    proptest! {
        #[test]
        fn the_verdict_on_small_loops_is_exact(
            extents in proptest::array::uniform3(1usize..6),
            facts in proptest::collection::vec(bound(), 0..4),
            index in affine(),
            low in -20i64..5,
            len in 1i64..40,
        ) {
            let mut expected = true;
            for y in 0..extents[0] {
                for k in 0..extents[1] {
                    for x in 0..extents[2] {
                        let eval = |affine: &Affine| affine.eval(|var| [y, k, x][var.index()] as i64);
                        let holds = facts.iter().all(|fact| (fact.low..fact.high).contains(&eval(&fact.expr)));
                        expected &= !holds || (low..low + len).contains(&eval(&index));
                    }
                }
            }
            // Facts about other variables may make a point unreachable; the proof does not consider this.
            let verdict = scope(&extents, &facts).within(&index, low.into(), (low + len).into());
            prop_assert!(expected || !verdict);
            if facts.iter().all(|fact| fact.expr.terms.iter().any(|term| index.coefficient(term.0) != 0)) {
                prop_assert_eq!(verdict, expected);
            }
        }
    }
}
