//! Memory between guard pages.

use std::io;
use std::ptr::NonNull;

/// A buffer for a compiled kernel, with guard pages before and after it. Code that leaves the buffer ends the process, so it
/// cannot change other memory.
///
/// The first element is at the start of a cache line, as in a model. Between the elements and the guard pages lies some slack:
/// less than a page, and less than a cache line after a small buffer. [`Guarded::intact`] tells whether the slack was written.
///
/// ```
/// let mut buffer = sonar_codegen::Guarded::new(100)?;
/// buffer.as_mut_slice().fill(1.0);
/// assert!(buffer.intact());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Guarded {
    mapping: NonNull<u8>,
    mapped: usize,
    /// Bytes from the start of the mapping to the first element.
    offset: usize,
    len: usize,
}

/// Bytes of a guard region: a multiple of the page size of every system.
const GUARD: usize = 64 << 10;
/// A cache line, and the widest vector.
const ALIGNMENT: usize = 64;
/// The size of a huge page in bytes. Buffers of this size or more request huge pages, as in a model.
const HUGE_PAGE: usize = 2 << 20;
/// The byte that fills the slack. Kernels do not compute numbers of such bytes.
const SLACK: u8 = 0xa7;

impl Guarded {
    /// `len` zeros.
    pub fn new(len: usize) -> io::Result<Guarded> {
        let too_large = || io::Error::new(io::ErrorKind::OutOfMemory, format!("a buffer of {len} elements is too large"));
        let bytes = len.checked_mul(size_of::<f32>()).filter(|&bytes| bytes < isize::MAX as usize / 2).ok_or_else(too_large)?;
        let huge = bytes >= HUGE_PAGE;
        let room = if huge { bytes + HUGE_PAGE } else { bytes }.next_multiple_of(GUARD);
        let mapped = room + 2 * GUARD;
        let mapping = map(mapped)?;
        // A small buffer ends at the guard region, except for the bytes that its alignment needs.
        let offset = match huge {
            true => GUARD + mapping.as_ptr().wrapping_add(GUARD).align_offset(HUGE_PAGE),
            false => GUARD + (room - bytes) / ALIGNMENT * ALIGNMENT,
        };
        let mut buffer = Guarded { mapping, mapped, offset, len };
        if huge {
            buffer.ask_for_huge_pages();
        }
        for (from, to) in buffer.slack() {
            // SAFETY: the range is within the writable part of the mapping.
            unsafe { mapping.as_ptr().add(from).write_bytes(SLACK, to - from) };
        }
        Ok(buffer)
    }

    /// All elements.
    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: the elements are within the mapping and initialised, and they are not written while they are borrowed.
        unsafe { std::slice::from_raw_parts(self.start(), self.len) }
    }

    /// All elements.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above, and nothing else borrows them.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.len) }
    }

    /// Whether the slack is unchanged.
    pub fn intact(&self) -> bool {
        self.slack().into_iter().all(|(from, to)| {
            // SAFETY: the range is within the readable part of the mapping.
            let slack = unsafe { std::slice::from_raw_parts(self.mapping.as_ptr().add(from), to - from) };
            slack.iter().all(|&byte| byte == SLACK)
        })
    }

    fn start(&self) -> *mut f32 {
        // SAFETY: the offset is within the mapping, and it is a multiple of the alignment after the page-aligned start.
        unsafe { self.mapping.as_ptr().add(self.offset) }.cast()
    }

    /// The byte ranges in the mapping next to the elements, at most a page on each side.
    fn slack(&self) -> [(usize, usize); 2] {
        const PAGE: usize = 4096;
        let end = self.offset + self.len * size_of::<f32>();
        [(GUARD.max(self.offset.saturating_sub(PAGE)), self.offset), (end, (end + PAGE).min(self.mapped - GUARD))]
    }

    #[cfg(target_os = "linux")]
    fn ask_for_huge_pages(&mut self) {
        // SAFETY: the range is within the mapping; the advice does not change its contents.
        unsafe { libc::madvise(self.start().cast(), self.len * size_of::<f32>(), libc::MADV_HUGEPAGE) };
    }

    #[cfg(not(target_os = "linux"))]
    fn ask_for_huge_pages(&mut self) {}
}

/// Fresh pages, all zero. The first and the last [`GUARD`] bytes are not accessible.
fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping overlaps nothing.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the range is within the mapping.
    let opened = unsafe { libc::mprotect(start.add(GUARD), bytes - 2 * GUARD, libc::PROT_READ | libc::PROT_WRITE) };
    if opened != 0 {
        let error = io::Error::last_os_error();
        // SAFETY: the mapping was just made and is not used.
        unsafe { libc::munmap(start, bytes) };
        return Err(error);
    }
    NonNull::new(start.cast()).ok_or_else(|| io::Error::other("memory at address zero"))
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping belongs to the buffer and is no longer borrowed.
        unsafe { libc::munmap(self.mapping.as_ptr().cast(), self.mapped) };
    }
}

// SAFETY: the buffer owns its memory, like a `Vec<f32>`.
unsafe impl Send for Guarded {}
// SAFETY: as above; a shared reference only reads.
unsafe impl Sync for Guarded {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_aligned_zero_and_ours() {
        for len in [0, 1, 15, 16, 17, 1000, 16 << 10, 600_000] {
            let mut buffer = Guarded::new(len).unwrap();
            assert!(buffer.as_slice().iter().all(|&v| v == 0.0), "{len}");
            assert_eq!(buffer.start() as usize % ALIGNMENT, 0);
            buffer.as_mut_slice().fill(1.0);
            assert_eq!(buffer.as_slice().len(), len);
            assert!(buffer.intact(), "{len}");
        }
        assert!(Guarded::new(usize::MAX).is_err());
    }

    #[test]
    fn an_element_beside_the_buffer_is_noticed() {
        for (len, index) in [(17, 17), (1000, -1), (600_000, 600_000), (600_000, -1)] {
            let buffer = Guarded::new(len).unwrap();
            // SAFETY: the element is in the slack, which belongs to the mapping.
            unsafe { buffer.start().offset(index).write(1.0) };
            assert!(!buffer.intact(), "{index} of {len}");
        }
    }
}
