//! Drawings of e-graphs as SVG: a dashed box per class, a line per e-node, and the graphs before and after beside it.

use super::chart::escape;
use super::dag;
use sonar_rewrite::report::egraph_dump::{DumpedClass, EGraphDump};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

/// Height of a line, height of a class's title, and width of a character.
const LINE: f64 = 16.0;
const HEAD: f64 = 17.0;
const CHARACTER: f64 = 6.3;
const GAP: (f64, f64) = (22.0, 44.0);
/// Up to this many classes, all are drawn. The second number is the most lines of a class.
const MAX_CLASSES: usize = 60;
const MAX_LINES: usize = 8;

/// One standalone SVG document with all e-graphs, one below the other, each between the graph before and the graph after.
pub fn svg(views: &[EGraphDump]) -> String {
    let mut body = String::new();
    let (mut width, mut y) = (0f64, 0.0);
    for (i, view) in views.iter().enumerate() {
        let costs: Vec<String> = view.costs.iter().map(|cost| format!("{:.2}", cost * 1e6)).collect();
        let _ = write!(
            body,
            r#"<text x="12" y="{:.0}" font-size="15" font-weight="bold">segment {}: graphs of {} µs</text>"#,
            y + 24.0,
            i + 1,
            escape(&costs.join(", "))
        );
        let (mut x, mut height) = (0.0, 0f64);
        let parts = [("before", dag::svg(&view.before)), ("the e-graph", one(view)), ("after", dag::svg(&view.after))];
        for (title, part) in parts {
            let (w, h) = size(&part);
            let _ = write!(body, r##"<text x="{:.0}" y="{:.0}" fill="#666">{title}</text>"##, x + 16.0, y + 46.0);
            let placed = format!(r#"<svg x="{x:.0}" y="{:.0}" height="{h:.0}" "#, y + 50.0);
            body.push_str(&part.replacen("<svg ", &placed, 1));
            x += w + 24.0;
            height = height.max(h);
        }
        width = width.max(x);
        y += height + 70.0;
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {y:.0}" width="{width:.0}" font-family="system-ui, sans-serif" font-size="11" fill="#222"><rect width="{width:.0}" height="{y:.0}" fill="#fff"/>{body}</svg>"##
    )
}

/// Width and height from the view box.
fn size(svg: &str) -> (f64, f64) {
    let numbers = svg.split("viewBox=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let mut numbers = numbers.split(' ').skip(2).filter_map(|number| number.parse().ok());
    (numbers.next().unwrap_or(0.0), numbers.next().unwrap_or(0.0))
}

/// One e-graph. Constant classes are left out. Of a large e-graph, only the classes of the two best graphs are drawn.
fn one(view: &EGraphDump) -> String {
    let data = || view.classes.iter().filter(|class| !class.is_weight);
    let large = data().count() > MAX_CLASSES;
    let is_best = |class: &&DumpedClass| class.nodes.iter().any(|node| node.chosen || node.runner_up);
    let classes: Vec<&DumpedClass> = data().filter(|class| !large || is_best(class)).collect();
    let place: HashMap<usize, usize> = classes.iter().enumerate().map(|(i, class)| (class.id, i)).collect();
    let lines: Vec<Vec<(String, bool, bool)>> = classes.iter().map(|class| lines(class)).collect();
    let layers = layers(&classes, &place);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); layers.iter().max().map_or(0, |most| most + 1)];
    for (i, &layer) in layers.iter().enumerate() {
        rows[layer].push(i);
    }
    let text_width = |i: usize| {
        let head = head(classes[i]).chars().count();
        lines[i].iter().map(|(text, ..)| text.chars().count()).max().unwrap_or(0).max(head) as f64 * CHARACTER + 18.0
    };
    let box_height = |i: usize| HEAD + lines[i].len() as f64 * LINE + 6.0;
    let row_width = |row: &[usize]| row.iter().map(|&i| text_width(i) + GAP.0).sum::<f64>() + GAP.0;
    let width = rows.iter().map(|row| row_width(row)).fold(200.0, f64::max);
    let mut corner = vec![(0.0, 0.0); classes.len()];
    let mut y = 12.0;
    for row in &mut rows {
        // Near its operands.
        let middle = |i: usize| {
            let above: Vec<f64> = classes[i]
                .nodes
                .iter()
                .flat_map(|node| &node.operands)
                .filter_map(|id| place.get(id))
                .filter(|&&j| layers[j] < layers[i])
                .map(|&j| corner[j].0 + text_width(j) / 2.0)
                .collect();
            above.iter().sum::<f64>() / above.len().max(1) as f64
        };
        row.sort_by(|&a, &b| middle(a).total_cmp(&middle(b)).then(a.cmp(&b)));
        let mut x = (width - row_width(row)) / 2.0 + GAP.0;
        for &i in row.iter() {
            corner[i] = (x, y);
            x += text_width(i) + GAP.0;
        }
        y += row.iter().map(|&i| box_height(i)).fold(0.0, f64::max) + GAP.1;
    }
    let height = y - GAP.1 + 40.0;
    let mut s = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" font-family="system-ui, sans-serif" font-size="11" fill="#222"><rect width="{width:.0}" height="{height:.0}" fill="#fff"/>"##
    );
    let mut edges: HashMap<(usize, usize), bool> = HashMap::new();
    for (i, class) in classes.iter().enumerate() {
        for node in &class.nodes {
            for &j in node.operands.iter().filter_map(|id| place.get(id)) {
                *edges.entry((j, i)).or_default() |= node.chosen;
            }
        }
    }
    let mut edges: Vec<((usize, usize), bool)> = edges.into_iter().collect();
    edges.sort_by_key(|&(ends, chosen)| (chosen, ends));
    for ((from, to), chosen) in edges {
        let (x, top) = (corner[from].0 + text_width(from) / 2.0, corner[from].1 + box_height(from));
        let (end, bottom) = (corner[to].0 + text_width(to) / 2.0, corner[to].1);
        let (colour, stroke) = if chosen { ("#c45a11", 2.0) } else { ("#c4c4c4", 0.8) };
        let bend = GAP.1 * 0.8;
        let _ = write!(
            s,
            r#"<path d="M{x:.1} {top:.1}C{x:.1} {:.1} {end:.1} {:.1} {end:.1} {bottom:.1}" fill="none" stroke="{colour}" stroke-width="{stroke}"/>"#,
            top + bend,
            bottom - bend
        );
    }
    for (i, class) in classes.iter().enumerate() {
        let ((x, y), w) = (corner[i], text_width(i));
        let _ = write!(
            s,
            r##"<g><rect x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{:.1}" rx="6" fill="#fbfbfb" stroke="#777" stroke-dasharray="4 3"/><text x="{:.1}" y="{:.1}" fill="#777" font-size="10">{}</text>"##,
            box_height(i),
            x + 7.0,
            y + 12.5,
            escape(&head(class))
        );
        for (k, (text, chosen, runner_up)) in lines[i].iter().enumerate() {
            let top = y + HEAD + k as f64 * LINE;
            if *chosen || *runner_up {
                let fill = if *chosen { "#fbd9bd" } else { "#e8f1fa" };
                let _ = write!(
                    s,
                    r#"<rect x="{:.1}" y="{top:.1}" width="{:.1}" height="{LINE}" rx="3" fill="{fill}"/>"#,
                    x + 3.0,
                    w - 6.0
                );
            }
            let _ = write!(s, r#"<text x="{:.1}" y="{:.1}">{}</text>"#, x + 8.0, top + 12.0, escape(text));
        }
        s.push_str("</g>");
    }
    let cut = if large { "; other classes are left out" } else { "" };
    let _ = write!(
        s,
        r##"<text x="12" y="{:.1}" fill="#666">orange: computed by the cheapest graph; blue: by the next{cut}</text></svg>"##,
        height - 10.0
    );
    s
}

fn head(class: &DumpedClass) -> String {
    format!("c{} {}{}", class.id, class.ty, if class.root { ", output" } else { "" })
}

/// The text of each e-node of a class, and whether the best and the second best graph use it; those come first.
fn lines(class: &DumpedClass) -> Vec<(String, bool, bool)> {
    let mut nodes: Vec<_> = class.nodes.iter().collect();
    nodes.sort_by(|a, b| (b.chosen, b.runner_up).cmp(&(a.chosen, a.runner_up)).then(a.cost.total_cmp(&b.cost)));
    let more = nodes.len().saturating_sub(MAX_LINES);
    let shown = nodes.iter().take(MAX_LINES).map(|node| {
        let cost = if node.cost > 0.0 { format!("  {:.2} µs", node.cost * 1e6) } else { String::new() };
        (format!("{}{cost}", node.label), node.chosen, node.runner_up && !node.chosen)
    });
    let rest = (more > 0).then(|| (format!("… and {more} more"), false, false));
    shown.chain(rest).collect()
}

/// For each class, its layer below the inputs. A cycle is cut where it closes.
fn layers(classes: &[&DumpedClass], place: &HashMap<usize, usize>) -> Vec<usize> {
    let operands = |i: usize| classes[i].nodes.iter().flat_map(|node| &node.operands).filter_map(|id| place.get(id).copied());
    let mut layers = vec![0; classes.len()];
    let (mut seen, mut done) = (HashSet::new(), HashSet::new());
    for root in 0..classes.len() {
        let mut stack = vec![(root, false)];
        while let Some((i, finished)) = stack.pop() {
            if finished {
                layers[i] = operands(i).filter(|j| done.contains(j)).map(|j| layers[j] + 1).max().unwrap_or(0);
                done.insert(i);
            } else if seen.insert(i) {
                stack.push((i, true));
                stack.extend(operands(i).map(|j| (j, false)));
            }
        }
    }
    layers
}
