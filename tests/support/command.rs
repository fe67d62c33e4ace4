//! The program as a user runs it: arguments in; exit code, standard output and standard error out.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// What one run of the program came to; tests that fail show all of it.
#[derive(Debug)]
#[allow(dead_code)]
pub struct Ran {
    /// Its arguments, for messages.
    pub args: Vec<String>,
    /// Its exit code; nothing if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
}

/// The program, with an environment that holds nothing of the user's.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonar-compile"));
    command.args(args).stdin(Stdio::null()).env("NO_COLOR", "1");
    for name in ["SONAR_DATA", "SONAR_TARGET", "SONAR_CONFIG", "SONAR_RECORDS", "SONAR_LOG", "COLUMNS"] {
        command.env_remove(name);
    }
    command
        .env("XDG_DATA_HOME", PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("share"))
        // Schedules do not depend on the machine that runs the tests.
        .env("SONAR_MACHINE", "usual")
        .current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs the program to its end.
pub fn sonar(args: &[&str]) -> Ran {
    let output = command(args).output().expect("the program starts");
    ran(args, output)
}

/// What the output of a finished process amounts to. A panic is never right, whatever else happened.
pub fn ran(args: &[&str], output: Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let ran = Ran {
        args: args.iter().map(ToString::to_string).collect(),
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    };
    assert!(!ran.stderr.contains("panicked"), "{ran:#?}");
    ran
}

impl Ran {
    /// Its standard output, if it ended well.
    pub fn succeeds(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    /// Its standard output as JSON, if it ended well.
    pub fn json(self) -> serde_json::Value {
        let text = self.succeeds();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("not JSON: {e}\n{text}"))
    }

    /// Asserts that it ended with this code and said all of `parts`.
    pub fn fails(self, code: i32, parts: &[&str]) -> Ran {
        assert_eq!(self.code, Some(code), "{self:#?}");
        // Diagnostics are wrapped to the width of a terminal.
        let said = self.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        for part in parts {
            assert!(said.contains(part), "`{part}` is not in the message of {self:#?}");
        }
        self
    }
}
