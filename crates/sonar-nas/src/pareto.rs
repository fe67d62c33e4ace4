//! Dominance, fronts, hypervolume, and ranking for two objectives: accuracy (higher is better) and a cost (a latency or a
//! number of operations, lower is better). All values are finite.

/// The two objectives of one candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Higher is better.
    pub accuracy: f64,
    /// Lower is better. Not negative.
    pub cost: f64,
}

impl Point {
    /// Whether this point is at least as good in both objectives and better in one.
    pub fn dominates(&self, other: &Point) -> bool {
        self.accuracy >= other.accuracy && self.cost <= other.cost && self != other
    }
}

/// The Pareto front of each point. Front 0 holds the points that no point dominates. Front 1 holds the points that only points
/// of front 0 dominate, and so on.
pub fn front_indices(points: &[Point]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| points[a].cost.total_cmp(&points[b].cost).then(points[b].accuracy.total_cmp(&points[a].accuracy)));
    // In order of cost, a point is dominated only by earlier points. Its front is one more than the last front with a point
    // that dominates it.
    let mut fronts = vec![0; points.len()];
    for (taken, &i) in order.iter().enumerate() {
        let before = order[..taken].iter().filter(|&&j| points[j].dominates(&points[i]));
        fronts[i] = before.map(|&j| fronts[j] + 1).max().unwrap_or(0);
    }
    fronts
}

/// Indices of the points that no point dominates, the cheapest first.
pub fn front(points: &[Point]) -> Vec<usize> {
    let fronts = front_indices(points);
    let mut front: Vec<usize> = (0..points.len()).filter(|&i| fronts[i] == 0).collect();
    front.sort_by(|&a, &b| points[a].cost.total_cmp(&points[b].cost).then(a.cmp(&b)));
    front
}

/// The area that the points dominate, up to a reference point that should be worse than all of them. A point that is not better
/// than the reference in both objectives adds nothing.
pub fn hypervolume(points: &[Point], reference: Point) -> f64 {
    let inside: Vec<Point> =
        points.iter().copied().filter(|p| p.accuracy > reference.accuracy && p.cost < reference.cost).collect();
    let mut reached = reference.accuracy;
    let mut area = 0.0;
    for p in front(&inside).into_iter().map(|i| inside[i]) {
        if p.accuracy > reached {
            area += (reference.cost - p.cost) * (p.accuracy - reached);
            reached = p.accuracy;
        }
    }
    area
}

/// The order in which an ε-net takes the points: first the most accurate, then always the point farthest from all points taken.
/// Distances are Euclidean. Accuracy and the logarithm of the cost are both scaled to `0..=1`; costs below 1 count as 1.
pub fn epsilon_net(points: &[Point]) -> Vec<usize> {
    let accuracy = scaled(points.iter().map(|p| p.accuracy));
    let cost = scaled(points.iter().map(|p| p.cost.max(1.0).ln()));
    let mut left: Vec<usize> = (0..points.len()).collect();
    let mut distance = vec![f64::INFINITY; points.len()];
    let mut order = Vec::with_capacity(points.len());
    while !left.is_empty() {
        let better = |&a: &usize, &b: &usize| {
            let nearer = distance[b].total_cmp(&distance[a]);
            nearer.then(points[b].accuracy.total_cmp(&points[a].accuracy)).then(a.cmp(&b))
        };
        let position = (0..left.len()).min_by(|&a, &b| better(&left[a], &left[b])).unwrap_or(0);
        let taken = left.remove(position);
        for &i in &left {
            distance[i] = distance[i].min((accuracy[i] - accuracy[taken]).hypot(cost[i] - cost[taken]));
        }
        order.push(taken);
    }
    order
}

/// Indices of all points, the best first: by Pareto front, then by ε-net within a front.
pub fn rank(points: &[Point]) -> Vec<usize> {
    let fronts = front_indices(points);
    let count = fronts.iter().max().map_or(0, |last| last + 1);
    let mut order = Vec::with_capacity(points.len());
    for front in 0..count {
        let members: Vec<usize> = (0..points.len()).filter(|&i| fronts[i] == front).collect();
        let member_points: Vec<Point> = members.iter().map(|&i| points[i]).collect();
        order.extend(epsilon_net(&member_points).into_iter().map(|i| members[i]));
    }
    order
}

