//! Boosted regression trees: a function of numbers, learnt from examples.
//!
//! Trees of little depth are fitted one after the other to what the ones before left unexplained (Friedman, 2001; squared error). Every
//! threshold between two values of a feature is tried, so the same examples always give the same trees.

/// Trees of one ensemble.
const TREES: usize = 50;
/// Questions on the way to a leaf, at most.
const DEPTH: usize = 4;
/// The share of its own correction that each tree contributes.
const RATE: f64 = 0.15;
/// Examples in a leaf, at least.
const LEAF: usize = 3;

/// A learnt function.
#[derive(Clone, Debug)]
pub struct Trees {
    mean: f64,
    trees: Vec<Node>,
}

/// A tree.
#[derive(Clone, Debug)]
enum Node {
    /// What to add.
    Leaf(f64),
    /// The first tree holds for values of a feature up to a threshold, the second one above it.
    Split(usize, f64, Box<[Node; 2]>),
}

/// The examples of one ensemble.
struct Examples<'a> {
    rows: &'a [Vec<f64>],
    /// What the trees so far leave unexplained.
    left: Vec<f64>,
}

impl Trees {
    /// Learns from examples, which all have equally many features, and their values.
    pub fn fit(rows: &[Vec<f64>], values: &[f64]) -> Trees {
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let mut examples = Examples { rows, left: values.iter().map(|value| value - mean).collect() };
        let features = rows.first().map_or(0, Vec::len);
        // All examples in the order of each feature: the parts of a split keep the order.
        let orders: Vec<Vec<usize>> = (0..features)
            .map(|feature| {
                let mut order: Vec<usize> = (0..rows.len()).collect();
                order.sort_by(|&a, &b| rows[a][feature].total_cmp(&rows[b][feature]).then(a.cmp(&b)));
                order
            })
            .collect();
        let trees = (0..TREES).map(|_| {
            let tree = examples.grow(orders.clone(), DEPTH);
            for (row, left) in rows.iter().zip(&mut examples.left) {
                *left -= tree.predict(row);
            }
            tree
        });
        Trees { trees: trees.collect(), mean }
    }

    /// The value of an example.
    pub fn predict(&self, row: &[f64]) -> f64 {
        self.mean + self.trees.iter().map(|tree| tree.predict(row)).sum::<f64>()
    }
}

impl Node {
    fn predict(&self, row: &[f64]) -> f64 {
        match self {
            Node::Leaf(value) => *value,
            Node::Split(feature, threshold, parts) => parts[usize::from(row[*feature] > *threshold)].predict(row),
        }
    }
}

impl Examples<'_> {
    /// A tree for some examples, given in the order of each feature.
    fn grow(&self, orders: Vec<Vec<usize>>, depth: usize) -> Node {
        let count = orders.first().map_or(0, Vec::len);
        let sum: f64 = orders.first().map_or(0.0, |order| order.iter().map(|&i| self.left[i]).sum());
        let split = if depth > 0 && count >= 2 * LEAF { self.best_split(&orders, sum) } else { None };
        let Some((feature, threshold)) = split else { return Node::Leaf(RATE * sum / count.max(1) as f64) };
        let above = |&i: &usize| self.rows[i][feature] > threshold;
        let (low, high) = orders.into_iter().map(|order| order.into_iter().partition(|i| !above(i))).unzip();
        Node::Split(feature, threshold, Box::new([self.grow(low, depth - 1), self.grow(high, depth - 1)]))
    }

    /// The feature and the threshold whose two parts explain most; nothing if none explains anything.
    fn best_split(&self, orders: &[Vec<usize>], sum: f64) -> Option<(usize, f64)> {
        let (mut best, mut most) = (None, 0.0);
        for (feature, order) in orders.iter().enumerate() {
            let count = order.len();
            let alone = sum * sum / count as f64;
            let mut low = 0.0;
            for (taken, pair) in (1..).zip(order.windows(2)) {
                low += self.left[pair[0]];
                let [here, next] = [pair[0], pair[1]].map(|i| self.rows[i][feature]);
                if here < next && taken >= LEAF && count - taken >= LEAF {
                    let high = sum - low;
                    let gain = low * low / taken as f64 + high * high / (count - taken) as f64 - alone;
                    // Equal gains must not depend on rounding: the first feature stays.
                    if gain > most * (1.0 + 1e-9) + 1e-12 {
                        (best, most) = (Some((feature, 0.5 * (here + next))), gain);
                    }
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> (Vec<Vec<f64>>, Vec<f64>) {
        let rows: Vec<Vec<f64>> = (0..200).map(|i| vec![f64::from(i % 10), f64::from(i / 10), f64::from(i * 37 % 11)]).collect();
        let values = rows.iter().map(|x| (x[0] - 4.0).powi(2) + if x[1] < 10.0 { x[0] } else { 0.0 }).collect();
        (rows, values)
    }

    #[test]
    fn explains_most_of_what_it_saw_and_of_what_it_did_not() {
        let (rows, values) = examples();
        let (train, test): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|i| i % 4 != 1);
        let pick = |which: &[usize]| which.iter().map(|&i| (rows[i].clone(), values[i])).unzip();
        let (seen, seen_values): (Vec<Vec<f64>>, Vec<f64>) = pick(&train);
        let trees = Trees::fit(&seen, &seen_values);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let error: f64 = test.iter().map(|&i| (trees.predict(&rows[i]) - values[i]).powi(2)).sum();
        let spread: f64 = test.iter().map(|&i| (values[i] - mean).powi(2)).sum();
        assert!(error < 0.05 * spread, "{error} of {spread}");
    }

    #[test]
    fn the_same_examples_give_the_same_trees() {
        let (rows, values) = examples();
        let (a, b) = (Trees::fit(&rows, &values), Trees::fit(&rows, &values));
        assert!(rows.iter().all(|row| a.predict(row).to_bits() == b.predict(row).to_bits()));
    }

    #[test]
    fn few_examples_give_their_mean() {
        assert_eq!(Trees::fit(&[], &[]).predict(&[1.0]), 0.0);
        assert_eq!(Trees::fit(&[vec![1.0], vec![2.0]], &[3.0, 5.0]).predict(&[9.0]), 4.0);
    }
}
