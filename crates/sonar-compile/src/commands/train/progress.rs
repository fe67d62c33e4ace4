//! Progress of a training on standard error: a line for each epoch and, at a terminal, a line that changes.

use crate::terminal::stderr;
use sonar_train::{Epoch, Partial, TrainConfig};
use std::time::{Duration, Instant};

/// The shortest time between two changes of the changing line.
const PAUSE: Duration = Duration::from_millis(100);

/// Reports progress.
pub struct Teller {
    quiet: bool,
    epochs: usize,
    batch: usize,
    /// Images of an epoch.
    images: usize,
    /// When the time limit is over.
    end: Option<Instant>,
    shown: Option<Instant>,
}

impl Teller {
    /// Reports everything, or nothing if `quiet`.
    /// `images` is the number of training images.
    pub fn new(quiet: bool, config: &TrainConfig, images: usize, end: Option<Instant>) -> Teller {
        let images = config.images_per_epoch.unwrap_or(images).min(images) / config.batch * config.batch;
        Teller { quiet, epochs: config.epochs, batch: config.batch, images, end, shown: None }
    }

    /// Reports the epochs of an earlier process.
    pub fn goes_on(&self, epochs: usize) {
        if !self.quiet {
            stderr::say(format_args!("going on after epoch {epochs} of {}", self.epochs));
        }
    }

    /// Shows how far an epoch is.
    pub fn show(&mut self, number: usize, partial: &Partial) {
        if self.quiet || partial.steps == 0 || self.shown.is_some_and(|shown| shown.elapsed() < PAUSE) {
            return;
        }
        self.shown = Some(Instant::now());
        let Partial { steps, of, loss_sum, correct, seconds } = *partial;
        let images = steps * self.batch;
        let rest = seconds / steps as f64 * ((self.epochs - number) * of + of - steps) as f64;
        stderr::show(&format!(
            "epoch {number} of {}, {}%: loss {:.4}, accuracy {:.2}%, {:.0} images/s, {}",
            self.epochs,
            100 * steps / of,
            loss_sum / steps as f64,
            100.0 * correct as f64 / images as f64,
            images as f64 / seconds.max(f64::MIN_POSITIVE),
            self.left(rest)
        ));
    }

    /// Reports a completed epoch.
    pub fn tell(&self, epoch: &Epoch) {
        if self.quiet {
            return;
        }
        let validation = epoch.validation.map_or(String::new(), |v| format!(", validation {:.2}%", 100.0 * v));
        stderr::say(format_args!(
            "epoch {:>3} of {}: loss {:.4}, accuracy {:.2}%{validation}, {:.0} images/s, {}",
            epoch.number,
            self.epochs,
            epoch.loss,
            100.0 * epoch.accuracy,
            self.images as f64 / epoch.seconds.max(f64::MIN_POSITIVE),
            self.left(epoch.seconds * (self.epochs - epoch.number) as f64)
        ));
    }

    /// The time until the last epoch or until the time limit.
    fn left(&self, seconds: f64) -> String {
        let limit = self.end.map_or(f64::INFINITY, |end| end.saturating_duration_since(Instant::now()).as_secs_f64());
        let seconds = seconds.min(limit);
        match seconds {
            s if s < 100.0 => format!("{s:.0} s left"),
            s if s < 6000.0 => format!("{:.0} min left", s / 60.0),
            s => format!("{:.1} h left", s / 3600.0),
        }
    }
}
