//! The comments that say how a file is tested: see `tests/filetests/README.md`.

use super::literal::Literal;
use sonar_ir::graph::init;
use sonar_ir::{Graph, Values};

/// The batch, if no input of a run determines it.
pub const BATCH: usize = 2;

/// How a file is tested.
#[derive(Clone, Debug, PartialEq)]
pub struct Directive {
    /// Of weights, inputs and random candidates.
    pub seed: u64,
    /// The tolerance, relative to the largest element of an output.
    pub rtol: f64,
    /// Parameters of the file with the values that they have in tests.
    pub settings: Vec<(String, String)>,
    /// Runs with expected outputs.
    pub runs: Vec<Run>,
}

/// A run with expected outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its line, from 0; the answers are on the next lines.
    pub line: usize,
    /// Inputs and parameters that are not random.
    pub given: Vec<(String, Literal)>,
    /// For each output, the text after `// =>`.
    pub answers: Vec<String>,
}

impl Directive {
    /// Parses the comments in `text`.
    pub fn parse(text: &str) -> Result<Directive, String> {
        let mut directive = Directive { seed: 0, rtol: 1e-4, settings: Vec::new(), runs: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            if let Some(words) = line.strip_prefix("// test:") {
                directive.option(words)?;
            } else if let Some(given) = line.strip_prefix("// run:") {
                let given = parse_given(given).map_err(|e| format!("line {}: {e}", number + 1))?;
                directive.runs.push(Run { line: number, given, answers: Vec::new() });
            } else if let Some(answer) = line.strip_prefix("// =>") {
                let run = directive.runs.last_mut().filter(|run| run.line + run.answers.len() + 1 == number);
                let run = run.ok_or_else(|| format!("line {}: an answer must be right below its run", number + 1))?;
                run.answers.push(answer.to_string());
            }
        }
        Ok(directive)
    }

    /// Parses the text after `// test:`.
    fn option(&mut self, line: &str) -> Result<(), String> {
        let wrong = |what: &str| format!("cannot understand `{what}` in a test directive");
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        for pair in words {
            match (kind, pair.split_once('=')) {
                ("run", Some(("seed", value))) => self.seed = value.parse().map_err(|_| wrong(pair))?,
                ("run", Some(("rtol", value))) => self.rtol = value.parse().map_err(|_| wrong(pair))?,
                ("set", Some((name, value))) => self.settings.push((name.to_string(), value.to_string())),
                _ => return Err(wrong(pair)),
            }
        }
        if ["run", "set"].contains(&kind) { Ok(()) } else { Err(wrong(line)) }
    }

    /// The settings in the form that [`Space::parse_with`](sonar_ir::space::Space::parse_with) takes.
    pub fn settings(&self) -> Vec<(&str, &str)> {
        self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// Random inputs and parameters of a graph whose batch is bound.
    pub fn random(&self, graph: &Graph) -> Values {
        let mut values = init::randomise(graph, self.seed);
        values.extend(init::inputs(graph, self.seed));
        values
    }
}

impl Run {
    /// The graph with its batch bound, and the values of all inputs and parameters.
    pub fn bind(&self, graph: &Graph, directive: &Directive) -> Result<(Graph, Values), String> {
        let graph = graph.specialise(self.batch(graph)?);
        let mut values = directive.random(&graph);
        for (name, literal) in &self.given {
            let value = values.get_mut(name).ok_or_else(|| format!("there is no input or parameter `{name}`"))?;
            if literal.shape.is_empty() {
                value.data.fill(literal.data[0]);
            } else {
                let wrong = || format!("`{name}` has the shape {:?}, not {:?}", value.shape, literal.shape);
                *value = literal.tensor(&value.shape).ok_or_else(wrong)?;
            }
        }
        Ok((graph, values))
    }

    /// The batch of the inputs that are given.
    fn batch(&self, graph: &Graph) -> Result<usize, String> {
        let of_one = graph.specialise(1);
        for id in graph.inputs() {
            let node = graph.node(id);
            let stated = self.given.iter().find(|(name, literal)| node.name.as_ref() == Some(name) && !literal.shape.is_empty());
            if let (None, Some((name, literal))) = (node.ty.extents(), stated) {
                let each: usize = of_one.ty(id).extents().into_iter().flatten().product();
                if !literal.data.len().is_multiple_of(each) {
                    return Err(format!("`{name}` has {each} elements for each of the batch, not {}", literal.data.len()));
                }
                return Ok(literal.data.len() / each);
            }
        }
        Ok(BATCH)
    }
}

/// Parses `NAME=LITERAL …`.
fn parse_given(mut text: &str) -> Result<Vec<(String, Literal)>, String> {
    let mut given = Vec::new();
    while !text.trim().is_empty() {
        let (name, value) = text.split_once('=').ok_or_else(|| format!("expected NAME=VALUE, found `{}`", text.trim()))?;
        let (literal, rest) = Literal::parse(value).map_err(|e| format!("`{}`: {e}", name.trim()))?;
        given.push((name.trim().to_string(), literal));
        text = rest;
    }
    Ok(given)
}
