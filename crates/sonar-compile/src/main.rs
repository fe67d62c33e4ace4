//! The command line of Sonar.
fn main() {}
