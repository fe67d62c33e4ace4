//! Search spaces: the graph language with decisions. A graph file is a space without any.
//!
//! ```
//! use sonar_ir::space::Space;
//!
//! let space = Space::parse("
//!     let $classes = 10                              // a parameter: a number or word that may be set from outside
//!     let $width in {8, 16, 24}                      // a decision between numbers
//!     let $first, $second in {skip, conv}            // two decisions between words
//!
//!     graph @layer(%x: f32[N,$h,$w,$c], $kind) {     // $h, $w and $c take the extents of the argument
//!       param %w: f32[3,3,$c,$c] = he                // made anew at each call
//!       return choose $kind {
//!         skip => %x,
//!         conv => conv2d(relu(%x), %w) {pad=same},
//!       }
//!     }
//!
//!     graph @network(%image: f32[N,8,8,1]) {         // the last graph is what the file describes
//!       param %w: f32[1,1,1,$width]
//!       %x = conv2d %image, %w
//!       repeat 2 as $layer {                         // only a repeated block may define a tensor from outside again
//!         %x = @layer(%x, $first)
//!       }
//!       %last = @layer(%x, $kind=$second)
//!       param %head: f32[$width,$classes]
//!       return matmul(global_avg_pool(%last), %head)
//!     }
//!
//!     baseline $width=16, $first=conv, $second=conv  // the candidate that a person would take
//! ")?;
//! assert_eq!(space.count(), 12);
//! let candidate = space.parse_assignment("width=8 first=conv second=skip")?;
//! let graph = space.instantiate(&candidate)?;
//! let params: Vec<_> = graph.params().iter().map(|&id| graph.node(id).name.clone().unwrap_or_default()).collect();
//! assert_eq!(params, ["w", "layer0.w", "layer1.w", "last.w", "head"]);
//! # Ok::<(), sonar_ir::text::Error>(())
//! ```
//!
//! **Decisions** belong to the file: `$first` has the same value everywhere, so all cells of a network share their
//! choices. `choose` takes the arm whose label equals the value and ignores the others.
//!
//! **Calls** pass tensors and numbers in the order of the signature; numbers may be named instead. A `$name` in the type of an
//! input takes the extent of the argument. If the call gave `$name` a value, the two must agree. A graph may call only graphs
//! defined above it.
//!
//! **Names of parameters** contain the path to them. A call on the right of `%last = …` puts `last.` before the names inside. A
//! repetition `as $layer` puts `layer0.`, `layer1.`, …; a tensor carried through a repetition does not add its own name.
//! Names that are still equal are numbered.

pub mod canonical;
mod elaborate;
mod scalars;
mod topology;

use crate::graph::Graph;
use crate::text::error::{Error, Fault, nearest};
use crate::text::ops::Constant;
use crate::text::parser::{parse_file, parse_pairs, parse_value};
use crate::text::syntax::{File, Let, LetValue, Name, Value};
pub(crate) use scalars::Scope;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A family of graphs: one for each assignment of values to decisions.
#[derive(Clone, Debug)]
pub struct Space {
    text: String,
    file: File,
    /// Values of parameters and decisions that the caller has set.
    overrides: HashMap<String, Constant>,
    parameters: Vec<Parameter>,
    decisions: Vec<Decision>,
    /// For each decision, its choices as values.
    choices: Vec<Vec<Constant>>,
    baseline: Option<Assignment>,
}

/// A number or word of a file that the caller may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Without the `$`.
    pub name: String,
    /// As text: the value that the caller has set, otherwise the one in the file.
    pub value: String,
}

/// A named choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Without the `$`.
    pub name: String,
    /// The possible values, as text; at least one.
    pub choices: Vec<String>,
}

/// A candidate of a space: for each decision, in order, the index of the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Assignment(pub Vec<usize>);

impl Space {
    /// Parses a space. Parameters have their values in the text.
    pub fn parse(text: &str) -> Result<Space, Error> {
        Space::parse_with(text, &[])
    }

