//! The cost of a choice, and the classes that it needs.

use super::problem::Problem;

impl Problem {
    /// The exact cost of a choice, or `None` if it is cyclic.
    pub fn total(&self, choice: &[u32]) -> Option<f64> {
        self.walk(choice).map(|(total, _)| total)
    }

    pub fn needed(&self, choice: &[u32]) -> Vec<u32> {
        self.walk(choice).map(|(_, order)| order).unwrap_or_default()
    }

    pub fn walk(&self, choice: &[u32]) -> Option<(f64, Vec<u32>)> {
        let mut walk = Walk::default();
        let total = walk.total(self, &self.roots, choice, &[], f64::INFINITY)?;
        Some((total, walk.order))
    }
}

/// A depth-first walk over the classes that a choice needs. Its memory is reused, because a climb takes thousands of walks.
#[derive(Default)]
pub struct Walk {
    /// For each class, the last walk that visited it: twice the number of the walk while the class is open, plus one when it is done.
    seen: Vec<u32>,
    number: u32,
    stack: Vec<(u32, u32)>,
    /// The classes that were needed, operands first.
    pub order: Vec<u32>,
    /// Number of classes visited, over all walks.
    pub visits: u64,
}

impl Walk {
    /// The cost of all classes that `roots` need, if it is less than `bound` and the choice has no cycle there.
    pub fn total(&mut self, problem: &Problem, roots: &[u32], choice: &[u32], free: &[bool], bound: f64) -> Option<f64> {
        let cost = |class: u32| {
            if free.get(class as usize) == Some(&true) { 0.0 } else { problem.chosen(choice, class).cost }
        };
        self.number += 1;
        let (open, done) = (2 * self.number, 2 * self.number + 1);
        self.seen.resize(problem.classes.len(), 0);
        self.order.clear();
        self.stack.clear();
        let mut total = 0.0;
        for &root in roots {
            if self.seen[root as usize] == done {
                continue;
            }
            self.seen[root as usize] = open;
            self.stack.push((root, 0));
            total += cost(root);
            self.visits += 1;
            while let Some((class, next)) = self.stack.last_mut() {
                match problem.chosen(choice, *class).operands.get(*next as usize) {
                    Some(&operand) => {
                        *next += 1;
                        let seen = &mut self.seen[operand as usize];
                        if *seen == open {
                            return None;
                        }
                        if *seen != done {
                            *seen = open;
                            self.stack.push((operand, 0));
                            total += cost(operand);
                            self.visits += 1;
                        }
                    }
                    None => {
                        self.seen[*class as usize] = done;
                        self.order.push(*class);
                        self.stack.pop();
                    }
                }
                if total >= bound {
                    return None;
                }
            }
        }
        Some(total)
    }
}
