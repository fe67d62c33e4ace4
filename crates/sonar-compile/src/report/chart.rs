//! Charts as standalone SVG: axes with round ticks, lines, points, and a legend. They need no style sheet and no script.

use super::labels;
use std::fmt::Write as _;

/// A chart of one or more series with common axes.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Above the plot.
    pub title: String,
    /// Below the horizontal axis.
    pub x_label: String,
    /// Beside the vertical axis.
    pub y_label: String,
    /// Whether the horizontal axis is logarithmic. Points at or below 0 are then left out.
    pub x_log: bool,
    /// The same for the vertical axis.
    pub y_log: bool,
    /// Drawn in order.
    pub series: Vec<Series>,
}

/// Points of one colour.
#[derive(Clone, Debug)]
pub struct Series {
    /// Name in the legend. An empty name is not listed.
    pub name: String,
    /// A CSS colour.
    pub colour: &'static str,
    /// How points are shown.
    pub style: Style,
    /// What is shown.
    pub points: Vec<Point>,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A circle at each point.
    Dots,
    /// A larger ring at each point.
    Rings,
    /// A cross at each point.
    Crosses,
    /// A line through the points.
    Line,
    /// A staircase through the points.
    Steps,
}

/// A point, with a tool tip and an optional horizontal interval.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// Horizontal value.
    pub x: f64,
    /// Vertical value.
    pub y: f64,
    /// Tool tip.
    pub tip: String,
    /// Ends of an interval around `x`.
    pub x_interval: Option<(f64, f64)>,
    /// Label beside the point, if there is room for it.
    pub label: String,
    /// Radius of a dot [default: 4].
    pub radius: Option<f64>,
}

/// Colours that colour-blind readers can distinguish (Okabe and Ito).
pub const PALETTE: [&str; 7] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A"];

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 60.0;

/// One axis: its range in data units, and whether it is logarithmic.
struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, log: bool) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in values.filter(|v| v.is_finite() && (!log || *v > 0.0)) {
            low = low.min(v);
            high = high.max(v);
        }
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        if log {
            (low, high) = (low / 1.15, high * 1.15);
        } else {
            let margin = if high > low { (high - low) * 0.06 } else { high.abs().max(1.0) * 0.1 };
            (low, high) = (low - margin, high + margin);
        }
        Axis { low, high, log }
    }

    /// Position of a value, 0 at the low end and 1 at the high end.
    fn place(&self, v: f64) -> f64 {
        if self.log { (v / self.low).ln() / (self.high / self.low).ln() } else { (v - self.low) / (self.high - self.low) }
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let mut ticks = Vec::new();
            let mut decade = 10f64.powf(self.low.log10().floor());
            let wide = self.high / self.low > 30.0;
            while decade <= self.high {
                let steps: &[f64] = if wide { &[1.0, 3.0] } else { &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0] };
                ticks.extend(steps.iter().map(|s| s * decade));
                decade *= 10.0;
            }
            ticks.retain(|t| (self.low..=self.high).contains(t));
            return ticks;
        }
        let raw = (self.high - self.low) / 6.0;
        let magnitude = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * magnitude).find(|s| *s >= raw).unwrap_or(raw);
        let first = (self.low / step).ceil() as i64;
        (first..).map(|i| i as f64 * step).take_while(|t| *t <= self.high).collect()
    }
}

