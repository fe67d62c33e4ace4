//! A machine's performance: the one record that every estimate of time reads.
//!
//! A [`Machine`] is plain data. `sonar-codegen` measures it, and `sonar-measure` keeps it in a file. It is read by the cost model of
//! rewriting, by the analytic model of schedules, and by the roofline of reports. Use [`Machine::usual`] where nothing can be
//! measured: for another processor than this one, and in tests.

use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// The least relative gain in time for which a new candidate replaces the current one. Two measurements of one kernel differ by as
/// much as this, and no estimate is more precise.
pub const MIN_GAIN: f64 = 0.01;

/// The smallest first-level data cache of any processor that code is generated for, in bytes.
///
/// Use it only for results that must not depend on the machine: the unscheduled program of a kernel, whose text names the kernel.
pub const LEAST_FIRST_LEVEL: usize = 32 << 10;

/// Cycles between the start of a multiply-add and the use of its result. It is 4 on nearly every core since 2015, so a measured
/// latency gives the length of a cycle.
const FMA_CYCLES: f64 = 4.0;

/// Of two activities that overlap, such as computing and moving data, this share of the shorter one is not hidden by the longer.
const EXPOSED: f64 = 0.25;

/// Seconds of two activities of a core that overlap.
pub fn at_once(one: f64, other: f64) -> f64 {
    one.max(other) + EXPOSED * one.min(other)
}

/// The most loads that begin in a cycle: most cores have two load ports.
const LOADS: f64 = 2.0;

/// Instructions in a cycle: cores of the last ten years decode and retire four to eight.
const INSTRUCTIONS: f64 = 6.0;

/// Whether the challenger's time is shorter than the incumbent's by [`MIN_GAIN`] or more.
pub fn is_gain(challenger: f64, incumbent: f64) -> bool {
    challenger < incumbent * (1.0 - MIN_GAIN)
}

/// A machine's performance. Every field except `cores` is about one core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor model, or the instruction set level that the usual numbers are for.
    pub processor: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Bytes of the data caches, the closest to the core first.
    pub caches: Vec<usize>,
    /// Peaks by vector width, the narrowest first.
    pub peaks: Vec<Peak>,
    /// Bandwidths by footprint, the smallest first. They never grow with the footprint.
    pub bandwidths: Vec<Bandwidth>,
    /// Seconds to call a kernel that does nothing.
    pub call: f64,
    /// Seconds to hand work that does nothing to another thread and to wait for it.
    pub fork: f64,
}

/// How fast a core computes with vectors of one width.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// Elements of a vector.
    pub lanes: usize,
    /// Multiply-adds in registers, in 10⁹ floating-point operations a second (two each).
    pub gflops: f64,
    /// Seconds between the start of a multiply-add and the use of its result.
    pub latency: f64,
}

/// How fast a core moves data that it reads or writes repeatedly, in 10⁹ bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Size of the data in bytes.
    pub bytes: usize,
    /// Reading.
    pub read: f64,
    /// Writing.
    pub write: f64,
    /// Copying: bytes that are read and bytes that are written together.
    pub copy: f64,
}

/// Times of one core with vectors of one width, in seconds. Estimates of kernels are sums of them.
#[derive(Clone, Copy, Debug)]
pub struct Core {
    /// Elements of a vector.
    pub lanes: usize,
    /// An arithmetic operation, if nothing waits for its result: half a cycle where there are two units.
    pub operation: f64,
    /// The wait for the result of a multiply-add.
    pub latency: f64,
    /// Loading a vector from the first-level cache.
    pub load: f64,
    /// Storing a vector there.
    pub store: f64,
    /// Loading one element into all lanes.
    pub broadcast: f64,
    /// Any instruction, as limited by decoding and retiring.
    pub instruction: f64,
    /// A cycle.
    pub cycle: f64,
    /// All that is known of the machine.
    pub machine: &'static Machine,
}

impl Core {
    /// Seconds to fetch `bytes` into the first-level cache. The data are `footprint` bytes and share the cache with as many others.
    /// The part that stays in the cache is not fetched again.
    pub fn fetch(&self, bytes: f64, footprint: f64) -> f64 {
        let beside = 2.0 * footprint;
        if beside <= self.machine.cache(1) as f64 { 0.0 } else { bytes * self.machine.read(beside) }
    }
}

impl Machine {
    /// A core with vectors of this width.
    pub fn core(&'static self, lanes: usize) -> Core {
        let (cycle, vector) = (self.cycle(), (4 * lanes) as f64);
        let load = vector * self.read(0.0);
        Core {
            lanes,
            operation: self.fma(lanes),
            latency: self.peak(lanes).latency,
            load,
            store: vector * self.write(0.0),
            // An element is smaller than a vector, but no core begins more than two loads a cycle.
            broadcast: load.min(cycle / LOADS),
            instruction: cycle / INSTRUCTIONS,
            cycle,
            machine: self,
        }
    }

