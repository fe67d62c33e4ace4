//! Text of schedules: one step a line, the name of the step and then its arguments.
//!
//! ```text
//! split x 8
//! reorder y x.o k
//! tensorize rows=x.i cols=c mr=14 nv=2 unroll=4
//! ```
//!
//! Empty lines, and text after `//`, are skipped when parsing.

use crate::schedule::{Schedule, Step};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use thiserror::Error;

/// Why a text is not a schedule.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseScheduleError {
    /// There is no step of this name.
    #[error("line {line}: there is no step `{name}`; the steps are {}", STEPS.map(first_word).join(", "))]
    UnknownStep {
        /// Line, counted from 1.
        line: usize,
        /// The name found.
        name: String,
    },
    /// The arguments do not fit the step.
    #[error("line {line}: expected `{expected}`, found `{found}`")]
    Arguments {
        /// Line, counted from 1.
        line: usize,
        /// The step with names in the place of its arguments.
        expected: &'static str,
        /// The line.
        found: String,
    },
}

/// Every step, with names in the place of its arguments.
const STEPS: [&str; 10] = [
    "split LOOP FACTOR",
    "fuse OUTER INNER",
    "reorder LOOP ...",
    "parallel LOOP",
    "unroll LOOP",
    "compute_at BUFFER LOOP",
    "pack BUFFER WIDTH",
    "winograd tile=N rows=N width=N parts=N",
    "tensorize rows=LOOP cols=LOOP mr=N nv=N unroll=N",
    "tensorize_across rows=LOOP over=VARIABLE mr=N unroll=N",
];

impl Display for Schedule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Step::Split { r#loop, factor } => write!(f, "split {loop} {factor}"),
            Step::Fuse { outer, inner } => write!(f, "fuse {outer} {inner}"),
            Step::Reorder { loops } => write!(f, "reorder {}", loops.join(" ")),
            Step::Parallel { r#loop } => write!(f, "parallel {loop}"),
            Step::Unroll { r#loop } => write!(f, "unroll {loop}"),
            Step::ComputeAt { buffer, r#loop } => write!(f, "compute_at {buffer} {loop}"),
            Step::Pack { buffer, width } => write!(f, "pack {buffer} {width}"),
            Step::Winograd { tile, rows, width, parts } => {
                write!(f, "winograd tile={tile} rows={rows} width={width} parts={parts}")
            }
            Step::Tensorize { rows, cols, mr, nv, unroll } => {
                write!(f, "tensorize rows={rows} cols={cols} mr={mr} nv={nv} unroll={unroll}")
            }
            Step::TensorizeAcross { rows, over, mr, unroll } => {
                write!(f, "tensorize_across rows={rows} over={over} mr={mr} unroll={unroll}")
            }
        }
    }
}

impl FromStr for Schedule {
    type Err = ParseScheduleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut steps = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.split_once("//").map_or(line, |(step, _comment)| step);
            let words: Vec<&str> = line.split_whitespace().collect();
            if let Some((name, arguments)) = words.split_first() {
                steps.push(parse_step(i + 1, name, arguments)?);
            }
        }
        Ok(Schedule { steps })
    }
}

fn first_word(usage: &str) -> &str {
    usage.split(' ').next().unwrap_or(usage)
}

fn parse_step(line: usize, name: &str, arguments: &[&str]) -> Result<Step, ParseScheduleError> {
    let usage = STEPS.iter().find(|usage| first_word(usage) == name);
    let &expected = usage.ok_or_else(|| ParseScheduleError::UnknownStep { line, name: name.to_string() })?;
    step(name, arguments).ok_or_else(|| {
        let found = [&[name], arguments].concat().join(" ");
        ParseScheduleError::Arguments { line, expected, found }
    })
}

