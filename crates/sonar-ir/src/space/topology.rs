//! The text that NAS-Bench-201's authors compare cells by: a graph as an expression of its choices.
//!
//! Each choice is an unknown function of its argument, with two exceptions: a branch that returns its argument adds nothing, and a
//! branch of zeros, or any choice applied to zeros, is written `#`. A sum is the sorted texts of its operands, joined by `+`.
//! This is exactly `to_unique_str(consider_zero=True)` of the published code, and gives the published 6,466 cells.
//!
//! It does not express equality of functions. It merges cells that differ: two convolutions of one tensor have separate weights,
//! while one convolution used twice shares them; and a batch normalisation of zeros is not zero. It also separates cells that are
//! equal: a sum of zeros and something has another text than that something, and the nesting of sums can change the order of the
//! terms. [`crate::space::canonical::key`] does neither.

use super::elaborate::chosen;
use super::scalars::Scope;
use crate::text::error::{Fault, Span};
use crate::text::lexer::TensorName;
use crate::text::syntax::{Argument, Expr, ExprKind, File, GraphDef, Port, Statement};
use std::collections::HashMap;

/// The text of zeros.
const ZERO: &str = "#";
/// The first tensor of the graph.
const INPUT: &str = "0";
/// Maximum length of an expression: each use of a tensor repeats its text.
const MAX_LENGTH: usize = 1 << 16;
/// Maximum depth of calls.
const MAX_DEPTH: usize = 32;

/// The expression of a graph of the file. `globals` has the values of the file's `$` names.
pub(crate) fn expression(file: &File, graph: usize, globals: &Scope<'_>) -> Result<String, Fault> {
    let def = &file.graphs[graph];
    let inputs = def.ports.iter().filter(|p| matches!(p, Port::Input(..))).count();
    if inputs != 1 {
        return Err(Fault::new(def.name.span.clone(), "a graph of which `topology` speaks has one input"));
    }
    let reader = Reader { file, globals };
    reader.graph(def, vec![INPUT.to_string()], Scope::within(globals), 0)
}

struct Reader<'a> {
    file: &'a File,
    globals: &'a Scope<'a>,
}

/// The names of one graph.
struct Names<'a> {
    tensors: HashMap<&'a TensorName, String>,
    scalars: Scope<'a>,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn graph(&self, def: &'a GraphDef, inputs: Vec<String>, scalars: Scope<'a>, depth: usize) -> Result<String, Fault> {
        let mut names = Names { tensors: HashMap::new(), scalars, depth };
        let mut inputs = inputs.into_iter();
        for port in &def.ports {
            if let Port::Input(input, _) = port {
                names.tensors.insert(&input.name, inputs.next().unwrap_or_else(|| ZERO.into()));
            }
        }
        for statement in &def.body {
            match statement {
                Statement::Define(def, value, _) => {
                    let text = self.expr(value, &names)?;
                    names.tensors.insert(&def.name, text);
                }
                Statement::Return(values) if values.len() == 1 => return self.expr(&values[0], &names),
                _ => break,
            }
        }
        Err(unsupported(&def.name.span))
    }

    fn expr(&self, expr: &'a Expr, names: &Names<'a>) -> Result<String, Fault> {
        let text = match &expr.kind {
            ExprKind::Tensor(name) => names.tensors.get(name).cloned().ok_or_else(|| unsupported(&expr.span))?,
            ExprKind::Op { name, operands, .. } => match name.text.as_str() {
                "add" => {
                    let mut terms = operands.iter().map(|o| self.expr(o, names)).collect::<Result<Vec<_>, _>>()?;
                    terms.sort();
                    terms.join("+")
                }
                "zeros_like" => ZERO.to_string(),
                _ => return Err(unsupported(&expr.span)),
            },
            ExprKind::Call { callee, arguments } => self.call(&self.file.graphs[*callee], arguments, &expr.span, names)?,
            ExprKind::Choose { subject, arms } => {
                let arm = chosen(subject, arms, &names.scalars)?;
                match self.expr(arm, names) {
                    // An arm made of sums, zeros and its argument is expanded; any other arm is a function named after the choice.
                    Ok(text) => text,
                    Err(_) => match self.argument(arm, names)? {
                        zero if zero == ZERO => zero,
                        argument => format!("({argument})@{}", names.scalars.resolve(subject)?),
                    },
                }
            }
        };
        if text.len() > MAX_LENGTH {
            return Err(Fault::new(expr.span.clone(), "the expression of this graph is too long"));
        }
        Ok(text)
    }

    fn call(&self, def: &'a GraphDef, arguments: &'a [Argument], span: &Span, names: &Names<'a>) -> Result<String, Fault> {
        if names.depth == MAX_DEPTH {
            return Err(unsupported(span));
        }
        let mut ports = def.ports.iter().filter_map(|port| match port {
            Port::Scalar(name, _) => Some(name),
            _ => None,
        });
        let mut scalars = Scope::within(self.globals);
        let mut tensors = Vec::new();
        for argument in arguments {
            match argument {
                Argument::Tensor(value) => tensors.push(self.expr(value, names)?),
                Argument::Scalar(name, value) => {
                    let port = name.as_ref().or_else(|| ports.next()).ok_or_else(|| unsupported(span))?;
                    scalars.define(&port.text, names.scalars.evaluate(value)?);
                }
            }
        }
        self.graph(def, tensors, scalars, names.depth + 1)
    }

    /// The text of the one tensor that an expression is about: the first that it names.
    fn argument(&self, expr: &'a Expr, names: &Names<'a>) -> Result<String, Fault> {
        let first = match &expr.kind {
            ExprKind::Op { operands, .. } => operands.first(),
            ExprKind::Call { arguments, .. } => arguments.iter().find_map(|argument| match argument {
                Argument::Tensor(value) => Some(value),
                Argument::Scalar(..) => None,
            }),
            _ => return self.expr(expr, names),
        };
        self.argument(first.ok_or_else(|| unsupported(&expr.span))?, names)
    }
}

fn unsupported(span: &Span) -> Fault {
    Fault::new(span.clone(), "the graph named by `topology` may consist of `choose`, `add`, `zeros_like` and calls only")
}
