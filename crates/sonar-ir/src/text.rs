//! The text form of graphs and search spaces: parser, printer, errors.
//!
//! ```text
//! file      = { item }                            the last graph is what the file describes
//! item      = "let" $name { "," $name } ( "=" value | "in" "{" value { "," value } "}" )
//!           | "baseline" $name "=" value { "," $name "=" value }
//!           | "topology" @name
//!           | "graph" @name "(" [ port { "," port } ] ")" "{" { statement } "return" [ expr { "," expr } ] "}"
//! port      = %name [ ":" type ] | "param" %name ":" type [ "=" init ] | $name [ "=" value ]
//! statement = %name "=" expr [ ":" type ]         the type is checked
//!           | "param" %name ":" type [ "=" init ] | "input" %name ":" type
//!           | "let" $name "=" value
//!           | "repeat" value [ "as" $name ] "{" { statement } "}"
//! expr      = %name
//!           | op [ "(" expr { "," expr } ")" ] [ "{" attribute { "," attribute } "}" ]
//!           | @name "(" [ argument { "," argument } ] ")"
//!           | "choose" $name "{" value "=>" expr { "," value "=>" expr } "}"
//! argument  = expr | value | $name "=" value
//! attribute = word [ "=" value ]
//! type      = "f32" "[" value { "," value } "]"   the word N is the batch
//! init      = "he" | "uniform" | "zeros" | "ones"
//! value     = number | word | $name | "[" value { "," value } "]" | value ( "+" | "-" | "*" | "/" ) value | "(" value ")"
//! ```
//!
//! In a definition, operands may stand without parentheses: `%1 = add %0, %b`. `//` begins a comment. A name with other
//! characters than letters, digits, `_` and `.` is quoted: `%"conv/weight:0"`. Beyond the operators of [`Op`](crate::graph::Op),
//! `zeros_like %x` is a [`Splat`](crate::graph::Op::Splat) of 0, and `add`, `mul`, `max` and `min` take two operands or more,
//! combined from the left. Attributes are listed in the module `ops`.
//!
//! A graph prints in flat form, one operator a line, and [`parse_graph`] gives back what was printed:
//!
//! ```
//! let text = "graph @head(%x: f32[N,8], param %w: f32[8,2] = he) { return softmax(matmul(%x, %w)) }";
//! let graph = sonar_ir::text::parse_graph(text)?;
//! assert_eq!(graph.to_string(), "\
//! graph @head(%x: f32[N,8], param %w: f32[8,2] = he) {
//!   %2 = matmul %x, %w : f32[N,2]
//!   %3 = softmax %2 : f32[N,2]
//!   return %3
//! }
//! ");
//! assert_eq!(sonar_ir::text::parse_graph(&graph.to_string())?, graph);
//! # Ok::<(), sonar_ir::text::Error>(())
//! ```
//!
//! What `let`, `choose`, `repeat` and calls mean is the matter of [`crate::space`].

mod error;
mod lexer;
pub(crate) mod ops;
pub(crate) mod parser;
mod print;
pub(crate) mod syntax;

pub use error::{Error, Span};
pub(crate) use error::{Fault, nearest};
pub(crate) use lexer::TensorName;

use crate::graph::Graph;
use crate::space::{Assignment, Space};

/// The graph that a text describes: one without decisions.
pub fn parse_graph(text: &str) -> Result<Graph, Error> {
    let space = Space::parse(text)?;
    if let Some(fault) = space.first_decision() {
        return Err(fault);
    }
    space.instantiate(&Assignment::default())
}