    /// Parses a space with parameters set to other values: `[("cells", "1"), …]`.
    /// A decision may also be set to one of its choices. Then it is no longer a decision.
    ///
    /// If a space parses, at least its baseline can be instantiated, or its first candidate without a baseline; [`Space::check`]
    /// tries more.
    pub fn parse_with(text: &str, settings: &[(&str, &str)]) -> Result<Space, Error> {
        let file = parse_file(text).map_err(|fault| fault.in_text(text))?;
        let overrides = settings.iter().map(|(name, value)| setting(&file, name, value)).collect::<Result<_, _>>()?;
        let mut space = Space {
            text: text.to_string(),
            file,
            overrides,
            parameters: Vec::new(),
            decisions: Vec::new(),
            choices: Vec::new(),
            baseline: None,
        };
        space.declare().and_then(|()| space.read_baseline()).map_err(|fault| fault.in_text(text))?;
        space.instantiate(&space.some_candidate())?;
        Ok(space)
    }

    /// Instantiates every choice of every decision at least once. This finds errors that depend on one decision alone.
    pub fn check(&self) -> Result<(), Error> {
        let base = self.some_candidate();
        for (decision, choices) in self.choices.iter().enumerate() {
            for choice in 0..choices.len() {
                let mut candidate = base.clone();
                candidate.0[decision] = choice;
                self.instantiate(&candidate)?;
                self.topology(&candidate)?;
            }
        }
        Ok(())
    }

    /// The name of the graph that the file describes.
    pub fn name(&self) -> &str {
        self.file.graphs.last().map_or("", |graph| &graph.name.text)
    }

    /// The values that the caller may set, in the order of the file.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The decisions, in the order of the file.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// Number of assignments; at most the largest `u128`.
    pub fn count(&self) -> u128 {
        self.choices.iter().fold(1, |count, choices| count.saturating_mul(choices.len() as u128))
    }

    /// The assignment of this rank, below [`Space::count`]; the last decision changes fastest.
    pub fn nth(&self, rank: u128) -> Option<Assignment> {
        if rank >= self.count() {
            return None;
        }
        let mut rest = rank;
        let mut indices = Vec::new();
        for choices in self.choices.iter().rev() {
            let radix = choices.len() as u128;
            indices.push((rest % radix) as usize);
            rest /= radix;
        }
        indices.reverse();
        Some(Assignment(indices))
    }

