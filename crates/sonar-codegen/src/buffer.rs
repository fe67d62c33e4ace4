//! Memory for vectors.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;

/// A cache line, and the widest vector: every tensor of a model starts on such a boundary.
const ALIGNMENT: usize = 64;
/// Bytes of a huge page; buffers of as many or more ask for such pages: they are ready sooner and need fewer translations.
const HUGE_PAGE: usize = 2 << 20;
/// Elements of a cache line.
const LINE: usize = ALIGNMENT / size_of::<f32>();

/// A fixed number of elements, aligned to a cache line, zero at first.
pub(crate) struct AlignedBuffer {
    start: NonNull<f32>,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zeros.
    pub(crate) fn new(len: usize) -> Self {
        let len = aligned(len.max(1));
        let layout = Self::layout(len);
        let start = if layout.align() == HUGE_PAGE {
            huge_zeroed(layout)
        } else {
            // SAFETY: the layout is not empty.
            unsafe { std::alloc::alloc_zeroed(layout) }
        };
        match NonNull::new(start.cast()) {
            Some(start) => AlignedBuffer { start, len },
            None => handle_alloc_error(layout),
        }
    }

    fn layout(len: usize) -> Layout {
        // A length whose size overflows is as impossible to serve as one that memory cannot hold.
        let overflow = || handle_alloc_error(Layout::new::<f32>());
        let array = Layout::array::<f32>(len).unwrap_or_else(|_| overflow());
        let alignment = if array.size() >= HUGE_PAGE { HUGE_PAGE } else { ALIGNMENT };
        array.align_to(alignment).unwrap_or_else(|_| overflow())
    }

    /// Elements.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All elements.
    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: the memory is initialised, and nothing writes it while it is borrowed: whoever was given an address may
        // use it only while the buffer is not borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// Address of an element, which must be in the buffer or just behind it.
    pub(crate) fn at(&self, index: usize) -> *mut f32 {
        assert!(index <= self.len, "element {index} of a buffer of {}", self.len);
        // SAFETY: the index is at most one past the end of the allocation.
        unsafe { self.start.as_ptr().add(index) }
    }

    /// Copies elements into the buffer, which must have room for them.
    pub(crate) fn write(&mut self, offset: usize, values: &[f32]) {
        assert!(offset + values.len() <= self.len, "{} elements do not fit behind {offset} of {}", values.len(), self.len);
        // SAFETY: the range is within the allocation, and nothing else borrows it while `self` is borrowed for writing.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.start.as_ptr().add(offset), values.len()) }
    }
}

/// Zeroed memory of a layout aligned to huge pages, which the system is asked to use before any of it is touched.
fn huge_zeroed(layout: Layout) -> *mut u8 {
    // SAFETY: the layout is not empty.
    let start = unsafe { std::alloc::alloc(layout) };
    if !start.is_null() {
        #[cfg(target_os = "linux")]
        // SAFETY: the range was just allocated; the advice does not change what is in it. Without huge pages it is in vain.
        unsafe {
            libc::madvise(start.cast(), layout.size(), libc::MADV_HUGEPAGE);
        }
        // SAFETY: the range was just allocated.
        unsafe { start.write_bytes(0, layout.size()) };
    }
    start
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: the memory was allocated with this layout.
        unsafe { std::alloc::dealloc(self.start.as_ptr().cast(), Self::layout(self.len)) }
    }
}

// SAFETY: the buffer owns its memory, like a `Vec<f32>`.
unsafe impl Send for AlignedBuffer {}
// SAFETY: as above; a shared reference only gives out addresses.
unsafe impl Sync for AlignedBuffer {}

/// The next multiple of a cache line, in elements.
pub(crate) fn aligned(len: usize) -> usize {
    len.next_multiple_of(LINE)
}
