//! Checks the expectations in a file, or rewrites them if `SONAR_BLESS=1`.

use super::stated::{Kind, corrected};
use std::path::Path;

/// Whether expectations are rewritten, from the values of `SONAR_BLESS` and `CI`.
pub fn blessing(bless: Option<&str>, ci: Option<&str>) -> Result<bool, String> {
    let set = |value: Option<&str>| value.is_some_and(|v| !["", "0", "false"].contains(&v));
    match (set(bless), set(ci)) {
        (true, true) => Err("SONAR_BLESS is not allowed if CI is set: nobody would review the changes".to_string()),
        (bless, _) => Ok(bless),
    }
}

/// Checks the expectations in a file; if `bless`, rewrites them instead.
pub fn check_stated(path: &Path, bless: bool) -> Result<(), String> {
    let fail = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| fail(&e))?;
    let kind = if path.extension().is_some_and(|e| e == "rules") { Kind::Rules } else { Kind::Space };
    let right = corrected(&text, kind).map_err(|e| fail(&e))?;
    if right == text {
        return Ok(());
    }
    if bless {
        // Other tests may read the file at the same time, so it is replaced in one step.
        let new = path.with_extension("blessed");
        return std::fs::write(&new, right).and_then(|()| std::fs::rename(&new, path)).map_err(|e| fail(&e));
    }
    Err(fail(&format!("SONAR_BLESS=1 would rewrite\n{}", difference(&text, &right))))
}

/// The lines of two texts without their common start and end.
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
