//! A whole search with real training, tuning and timing, as small as it can be.

use sonar_ir::machine::Machine;
use sonar_measure::LocalMeasurer;
use sonar_nas::driver::{Observer, Progress};
use sonar_nas::executors::training;
use sonar_nas::search::Session;
use sonar_nas::state::event::StopReason;
use sonar_nas::{Algorithm, Event, Policy, SearchConfig, SearchError, State, search};
use sonar_train::TrainConfig;
use std::ops::ControlFlow;
use std::path::Path;

const SPACE: &str = "
    let $width in {2, 4}
    let $kernel in {1, 3}
    graph @network(%image: f32[N,28,28,1]) {
        param %stem: f32[$kernel,$kernel,1,$width] = he
        param %gamma: f32[$width] = ones
        param %beta: f32[$width] = zeros
        param %mean: f32[$width] = zeros
        param %var: f32[$width] = ones
        param %head: f32[$width,10] = uniform
        %x = max_pool %image {kernel=4, stride=4}
        %y = relu(batch_norm(conv2d(%x, %stem) {pad=same}, %gamma, %beta, %mean, %var))
        return matmul(global_avg_pool(%y), %head)
    }
    baseline $width=2, $kernel=3";

fn config() -> SearchConfig {
    let training = TrainConfig { batch: 32, images_per_epoch: Some(256), ..TrainConfig::default() };
    let policy = Policy { algorithm: Algorithm::Sonar, seconds: None, candidates: 3, epochs: 3, trials: 4, ..Policy::default() };
    SearchConfig {
        space: SPACE.to_string(),
        settings: [].into(),
        validation: 0.02,
        training,
        threads: 1,
        policy,
        ..SearchConfig::default()
    }
}

fn run(config: &SearchConfig, dir: &Path, events: usize) -> Result<sonar_nas::SearchResult, SearchError> {
    let mut left = events;
    let mut observer = |_: &Progress, _: &Event, _: &State| {
        left -= 1;
        if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    search(config, session(dir, &mut observer)).map(|ended| ended.result)
}

fn session<'a>(dir: &'a Path, observer: &'a mut Observer<'a>) -> Session<'a> {
    let measurer = Box::new(LocalMeasurer::default());
    Session { dir, fresh: false, machine: Machine::usual(8), measurer, watch: &|| ControlFlow::Continue(()), observer }
}

#[test]
fn a_real_search_finds_networks_and_goes_on_after_every_interruption() {
    let dir = tempfile::tempdir().unwrap();
    let mut sessions = 1;
    let result = loop {
        match run(&config(), dir.path(), 9) {
            Err(SearchError::Interrupted) => sessions += 1,
            other => break other.unwrap(),
        }
        assert!(sessions < 50);
    };
    assert_eq!(result.stop, Some(StopReason::Completed));
    assert_eq!(result.candidates.len(), 4);
    assert_eq!(result.sessions, sessions);
    assert!(result.front.iter().all(|a| a.latency.median_us > 0.0 && a.accuracy > 0.0 && a.epochs == 3));
    assert!(result.cost.parts.training > 0.0 && result.cost.parts.tuning > 0.0 && result.cost.parts.compiling > 0.0);
    assert!(result.baseline.is_some());

    // The weights of finalists are kept, and only those.
    for (index, candidate) in result.candidates.iter().enumerate() {
        let id = sonar_nas::CandidateId(index as u32);
        let kept = training::checkpoint(&dir.path().join("checkpoints"), id, (candidate.curve.len(), 3)).exists();
        assert_eq!(kept, candidate.measured.is_some(), "{}", candidate.architecture);
    }
    // A search that is over is not searched again.
    assert_eq!(run(&config(), dir.path(), 1).unwrap(), result);

    let over = search(&config(), session(dir.path(), &mut |_, _, _| ControlFlow::Continue(()))).unwrap();
    assert!(over.was_over);
    assert_eq!(search::result(dir.path()).unwrap(), Some(result.clone()));
    assert_eq!(search::configuration(dir.path()).unwrap(), Some(config()));

    // With one more candidate it goes on; what was trained is not trained again.
    let more = SearchConfig { policy: Policy { candidates: 4, ..config().policy }, ..config() };
    let extended = run(&more, dir.path(), usize::MAX).unwrap();
    assert_eq!(
        (extended.candidates.len(), extended.extensions),
        (4, 1),
        "the space has four architectures, one of them the baseline"
    );
    for (before, after) in result.candidates.iter().zip(&extended.candidates) {
        assert!(after.curve.starts_with(&before.curve), "{} is trained again", before.architecture);
    }

    // What is learnt does not depend on interruptions.
    let uninterrupted = run(&config(), tempfile::tempdir().unwrap().path(), usize::MAX).unwrap();
    for (a, b) in result.candidates.iter().zip(&uninterrupted.candidates) {
        let first = |c: &sonar_nas::results::CandidateRecord| c.curve.first().map(|e| (e.train_loss, e.accuracy));
        assert_eq!(first(a), first(b));
    }
}

#[test]
fn wrong_configurations_are_refused_before_anything_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |config: SearchConfig| {
        let mut observer = |_: &Progress, _: &Event, _: &State| ControlFlow::Continue(());
        let result = search(&config, Session { fresh: true, ..session(dir.path(), &mut observer) });
        assert!(!dir.path().join("run.db").exists());
        result.unwrap_err()
    };
    assert!(matches!(refused(SearchConfig { space: "graph @".to_string(), ..config() }), SearchError::Space(_)));
    assert!(matches!(refused(SearchConfig { data: "/nowhere".to_string(), ..config() }), SearchError::Data(_)));
    assert!(matches!(refused(SearchConfig { target: "z80".to_string(), ..config() }), SearchError::Target(_)));
    let nothing = Policy { candidates: 0, ..config().policy };
    assert!(matches!(refused(SearchConfig { policy: nothing, ..config() }), SearchError::Config(_)));
    let training = TrainConfig { batch: 1 << 20, ..config().training };
    assert!(matches!(refused(SearchConfig { training, ..config() }), SearchError::Data(_)));
    assert!(matches!(
        refused(SearchConfig { target: "aarch64-unknown-linux-gnu".to_string(), ..config() }),
        SearchError::Config(_)
    ));
}
