//! What Linux reports about the processor, and which part of it this process may use.

use std::path::Path;

/// Sizes of the data caches of a core in bytes, the closest first; empty if the system does not report them.
pub fn data_caches() -> Vec<usize> {
    (1..=4).map_while(data_cache).collect()
}

/// Conditions that change measurements on the same processor: the number of cores that this process may use, and the vendor of the
/// virtual machine if this is one.
pub fn environment() -> String {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let hypervisor = info.lines().any(|line| line.starts_with("flags") && line.split_whitespace().any(|f| f == "hypervisor"));
    let vendor = std::fs::read_to_string("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
    let host = if hypervisor { format!("virtual machine {}", vendor.trim()) } else { "no virtual machine".to_owned() };
    format!("{cores} cores, {}", host.trim())
}

/// The size of the data cache of a level.
fn data_cache(level: usize) -> Option<usize> {
    let folder = Path::new("/sys/devices/system/cpu/cpu0/cache");
    let caches = (0..8).map(|i| folder.join(format!("index{i}")));
    let read = |cache: &Path, name: &str| std::fs::read_to_string(cache.join(name)).map(|text| text.trim().to_string());
    let cache = caches.into_iter().find(|cache| {
        read(cache, "level").is_ok_and(|found| found == level.to_string())
            && read(cache, "type").is_ok_and(|kind| kind != "Instruction")
    })?;
    let size = read(&cache, "size").ok()?;
    let kibibytes: usize = size.strip_suffix('K')?.parse().ok()?;
    Some(kibibytes << 10)
}
