//! Questions before data are deleted.

use super::stderr;
use crate::exit::{Exit, Failure, fail};
use std::io::IsTerminal;

/// Asks the user whether to continue. If nobody can answer, the command is refused, and the message names `flag` as the way to
/// agree.
pub fn before(what: &str, flag: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(fail(Exit::Usage, format!("{what}; say {flag} if that is meant")));
    }
    stderr::leave();
    stderr::write(&format!("{what}. Go on? [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.map_err(|error| fail(Exit::BadInput, format!("cannot read the answer from standard input: {error}")))?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(fail(Exit::Usage, "nothing was changed")),
    }
}
