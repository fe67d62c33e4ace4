//! The report of a search, and the page of a model. Each is one self-contained HTML file. The pictures of a search are also
//! written as SVG files.

pub mod chart;
pub mod dag;
pub mod egraph;
mod labels;
pub mod page;
pub mod pictures;

use chart::{escape, number};
use sonar_nas::SearchResult;
use sonar_nas::results::Architecture;
use std::fmt::Write as _;

/// Details of the winner.
pub struct Winner {
    /// Its name within the search.
    pub name: String,
    /// A drawing of the original graph.
    pub before: String,
    /// A drawing of the graph after equality saturation.
    pub after: String,
    /// A drawing of the e-graphs of its distinct segments.
    pub egraph: String,
    /// The rewritten graph as text.
    pub graph: String,
    /// For each kernel: how often it is called, its schedule, and its loop program.
    pub kernels: Vec<WinnerKernel>,
}

/// One kernel of the winner.
pub struct WinnerKernel {
    /// Its name.
    pub name: String,
    /// How often one inference calls it.
    pub calls: usize,
    /// The schedule as text.
    pub schedule: String,
    /// The scheduled loop program as text.
    pub program: String,
}

/// The style sheet of all pages.
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:980px;margin:2rem auto;padding:0 1rem;color:#222}\
h1{margin-bottom:.2rem}h2{margin-top:2.4rem;border-bottom:1px solid #ddd}table{border-collapse:collapse;font-size:14px}\
td,th{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #eee}td:first-child,th:first-child,td.l,th.l{text-align:left}\
figure{margin:1.2rem 0}figcaption{color:#555;font-size:14px}figure svg{max-width:100%;height:auto}\
pre{background:#f6f6f6;padding:.8rem;overflow:auto;font-size:12px;line-height:1.35}.win{background:#eef7ee}.note{color:#555}\
.graphs{display:flex;gap:1rem;overflow:auto;max-height:640px;border:1px solid #ddd;padding:.5rem}.graphs div{flex:none}";

/// The report as one HTML document.
pub fn html(result: &SearchResult, title: &str, winner: Option<&Winner>) -> String {
    let mut s = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Sonar: {0}</title><style>{STYLE}</style></head><body><h1>{0}</h1><p class=\"note\">{1}</p>",
        escape(title),
        escape(&summary(result))
    );
    let _ = write!(s, "<h2>Front</h2>{}", front_table(result));
    for picture in pictures::all(result) {
        let _ = write!(
            s,
            "<figure id=\"{}\">{}<figcaption>{}</figcaption></figure>",
            picture.name,
            picture.svg,
            escape(picture.caption)
        );
    }
    if let Some(winner) = winner {
        winner_section(&mut s, winner);
    }
    let config = serde_json::to_string_pretty(&result.config).unwrap_or_default();
    let _ = write!(
        s,
        "<h2>Settings</h2><details><summary>the run's configuration</summary><pre>{}</pre></details></body></html>",
        escape(&config)
    );
    s
}

/// The run in one sentence.
pub fn summary(result: &SearchResult) -> String {
    let stop = match result.stop {
        None => "still running".to_string(),
        Some(reason) => {
            serde_json::to_value(reason).ok().and_then(|v| v.as_str().map(|s| format!("ended: {s}"))).unwrap_or_default()
        }
    };
    format!(
        "{} on {} architectures, seed {}, {} s ({stop})",
        result.algorithm,
        result.candidates.len(),
        result.seed,
        number(result.cost.total)
    )
}

fn front_table(result: &SearchResult) -> String {
    let mut s = String::from(
        "<table><tr><th>architecture</th><th>accuracy</th><th>latency, µs</th><th>interval</th><th>parameters</th><th>MFLOP</th><th>rung</th><th class=\"l\">decisions</th></tr>",
    );
    let mut row = |a: &Architecture, class: &str| {
        let decisions: Vec<String> = a.decisions.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let _ = write!(
            s,
            "<tr class=\"{class}\"><td>{}</td><td>{:.2}%</td><td>{:.2}</td><td>{:.2}–{:.2}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"l\">{}</td></tr>",
            escape(&a.architecture),
            100.0 * a.accuracy,
            a.latency.median_us,
            a.latency.low_us,
            a.latency.high_us,
            a.parameters,
            number(a.flops as f64 / 1e6),
            a.rung,
            escape(&decisions.join(" "))
        );
    };
    for a in &result.front {
        row(a, if Some(&a.architecture) == result.winner.as_ref() { "win" } else { "" });
    }
    if let Some(baseline) = result.baseline.as_ref().filter(|b| !result.front.iter().any(|a| a.architecture == b.architecture)) {
        row(baseline, "");
    }
    s.push_str("</table>");
    s
}

fn winner_section(s: &mut String, winner: &Winner) {
    let _ = write!(
        s,
        "<h2>The winner: {}</h2><p>Its graph as described, and after equality saturation (weights left out):</p>\
         <div class=\"graphs\"><div>{}</div><div>{}</div></div>\
         <details><summary>the e-graphs in which it was found</summary><div class=\"graphs\"><div>{}</div></div></details>\
         <details><summary>the rewritten graph as text</summary><pre>{}</pre></details><h3>Schedules</h3>",
        escape(&winner.name),
        winner.before,
        winner.after,
        winner.egraph,
        escape(&winner.graph)
    );
    for kernel in &winner.kernels {
        let _ = write!(
            s,
            "<details><summary><b>{}</b>, called {}×</summary><pre>{}</pre><pre>{}</pre></details>",
            escape(&kernel.name),
            kernel.calls,
            escape(&kernel.schedule),
            escape(&kernel.program)
        );
    }
}
