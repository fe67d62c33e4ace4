//! A worker process without other commands: for tests, and for programs that embed the libraries.

fn main() -> std::io::Result<()> {
    sonar_measure::worker::serve(std::io::stdin(), std::io::stdout())
}
