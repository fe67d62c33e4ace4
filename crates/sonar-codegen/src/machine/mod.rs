//! Measures this machine: the peak speed and bandwidths of a core, and the overhead of starting work.
//!
//! Every value is the fastest of several short runs, so that interruptions by other programs do not count. Results are rounded to two
//! digits: schedules depend on the record, so two measurements of one machine should give the same record.

mod bandwidth;
mod overhead;
mod peak;
mod processor;

pub use peak::peak_gflops;
pub use processor::{data_caches, environment};

use crate::error::CodegenError;
use crate::target::Target;
use sonar_ir::machine::{Bandwidth, Machine, Peak};

/// Measures this machine, in about a fifth of a second.
pub fn measure() -> Result<Machine, CodegenError> {
    let native = Target::native()?;
    let peaks = widths(&native).map(|target| peak::peak(&target)).collect::<Result<Vec<Peak>, _>>()?;
    let usual = Machine::usual(native.lanes());
    let caches = data_caches();
    Ok(rounded(Machine {
        processor: native.key(),
        cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
        caches: if caches.is_empty() { usual.caches.clone() } else { caches },
        peaks,
        bandwidths: bandwidth::bandwidths(&native)?,
        call: overhead::call(&native)?,
        fork: overhead::fork()?,
    }))
}

/// One target for each vector width of this machine, the narrowest first.
fn widths(native: &Target) -> impl Iterator<Item = Target> + use<> {
    let mut targets: Vec<Target> =
        ["x86-64-v2", "x86-64-v3", "x86-64-v4"].into_iter().filter_map(|name| Target::parse(name).ok()).collect();
    targets.retain(|target| target.runs_here() && target.lanes() < native.lanes());
    targets.push(native.clone());
    targets.into_iter()
}

/// A record whose measured numbers have two digits.
fn rounded(machine: Machine) -> Machine {
    let peak = |peak: &Peak| Peak { gflops: two_digits(peak.gflops), latency: two_digits(peak.latency), ..*peak };
    let bandwidth = |at: &Bandwidth| Bandwidth {
        bytes: at.bytes,
        read: two_digits(at.read),
        write: two_digits(at.write),
        copy: two_digits(at.copy),
    };
    Machine {
        peaks: machine.peaks.iter().map(peak).collect(),
        bandwidths: machine.bandwidths.iter().map(bandwidth).collect(),
        call: two_digits(machine.call),
        fork: two_digits(machine.fork),
        ..machine
    }
}

/// A positive number with two digits.
fn two_digits(x: f64) -> f64 {
    let step = 10f64.powi(x.log10().floor() as i32 - 1);
    // No multiplication by an inexact step: it would add digits to the printed number.
    if step >= 1.0 { (x / step).round() * step } else { (x / step).round() / (1.0 / step).round() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_measured() {
        let machine = measure().expect("it can be measured");
        assert!(machine.cores > 0 && machine.call > 0.0 && machine.fork > 0.0, "{machine:?}");
        assert!(machine.caches.is_sorted() && machine.caches.iter().all(|&bytes| bytes >= 4096), "{machine:?}");
        assert_eq!(machine.peaks.last().map(|peak| peak.lanes), Target::native().ok().map(|native| native.lanes()));
        for peak in &machine.peaks {
            assert!(peak.gflops > 0.0 && peak.latency > 1e-10 && peak.latency < 1e-7, "{peak:?}");
        }
        for pair in machine.bandwidths.windows(2) {
            let falls = pair[0].read >= pair[1].read && pair[0].write >= pair[1].write && pair[0].copy >= pair[1].copy;
            assert!(pair[0].bytes < pair[1].bytes && falls && pair[1].read > 0.0, "{pair:?}");
        }
    }

    #[test]
    fn two_digits_remain() {
        assert_eq!([229.7, 0.012_345, 6.96, 1e-9, 97_500.0].map(two_digits), [230.0, 0.012, 7.0, 1e-9, 98_000.0]);
    }
}
