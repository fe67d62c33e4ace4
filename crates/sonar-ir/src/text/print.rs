//! Graph to text. Every value has its own line, with its type; a value without a name is printed as its [`NodeId`].

use super::lexer::quote_unless;
use super::ops::{init_name, show_attributes, spell};
use crate::entity::EntityVec;
use crate::graph::{Graph, Node, NodeId, Op};
use std::collections::HashSet;
use std::fmt;

/// Longer signatures are broken into one line for each input and parameter.
const MAX_WIDTH: usize = 120;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = names(self);
        let is_port = |node: &&Node| matches!(node.op, Op::Input | Op::Param(_));
        let ports: Vec<String> =
            self.nodes.iter().take_while(is_port).zip(&names).map(|(node, name)| declaration(node, name, "")).collect();
        let header = format!("graph @{}", quote_unless(true, &self.name));
        let width = header.len() + ports.iter().map(|p| p.len() + 2).sum::<usize>();
        if width <= MAX_WIDTH {
            writeln!(f, "{header}({}) {{", ports.join(", "))?;
        } else {
            writeln!(f, "{header}(\n    {}\n) {{", ports.join(",\n    "))?;
        }
        for (node, name) in self.nodes.iter().zip(&names).skip(ports.len()) {
            if is_port(&node) {
                writeln!(f, "  {}", declaration(node, name, "input "))?;
                continue;
            }
            let (op, attributes) = spell(&node.op);
            write!(f, "  {name} = {op}{}", list(" ", &node.operands, &names))?;
            if !attributes.is_empty() {
                write!(f, " {{{}}}", show_attributes(&attributes))?;
            }
            writeln!(f, " : {}", node.ty)?;
        }
        writeln!(f, "  return{}\n}}", list(" ", &self.outputs, &names))
    }
}

/// `%x: f32[N,8]`, after `input_keyword`, or `param %w: f32[8] = he`.
fn declaration(node: &Node, name: &str, input_keyword: &str) -> String {
    match node.op {
        Op::Param(init) => format!("param {name}: {} = {}", node.ty, init_name(init)),
        _ => format!("{input_keyword}{name}: {}", node.ty),
    }
}

fn list(before: &str, ids: &[NodeId], names: &EntityVec<NodeId, String>) -> String {
    let shown: Vec<&str> = ids.iter().map(|id| names[*id].as_str()).collect();
    if shown.is_empty() { String::new() } else { format!("{before}{}", shown.join(", ")) }
}

/// The printed name of each node, with its sigil. A name hint that an earlier node uses already is ignored.
fn names(graph: &Graph) -> EntityVec<NodeId, String> {
    let mut taken: HashSet<&str> = HashSet::new();
    let mut names = EntityVec::new();
    for (id, node) in graph.iter() {
        names.push(match &node.name {
            Some(name) if taken.insert(name) => {
                let digits = name.bytes().all(|b| b.is_ascii_digit());
                format!("%{}", quote_unless(!digits, name))
            }
            _ => id.to_string(),
        });
    }
    names
}
