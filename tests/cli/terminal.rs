//! The program at a terminal: a pseudo-terminal is its standard error, or all of its streams.

use crate::command::{Ran, command, ran};
use crate::runs::signal;
use crate::{SPACE, Scratch, data, example};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Columns of the terminals here.
const COLUMNS: usize = 60;

/// The side of a pseudo-terminal that a person sits at, and the side of the program.
struct Terminal {
    person: OwnedFd,
    program: File,
}

impl Terminal {
    fn open() -> Terminal {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are pseudo-terminals");
        grantpt(&person).expect("it is ours");
        unlockpt(&person).expect("it can be used");
        let size = Winsize { ws_row: 24, ws_col: COLUMNS as u16, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&person, size).expect("it has a size");
        let name = ptsname(&person, Vec::new()).expect("it has a name");
        let name = std::ffi::OsStr::from_bytes(name.to_bytes());
        let program = File::options().read(true).write(true).open(name).expect("it can be opened");
        Terminal { person, program }
    }

    /// The side of the program, as a stream of it.
    fn stream(&self) -> Stdio {
        self.program.try_clone().expect("it can be shared").into()
    }

    /// What a person sees until the program has ended.
    fn screen(self) -> std::thread::JoinHandle<String> {
        let Terminal { person, program } = self;
        drop(program);
        std::thread::spawn(move || {
            let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
            // When no program has the other side any more, reading fails.
            while let Ok(count @ 1..) = rustix::io::read(&person, &mut buffer) {
                seen.extend_from_slice(&buffer[..count]);
            }
            String::from_utf8_lossy(&seen).into_owned()
        })
    }
}

/// How a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Colour,
    NoColour,
    Dumb,
}

const LOOKS: [Look; 3] = [Look::Colour, Look::NoColour, Look::Dumb];

fn at_terminal(args: &[&str], look: Look) -> Command {
    let mut command = command(args);
    command.env_remove("NO_COLOR").env_remove("CI").env("TERM", "xterm-256color");
    match look {
        Look::Colour => {}
        Look::NoColour => drop(command.env("NO_COLOR", "1")),
        Look::Dumb => drop(command.env("TERM", "dumb")),
    }
    command
}

/// Runs a command whose standard error is a terminal and whose standard output is none.
fn at(args: &[&str], look: Look) -> Ran {
    let terminal = Terminal::open();
    let child = at_terminal(args, look).stdout(Stdio::piped()).stderr(terminal.stream()).spawn().expect("the program starts");
    let screen = terminal.screen();
    let mut output = child.wait_with_output().expect("it can be waited for");
    output.stderr = screen.join().expect("the screen is read").into_bytes();
    ran(args, output)
}

/// What is on the screen has to be fit for it.
#[track_caller]
fn assert_fit(ran: &Ran, look: Look) {
    let text = &ran.stderr;
    assert!(!text.contains("tracing") && !text.contains("`ansi`"), "{look:?}: a complaint of a library: {ran:#?}");
    if look != Look::Colour {
        assert!(!text.contains('\x1b'), "{look:?}: an escape code: {ran:#?}");
    }
    if look == Look::Dumb {
        // A terminal ends lines with both.
        assert!(!text.replace("\r\n", "\n").contains('\r'), "a line changes on a dumb terminal: {ran:#?}");
    }
    assert!(!ran.stdout.contains('\x1b') && !ran.stdout.contains('\r'), "{look:?}: the results are not clean: {ran:#?}");
}

/// Asserts that what changes in a line fits into it. What is last in a line may be one that stays, which may be longer.
#[track_caller]
fn assert_lines_fit(ran: &Ran) {
    for line in ran.stderr.replace("\r\n", "\n").split('\n').filter(|line| line.contains('\r')) {
        let shown: Vec<&str> = line.split('\r').collect();
        for shown in &shown[..shown.len() - 1] {
            assert!(shown.trim_end().chars().count() < COLUMNS, "{shown:?} does not fit: {ran:#?}");
        }
    }
}

/// Every command with arguments that it succeeds with or that it refuses.
fn commands(scratch: &Scratch) -> Vec<Vec<String>> {
    let dense = example("models/dense.sonar");
    let (space, images) = (scratch.file("space.sonar", SPACE), data(scratch));
    let config = scratch.file("config.toml", "epochs = 1\ntrials = 1\ncandidates = 2\n[training]\nbatch = 8\n");
    let [run, records, onnx] = ["run", "records.db", "dense.onnx"].map(|name| scratch.arg(name));
    let bad = scratch.file("bad.sonar", "graph @f(%x: f32[2,3]) {\n  return rleu(%x)\n}");
    let lines: Vec<Vec<&str>> = vec![
        vec!["check", &dense],
        vec!["check", &bad],
        vec!["compile", &dense],
        vec!["compile", "nowhere.sonar"],
        vec!["run", &dense, "--check"],
        vec!["bench", &dense, "--runs", "2", "--warmup", "0"],
        vec!["inspect", &dense, "--stage", "schedule"],
        vec!["export", &dense, "-o", &onnx],
        vec!["tune", &dense, "--trials", "2", "--time", "20s", "--records", &records],
        vec!["db", "top", "--records", &records],
        vec!["db", "check", "--records", &records],
        vec!["search", &space, "--data", &images, "--config", &config, "--out", &run],
        vec!["resume", &run],
        vec!["report", &run],
        vec!["completions", "bash"],
        vec!["--version"],
        vec!["tune"],
    ];
    lines.into_iter().map(|line| line.into_iter().map(String::from).collect()).collect()
}