/// Indices of all points, the best first: points within the limit by accuracy, then the others by cost.
pub fn rank_within(points: &[Point], limit: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&points[a], &points[b]);
        match (a.cost <= limit, b.cost <= limit) {
            (true, true) => b.accuracy.total_cmp(&a.accuracy).then(a.cost.total_cmp(&b.cost)),
            (false, false) => a.cost.total_cmp(&b.cost).then(b.accuracy.total_cmp(&a.accuracy)),
            (a_within, b_within) => b_within.cmp(&a_within),
        }
    });
    order
}

/// Values shifted and scaled to `0..=1`, or all 0 if they are equal.
fn scaled(values: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let range = high - low;
    values.map(|v| if range > 0.0 { (v - low) / range } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points(values: &[(f64, f64)]) -> Vec<Point> {
        values.iter().map(|&(accuracy, cost)| Point { accuracy, cost }).collect()
    }

    fn any_points() -> impl Strategy<Value = Vec<Point>> {
        // On a coarse grid, ties and duplicates are frequent.
        prop::collection::vec((0u32..12, 1u32..12), 0..24)
            .prop_map(|pairs| pairs.iter().map(|&(a, p)| Point { accuracy: f64::from(a) / 12.0, cost: f64::from(p) }).collect())
    }

    /// The area dominated on the grid of [`any_points`], cell by cell.
    fn counted_area(points: &[Point]) -> f64 {
        let mut cells = 0;
        for a in 0..12 {
            for p in 1..12 {
                let covers = |q: &Point| q.accuracy * 12.0 > f64::from(a) + 0.5 && q.cost < f64::from(p) + 0.5;
                cells += u32::from(points.iter().any(covers));
            }
        }
        f64::from(cells) / 12.0
    }

    #[test]
    fn ranks_fronts_before_spread() {
        let points = points(&[(0.9, 100.0), (0.5, 10.0), (0.89, 95.0), (0.8, 200.0), (0.7, 32.0)]);
        assert_eq!(front_indices(&points), [0, 0, 0, 1, 0]);
        assert_eq!(front(&points), [1, 4, 2, 0]);
        // The most accurate, the cheapest (farthest from it), the one between, its close neighbour, the dominated one.
        assert_eq!(rank(&points), [0, 1, 4, 2, 3]);
        assert_eq!(rank_within(&points, 95.0), [2, 4, 1, 0, 3]);
    }

    #[test]
    fn nothing_has_no_volume_and_no_rank() {
        assert_eq!(hypervolume(&[], Point { accuracy: 0.0, cost: 1.0 }), 0.0);
        assert!(rank(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn a_front_is_what_none_dominates(points in any_points()) {
            let front = front(&points);
            for i in 0..points.len() {
                let dominated = points.iter().any(|p| p.dominates(&points[i]));
                prop_assert_eq!(front.contains(&i), !dominated);
            }
        }

        #[test]
        fn each_later_front_is_dominated_by_the_one_before(points in any_points()) {
            let fronts = front_indices(&points);
            for i in 0..points.len() {
                let above = (0..points.len()).any(|j| fronts[j] + 1 == fronts[i] && points[j].dominates(&points[i]));
                prop_assert!(fronts[i] == 0 || above);
                prop_assert!((0..points.len()).all(|j| fronts[j] != fronts[i] || !points[j].dominates(&points[i])));
            }
        }

        #[test]
        fn hypervolume_is_the_area_counted_cell_by_cell(points in any_points()) {
            let area = hypervolume(&points, Point { accuracy: 0.0, cost: 12.0 });
            prop_assert!((area - counted_area(&points)).abs() < 1e-9, "{} is not {}", area, counted_area(&points));
        }

        #[test]
        fn rankings_are_permutations_that_never_put_the_dominated_first(points in any_points()) {
            for order in [rank(&points), rank_within(&points, 6.0)] {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                prop_assert_eq!(sorted, (0..points.len()).collect::<Vec<_>>());
                for (at, &i) in order.iter().enumerate() {
                    prop_assert!(order[at..].iter().all(|&j| !points[j].dominates(&points[i])));
                }
            }
        }
    }
}
