//! Drawings of graphs as SVG: one box per kernel, in layers from the inputs down.

use super::chart::escape;
use sonar_ir::entity::EntityVec;
use sonar_ir::{Graph, NodeId, Op};
use std::fmt::Write as _;

const HEIGHT: f64 = 34.0;
const GAP: (f64, f64) = (16.0, 26.0);
/// Width of a character, a little more than the average.
const CHARACTER: f64 = 6.4;

/// A graph as a standalone SVG document. Parameters and weight expressions are left out.
pub fn svg(graph: &Graph) -> String {
    let weight = graph.weights();
    let shown: Vec<NodeId> = graph.iter().map(|(id, _)| id).filter(|id| !weight[*id]).collect();
    let mut layer = EntityVec::filled(0usize, graph.nodes.len());
    let mut rows: Vec<Vec<NodeId>> = Vec::new();
    for &id in &shown {
        let above = graph.node(id).operands.iter().filter(|o| !weight[**o]).map(|o| layer[*o] + 1).max().unwrap_or(0);
        layer[id] = above;
        if rows.len() <= above {
            rows.resize(above + 1, Vec::new());
        }
        rows[above].push(id);
    }
    let texts = |id: NodeId| (label(graph, id), format!("{id} {}", graph.node(id).ty));
    let longest = shown.iter().map(|&id| texts(id)).map(|(a, b)| a.chars().count().max(b.chars().count())).max().unwrap_or(0);
    let box_width = longest as f64 * CHARACTER + 12.0;
    let widest = rows.iter().map(Vec::len).max().unwrap_or(1);
    let (width, height) = (widest as f64 * (box_width + GAP.0) + GAP.0, rows.len() as f64 * (HEIGHT + GAP.1) + GAP.1);
    let mut centre = EntityVec::filled((0.0, 0.0), graph.nodes.len());
    for (i, row) in rows.iter().enumerate() {
        let left = (width - row.len() as f64 * (box_width + GAP.0) + GAP.0) / 2.0;
        for (j, id) in row.iter().enumerate() {
            let x = left + j as f64 * (box_width + GAP.0) + box_width / 2.0;
            let y = GAP.1 + i as f64 * (HEIGHT + GAP.1) + HEIGHT / 2.0;
            centre[*id] = (x, y);
        }
    }
    let mut s = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" font-family="system-ui, sans-serif" font-size="11" fill="#222"><rect width="{width:.0}" height="{height:.0}" fill="#fff"/>"##
    );
    for &id in &shown {
        let (x, y) = centre[id];
        for operand in graph.node(id).operands.iter().filter(|o| !weight[**o]) {
            let (ox, oy) = centre[*operand];
            let (top, bottom) = (oy + HEIGHT / 2.0, y - HEIGHT / 2.0);
            // A long edge is curved sideways, so that it does not cross the boxes between.
            let swing = if layer[id] > layer[*operand] + 1 { box_width * 0.75 } else { 0.0 };
            let _ = write!(
                s,
                r##"<path d="M{ox:.1} {top:.1}C{:.1} {:.1} {:.1} {:.1} {x:.1} {bottom:.1}" fill="none" stroke="#888"/>"##,
                ox + swing,
                top + GAP.1,
                x + swing,
                bottom - GAP.1
            );
        }
    }
    for &id in &shown {
        let node = graph.node(id);
        let (x, y) = centre[id];
        let (first, second) = texts(id);
        let fill = match node.op {
            Op::Input => "#e8f1fa",
            Op::Conv2d(_) | Op::MatMul | Op::FusedSum { .. } => "#fdeee0",
            _ => "#eef7ee",
        };
        let _ = write!(
            s,
            r##"<g><rect x="{:.1}" y="{:.1}" width="{:.1}" height="{}" rx="5" fill="{fill}" stroke="#777"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text><text x="{x:.1}" y="{:.1}" text-anchor="middle" fill="#666">{}</text></g>"##,
            x - box_width / 2.0,
            y - HEIGHT / 2.0,
            box_width,
            HEIGHT,
            y - 3.0,
            escape(&first),
            y + 11.0,
            escape(&second)
        );
    }
    s.push_str("</svg>");
    s
}

/// The text of a box: the operator, and for a fused kernel its terms.
fn label(graph: &Graph, id: NodeId) -> String {
    use sonar_ir::Term;
    let node = graph.node(id);
    let kernel = |weight: NodeId| {
        graph.ty(weight).extents().filter(|w| w.len() == 4).map_or(String::new(), |w| format!("{}×{}", w[0], w[1]))
    };
    match &node.op {
        Op::Input => node.name.clone().unwrap_or_default(),
        Op::Unary(op) => op.to_string(),
        Op::Binary(op) => op.to_string(),
        Op::Conv2d(_) => format!("conv {}", kernel(node.operands[1])),
        Op::MatMul => "matmul".into(),
        Op::BatchNorm { .. } => "batch norm".into(),
        Op::MaxPool(_) => "max pool".into(),
        Op::AvgPool(_) => "avg pool".into(),
        Op::GlobalAvgPool => "global avg pool".into(),
        Op::FusedSum { terms, relu } => {
            let before = |relu: bool| if relu { "relu·" } else { "" };
            let part = |(term, operands): (&Term, &[NodeId])| match term {
                Term::Conv2d { relu, .. } => format!("{}conv {}", before(*relu), kernel(operands[1])),
                Term::MatMul { relu } => format!("{}matmul", before(*relu)),
                Term::Add if graph.ty(operands[0]).rank() <= 1 => "bias".into(),
                Term::Add => "add".into(),
            };
            let parts: Vec<String> = Term::with_operands(terms, &node.operands).map(part).collect();
            format!("{}{}", parts.join(" + "), if *relu { " → relu" } else { "" })
        }
        other => {
            let text = format!("{other:?}");
            text.split(['(', ' ', '{']).next().unwrap_or_default().to_lowercase()
        }
    }
}
