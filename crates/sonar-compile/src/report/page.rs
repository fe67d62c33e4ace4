//! The page of a model: where the time of one inference goes, and why, down to the instructions.

use super::STYLE;
use super::chart::{Chart, PALETTE, Point, Series, Style, escape, number};
use std::fmt::Write as _;

/// The content of the page.
pub struct Page {
    /// Name of the model.
    pub model: String,
    /// Facts at the top, as names and values.
    pub facts: Vec<(&'static str, String)>,
    /// Peak of the machine in GFLOP/s.
    pub peak: f64,
    /// The bandwidths of the machine, the fastest first.
    pub roofs: Vec<Roof>,
    /// A drawing of the rewritten graph.
    pub graph: String,
    /// The kernels, the longest first.
    pub kernels: Vec<PageKernel>,
}

/// The bandwidth of one level of memory.
pub struct Roof {
    /// Its name.
    pub name: String,
    /// Bandwidth in GB/s.
    pub gigabytes: f64,
}

/// All calls of one kernel in one inference.
pub struct PageKernel {
    /// Its number.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// How often it is called.
    pub calls: usize,
    /// Its total time in seconds.
    pub seconds: f64,
    /// Its share of the time of all kernels.
    pub share: f64,
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes of its arguments.
    pub bytes: u64,
    /// The minimum time on this machine, divided by the time that it takes.
    pub roofline: f64,
    /// Its bottleneck.
    pub bound: &'static str,
    /// The schedule.
    pub schedule: String,
    /// The loops, with comments.
    pub loops: String,
    /// The instructions.
    pub assembly: String,
}

/// Number of kernels with labels in the chart.
const NAMED: usize = 12;

/// The text below the roofline chart.
const CAPTION: &str = "Each dot is a kernel, as large as its share of the time: operations over bytes of its arguments to the right, speed up. Slanted \
         lines are measured bandwidths, the flat one is the measured peak. A kernel under a line can be faster; one above the peak has an \
         algorithm that needs fewer operations than the graph asks for. Kernels that only move data are not shown.";

const MORE_STYLE: &str = ".bar{display:inline-block;height:.7em;background:#0072B2;opacity:.75;margin-right:.4rem}\
td.b{text-align:left;width:220px}td,th{white-space:nowrap}details{margin:.3rem 0}details details{margin-left:1rem}summary{cursor:pointer}\
table.facts td{border:0;text-align:left;padding:.1rem .7rem .1rem 0}table.facts td:first-child{color:#555}";

/// The page as one self-contained HTML document.
pub fn html(page: &Page) -> String {
    let mut s = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Sonar: {0}</title><style>{STYLE}{MORE_STYLE}</style></head><body><h1>{0}</h1><table class=\"facts\">",
        escape(&page.model)
    );
    for (name, value) in &page.facts {
        let _ = write!(s, "<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(value));
    }
    let _ = write!(s, "</table><h2>Kernels</h2>{}", table(page));
    let _ =
        write!(s, "<h2>Roofline</h2><figure id=\"roofline\">{}<figcaption>{CAPTION}</figcaption></figure>", roofline(page).svg());
    s.push_str("<h2>Schedules, loops, code</h2><p class=\"note\">");
    let _ = write!(s, "{}.</p>", escape(crate::roofline::annotate::LEGEND));
    page.kernels.iter().for_each(|kernel| details(&mut s, kernel));
    let _ = write!(
        s,
        "<h2>Graph</h2><details><summary>the rewritten graph, weights left out</summary><div class=\"graphs\"><div>{}</div></div></details>\
         </body></html>",
        page.graph
    );
    s
}

/// The kernels with bars for their shares.
fn table(page: &Page) -> String {
    let mut s = String::from(
        "<table><tr><th>kernel</th><th>calls</th><th>µs</th><th class=\"l\">share of the time</th><th>MFLOP</th><th>KiB</th><th>GFLOP/s</th>\
         <th>GB/s</th><th>of roofline</th><th class=\"l\">bound</th></tr>",
    );
    let widest = page.kernels.iter().map(|kernel| kernel.share).fold(f64::MIN_POSITIVE, f64::max);
    for k in &page.kernels {
        let _ = write!(
            s,
            "<tr><td><a href=\"#kernel-{0}\">#{0}</a> {1}</td><td>{2}</td><td>{3:.1}</td>\
             <td class=\"b\"><span class=\"bar\" style=\"width:{4:.0}px\"></span>{5:.1}%</td><td>{6}</td><td>{7}</td><td>{8:.1}</td><td>{9:.1}</td>\
             <td>{10:.0}%</td><td class=\"l\">{11}</td></tr>",
            k.number,
            escape(&k.name),
            k.calls,
            1e6 * k.seconds,
            150.0 * k.share / widest,
            100.0 * k.share,
            number(k.flops as f64 / 1e6),
            number(k.bytes as f64 / 1024.0),
            k.flops as f64 / k.seconds / 1e9,
            k.bytes as f64 / k.seconds / 1e9,
            100.0 * k.roofline,
            k.bound
        );
    }
    s.push_str("</table>");
    s
}

/// The roofline chart with every kernel that has floating-point operations.
fn roofline(page: &Page) -> Chart {
    let intensity = |k: &PageKernel| k.flops as f64 / (k.bytes as f64).max(1.0);
    let shown = || page.kernels.iter().filter(|k| k.flops > 0);
    // The chart shows all kernels and all ridge points.
    let ridges = page.roofs.iter().map(|roof| page.peak / roof.gigabytes);
    let (mut low, mut high) = (f64::INFINITY, 0.0f64);
    for x in shown().map(intensity).chain(ridges) {
        (low, high) = (low.min(x), high.max(x));
    }
    let (low, high) = if low > high { (0.1, 10.0) } else { (low / 2.0, high * 2.0) };
    let mut series = Vec::new();
    for (i, roof) in page.roofs.iter().enumerate() {
        let ridge = page.peak / roof.gigabytes;
        let points = [low, ridge].map(|x| Point { x, y: x * roof.gigabytes, ..Point::default() }).to_vec();
        let name = format!("{} {} GB/s", roof.name, number(roof.gigabytes));
        series.push(Series { name, colour: PALETTE[(i + 1) % PALETTE.len()], style: Style::Line, points });
    }
    let first = page.roofs.iter().map(|roof| page.peak / roof.gigabytes).fold(high, f64::min);
    let flat = [first, high].map(|x| Point { x, y: page.peak, ..Point::default() }).to_vec();
    series.push(Series { name: format!("peak {} GFLOP/s", number(page.peak)), colour: "#222", style: Style::Line, points: flat });
    let point = |(i, k): (usize, &PageKernel)| {
        let gflops = k.flops as f64 / k.seconds / 1e9;
        Point {
            x: intensity(k),
            y: gflops,
            tip: format!(
                "#{} {}: {} µs, {:.1}% of the time, {} GFLOP/s",
                k.number,
                k.name,
                number(1e6 * k.seconds),
                100.0 * k.share,
                number(gflops)
            ),
            label: if i < NAMED { format!("#{}", k.number) } else { String::new() },
            radius: Some(3.0 + 9.0 * k.share.sqrt()),
            ..Point::default()
        }
    };
    let points = shown().enumerate().map(point).collect();
    series.push(Series { name: "kernels".into(), colour: PALETTE[0], style: Style::Dots, points });
    Chart {
        title: String::new(),
        x_label: "FLOP for each byte of the arguments".into(),
        y_label: "GFLOP/s".into(),
        x_log: true,
        y_log: true,
        series,
    }
}

/// The collapsible details of a kernel.
fn details(s: &mut String, kernel: &PageKernel) {
    let _ = write!(
        s,
        "<details id=\"kernel-{0}\"><summary><b>#{0} {1}</b>, {2} µs in {3} calls, {4:.0}% of the roofline</summary>",
        kernel.number,
        escape(&kernel.name),
        number(1e6 * kernel.seconds),
        kernel.calls,
        100.0 * kernel.roofline
    );
    let parts = [("schedule", &kernel.schedule), ("loops", &kernel.loops), ("assembly", &kernel.assembly)];
    for (title, text) in parts {
        let open = if title == "assembly" { "" } else { " open" };
        let _ = write!(s, "<details{open}><summary>{title}</summary><pre>{}</pre></details>", escape(text));
    }
    s.push_str("</details>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let kernel = |number, flops, seconds: f64| PageKernel {
            number,
            name: "a<b".to_string(),
            calls: 2,
            seconds,
            share: seconds / 4e-6,
            flops,
            bytes: 4096,
            roofline: 0.5,
            bound: "memory",
            schedule: "split x 4".to_string(),
            loops: "for x in 0..4 {  // 1 & 2".to_string(),
            assembly: "ret".to_string(),
        };
        Page {
            model: "m".to_string(),
            facts: vec![("input", "[1, 2]".to_string())],
            peak: 100.0,
            roofs: vec![Roof { name: "L1".to_string(), gigabytes: 200.0 }, Roof { name: "memory".to_string(), gigabytes: 10.0 }],
            graph: "<svg></svg>".to_string(),
            kernels: vec![kernel(3, 100_000, 3e-6), kernel(1, 0, 1e-6)],
        }
    }

