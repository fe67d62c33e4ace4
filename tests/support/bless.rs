//! What a file states is checked, or, with `SONAR_BLESS=1`, rewritten.

use super::stated::{Kind, corrected};
use std::path::Path;

/// Whether what a file states is to be rewritten, by `SONAR_BLESS` and `CI`.
pub fn blessing(bless: Option<&str>, ci: Option<&str>) -> Result<bool, String> {
    let set = |value: Option<&str>| value.is_some_and(|v| !["", "0", "false"].contains(&v));
    match (set(bless), set(ci)) {
        (true, true) => Err("SONAR_BLESS is refused where CI is set: nobody would read what it writes".to_string()),
        (bless, _) => Ok(bless),
    }
}

/// What a file states must be right; to bless is to make it so.
pub fn check_stated(path: &Path, bless: bool) -> Result<(), String> {
    let fail = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| fail(&e))?;
    let kind = if path.extension().is_some_and(|e| e == "rules") { Kind::Rules } else { Kind::Space };
    let right = corrected(&text, kind).map_err(|e| fail(&e))?;
    if right == text {
        return Ok(());
    }
    if bless {
        // Other tests read the file meanwhile: they find the old text or the new one.
        let new = path.with_extension("blessed");
        return std::fs::write(&new, right).and_then(|()| std::fs::rename(&new, path)).map_err(|e| fail(&e));
    }
    Err(fail(&format!("SONAR_BLESS=1 would rewrite\n{}", difference(&text, &right))))
}

/// What differs between two texts: without the lines that both begin with and those that both end with.
fn difference(old: &str, new: &str) -> String {
    let (mut old, mut new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let start = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    while old.len().min(new.len()) > start && old.last() == new.last() {
        old.pop();
        new.pop();
    }
    let show = |sign: char, lines: &[&str]| -> String {
        lines.iter().enumerate().skip(start).map(|(number, line)| format!("{sign} {}: {line}\n", number + 1)).collect()
    };
    show('-', &old) + &show('+', &new)
}
