//! Two texts side by side, with equal lines in the same row.

use std::fmt::Write as _;

/// Width of a terminal that does not report its width.
const COLUMNS: usize = 120;
/// Minimum width.
const NARROWEST: usize = 40;

/// A row: the line numbers on each side, and whether the lines are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Same(usize, usize),
    Changed(usize, usize),
    Left(usize),
    Right(usize),
}

/// Width of the terminal at standard output, or 120.
pub fn columns() -> usize {
    super::columns(std::io::stdout()).unwrap_or(COLUMNS).max(NARROWEST)
}

/// The texts in two columns under their titles. A mark shows lines that differ: `|` if both sides have a line, `<` or `>` if
/// only one has. Lines are equal if `key` returns the same for both. Longer lines continue in the next row.
pub fn render(titles: [&str; 2], texts: [&str; 2], key: impl Fn(&str) -> String, columns: usize) -> String {
    let width = columns.max(NARROWEST).saturating_sub(3) / 2;
    let lines = texts.map(|text| text.lines().collect::<Vec<_>>());
    let keys = [0, 1].map(|side| lines[side].iter().map(|line| key(line)).collect::<Vec<_>>());
    let mut out = String::new();
    row(&mut out, width, titles[0], ' ', titles[1]);
    let rule = "─".repeat(width);
    row(&mut out, width, &rule, ' ', &rule);
    for found in align(&keys[0], &keys[1]) {
        match found {
            Row::Same(a, b) => row(&mut out, width, lines[0][a], ' ', lines[1][b]),
            Row::Changed(a, b) => row(&mut out, width, lines[0][a], '|', lines[1][b]),
            Row::Left(a) => row(&mut out, width, lines[0][a], '<', ""),
            Row::Right(b) => row(&mut out, width, "", '>', lines[1][b]),
        }
    }
    out
}

/// Writes one line of each side with the mark between, in as many rows as the longer one needs.
fn row(out: &mut String, width: usize, left: &str, mark: char, right: &str) {
    let [left, right] = [left, right].map(|line| pieces(line, width));
    for i in 0..left.len().max(right.len()) {
        let piece = |side: &[String]| side.get(i).cloned().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}", format!("{:<width$} {mark} {}", piece(&left), piece(&right)).trim_end());
    }
}

/// A line in pieces of at most `width` characters. Pieces after the first get the indentation of the line and a little more.
fn pieces(line: &str, width: usize) -> Vec<String> {
    let line = line.replace('\t', "    ");
    let indent = (line.chars().take_while(|c| *c == ' ').count() + 4).min(width / 2);
    let mut rest: Vec<char> = line.chars().collect();
    let mut pieces = Vec::new();
    while rest.len() > width {
        // At a space if there is one in the second half.
        let cut = (width / 2..=width).rev().find(|&i| rest[i] == ' ').unwrap_or(width);
        pieces.push(rest[..cut].iter().collect::<String>().trim_end().to_string());
        let tail: String = rest[cut..].iter().collect();
        rest = " ".repeat(indent).chars().chain(tail.trim_start().chars()).collect();
    }
    pieces.push(rest.iter().collect());
    pieces
}

/// The rows of two lists of lines, with as many equal rows as possible.
fn align(a: &[String], b: &[String]) -> Vec<Row> {
    let mut rows = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (x, y) in common(a, b).into_iter().chain([(a.len(), b.len())]) {
        let both = (x - i).min(y - j);
        rows.extend((0..both).map(|k| Row::Changed(i + k, j + k)));
        rows.extend((i + both..x).map(Row::Left));
        rows.extend((j + both..y).map(Row::Right));
        if x < a.len() {
            rows.push(Row::Same(x, y));
        }
        (i, j) = (x + 1, y + 1);
    }
    rows
}

