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
//! value     = number | word | $name | "-" value | value ( "+" | "-" | "*" | "/" ) value | "(" value ")"
//!           | "[" value { "," value } "]" | word "(" attribute { "," attribute } ")"
//! ```
//!
//! In a definition, operands may be written without parentheses: `%1 = add %0, %b`. `//` begins a comment. A name with other
//! characters than letters, digits, `_` and `.` is quoted: `%"conv/weight:0"`. Some words are not an [`Op`](crate::graph::Op):
//! `zeros_like %x` is a [`Splat`](crate::graph::Op::Splat) of 0, and `flatten %x` a reshape to two axes. `add`, `mul`, `max` and
//! `min` take two or more operands, combined from the left. A comma may follow the last item of a list. The default initialiser of
//! a parameter is `he`. Braces belong to the operator right before them: `relu(conv2d(%x, %w) {stride=2})`.
//!
//! | operator | attributes (with their defaults) |
//! |---|---|
//! | `splat` | `value`, `shape` |
//! | `conv2d` | `stride=[1,1]`, `pad=[0,0,0,0]`, `dilation=[1,1]`, `groups=1` |
//! | `conv2d_grad_input` | those of `conv2d`, `size` (height and width of the input) |
//! | `conv2d_grad_weight` | those of `conv2d`, `kernel` |
//! | `max_pool`, `max_pool_grad`, `avg_pool` | `kernel`, `stride=[1,1]`, `pad=[0,0,0,0]`, `count_include_pad=false` |
//! | `avg_pool_grad` | those of `avg_pool`, `size` |
//! | `batch_norm`, `batch_norm_train` | `eps=1e-5` |
//! | `reshape`, `broadcast` | `shape` |
//! | `transpose` | `perm` |
//! | `concat` | `axis` |
//! | `slice` | `axis`, `start`, `end` |
//! | `pad` | `pads`, as in `[[0,0],[1,1]]` |
//! | `reduce_sum`, `reduce_mean`, `reduce_max`, `reduce_min` | `axes`, `keep=false` |
//! | `fused_sum` | `terms`, each `conv2d(…)`, `matmul` or `add`; `relu=false` |
//! | `matmul`, `global_avg_pool`, `softmax`, `log_softmax`, and every [`UnaryOp`](crate::UnaryOp) and [`BinaryOp`](crate::BinaryOp) | |
//!
//! Shorthands on input: `stride=2` is `[2,2]`; `pad=1` is `[1,1,1,1]`; `pad=[1,2]` is `[1,2,1,2]`; `pad=same`, for an odd kernel,
//! is the padding that keeps the extents at stride 1.
//!
//! A graph prints in flat form, one operator a line, and [`parse_graph`] reads the same graph back:
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
//! [`crate::space`] explains `let`, `choose`, `repeat` and calls.

pub(crate) mod error;
pub(crate) mod lexer;
pub(crate) mod ops;
pub(crate) mod parser;
mod print;
mod rule;
pub(crate) mod syntax;

pub use error::{Error, Span};
pub use rule::{Condition, Pattern, RuleText, parse_rules};

use crate::graph::Graph;
use crate::space::{Assignment, Space};

/// Parses a graph: a text without decisions.
pub fn parse_graph(text: &str) -> Result<Graph, Error> {
    let space = Space::parse(text)?;
    if let Some(fault) = space.first_decision() {
        return Err(fault);
    }
    space.instantiate(&Assignment::default())
}
