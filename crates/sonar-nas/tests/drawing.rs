//! Drawing from spaces of any size: how much work it is, and when it ends. Counts, not seconds.

use sonar_ir::Graph;
use sonar_ir::space::Assignment;
use sonar_nas::Description;
use sonar_nas::candidates::draw::{Architectures, Drawing, Sketch};
use sonar_nas::error::EvaluateError;
use std::cell::Cell;
use std::collections::HashSet;

/// A space that counts what is asked of it. Of each assignment, only the first `visible` decisions have an effect; the structure shows
/// that of one more.
struct Counting {
    choices: Vec<usize>,
    visible: usize,
    valid: bool,
    sketches: Cell<usize>,
    descriptions: Cell<usize>,
}

fn space(choices: &[usize], visible: usize) -> Counting {
    Counting { choices: choices.to_vec(), visible, valid: true, sketches: Cell::new(0), descriptions: Cell::new(0) }
}

impl Architectures for Counting {
    fn choices(&self) -> Vec<usize> {
        self.choices.clone()
    }

    fn baseline(&self) -> Option<Assignment> {
        None
    }

    fn sketch(&self, assignments: &[Assignment]) -> Vec<Result<Sketch, EvaluateError>> {
        self.sketches.set(self.sketches.get() + assignments.len());
        let sketch = |assignment: &Assignment| {
            let shown = (self.visible + 1).min(assignment.0.len());
            let structure = format!("{:?}", &assignment.0[..shown]);
            Sketch { assignment: assignment.clone(), structure, graph: Graph::new("counted") }
        };
        let valid = |a: &Assignment| if self.valid { Ok(sketch(a)) } else { Err(EvaluateError::Candidate("no output".into())) };
        assignments.iter().map(valid).collect()
    }

    fn describe(&self, sketches: &[Sketch]) -> Vec<Result<Description, EvaluateError>> {
        self.descriptions.set(self.descriptions.get() + sketches.len());
        let describe = |sketch: &Sketch| Description {
            key: format!("{:?}", &sketch.assignment.0[..self.visible]),
            parameters: 0,
            flops: 0,
            decisions: vec![],
        };
        sketches.iter().map(|sketch| Ok(describe(sketch))).collect()
    }
}

/// Draws until there are `wanted`, or no more; gives the keys.
fn draw(space: &Counting, wanted: usize) -> Vec<String> {
    let mut drawing = Drawing::new(space, (0.0, 7), 0, &[]);
    let mut keys = Vec::new();
    while keys.len() < wanted {
        let batch = drawing.batch(space, wanted - keys.len()).expect("nothing is fatal");
        keys.extend(batch.found.into_iter().map(|(_, description)| description.key));
        if batch.exhausted {
            break;
        }
    }
    assert_eq!(drawing.draws(), space.sketches.get() as u64);
    keys
}

#[test]
fn five_thousand_candidates_take_five_thousand_descriptions() {
    let space = space(&[10; 12], 12);
    let keys = draw(&space, 5000);
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 5000);
    assert_eq!((space.sketches.get(), space.descriptions.get()), (5000, 5000));
}

#[test]
fn work_grows_with_the_number_of_candidates_and_no_faster() {
    let work = |wanted| {
        let space = space(&[10; 12], 12);
        draw(&space, wanted);
        space.sketches.get() + space.descriptions.get()
    };
    assert_eq!(work(4000), 4 * work(1000));
}

#[test]
fn every_structure_is_described_once_however_often_it_is_drawn() {
    // 1,000 functions in 10,000 structures in 1,000,000 assignments.
    let space = space(&[10; 6], 3);
    let keys = draw(&space, 1000);
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    assert!(keys.len() > 950, "{} of 1000 functions found", keys.len());
    assert!(space.descriptions.get() <= 10_000);
}

#[test]
fn a_space_with_fewer_functions_than_asked_for_ends_soon() {
    // All assignments are looked at once.
    let small = space(&[5, 5, 5], 3);
    assert_eq!(draw(&small, 1_000_000_000).len(), 125);
    assert_eq!(small.sketches.get(), 125);
    // There are too many assignments to look at all of them.
    let large = space(&[10; 15], 1);
    assert_eq!(draw(&large, 1_000_000_000).len(), 10);
    assert!(large.sketches.get() < 10_000, "{} assignments were looked at", large.sketches.get());
}

#[test]
fn a_space_without_valid_architectures_ends_with_a_reason() {
    let space = Counting { valid: false, ..space(&[10; 15], 1) };
    let mut drawing = Drawing::new(&space, (0.0, 7), 0, &[]);
    while !drawing.batch(&space, 100).expect("nothing is fatal").exhausted {}
    let (invalid, reason) = drawing.invalid();
    assert_eq!(invalid, space.sketches.get());
    assert_eq!(reason, Some("no output"));
    assert_eq!(space.descriptions.get(), 0);
}

#[test]
fn a_drawing_goes_on_where_it_stopped() {
    let at_once = draw(&space(&[7; 9], 5), 600);
    let space = space(&[7; 9], 5);
    let mut drawing = Drawing::new(&space, (0.0, 7), 0, &[]);
    let mut found = Vec::new();
    while found.len() < 200 {
        found.extend(drawing.batch(&space, 200 - found.len()).expect("nothing is fatal").found);
    }
    let known: Vec<_> = found.iter().map(|(assignment, description)| (assignment, description)).collect();
    let mut drawing = Drawing::new(&space, (0.0, 7), drawing.draws(), &known);
    let mut keys: Vec<String> = found.iter().map(|(_, description)| description.key.clone()).collect();
    while keys.len() < 600 {
        let batch = drawing.batch(&space, 600 - keys.len()).expect("nothing is fatal");
        keys.extend(batch.found.into_iter().map(|(_, description)| description.key));
    }
    assert_eq!(keys, at_once);
}
