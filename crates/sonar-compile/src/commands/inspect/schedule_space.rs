//! The schedule space of a kernel as text: its knobs, their choices, and the number of legal points.

use crate::terminal::table::{Align, render};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_schedule::ScheduleSpace;
use sonar_schedule::knobs::KNOBS;

/// Spaces up to this many points are checked completely. Of larger ones, this many points are sampled.
const LOOKED_AT: usize = 1_000;

/// The knobs of a space in a table, and the number of its points.
pub fn describe(space: &ScheduleSpace) -> String {
    let rows: Vec<Vec<String>> = space
        .knobs()
        .iter()
        .zip(&KNOBS)
        .map(|(knob, declared)| {
            let choices: Vec<String> = knob.choices.iter().map(ToString::to_string).collect();
            vec![knob.name.to_owned(), choices.join(" "), declared.meaning.to_owned(), declared.legal.to_owned()]
        })
        .collect();
    let columns = [("knob", Align::Left), ("choices", Align::Left), ("meaning", Align::Left), ("legal if", Align::Left)];
    format!("{}{}\n", render(&columns, &rows), count(space))
}

/// The number of points and of legal points. The second is estimated if there are many.
fn count(space: &ScheduleSpace) -> String {
    let points = space.len();
    let legal = |number: usize| space.refused(&space.point(number)).is_empty();
    if points <= LOOKED_AT {
        let legal = (0..points).filter(|&number| legal(number)).count();
        return format!("{points} points, {legal} of them legal");
    }
    let mut rng = StdRng::seed_from_u64(0);
    let found = (0..LOOKED_AT).filter(|_| legal(rng.random_range(0..points))).count();
    let share = found as f64 / LOOKED_AT as f64;
    let error = (share * (1.0 - share) / LOOKED_AT as f64).sqrt();
    let [estimate, error] = [share, error].map(|share| (share * points as f64).round());
    format!("{points} points, {estimate} ± {error} of them legal, by {LOOKED_AT} drawn at random")
}
