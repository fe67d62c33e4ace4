//! The pictures of a search, drawn from a [`SearchResult`].

use super::chart::{Chart, PALETTE, Point, Series, Style, number, shares};
use sonar_nas::SearchResult;
use sonar_nas::Status;
use sonar_nas::results::{Architecture, CandidateRecord};

/// A picture with the name of its file.
pub struct Picture {
    /// File name without extension.
    pub name: &'static str,
    /// The message of the picture for the reader.
    pub caption: &'static str,
    /// Standalone SVG.
    pub svg: String,
}

/// Every picture of a search, in the order of the report.
pub fn all(result: &SearchResult) -> Vec<Picture> {
    vec![
        Picture {
            name: "front",
            caption: "Up and to the left is better. The staircase joins the architectures that none dominates; bars are 95% intervals of the median latency.",
            svg: front(result),
        },
        Picture {
            name: "learning-curves",
            caption: "Each line is one architecture; it ends where its training was stopped.",
            svg: learning(result),
        },
        Picture {
            name: "tuning-curves",
            caption: "Latency of each architecture after so many schedules were tried for each of its kernels; kernels are shared, so one architecture's trials help others.",
            svg: tuning(result),
        },
        Picture { name: "seconds", caption: "Wall-clock seconds of the whole search by purpose.", svg: seconds(result) },
    ]
}

/// The tool tip of an architecture.
fn tip(name: &str, decisions: &std::collections::BTreeMap<String, String>, rest: &str) -> String {
    let decisions: Vec<String> = decisions.iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!("{name}: {rest}\n{}", decisions.join(" "))
}

/// The latest latency of a candidate in microseconds, with its interval.
fn latency(record: &CandidateRecord) -> Option<(f64, (f64, f64))> {
    let l = record.measured.or_else(|| record.tuning.last().copied())?;
    Some((l.median_us, (l.low_us, l.high_us)))
}

fn place(record: &CandidateRecord) -> Option<Point> {
    let (x, interval) = latency(record)?;
    let epoch = record.curve.last()?;
    let rest = format!("{:.1}% after {} epochs, {} µs", 100.0 * epoch.accuracy, epoch.epoch, number(x));
    Some(Point {
        x,
        y: 100.0 * epoch.accuracy,
        tip: tip(&record.architecture, &record.decisions, &rest),
        x_interval: record.measured.map(|_| interval),
        ..Point::default()
    })
}

fn front_point(a: &Architecture) -> Point {
    let rest = format!("{:.1}%, {} µs", 100.0 * a.accuracy, number(a.latency.median_us));
    Point {
        x: a.latency.median_us,
        y: 100.0 * a.accuracy,
        tip: tip(&a.architecture, &a.decisions, &rest),
        x_interval: Some((a.latency.low_us, a.latency.high_us)),
        ..Point::default()
    }
}

fn front(result: &SearchResult) -> String {
    let records = || result.candidates.iter().filter(|r| !r.baseline);
    let stopped = records().filter(|r| r.status != Status::Alive).filter_map(place).collect();
    let finished = records().filter(|r| r.status == Status::Alive).filter_map(place).collect();
    let stairs: Vec<Point> =
        result.front.iter().map(|a| Point { tip: String::new(), x_interval: None, ..front_point(a) }).collect();
    Chart {
        title: "Accuracy against latency".into(),
        x_label: "latency of one inference, µs (logarithmic)".into(),
        y_label: "validation accuracy, %".into(),
        x_log: true,
        y_log: false,
        series: vec![
            Series { name: "stopped early".into(), colour: PALETTE[6], style: Style::Dots, points: stopped },
            Series { name: String::new(), colour: PALETTE[0], style: Style::Steps, points: stairs },
            Series { name: "finalists".into(), colour: PALETTE[0], style: Style::Dots, points: finished },
            Series {
                name: "front".into(),
                colour: PALETTE[2],
                style: Style::Rings,
                points: result.front.iter().map(front_point).collect(),
            },
            Series {
                name: "hand-made baseline".into(),
                colour: PALETTE[1],
                style: Style::Crosses,
                points: result.baseline.iter().map(front_point).collect(),
            },
        ],
    }
    .svg()
}

/// Colour and legend group of a candidate's line.
fn group(record: &CandidateRecord) -> (usize, &'static str, &'static str) {
    match (record.baseline, &record.status) {
        (true, _) => (2, "hand-made baseline", PALETTE[1]),
        (false, Status::Alive) => (1, "finalists", PALETTE[0]),
        (false, _) => (0, "stopped early", PALETTE[6]),
    }
}

/// One line for each candidate; the legend names each group once.
fn lines(result: &SearchResult, style: Style, points: impl Fn(&CandidateRecord) -> Vec<Point>) -> Vec<Series> {
    let mut records: Vec<&CandidateRecord> = result.candidates.iter().collect();
    records.sort_by_key(|r| group(r).0);
    let mut named = Vec::new();
    let mut series = Vec::new();
    for record in records {
        let (_, name, colour) = group(record);
        let first = !named.contains(&name);
        if first {
            named.push(name);
        }
        let name = if first { name.to_string() } else { String::new() };
        series.push(Series { name, colour, style, points: points(record) });
    }
    series
}

fn learning(result: &SearchResult) -> String {
    let points = |r: &CandidateRecord| {
        let of = |e: &sonar_nas::Epoch| Point {
            x: e.epoch as f64,
            y: 100.0 * e.accuracy,
            tip: tip(&r.architecture, &r.decisions, &format!("{:.1}% after epoch {}", 100.0 * e.accuracy, e.epoch)),
            ..Point::default()
        };
        r.curve.iter().map(of).collect()
    };
    Chart {
        title: "Learning curves, and where training stopped".into(),
        x_label: "epoch".into(),
        y_label: "validation accuracy, %".into(),
        x_log: false,
        y_log: false,
        series: lines(result, Style::Line, points),
    }
    .svg()
}

fn tuning(result: &SearchResult) -> String {
    let points = |r: &CandidateRecord| {
        let of = |l: &sonar_nas::results::LatencyMicros| Point {
            x: l.trials as f64,
            y: l.median_us,
            tip: tip(&r.architecture, &r.decisions, &format!("{} µs after {} trials", number(l.median_us), l.trials)),
            ..Point::default()
        };
        r.tuning.iter().map(of).collect()
    };
    Chart {
        title: "Tuning curves, and where tuning stopped".into(),
        x_label: "trials for each kernel".into(),
        y_label: "latency, µs".into(),
        x_log: false,
        y_log: false,
        series: lines(result, Style::Line, points),
    }
    .svg()
}

fn seconds(result: &SearchResult) -> String {
    let c = result.cost.parts;
    shares(
        &format!("Where {} s went", number(result.cost.total)),
        &[
            ("training", c.training),
            ("tuning", c.tuning),
            ("compiling", c.compiling),
            ("rewriting", c.rewriting),
            ("other", c.other),
        ],
    )
}
