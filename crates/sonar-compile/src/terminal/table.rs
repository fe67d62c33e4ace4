//! Tables: aligned text, comma-separated values, Markdown.

/// How a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// For names.
    Left,
    /// For numbers.
    Right,
}

/// Rows below a header. Each column is as wide as its widest cell.
pub fn render(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count());
        cells.chain([columns[i].0.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(columns).zip(&widths).map(|((cell, (_, align)), &w)| {
            let space = " ".repeat(w.saturating_sub(cell.chars().count()));
            match align {
                Align::Left => format!("{cell}{space}"),
                Align::Right => format!("{space}{cell}"),
            }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let header: Vec<String> = columns.iter().map(|c| c.0.to_string()).collect();
    let mut text = line(&header);
    text.push('\n');
    text.push_str(&"─".repeat(text.trim_end().chars().count()));
    text.push('\n');
    for row in rows {
        text.push_str(&line(row));
        text.push('\n');
    }
    text
}

/// Comma-separated values (RFC 4180) below a header.
pub fn csv(names: &[&str], rows: &[Vec<String>]) -> String {
    let field = |cell: &str| {
        let quoted = cell.contains([',', '"', '\n', '\r']);
        if quoted { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_string() }
    };
    let mut text = names.join(",") + "\n";
    for row in rows {
        text.push_str(&(row.iter().map(|cell| field(cell)).collect::<Vec<_>>().join(",") + "\n"));
    }
    text
}

/// A Markdown table.
pub fn markdown(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let rule = |align| if align == Align::Left { ":---" } else { "---:" }.to_string();
    let mut text = line(columns.iter().map(|c| c.0.to_string()).collect());
    text.push_str(&line(columns.iter().map(|c| rule(c.1)).collect()));
    for row in rows {
        text.push_str(&line(row.iter().map(|cell| cell.replace('|', "\\|")).collect()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".into(), "1".into()], vec!["long".into(), "100".into()]];
        let text = render(&[("name", Align::Left), ("n", Align::Right)], &rows);
        assert_eq!(text, "name    n\n─────────\na       1\nlong  100\n");
    }

    #[test]
    fn values_are_separated_by_commas() {
        let rows = vec![vec!["a,\"b\"".into(), "1".into()]];
        assert_eq!(csv(&["name", "n"], &rows), "name,n\n\"a,\"\"b\"\"\",1\n");
    }

    #[test]
    fn markdown_has_a_rule() {
        let rows = vec![vec!["a|b".into(), "1".into()]];
        let text = markdown(&[("name", Align::Left), ("n", Align::Right)], &rows);
        assert_eq!(text, "| name | n |\n| :--- | ---: |\n| a\\|b | 1 |\n");
    }
}