    /// A common processor with vectors of this many elements, for estimates where nothing can be measured.
    ///
    /// | lanes | stands for | FMA peak | caches |
    /// |---|---|---|---|
    /// | 16 | AVX-512 with a 512-bit data path, 3.5 GHz | 224 GFLOP/s | 48 KiB, 2 MiB, 32 MiB |
    /// | 8 | AVX2, 3.5 GHz | 112 GFLOP/s | 32 KiB, 512 KiB, 16 MiB |
    /// | 4 and others | 128-bit vectors, 3 GHz | 48 GFLOP/s | 32 KiB, 512 KiB, 4 MiB |
    pub fn usual(lanes: usize) -> &'static Machine {
        static USUAL: LazyLock<[Machine; 3]> = LazyLock::new(|| {
            [
                usual("128-bit vectors", 3e9, &[4], [32 << 10, 512 << 10, 4 << 20]),
                usual("AVX2", 3.5e9, &[4, 8], [32 << 10, 512 << 10, 16 << 20]),
                usual("AVX-512", 3.5e9, &[4, 8, 16], [48 << 10, 2 << 20, 32 << 20]),
            ]
        });
        match lanes {
            16 => &USUAL[2],
            8 => &USUAL[1],
            _ => &USUAL[0],
        }
    }

    /// What is wrong with a record from an external source, if anything is.
    pub fn check(&self) -> Result<(), &'static str> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let bandwidth = |at: &Bandwidth| at.bytes > 0 && [at.read, at.write, at.copy].into_iter().all(positive);
        let grows = |pair: &[Bandwidth]| pair[0].bytes < pair[1].bytes;
        match self {
            _ if self.cores == 0 => Err("there are no cores"),
            _ if self.caches.is_empty() || self.caches.contains(&0) => Err("there are no caches"),
            _ if self.peaks.is_empty() => Err("there are no peaks"),
            _ if !self.peaks.iter().all(|p| p.lanes > 0 && positive(p.gflops) && positive(p.latency)) => {
                Err("a peak is not positive")
            }
            _ if self.bandwidths.is_empty() => Err("there are no bandwidths"),
            _ if !self.bandwidths.iter().all(bandwidth) => Err("a bandwidth is not positive"),
            _ if !self.bandwidths.windows(2).all(grows) => Err("footprints do not grow"),
            _ if !positive(self.call) || !positive(self.fork) => Err("an overhead is not positive"),
            _ => Ok(()),
        }
    }

    /// The peak with vectors of this width. If it is not known, that of the next narrower width, scaled.
    pub fn peak(&self, lanes: usize) -> Peak {
        let known = self.peaks.iter().rev().find(|peak| peak.lanes <= lanes).or(self.peaks.first());
        let known = known.copied().unwrap_or(Peak { lanes: 1, gflops: 1.0, latency: 4e-9 });
        Peak { lanes, gflops: known.gflops * lanes as f64 / known.lanes as f64, ..known }
    }

    /// Seconds of one multiply-add of vectors, if nothing has to wait.
    pub fn fma(&self, lanes: usize) -> f64 {
        2.0 * lanes as f64 / (self.peak(lanes).gflops * 1e9)
    }

    /// Seconds of a cycle, by the shortest latency: a multiply-add of narrow vectors may be two instructions.
    pub fn cycle(&self) -> f64 {
        let latency = self.peaks.iter().map(|peak| peak.latency).min_by(f64::total_cmp);
        latency.unwrap_or(FMA_CYCLES * 1e-9) / FMA_CYCLES
    }

    /// Seconds to read one byte of data of `footprint` bytes.
    pub fn read(&self, footprint: f64) -> f64 {
        self.seconds(footprint, |bandwidth| bandwidth.read)
    }

    /// Seconds to write one byte of data of `footprint` bytes.
    pub fn write(&self, footprint: f64) -> f64 {
        self.seconds(footprint, |bandwidth| bandwidth.write)
    }

    /// The fewest seconds to move one byte of data of `footprint` bytes: by reading or by copying, whichever is faster.
    pub fn moved(&self, footprint: f64) -> f64 {
        self.seconds(footprint, |bandwidth| bandwidth.read.max(bandwidth.copy))
    }

    /// Size of the data cache of a level in bytes, 1 being the closest; of the last one if there are fewer.
    pub fn cache(&self, level: usize) -> usize {
        self.caches.get(level.max(1) - 1).or(self.caches.last()).copied().unwrap_or(LEAST_FIRST_LEVEL)
    }

    /// Seconds for one byte, interpolated linearly between measured footprints over the logarithm of the footprint.
    fn seconds(&self, footprint: f64, gigabytes: impl Fn(&Bandwidth) -> f64) -> f64 {
        let seconds = |bandwidth: &Bandwidth| 1e-9 / gigabytes(bandwidth);
        let above = self.bandwidths.iter().position(|bandwidth| bandwidth.bytes as f64 >= footprint);
        match (above, self.bandwidths.last()) {
            (Some(0), _) => seconds(&self.bandwidths[0]),
            (Some(i), _) => {
                let [low, high] = [&self.bandwidths[i - 1], &self.bandwidths[i]];
                let share = (footprint / low.bytes as f64).ln() / (high.bytes as f64 / low.bytes as f64).ln();
                seconds(low) + share * (seconds(high) - seconds(low))
            }
            (None, Some(last)) => seconds(last),
            (None, None) => 0.0,
        }
    }
}