    /// All assignments, in the order of [`Space::nth`].
    pub fn assignments(&self) -> impl Iterator<Item = Assignment> + '_ {
        (0..self.count()).map_while(|rank| self.nth(rank))
    }

    /// The hand-made candidate that the file names.
    pub fn baseline(&self) -> Option<&Assignment> {
        self.baseline.as_ref()
    }

    /// The graph of a candidate.
    pub fn instantiate(&self, candidate: &Assignment) -> Result<Graph, Error> {
        let build = || elaborate::elaborate(&self.text, &self.file, &self.globals(candidate)?);
        build().map_err(|fault| fault.in_text(&self.text))
    }

    /// The published identity of a candidate, if the file has an item `topology @graph`: the expression of that graph with
    /// the choices as unknown functions. The literature counts candidates with equal texts as one.
    ///
    /// The text is exactly the one that NAS-Bench-201's authors use. It does not express equality of functions. It treats a batch
    /// normalisation of zeros as zeros, and one convolution used twice as two convolutions with separate weights. But it
    /// distinguishes `x` from a sum of `x` and zeros. [`canonical::key`](crate::space::canonical::key) does neither.
    pub fn topology(&self, candidate: &Assignment) -> Result<Option<String>, Error> {
        let Some(graph) = self.file.topology else { return Ok(None) };
        let build = || topology::expression(&self.file, graph, &self.globals(candidate)?);
        build().map(Some).map_err(|fault| fault.in_text(&self.text))
    }

    /// A candidate as text: `width=8 first=conv`.
    pub fn show(&self, candidate: &Assignment) -> String {
        let pairs = self.decisions.iter().zip(&candidate.0);
        let show = |(decision, &index): (&Decision, &usize)| {
            format!("{}={}", decision.name, decision.choices.get(index).map_or("?", String::as_str))
        };
        pairs.map(show).collect::<Vec<_>>().join(" ")
    }

    /// The inverse of [`Space::show`]; the order is free, and pairs may be separated by commas.
    pub fn parse_assignment(&self, text: &str) -> Result<Assignment, Error> {
        let pairs = parse_pairs(text).map_err(|fault| fault.in_text(text))?;
        let end = text.len()..text.len();
        self.assignment(&pairs, end, &HashMap::new()).map_err(|fault| fault.in_text(text))
    }

    /// The error for a file that must not have decisions, if it has any.
    pub(crate) fn first_decision(&self) -> Option<Error> {
        let decision = self.file.lets.iter().find(|l| matches!(l.value, LetValue::In(_)))?;
        let fault = Fault::new(decision.name.span.clone(), "expected a graph, found a search space")
            .help("this is a decision: a graph file has none");
        Some(fault.in_text(&self.text))
    }

    fn some_candidate(&self) -> Assignment {
        self.baseline.clone().unwrap_or_else(|| Assignment(vec![0; self.decisions.len()]))
    }

    /// Finds parameters, decisions and their choices.
    fn declare(&mut self) -> Result<(), Fault> {
        let mut known = Scope::default();
        for Let { name, value } in &self.file.lets {
            let set = self.overrides.get(&name.text);
            match value {
                LetValue::Is(default) => {
                    let value = match set {
                        Some(value) => Some(value.clone()),
                        None => known.evaluate(default).ok(),
                    };
                    let text = value.as_ref().map_or_else(|| self.text[default.span.clone()].to_string(), Constant::to_string);
                    self.parameters.push(Parameter { name: name.text.clone(), value: text });
                    if let Some(value) = value {
                        known.define(&name.text, value);
                    }
                }
                LetValue::In(values) => {
                    let choices = choices(name, values, &known)?;
                    match set {
                        Some(value) if choices.contains(value) => known.define(&name.text, value.clone()),
                        Some(value) => {
                            let shown: Vec<String> = choices.iter().map(|c| format!("`{c}`")).collect();
                            let expected = format!("one of {} for `${}`", shown.join(", "), name.text);
                            return Err(Fault::expected(name.span.clone(), expected, format_args!("`{value}`")));
                        }
                        None => {
                            let shown = choices.iter().map(Constant::to_string).collect();
                            self.decisions.push(Decision { name: name.text.clone(), choices: shown });
                            self.choices.push(choices);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn read_baseline(&mut self) -> Result<(), Fault> {
        if let Some(baseline) = &self.file.baseline {
            self.baseline = Some(self.assignment(&baseline.values, baseline.span.clone(), &self.overrides)?);
        }
        Ok(())
    }

    /// The assignment that pairs describe; pairs with names in `set` are ignored. `whole` is the span of all pairs.
    fn assignment(
        &self,
        pairs: &[(Name, Value)],
        whole: std::ops::Range<usize>,
        set: &HashMap<String, Constant>,
    ) -> Result<Assignment, Fault> {
        let scope = Scope::default();
        let mut indices = vec![None; self.decisions.len()];
        for (name, value) in pairs {
            if set.contains_key(&name.text) {
                continue;
            }
            let Some(index) = self.decisions.iter().position(|d| d.name == name.text) else {
                let fault = Fault::new(name.span.clone(), format!("there is no decision `{}`", name.text));
                return Err(match nearest(&name.text, self.decisions.iter().map(|d| d.name.as_str())) {
                    Some(near) => fault.help(format!("did you mean `{near}`?")),
                    None => fault,
                });
            };
            let wanted = scope.evaluate(value)?;
            let choice = self.choices[index].iter().position(|choice| *choice == wanted).ok_or_else(|| {
                let shown: Vec<String> = self.choices[index].iter().map(|c| format!("`{c}`")).collect();
                Fault::expected(value.span.clone(), format_args!("one of {}", shown.join(", ")), format_args!("`{wanted}`"))
            })?;
            if indices[index].replace(choice).is_some() {
                return Err(Fault::new(name.span.clone(), format!("`{}` is given twice", name.text)));
            }
        }
        let missing: Vec<&str> =
            self.decisions.iter().zip(&indices).filter(|(_, i)| i.is_none()).map(|(d, _)| d.name.as_str()).collect();
        if !missing.is_empty() {
            return Err(Fault::new(whole, format!("no value for `{}`", missing.join("`, `"))));
        }
        Ok(Assignment(indices.into_iter().flatten().collect()))
    }

    /// The values of the file's `$` names for a candidate.
    fn globals(&self, candidate: &Assignment) -> Result<Scope<'_>, Fault> {
        if candidate.0.len() != self.decisions.len() {
            let message = format!("expected {} choices, found {}", self.decisions.len(), candidate.0.len());
            return Err(Fault::new(0..0, message));
        }
        let mut scope = Scope::default();
        let mut decided = self.choices.iter().zip(&candidate.0);
        for Let { name, value } in &self.file.lets {
            let value = match (self.overrides.get(&name.text), value) {
                (Some(value), _) => value.clone(),
                (None, LetValue::Is(value)) => scope.evaluate(value)?,
                (None, LetValue::In(_)) => match decided.next().and_then(|(choices, &index)| choices.get(index)) {
                    Some(value) => value.clone(),
                    None => {
                        return Err(Fault::new(name.span.clone(), format!("the choice for `${}` is out of range", name.text)));
                    }
                },
            };
            scope.define(&name.text, value);
        }
        Ok(scope)
    }
}

/// Reads a value that the caller sets for a parameter or decision.
fn setting(file: &File, name: &str, value: &str) -> Result<(String, Constant), Error> {
    let name = name.trim_start_matches('$');
    let fault = |fault: Fault| fault.in_text(value);
    let Some(known) = file.lets.iter().find(|l| l.name.text == name) else {
        let names = file.lets.iter().map(|l| l.name.text.as_str());
        let unknown = Fault::new(0..0, format!("there is no parameter `{name}`"));
        return Err(fault(match nearest(name, names.clone()) {
            Some(near) => unknown.help(format!("did you mean `{near}`?")),
            None => unknown.help(format!("the parameters are {}", names.collect::<Vec<_>>().join(", "))),
        }));
    };
    let parse = || {
        let parsed = parse_value(value)?;
        let constant = Scope::default().evaluate(&parsed)?;
        let is_number = |c: &Constant| matches!(c, Constant::Int(_) | Constant::Float(_));
        if let LetValue::Is(default) = &known.value
            && let Ok(default) = Scope::default().evaluate(default)
            && is_number(&default) != is_number(&constant)
        {
            let expected = if is_number(&default) { "a number" } else { "a word" };
            return Err(Fault::expected(parsed.span, format_args!("{expected} for `{name}`"), format_args!("`{constant}`")));
        }
        Ok((name.to_string(), constant))
    };
    parse().map_err(fault)
}

/// The choices of a decision; they are distinct.
fn choices(name: &Name, values: &[Value], known: &Scope<'_>) -> Result<Vec<Constant>, Fault> {
    if values.is_empty() {
        return Err(Fault::new(name.span.clone(), format!("`${}` has no choices", name.text)));
    }
    let mut choices = Vec::new();
    for value in values {
        let choice = known
            .evaluate(value)
            .map_err(|fault| fault.help("choices may depend on parameters defined above, and on nothing else"))?;
        if choices.contains(&choice) {
            return Err(Fault::new(value.span.clone(), format!("`{choice}` is among the choices twice")));
        }
        choices.push(choice);
    }
    Ok(choices)
}