/// The step with this name and these arguments, if they fit.
fn step(name: &str, arguments: &[&str]) -> Option<Step> {
    let number = |word: &str| word.parse::<usize>().ok();
    Some(match (name, arguments) {
        ("split", [name, factor]) => Step::Split { r#loop: name.to_string(), factor: number(factor)? },
        ("fuse", [outer, inner]) => Step::Fuse { outer: outer.to_string(), inner: inner.to_string() },
        ("reorder", [_, ..]) => Step::Reorder { loops: arguments.iter().map(ToString::to_string).collect() },
        ("parallel", [name]) => Step::Parallel { r#loop: name.to_string() },
        ("unroll", [name]) => Step::Unroll { r#loop: name.to_string() },
        ("compute_at", [buffer, name]) => Step::ComputeAt { buffer: buffer.to_string(), r#loop: name.to_string() },
        ("pack", [buffer, width]) => Step::Pack { buffer: buffer.to_string(), width: number(width)? },
        ("winograd", [tile, rows, width, parts]) => Step::Winograd {
            tile: number(tile.strip_prefix("tile=")?)?,
            rows: number(rows.strip_prefix("rows=")?)?,
            width: number(width.strip_prefix("width=")?)?,
            parts: number(parts.strip_prefix("parts=")?)?,
        },
        ("tensorize", [rows, cols, mr, nv, unroll]) => Step::Tensorize {
            rows: rows.strip_prefix("rows=")?.to_string(),
            cols: cols.strip_prefix("cols=")?.to_string(),
            mr: number(mr.strip_prefix("mr=")?)?,
            nv: number(nv.strip_prefix("nv=")?)?,
            unroll: number(unroll.strip_prefix("unroll=")?)?,
        },
        ("tensorize_across", [rows, over, mr, unroll]) => Step::TensorizeAcross {
            rows: rows.strip_prefix("rows=")?.to_string(),
            over: over.strip_prefix("over=")?.to_string(),
            mr: number(mr.strip_prefix("mr=")?)?,
            unroll: number(unroll.strip_prefix("unroll=")?)?,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn steps() -> impl Strategy<Value = Step> {
        let name = || "[a-z][a-z0-9_.]{0,6}";
        let number = || 1usize..100;
        prop_oneof![
            (name(), number()).prop_map(|(r#loop, factor)| Step::Split { r#loop, factor }),
            (name(), name()).prop_map(|(outer, inner)| Step::Fuse { outer, inner }),
            proptest::collection::vec(name(), 1..5).prop_map(|loops| Step::Reorder { loops }),
            name().prop_map(|r#loop| Step::Parallel { r#loop }),
            name().prop_map(|r#loop| Step::Unroll { r#loop }),
            (name(), name()).prop_map(|(buffer, r#loop)| Step::ComputeAt { buffer, r#loop }),
            (name(), number()).prop_map(|(buffer, width)| Step::Pack { buffer, width }),
            (number(), number(), number(), number()).prop_map(|(tile, rows, width, parts)| Step::Winograd {
                tile,
                rows,
                width,
                parts
            }),
            (prop_oneof![Just("-".to_string()), name().prop_map(String::from)], name(), number(), number())
                .prop_map(|(rows, over, mr, unroll)| Step::TensorizeAcross { rows, over, mr, unroll }),
            (prop_oneof![Just("-".to_string()), name().prop_map(String::from)], name(), number(), number(), number())
                .prop_map(|(rows, cols, mr, nv, unroll)| Step::Tensorize { rows, cols, mr, nv, unroll }),
        ]
    }

    proptest! {
        #[test]
        fn printed_schedules_parse_back(steps in proptest::collection::vec(steps(), 0..8)) {
            let schedule = Schedule { steps };
            prop_assert_eq!(schedule.to_string().parse(), Ok(schedule));
        }

        #[test]
        fn any_text_parses_or_fails_without_a_panic(text in "([a-z_=]{1,10}|[0-9]{1,25}|[ \n/])*") {
            let _ = text.parse::<Schedule>();
        }
    }

    #[test]
    fn errors_name_the_line_and_what_was_expected() {
        let check = |text: &str, expected: &str| assert_eq!(text.parse::<Schedule>().unwrap_err().to_string(), expected);
        check("// nothing\nsplit x", "line 2: expected `split LOOP FACTOR`, found `split x`");
        check("unroll x y", "line 1: expected `unroll LOOP`, found `unroll x y`");
        check(
            "tile x 8",
            "line 1: there is no step `tile`; the steps are split, fuse, reorder, parallel, unroll, compute_at, pack, winograd, \
             tensorize, tensorize_across",
        );
    }
}