    #[test]
    fn a_page_needs_nothing_beside_it_and_escapes_what_it_shows() {
        let html = html(&page());
        assert!(html.contains("a&lt;b") && html.contains("1 &amp; 2") && !html.contains("a<b"));
        let links: Vec<&str> = html.split("href=\"").skip(1).filter(|link| !link.starts_with('#')).collect();
        assert!(
            links.is_empty() && !html.contains("src=") && !html.contains("@import") && !html.contains("<script"),
            "{links:?}"
        );
        assert!(html.contains("href=\"#kernel-3\"") && html.contains("id=\"kernel-3\""));
        for tag in ["details", "table", "summary", "pre", "figure", "svg"] {
            assert_eq!(html.matches(&format!("<{tag}")).count(), html.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn roofs_meet_the_peak() {
        let chart = roofline(&page());
        let [l1, memory, peak, kernels] = &chart.series[..] else { panic!("four series") };
        // A kernel that only moves data has no place on a logarithmic axis.
        assert_eq!(kernels.points.len(), 1);
        assert!((kernels.points[0].x - 100_000.0 / 4096.0).abs() < 1e-9 && (kernels.points[0].y - 100.0 / 3.0).abs() < 1e-9);
        for (roof, ridge) in [(l1, 0.5), (memory, 10.0)] {
            assert!((roof.points[1].x - ridge).abs() < 1e-9 && (roof.points[1].y - 100.0).abs() < 1e-9);
        }
        assert!((peak.points[0].x - 0.5).abs() < 1e-9 && peak.points[1].x > kernels.points[0].x);
        assert!(!chart.svg().contains("NaN"));
    }
}