/// A number with a sensible number of digits.
pub fn number(v: f64) -> String {
    let text = match v.abs() {
        a if a >= 1e6 || (a > 0.0 && a < 1e-3) => return format!("{v:.1e}"),
        a if a >= 100.0 => format!("{v:.0}"),
        a if a >= 10.0 => format!("{v:.1}"),
        a if a >= 1.0 => format!("{v:.2}"),
        _ => format!("{v:.3}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

/// Text escaped for XML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Chart {
    /// The chart as a standalone SVG document.
    pub fn svg(&self) -> String {
        let all = || self.series.iter().flat_map(|s| &s.points);
        let x = Axis::over(
            all().flat_map(|p| [p.x, p.x_interval.map_or(p.x, |i| i.0), p.x_interval.map_or(p.x, |i| i.1)]),
            self.x_log,
        );
        let y = Axis::over(all().map(|p| p.y), self.y_log);
        let px = |v: f64| LEFT + x.place(v) * (WIDTH - LEFT - RIGHT);
        let py = |v: f64| HEIGHT - BOTTOM - y.place(v) * (HEIGHT - TOP - BOTTOM);

        let mut s = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="12" fill="#222"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>"##
        );
        let _ = write!(s, r#"<text x="{LEFT}" y="20" font-size="15" font-weight="600">{}</text>"#, escape(&self.title));
        for t in x.ticks() {
            let at = px(t);
            let _ = write!(
                s,
                r##"<line x1="{at:.1}" y1="{TOP}" x2="{at:.1}" y2="{:.1}" stroke="#e4e4e4"/><text x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"##,
                HEIGHT - BOTTOM,
                HEIGHT - BOTTOM + 18.0,
                number(t)
            );
        }
        for t in y.ticks() {
            let at = py(t);
            let _ = write!(
                s,
                r##"<line x1="{LEFT}" y1="{at:.1}" x2="{:.1}" y2="{at:.1}" stroke="#e4e4e4"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"##,
                WIDTH - RIGHT,
                LEFT - 8.0,
                at + 4.0,
                number(t)
            );
        }
        let _ = write!(
            s,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text><text transform="translate(18 {:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - BOTTOM + 40.0,
            escape(&self.x_label),
            (TOP + HEIGHT - BOTTOM) / 2.0,
            escape(&self.y_label)
        );
        for series in &self.series {
            series.draw(&mut s, (self.x_log, self.y_log), &px, &py);
        }
        let (width, height) = (LEFT..WIDTH - RIGHT, TOP..HEIGHT - BOTTOM);
        let placed = |p: &Point| labels::Mark { x: px(p.x), y: py(p.y), radius: p.radius.unwrap_or(4.0), label: p.label.clone() };
        let marked = self.series.iter().filter(|series| !matches!(series.style, Style::Line | Style::Steps));
        let marks: Vec<labels::Mark> = marked.flat_map(|series| &series.points).map(placed).collect();
        for (x, y, label) in labels::place(&marks, width, height) {
            let _ = write!(s, r#"<text x="{x:.1}" y="{y:.1}" font-size="11">{}</text>"#, escape(&label));
        }
        let mut legend = LEFT + 4.0;
        for series in self.series.iter().filter(|s| !s.name.is_empty()) {
            let _ = write!(
                s,
                r#"<rect x="{legend:.1}" y="29" width="10" height="10" fill="{}"/><text x="{:.1}" y="38">{}</text>"#,
                series.colour,
                legend + 14.0,
                escape(&series.name)
            );
            legend += 30.0 + 6.6 * series.name.chars().count() as f64;
        }
        s.push_str("</svg>");
        s
    }
}

impl Series {
    fn draw(&self, s: &mut String, (x_log, y_log): (bool, bool), px: &dyn Fn(f64) -> f64, py: &dyn Fn(f64) -> f64) {
        let colour = self.colour;
        let there = |p: &&Point| p.x.is_finite() && p.y.is_finite() && (!x_log || p.x > 0.0) && (!y_log || p.y > 0.0);
        let points: Vec<&Point> = self.points.iter().filter(there).collect();
        if matches!(self.style, Style::Line | Style::Steps) && points.len() > 1 {
            let mut path = String::new();
            for (i, p) in points.iter().enumerate() {
                let (x, y) = (px(p.x), py(p.y));
                if i == 0 {
                    let _ = write!(path, "M{x:.1} {y:.1}");
                } else if self.style == Style::Steps {
                    let _ = write!(path, "H{x:.1}V{y:.1}");
                } else {
                    let _ = write!(path, "L{x:.1} {y:.1}");
                }
            }
            let _ = write!(s, r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-opacity="0.8"/>"#);
        }
        for p in points {
            let (x, y) = (px(p.x), py(p.y));
            if let Some((low, high)) = p.x_interval {
                let _ = write!(
                    s,
                    r#"<line x1="{:.1}" y1="{y:.1}" x2="{:.1}" y2="{y:.1}" stroke="{colour}" stroke-width="1.4"/>"#,
                    px(low),
                    px(high)
                );
            }
            let tip = if p.tip.is_empty() { String::new() } else { format!("<title>{}</title>", escape(&p.tip)) };
            let _ = match self.style {
                Style::Dots => {
                    write!(
                        s,
                        r#"<circle cx="{x:.1}" cy="{y:.1}" r="{:.1}" fill="{colour}" fill-opacity="0.75">{tip}</circle>"#,
                        p.radius.unwrap_or(4.0)
                    )
                }
                Style::Rings => write!(
                    s,
                    r#"<circle cx="{x:.1}" cy="{y:.1}" r="7" fill="{colour}" fill-opacity="0.15" stroke="{colour}" stroke-width="2">{tip}</circle>"#
                ),
                Style::Crosses => write!(
                    s,
                    r#"<path d="M{:.1} {:.1}l8 8m0 -8l-8 8" stroke="{colour}" stroke-width="2" fill="none">{tip}</path>"#,
                    x - 4.0,
                    y - 4.0
                ),
                Style::Line | Style::Steps if tip.is_empty() => Ok(()),
                Style::Line | Style::Steps => {
                    write!(s, r#"<circle cx="{x:.1}" cy="{y:.1}" r="2.2" fill="{colour}">{tip}</circle>"#)
                }
            };
        }
    }
}

/// A horizontal bar divided into named shares, for "where the seconds went".
pub fn shares(title: &str, parts: &[(&str, f64)]) -> String {
    let total: f64 = parts.iter().map(|p| p.1).sum::<f64>().max(f64::MIN_POSITIVE);
    let (width, left) = (WIDTH - 2.0 * RIGHT, RIGHT);
    let mut s = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 150" font-family="system-ui, sans-serif" font-size="12" fill="#222"><rect width="{WIDTH}" height="150" fill="#fff"/><text x="{left}" y="22" font-size="15" font-weight="600">{}</text>"##,
        escape(title)
    );
    let (mut x, mut row) = (left, 0);
    for (i, (name, seconds)) in parts.iter().enumerate() {
        let w = seconds / total * width;
        let colour = PALETTE[i % PALETTE.len()];
        let label = format!("{name}: {} s ({:.0}%)", number(*seconds), 100.0 * seconds / total);
        let _ = write!(
            s,
            r#"<rect x="{x:.1}" y="36" width="{w:.1}" height="34" fill="{colour}"><title>{0}</title></rect><rect x="{1:.1}" y="{2}" width="10" height="10" fill="{colour}"/><text x="{3:.1}" y="{4}">{0}</text>"#,
            escape(&label),
            left + (row % 3) as f64 * 230.0,
            86 + (row / 3) * 22,
            left + (row % 3) as f64 * 230.0 + 15.0,
            95 + (row / 3) * 22
        );
        x += w;
        row += 1;
    }
    s.push_str("</svg>");
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let axis = Axis { low: 0.13, high: 0.91, log: false };
        assert_eq!(axis.ticks().iter().map(|t| number(*t)).collect::<Vec<_>>(), ["0.2", "0.4", "0.6", "0.8"]);
        let axis = Axis { low: 8.0, high: 250.0, log: true };
        assert_eq!(axis.ticks().iter().map(|t| number(*t)).collect::<Vec<_>>(), ["10", "30", "100"]);
    }

    #[test]
    fn a_chart_escapes_names_and_leaves_out_what_is_not_a_number() {
        let points = vec![
            Point { x: f64::NAN, y: 1.0, ..Point::default() },
            Point { x: 1.0, y: 2.0, tip: "<&>".into(), ..Point::default() },
        ];
        let series = Series { name: "a<b".into(), colour: PALETTE[0], style: Style::Dots, points };
        let svg = Chart {
            title: "t".into(),
            x_label: "x".into(),
            y_label: "y".into(),
            x_log: true,
            y_log: false,
            series: vec![series],
        }
        .svg();
        assert!(svg.contains("a&lt;b") && svg.contains("&lt;&amp;&gt;") && !svg.contains("NaN"));
        assert_eq!(svg.matches("<circle").count(), 1);
    }
}