#[test]
fn every_command_is_fit_for_a_terminal() {
    for look in LOOKS {
        let scratch = Scratch::new();
        for args in commands(&scratch) {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let ran = at(&args, look);
            assert!(ran.code.is_some_and(|code| code != 1), "{look:?}: {ran:#?}");
            assert_fit(&ran, look);
            assert_lines_fit(&ran);
        }
    }
}

#[test]
fn progress_changes_in_one_line_where_that_is_possible() {
    let scratch = Scratch::new();
    let (dense, records) = (example("models/dense.sonar"), scratch.arg("records.db"));
    let tune = ["tune", &dense, "--trials", "2", "--time", "20s", "--records", &records];
    for (look, changes) in [(Look::Colour, true), (Look::NoColour, true), (Look::Dumb, false)] {
        let ran = at(&tune, look);
        assert_eq!(ran.stderr.contains("trials, kernel"), changes, "{look:?}: {ran:#?}");
        ran.succeeds();
    }
    let quiet = at(&[&tune[..], &["--quiet"]].concat(), Look::Colour);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn errors_have_colours_only_where_they_may() {
    let scratch = Scratch::new();
    let bad = scratch.file("bad.sonar", "graph @f(%x: f32[2,3]) {\n  return rleu(%x)\n}");
    for args in [["check", &bad], ["check", "nowhere.sonar"]] {
        for look in LOOKS {
            let ran = at(&args, look);
            assert_eq!(ran.stderr.contains("\x1b["), look == Look::Colour, "{ran:#?}");
            assert_eq!(ran.code, Some(3));
        }
    }
    // An empty NO_COLOR means nothing.
    let terminal = Terminal::open();
    let mut command = at_terminal(&["check", "nowhere.sonar"], Look::Colour);
    let mut child = command.env("NO_COLOR", "").stderr(terminal.stream()).spawn().expect("the program starts");
    drop(command);
    let screen = terminal.screen();
    child.wait().expect("it can be waited for");
    assert!(screen.join().expect("the screen is read").contains("\x1b["));
}

#[test]
fn the_log_has_the_look_of_other_lines() {
    let dense = example("models/dense.sonar");
    let wide = at(&["compile", &dense, "-v", "-v"], Look::NoColour);
    assert_fit(&wide, Look::NoColour);
    let mut command = at_terminal(&["compile", &dense], Look::NoColour);
    let output = command.env("SONAR_LOG", "sonar_tune=loud").output().expect("the program starts");
    ran(&["compile"], output).fails(2, &["SONAR_LOG", "sonar_tune=loud"]);
}

#[test]
fn the_last_trials_are_removed_only_if_that_is_meant() {
    let scratch = Scratch::new();
    let (dense, records) = (example("models/dense.sonar"), scratch.arg("records.db"));
    crate::command::sonar(&["tune", &dense, "--trials", "2", "--records", &records, "--quiet"]).succeeds();
    let count = || crate::command::sonar(&["db", "export", "--records", &records]).succeeds().lines().count();
    let before = count();
    let prune = ["db", "prune", "--keep", "0", "--records", &records];
    crate::command::sonar(&prune).fails(2, &["removes all", "records.db", "--force"]);
    assert_eq!(count(), before);

    for (answer, left) in [("\n", before), ("no\n", before), ("yes\n", 0)] {
        let terminal = Terminal::open();
        rustix::io::write(&terminal.person, answer.as_bytes()).expect("it can be typed");
        let mut command = at_terminal(&prune, Look::NoColour);
        command.stdin(terminal.stream()).stdout(Stdio::piped()).stderr(terminal.stream());
        let child = command.spawn().expect("the program starts");
        drop(command);
        let screen = terminal.screen();
        let output = child.wait_with_output().expect("it can be waited for");
        let screen = screen.join().expect("the screen is read");
        assert!(screen.contains("removes all") && screen.contains("[y/N]"), "{screen}");
        assert_eq!(output.status.code(), Some(if left == 0 { 0 } else { 2 }), "{screen}");
        if left == 0 {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(said.contains(&format!("{before} trials removed, 0 kept")), "{said}");
        }
        assert_eq!(count(), left, "after {answer:?}");
    }
    crate::command::sonar(&["db", "prune", "--keep", "0", "--records", &records]).succeeds();
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    // Standard error goes into a pipe that nobody reads.
    let (reader, writer) = std::io::pipe().expect("there are pipes");
    drop(reader);
    let mut child = command(&["check", "nowhere.sonar"]).stderr(Stdio::from(writer)).spawn().expect("the program starts");
    assert_eq!(child.wait().expect("it can be waited for").code(), Some(3));
}

#[test]
fn ctrl_c_at_a_terminal_saves_and_ends() {
    let scratch = Scratch::new();
    let (space, images) = (scratch.file("space.sonar", SPACE), data(&scratch));
    let config = scratch.file("config.toml", "epochs = 2000\ntrials = 200\ncandidates = 4\n[training]\nbatch = 8\n");
    let run = scratch.arg("run");
    let args = ["search", &space, "--data", &images, "--config", &config, "--out", &run, "--time", "5m"];
    let terminal = Terminal::open();
    let mut command = at_terminal(&args, Look::NoColour);
    command.stdout(Stdio::piped()).stderr(terminal.stream());
    let child = command.spawn().expect("the program starts");
    drop(command);
    let screen = terminal.screen();
    // Interruptions are caught before the run begins.
    let begun = Instant::now();
    while !scratch.path("run/run.db").exists() {
        assert!(begun.elapsed() < Duration::from_secs(120), "the search does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(200));
    signal(&child, "-INT");
    let output = child.wait_with_output().expect("it can be waited for");
    let screen = screen.join().expect("the screen is read");
    assert_eq!(output.status.code(), Some(130), "{screen}");
    assert!(screen.contains("stopping; press Ctrl-C again") && !screen.contains("panicked"), "{screen}");
}
