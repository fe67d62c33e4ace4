//! The expected value of an output after `// =>`: all of its elements, or a summary.

use super::literal::{Literal, show, show_number};
use sonar_ir::Tensor;
use std::fmt;

/// Larger outputs are summarised.
const MOST_ELEMENTS: usize = 16;

/// The number of elements at each end that are in a summary.
const ENDS: usize = 4;

/// The parts of a summary, in order.
const PARTS: [&str; 5] = ["first", "last", "mean", "min", "max"];

/// An expected value.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// `[[1, 2], [3, 4]]`.
    Elements(Literal),
    /// `f32[2,17] first [1, 2, 3, 4] last [5, 6, 7, 8] mean 4.5 min 1 max 8`.
    Summary(Vec<usize>, Vec<f32>),
}

impl Answer {
    /// The correct answer for an output.
    pub fn of(output: &Tensor) -> Answer {
        if output.data.len() > MOST_ELEMENTS {
            Answer::Summary(output.shape.clone(), summary(output))
        } else {
            Answer::Elements(Literal { shape: output.shape.clone(), data: output.data.clone() })
        }
    }

    /// Parses the text after `// =>`.
    pub fn parse(text: &str) -> Result<Answer, String> {
        let text = text.trim();
        let (answer, rest) = match text.strip_prefix("f32") {
            None => Literal::parse(text).map(|(literal, rest)| (Answer::Elements(literal), rest))?,
            Some(text) => {
                let (shape, mut rest) = Literal::parse(text)?;
                let mut numbers = Vec::new();
                for part in PARTS {
                    let after = rest.trim_start().strip_prefix(part).ok_or_else(|| format!("expected `{part}`"))?;
                    let literal;
                    (literal, rest) = Literal::parse(after)?;
                    numbers.extend(literal.data);
                }
                (Answer::Summary(shape.data.iter().map(|&extent| extent as usize).collect(), numbers), rest)
            }
        };
        if rest.trim().is_empty() { Ok(answer) } else { Err(format!("`{rest}` is left over")) }
    }

    /// The error of an output, relative to its largest element; infinite if shapes differ.
    pub fn error(&self, found: &Tensor) -> f64 {
        match self {
            Answer::Elements(literal) => {
                literal.tensor(&found.shape).map_or(f64::INFINITY, |stated| found.relative_error(&stated))
            }
            Answer::Summary(shape, _) if *shape != found.shape => f64::INFINITY,
            Answer::Summary(_, stated) => {
                let flat = |numbers: Vec<f32>| Tensor::new(vec![numbers.len()], numbers);
                flat(summary(found)).relative_error(&flat(stated.clone()))
            }
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Elements(literal) => f.write_str(&show(&literal.shape, &literal.data)),
            Answer::Summary(shape, numbers) => {
                let extents: Vec<String> = shape.iter().map(usize::to_string).collect();
                let (first, rest) = numbers.split_at(ENDS);
                let (last, rest) = rest.split_at(ENDS);
                write!(f, "f32[{}] first {} last {}", extents.join(","), show(&[ENDS], first), show(&[ENDS], last))?;
                PARTS[2..].iter().zip(rest).try_for_each(|(part, &number)| write!(f, " {part} {}", show_number(number)))
            }
        }
    }
}

/// The numbers of a summary, in the order of [`PARTS`].
fn summary(tensor: &Tensor) -> Vec<f32> {
    let data = &tensor.data;
    let mean = data.iter().map(|&v| f64::from(v)).sum::<f64>() / data.len() as f64;
    let mut numbers: Vec<f32> = data.iter().take(ENDS).chain(&data[data.len().saturating_sub(ENDS)..]).copied().collect();
    numbers.push(mean as f32);
    numbers.push(data.iter().copied().fold(f32::INFINITY, f32::min));
    numbers.push(data.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    numbers
}