/// A processor of usual proportions: a cycle has two multiply-adds, two loads of vectors and one store, and the bandwidths of the
/// caches have the usual ratios to that of the first one.
fn usual(processor: &str, hertz: f64, widths: &[usize], caches: [usize; 3]) -> Machine {
    let peak = |&lanes: &usize| Peak { lanes, gflops: 4.0 * lanes as f64 * hertz / 1e9, latency: FMA_CYCLES / hertz };
    let widest = widths.last().copied().unwrap_or(4);
    let load = 4.0 * widest as f64 * hertz / 1e9;
    // Data that just fit a cache share it with other data: from three quarters of its size on they come from the next one.
    let level =
        |bytes: usize, read: f64, write: f64| Bandwidth { bytes, read: load * read, write: load * write, copy: load * read };
    let [first, second, third] = caches;
    let bandwidths = vec![
        level(first / 4 * 3, 2.0, 1.0),
        level(first / 2 * 3, 0.8, 0.5),
        level(second / 4 * 3, 0.8, 0.5),
        level(second / 2 * 3, 0.3, 0.2),
        level(third / 4 * 3, 0.3, 0.2),
        level(third / 2 * 3, 0.1, 0.07),
    ];
    Machine {
        processor: format!("usual for {processor}"),
        cores: 1,
        caches: caches.to_vec(),
        peaks: widths.iter().map(peak).collect(),
        bandwidths,
        call: 5e-9,
        fork: 1e-6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_is_more_than_what_measurements_differ_by() {
        assert!(is_gain(98.0, 100.0) && !is_gain(99.5, 100.0) && !is_gain(100.0, 100.0));
        assert!(!is_gain(f64::NAN, 100.0) && is_gain(1.0, f64::INFINITY));
    }

    #[test]
    fn peaks_are_scaled_to_widths_that_were_not_measured() {
        let machine = Machine::usual(8);
        assert_eq!(machine.peak(8).gflops, 112.0);
        assert_eq!(machine.peak(16).gflops, 224.0);
        assert_eq!(machine.peak(1).gflops, 12.0 * 3.5 / 3.0);
        // Two a cycle, and four cycles for one.
        assert!((machine.fma(8) * 2.0 - machine.cycle()).abs() < 1e-15);
    }

    #[test]
    fn bandwidths_lie_between_those_of_the_measured_footprints() {
        let at = |bytes, read| Bandwidth { bytes, read, write: 1.0, copy: 1.0 };
        let machine = Machine { bandwidths: vec![at(1000, 100.0), at(4000, 50.0)], ..Machine::usual(16).clone() };
        let nanoseconds = |footprint| machine.read(footprint) * 1e9;
        assert_eq!([0.0, 1000.0, 4000.0, 1e9].map(nanoseconds), [0.01, 0.01, 0.02, 0.02]);
        assert!((nanoseconds(2000.0) - 0.015).abs() < 1e-12);
        assert!((machine.moved(1.0) - 0.01e-9).abs() < 1e-20 && (machine.write(1.0) - 1e-9).abs() < 1e-20);
    }

    #[test]
    fn records_that_no_machine_has_are_refused() {
        let machine = || Machine::usual(8).clone();
        let nothing = Bandwidth { bytes: 1, read: 1.0, write: 0.0, copy: 1.0 };
        let wrong = [
            Machine { cores: 0, ..machine() },
            Machine { caches: vec![], ..machine() },
            Machine { peaks: vec![], ..machine() },
            Machine { peaks: vec![Peak { lanes: 8, gflops: f64::NAN, latency: 1e-9 }], ..machine() },
            Machine { bandwidths: vec![], ..machine() },
            Machine { bandwidths: vec![nothing], ..machine() },
            Machine { bandwidths: machine().bandwidths.into_iter().rev().collect(), ..machine() },
            Machine { call: 0.0, ..machine() },
            Machine { fork: f64::INFINITY, ..machine() },
        ];
        assert!(wrong.iter().all(|machine| machine.check().is_err()));
    }

    #[test]
    fn usual_machines_are_sound() {
        for lanes in [4, 8, 16] {
            let machine = Machine::usual(lanes);
            assert_eq!(machine.check(), Ok(()));
            assert_eq!(machine.peaks.last().map(|peak| peak.lanes), Some(lanes));
            for pair in machine.bandwidths.windows(2) {
                assert!(
                    pair[0].bytes < pair[1].bytes && pair[0].read >= pair[1].read && pair[0].write >= pair[1].write,
                    "{pair:?}"
                );
            }
        }
    }
}
