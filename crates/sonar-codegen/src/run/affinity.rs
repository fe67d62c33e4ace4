//! The processor that the calling thread runs on.

/// Pins the calling thread, and threads that it starts later, to the last of its allowed processors, so that moves between
/// processors do not disturb timings. Returns whether this worked; it works on Linux only.
pub fn pin_to_one_processor() -> bool {
    pin()
}

#[cfg(target_os = "linux")]
fn pin() -> bool {
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: a `cpu_set_t` is an array of integers, for which all zeros is a valid value.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: 0 is the calling thread, and `allowed` has the size that is passed.
    if unsafe { libc::sched_getaffinity(0, size, &mut allowed) } != 0 {
        return false;
    }
    // SAFETY: every index is below the number of bits of a `cpu_set_t`.
    let Some(last) = (0..size * 8).rev().find(|&cpu| unsafe { libc::CPU_ISSET(cpu, &allowed) }) else {
        return false;
    };
    // SAFETY: as above.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `last` is below the number of bits of a `cpu_set_t`.
    unsafe { libc::CPU_SET(last, &mut one) };
    // SAFETY: 0 is the calling thread, and `one` has the size that is passed.
    unsafe { libc::sched_setaffinity(0, size, &one) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn pin() -> bool {
    false
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn a_pinned_thread_has_one_processor() {
        let count = std::thread::spawn(|| {
            assert!(super::pin_to_one_processor());
            std::thread::available_parallelism().map(usize::from).unwrap_or(0)
        });
        assert_eq!(count.join().unwrap_or(0), 1);
    }
}
