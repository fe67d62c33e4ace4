//! Corrects the expectations in a text: `// => ANSWER` and `// error: MESSAGE`.
//! A test passes if the corrected text is the same as the text. Blessing writes the corrected text.

use super::answer::Answer;
use super::directive::{Directive, Run};
use super::examples::candidate;
use sonar_ir::graph::interp;
use sonar_ir::space::Space;
use sonar_ir::{Graph, text};
use sonar_rewrite::RuleError;

/// The language of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A graph or a space.
    Space,
    /// Rewrite rules.
    Rules,
}

/// Starts the comment on a line with an error.
const ERROR: &str = "// error:";

/// The text with correct answers and errors. All other lines, and expectations that are correct already, are unchanged.
pub fn corrected(text: &str, kind: Kind) -> Result<String, String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(String::from).collect();
    if kind == Kind::Rules {
        correct_error(&mut lines, rules_fault(text));
        return Ok(lines.concat());
    }
    let directive = Directive::parse(text)?;
    let graph = Space::parse_with(text, &directive.settings()).and_then(|space| {
        space.check()?;
        space.instantiate(&candidate(&space))
    });
    match graph {
        Err(error) => correct_error(&mut lines, Some(fault(&error))),
        Ok(graph) => {
            correct_error(&mut lines, None);
            // From the last to the first, so that line numbers stay valid.
            for run in directive.runs.iter().rev() {
                correct_answers(&mut lines, run, &graph, &directive).map_err(|e| format!("line {}: {e}", run.line + 1))?;
            }
        }
    }
    Ok(lines.concat())
}

/// Line, from 0, and message.
type Fault = (usize, String);

fn fault(error: &text::Error) -> Fault {
    (error.line_column().0 - 1, error.to_string())
}

fn rules_fault(text: &str) -> Option<Fault> {
    let error = sonar_rewrite::rules::load(text).err()?;
    let line = match &error {
        RuleError::Syntax(error) => return Some(fault(error)),
        RuleError::Taken { line, .. } | RuleError::Never { line, .. } | RuleError::Wrong { line, .. } => *line,
    };
    let message = error.to_string();
    let message = message.strip_prefix(&format!("line {line}: ")).unwrap_or(&message);
    Some((line - 1, message.lines().next().unwrap_or_default().to_string()))
}

/// Puts the error on its line and removes all others. An error at the end of the text is on the last line.
fn correct_error(lines: &mut Vec<String>, fault: Option<Fault>) {
    if lines.is_empty() && fault.is_some() {
        lines.push("\n".to_string());
    }
    let end = lines.len().saturating_sub(1);
    for (number, line) in lines.iter_mut().enumerate() {
        let message = fault.as_ref().filter(|(at, _)| (*at).min(end) == number).map(|(_, message)| message.as_str());
        let body = line.trim_end_matches(['\n', '\r']);
        let ending = &line[body.len()..];
        let (code, stated) = body.split_once(ERROR).map_or((body, None), |(code, stated)| (code, Some(stated.trim())));
        let right = match (stated, message) {
            (None, None) => true,
            (Some(stated), Some(message)) => !stated.is_empty() && message.starts_with(stated),
            _ => false,
        };
        if !right {
            let space = if code.is_empty() || code.ends_with(' ') { "" } else { " " };
            *line = match message {
                Some(message) => format!("{code}{space}{ERROR} {message}{ending}"),
                None => format!("{}{ending}", code.trim_end()),
            };
        }
    }
}

/// Corrects the answers below a run.
fn correct_answers(lines: &mut Vec<String>, run: &Run, graph: &Graph, directive: &Directive) -> Result<(), String> {
    let (graph, values) = run.bind(graph, directive)?;
    let outputs = interp::run(&graph, &values).map_err(|e| e.to_string())?;
    let below = run.line + 1..run.line + 1 + run.answers.len();
    let right = outputs.iter().enumerate().map(|(output, found)| {
        let stated = run
            .answers
            .get(output)
            .filter(|stated| Answer::parse(stated).is_ok_and(|answer| answer.error(found) <= directive.rtol));
        match stated {
            Some(_) => lines[run.line + 1 + output].clone(),
            None => format!("// => {}\n", Answer::of(found)),
        }
    });
    let right: Vec<String> = right.collect();
    if !lines[run.line].ends_with('\n') {
        lines[run.line].push('\n');
    }
    lines.splice(below, right);
    Ok(())
}
