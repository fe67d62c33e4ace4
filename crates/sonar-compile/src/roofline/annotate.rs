//! Loop programs with comments about the work and the memory of each loop.

use crate::roofline::Roofline;
use sonar_ir::loops::Program;
use sonar_ir::machine::Machine;
use sonar_schedule::{LoopCost, loop_costs};

/// The sizes of a core's data caches, in bytes, the closest first.
pub struct Caches {
    sizes: Vec<usize>,
    /// Whether they belong to this machine.
    known: bool,
}

impl Caches {
    /// The caches of this machine as Linux reports them, if `here`. Otherwise, or if Linux does not report them, those of a
    /// common processor.
    pub fn new(here: bool) -> Caches {
        let told = if here { sonar_codegen::machine::data_caches() } else { Vec::new() };
        if told.is_empty() {
            Caches { sizes: Machine::usual(8).caches.clone(), known: false }
        } else {
            Caches { sizes: told, known: true }
        }
    }

    /// The sizes for people.
    pub fn describe(&self) -> String {
        let sizes: Vec<String> =
            self.sizes.iter().enumerate().map(|(i, &size)| format!("L{} {}", i + 1, bytes(size as u64))).collect();
        format!("{}{}", sizes.join(", "), if self.known { "" } else { " (assumed)" })
    }

    /// The sizes in bytes, the closest first.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The closest cache with room for this many bytes.
    fn that_holds(&self, bytes: u64) -> String {
        match self.sizes.iter().position(|&size| size as u64 >= bytes) {
            Some(i) => format!("fits L{}", i + 1),
            None => "fits no cache".to_string(),
        }
    }
}

/// The meaning of the comments of [`annotate`].
pub const LEGEND: &str = "Behind a loop: what one iteration computes, the distinct bytes that it touches, and the closest cache \
    that holds them; then, if a time is known, how much of it all iterations take at the roofline of that cache";

/// The text of a program with a comment behind each loop. If `time` gives the roofline and the program's seconds, the comments
/// include the share of the roofline.
pub fn annotate(program: &Program, caches: &Caches, time: Option<(&Roofline, f64)>) -> String {
    let note = |level: &LoopCost| {
        let share = time
            .filter(|_| level.runs > 0.0)
            .map(|(roofline, seconds)| format!(", {:.0}%", 100.0 * roofline.floor_of_loop(level) / seconds));
        let cache = caches.that_holds(level.bytes);
        format!("{}, {}, {cache}{}", flops(level.flops), bytes(level.bytes), share.unwrap_or_default())
    };
    program.annotated(&loop_costs(program).iter().map(note).collect::<Vec<_>>())
}

/// A number of floating-point operations for people.
pub fn flops(count: f64) -> String {
    match count {
        n if n >= 1e9 => format!("{:.2} GFLOP", n / 1e9),
        n if n >= 1e6 => format!("{:.2} MFLOP", n / 1e6),
        n if n >= 1e3 => format!("{:.2} kFLOP", n / 1e3),
        n => format!("{n:.0} FLOP"),
    }
}

/// A number of bytes for people.
pub fn bytes(count: u64) -> String {
    match count {
        n if n >= 10 << 20 => format!("{} MiB", n >> 20),
        n if n >= 1 << 20 => format!("{:.1} MiB", n as f64 / f64::from(1 << 20)),
        n if n >= 10 << 10 => format!("{} KiB", n >> 10),
        n if n >= 1 << 10 => format!("{:.1} KiB", n as f64 / f64::from(1 << 10)),
        n => format!("{n} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!([0.0, 999.0, 850_000.0, 2.5e9].map(flops), ["0 FLOP", "999 FLOP", "850.00 kFLOP", "2.50 GFLOP"]);
        assert_eq!([12, 1536, 64 << 10, 3 << 19, 48 << 20].map(bytes), ["12 B", "1.5 KiB", "64 KiB", "1.5 MiB", "48 MiB"]);
    }

    #[test]
    fn the_closest_cache_is_named() {
        let caches = Caches { sizes: vec![1000, 5000], known: true };
        assert_eq!([1000, 1001, 5001].map(|bytes| caches.that_holds(bytes)), ["fits L1", "fits L2", "fits no cache"]);
        assert!(!Caches::new(false).known && Caches::new(false).describe().contains("assumed"));
        assert!(Caches::new(true).sizes().is_sorted());
    }
}
