//! Coordinate descent in a space of named decisions. It does not depend on the meaning of the decisions or on how a point is
//! timed.
//!
//! The search proposes a point and gets its time, again and again:
//! 1. the seeds come first, in the given order;
//! 2. then the neighbours of the best point so far (one decision different), the most promising first by an analytic estimate;
//!    as soon as one is better, its own neighbours are next;
//! 3. if no neighbour is better, the most promising points of a random sample, half of them near the best point.
//!
//! No point is proposed twice. The same seed and the same times give the same points.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::machine::is_gain;
use std::collections::{HashSet, VecDeque};

/// One choice for each decision.
pub type Point = Vec<usize>;

/// Number of points in a random sample.
const SAMPLE: usize = 64;
/// Most points drawn for each point of a sample, if many are not worth a trial.
const DRAWS: usize = 8;
/// Number of points of a random sample that are proposed.
const PROMISING: usize = 8;

/// The state of one search.
#[derive(Debug)]
pub struct Descent {
    choices: Vec<usize>,
    queue: VecDeque<Point>,
    proposed: HashSet<Point>,
    best: Option<(Point, f64)>,
    /// The point whose neighbours were queued last. `None` until all seeds are done.
    centre: Option<Point>,
    rng: StdRng,
}

impl Descent {
    /// A search over points whose `i`-th element is below `choices[i]`.
    pub fn new(choices: Vec<usize>, seeds: impl IntoIterator<Item = Point>, seed: u64) -> Self {
        Descent {
            choices,
            queue: seeds.into_iter().collect(),
            proposed: HashSet::new(),
            best: None,
            centre: None,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// The best point so far with its time.
    pub fn best(&self) -> Option<(&Point, f64)> {
        self.best.as_ref().map(|(point, time)| (point, *time))
    }

    /// The next point to time, or `None` if there are no more. `estimate` predicts the time of a point, or returns `None` if it
    /// is not worth a trial.
    pub fn ask(&mut self, estimate: &dyn Fn(&[usize]) -> Option<f64>) -> Option<Point> {
        loop {
            while let Some(point) = self.queue.pop_front() {
                if self.proposed.insert(point.clone()) {
                    return Some(point);
                }
            }
            self.refill(estimate);
            if self.queue.is_empty() {
                return None;
            }
        }
    }

    /// Stores the time of a point, or that it failed.
    pub fn tell(&mut self, point: &[usize], time: Option<f64>) {
        let Some(time) = time else { return };
        if self.best.as_ref().is_none_or(|(_, best)| is_gain(time, *best)) {
            self.best = Some((point.to_vec(), time));
            if self.centre.is_some() {
                self.queue.clear();
            }
        }
    }

    fn refill(&mut self, estimate: &dyn Fn(&[usize]) -> Option<f64>) {
        let best = self.best.as_ref().map(|(point, _)| point.clone());
        if let Some(best) = &best
            && self.centre.as_ref() != Some(best)
        {
            let neighbours = neighbours(best, &self.choices);
            self.queue = self.promising(neighbours, estimate).into();
            self.centre = Some(best.clone());
        }
        if self.queue.is_empty() {
            let mut sample = Vec::with_capacity(SAMPLE);
            for i in 0..SAMPLE * DRAWS {
                if sample.len() == SAMPLE {
                    break;
                }
                let point = self.random_point(best.as_ref().filter(|_| i % 2 == 0));
                if estimate(&point).is_some() {
                    sample.push(point);
                }
            }
            let mut promising = self.promising(sample, estimate);
            promising.truncate(PROMISING);
            self.queue = promising.into();
        }
    }

    /// Distinct points that were not proposed yet, the lowest estimate first.
    fn promising(&self, points: Vec<Point>, estimate: &dyn Fn(&[usize]) -> Option<f64>) -> Vec<Point> {
        let mut seen = HashSet::new();
        let fresh = points.into_iter().filter(|p| !self.proposed.contains(p) && seen.insert(p.clone()));
        let mut ranked: Vec<(f64, Point)> = fresh.filter_map(|p| Some((estimate(&p)?, p))).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        ranked.into_iter().map(|(_, point)| point).collect()
    }

    /// A random point. With `near`, it is that point with two or three decisions drawn again.
    fn random_point(&mut self, near: Option<&Point>) -> Point {
        let any = |rng: &mut StdRng, choices: usize| if choices > 1 { rng.random_range(0..choices) } else { 0 };
        match near {
            None => self.choices.iter().map(|&choices| any(&mut self.rng, choices)).collect(),
            Some(near) => {
                let mut point = near.clone();
                for _ in 0..self.rng.random_range(2..=3) {
                    let decision = any(&mut self.rng, self.choices.len());
                    if let Some(choice) = point.get_mut(decision) {
                        *choice = any(&mut self.rng, self.choices[decision]);
                    }
                }
                point
            }
        }
    }
}

/// Points with one decision different.
fn neighbours(point: &[usize], choices: &[usize]) -> Vec<Point> {
    let mut result = Vec::new();
    for (decision, &count) in choices.iter().enumerate() {
        for choice in (0..count).filter(|&c| c != point[decision]) {
            let mut neighbour = point.to_vec();
            neighbour[decision] = choice;
            result.push(neighbour);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a search for a number of trials and returns the points in order.
    fn search(choices: &[usize], seed: u64, trials: usize, time: impl Fn(&[usize]) -> Option<f64>) -> (Descent, Vec<Point>) {
        let mut descent = Descent::new(choices.to_vec(), [vec![0; choices.len()]], seed);
        let mut points = Vec::new();
        while points.len() < trials
            && let Some(point) = descent.ask(&|_| Some(1.0))
        {
            descent.tell(&point, time(&point));
            points.push(point);
        }
        (descent, points)
    }

    fn bowl(point: &[usize]) -> Option<f64> {
        Some(100.0 + point.iter().enumerate().map(|(i, &c)| (c as f64 - i as f64 - 1.0).powi(2) * 10.0).sum::<f64>())
    }

    #[test]
    fn finds_the_bottom_of_a_bowl() {
        let (descent, _) = search(&[8, 8, 8, 8], 1, 150, bowl);
        assert_eq!(descent.best(), Some((&vec![1, 2, 3, 4], 100.0)));
    }

    #[test]
    fn never_proposes_a_point_twice_and_sees_a_small_space_whole() {
        let (_, points) = search(&[3, 4, 2], 1, 1000, bowl);
        let distinct: HashSet<&Point> = points.iter().collect();
        assert_eq!(distinct.len(), points.len());
        assert_eq!(points.len(), 24);
    }

    #[test]
    fn the_same_seed_gives_the_same_points() {
        assert_eq!(search(&[9, 9, 9], 5, 200, bowl).1, search(&[9, 9, 9], 5, 200, bowl).1);
        assert_ne!(search(&[9, 9, 9], 5, 200, bowl).1, search(&[9, 9, 9], 6, 200, bowl).1);
    }

    #[test]
    fn a_tie_keeps_the_first() {
        let (descent, _) = search(&[5, 5], 1, 25, |point| Some(if point == [0, 0] { 100.0 } else { 99.5 }));
        assert_eq!(descent.best(), Some((&vec![0, 0], 100.0)));
    }

    #[test]
    fn failures_do_not_stop_it() {
        let (descent, _) = search(&[8, 8], 1, 64, |point| bowl(point).filter(|_| point[0] == 1));
        assert_eq!(descent.best(), Some((&vec![1, 2], 100.0)));
        assert_eq!(search(&[2, 2], 1, 64, |_| None).1.len(), 4);
    }

    #[test]
    fn a_space_without_decisions_has_one_point() {
        assert_eq!(search(&[], 1, 10, |_| Some(1.0)).1, vec![Vec::<usize>::new()]);
    }
}