/// A longest common subsequence, as pairs of positions. The memory is linear in the lengths (Hirschberg, 1975).
fn common<T: PartialEq>(a: &[T], b: &[T]) -> Vec<(usize, usize)> {
    let start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[start..], &b[start..]);
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (inner_a, inner_b) = (&a[..a.len() - end], &b[..b.len() - end]);
    let mut pairs: Vec<(usize, usize)> = (0..start).map(|i| (i, i)).collect();
    pairs.extend(inside(inner_a, inner_b).into_iter().map(|(i, j)| (start + i, start + j)));
    pairs.extend((0..end).map(|i| (start + inner_a.len() + i, start + inner_b.len() + i)));
    pairs
}

/// [`common`] of lists that differ at both ends.
fn inside<T: PartialEq>(a: &[T], b: &[T]) -> Vec<(usize, usize)> {
    match a {
        [] => Vec::new(),
        [only] => b.iter().position(|y| y == only).map(|j| (0, j)).into_iter().collect(),
        _ => {
            let half = a.len() / 2;
            let before = lengths(a[..half].iter(), b.iter(), b.len());
            let behind = lengths(a[half..].iter().rev(), b.iter().rev(), b.len());
            let cut = (0..=b.len()).max_by_key(|&j| before[j] + behind[b.len() - j]).unwrap_or(0);
            let mut pairs = common(&a[..half], &b[..cut]);
            pairs.extend(common(&a[half..], &b[cut..]).into_iter().map(|(i, j)| (half + i, cut + j)));
            pairs
        }
    }
}

/// For each prefix of `b`, the length of the longest common subsequence with `a`.
fn lengths<'a, T: PartialEq + 'a>(
    a: impl Iterator<Item = &'a T>,
    b: impl Iterator<Item = &'a T> + Clone,
    count: usize,
) -> Vec<u32> {
    let mut row = vec![0u32; count + 1];
    for x in a {
        let mut corner = 0;
        for (j, y) in b.clone().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { corner + 1 } else { above.max(row[j]) };
            corner = above;
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longest common length, computed from the definition.
    fn longest(a: &[u8], b: &[u8]) -> usize {
        match (a, b) {
            ([], _) | (_, []) => 0,
            ([x, a @ ..], [y, b @ ..]) if x == y => 1 + longest(a, b),
            ([_, rest_a @ ..], [_, rest_b @ ..]) => longest(rest_a, b).max(longest(a, rest_b)),
        }
    }

    #[test]
    fn what_is_common_is_as_long_as_can_be() {
        let mut state = 7u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        for _ in 0..300 {
            let [a, b] = [0, 1].map(|_| (0..random(9)).map(|_| random(3) as u8).collect::<Vec<u8>>());
            let pairs = common(&a, &b);
            assert!(pairs.iter().all(|&(i, j)| a[i] == b[j]), "{a:?} {b:?} {pairs:?}");
            assert!(pairs.windows(2).all(|p| p[0].0 < p[1].0 && p[0].1 < p[1].1), "{a:?} {b:?} {pairs:?}");
            assert_eq!(pairs.len(), longest(&a, &b), "{a:?} {b:?} {pairs:?}");
        }
    }

    #[test]
    fn equal_lines_share_a_row() {
        let text = render(["old", "new"], ["a\nb\nc\nd", "a\nc\nx\ny"], str::to_string, 40);
        let rows: Vec<&str> = text.lines().skip(2).collect();
        let row = |left: &str, mark: &str, right: &str| format!("{left:<18} {mark} {right}").trim_end().to_string();
        assert_eq!(rows, [row("a", " ", "a"), row("b", "<", ""), row("c", " ", "c"), row("d", "|", "x"), row("", ">", "y")]);
    }

    #[test]
    fn long_lines_go_on_below() {
        let long = "  for something in 0..128 {  // a comment behind it";
        let text = render(["a", "b"], [long, long], str::to_string, 60);
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        let left: Vec<&str> = text.lines().skip(2).map(|line| line.split("   ").next().unwrap_or_default().trim()).collect();
        assert!(left.len() > 1 && text.contains("comment"), "{text}");
        // Text without spaces is cut anywhere.
        assert_eq!(pieces(&"x".repeat(25), 10).iter().map(|p| p.trim().len()).sum::<usize>(), 25);
    }
}
