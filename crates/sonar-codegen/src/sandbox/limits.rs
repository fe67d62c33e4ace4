//! Limits of this process, and a way to end a process group.

/// Limits the address space of this process to `bytes`, and forbids core files. An allocation beyond the limit fails.
/// Returns whether this worked; it works on Unix only.
pub fn limit_memory(bytes: u64) -> bool {
    limit(bytes)
}

/// Kills all processes of the group of this leader. Returns whether there was such a group.
pub fn end_group(leader: u32) -> bool {
    end(leader)
}

#[cfg(unix)]
fn limit(bytes: u64) -> bool {
    let mut granted = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the result is written to a value that outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut granted) } != 0 {
        return false;
    }
    let bounded = granted.rlim_max.min(bytes as libc::rlim_t);
    let memory = libc::rlimit { rlim_cur: bounded, rlim_max: bounded };
    let core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limits are passed by reference to values that outlive the calls.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &core) == 0 && libc::setrlimit(libc::RLIMIT_AS, &memory) == 0 }
}

#[cfg(unix)]
fn end(leader: u32) -> bool {
    // 0 would mean this process's own group, and 1 every process.
    let Some(leader) = i32::try_from(leader).ok().filter(|&leader| leader > 1) else { return false };
    // SAFETY: sending a signal touches no memory of this process.
    unsafe { libc::kill(-leader, libc::SIGKILL) == 0 }
}

#[cfg(not(unix))]
fn limit(_bytes: u64) -> bool {
    false
}

#[cfg(not(unix))]
fn end(_leader: u32) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;

    #[test]
    fn a_group_ends_as_a_whole() {
        let mut shell = Command::new("sh").args(["-c", "sleep 60 & wait"]).process_group(0).spawn().unwrap();
        assert!(end_group(shell.id()));
        assert_eq!(shell.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert!(!end_group(0) && !end_group(1));
    }
}
