//! Hill-climbing: it flips one choice at a time, under the exact total cost.

use super::problem::Problem;
use super::walk::Walk;
use std::collections::HashSet;

impl Problem {
    /// Flips one choice at a time as long as this lowers the exact cost. Returns that cost, or `None` if the start is cyclic.
    /// Classes that are `free` cost nothing; if the slice is empty, no class is free.
    pub fn climb(&self, choice: &mut [u32], free: &[bool]) -> Option<f64> {
        let mut walk = Walk::default();
        let mut best = walk.total(self, &self.roots, choice, free, f64::INFINITY)?;
        let mut order = walk.order.clone();
        let mut at = 0;
        let mut unchanged = 0;
        while unchanged < order.len() && !self.is_exhausted(std::mem::take(&mut walk.visits)) {
            let class = order[at % order.len()];
            let before = choice[class as usize];
            let mut flipped = None;
            for k in 0..self.alternatives[class as usize].len() as u32 {
                if k == before {
                    continue;
                }
                choice[class as usize] = k;
                if let Some(total) = walk.total(self, &self.roots, choice, free, best * (1.0 - 1e-9)) {
                    (best, flipped) = (total, Some(k));
                }
            }
            choice[class as usize] = flipped.unwrap_or(before);
            if flipped.is_some() {
                order = self.needed(choice);
                unchanged = 0;
            } else {
                unchanged += 1;
            }
            at += 1;
        }
        Some(best)
    }

    /// A choice cheaper than the best so far, if one is found. First it climbs as if one class, and all classes that only this class
    /// needs, cost nothing. Then it climbs under the true costs. So users can come to share a kernel that does not pay for one alone.
    pub fn with_one_for_free(&self, (best, choice): &(f64, Vec<u32>), shared: &[u32]) -> Option<(f64, Vec<u32>)> {
        let needed: HashSet<u32> = self.needed(choice).into_iter().collect();
        for &class in shared {
            if self.is_exhausted(0) {
                return None;
            }
            let mut free = vec![false; self.classes.len()];
            let mut below = Walk::default();
            below.total(self, &[class], choice, &[], f64::INFINITY);
            for &other in below.order.iter().chain([&class]) {
                free[other as usize] = other == class || !needed.contains(&other);
            }
            let mut trial = choice.clone();
            self.climb(&mut trial, &free);
            if let Some(total) = self.climb(&mut trial, &[])
                && total < best * (1.0 - 1e-9)
            {
                return Some((total, trial));
            }
        }
        None
    }
}
