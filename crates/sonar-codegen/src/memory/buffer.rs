//! Memory for vectors.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;

/// A cache line in bytes, and the widest vector. Every tensor of a model starts at a multiple of this.
const ALIGNMENT: usize = 64;
/// Bytes of a huge page. Buffers of this size or more request huge pages: they are allocated faster and need fewer translations.
const HUGE_PAGE: usize = 2 << 20;
/// Elements of a cache line.
const LINE: usize = ALIGNMENT / size_of::<f32>();

/// A fixed number of elements, aligned to a cache line, zero at first.
pub(crate) struct AlignedBuffer {
    /// The allocation. The elements start at its first aligned address.
    allocation: NonNull<u8>,
    start: NonNull<f32>,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zeros.
    pub(crate) fn new(len: usize) -> Self {
        let len = aligned(len.max(1));
        let (layout, alignment) = Self::layout(len);
        // SAFETY: the layout is not empty. It requests only the usual alignment, so that the system's fresh pages are
        // not cleared again.
        let allocation = unsafe { std::alloc::alloc_zeroed(layout) };
        let Some(allocation) = NonNull::new(allocation) else { handle_alloc_error(layout) };
        let padding = allocation.as_ptr().align_offset(alignment);
        // SAFETY: the allocation is larger than the elements by one alignment.
        let start = unsafe { allocation.add(padding) }.cast::<f32>();
        #[cfg(target_os = "linux")]
        if alignment == HUGE_PAGE {
            // SAFETY: the range is within the allocation; the advice does not change its contents. Without huge pages it has
            // no effect.
            unsafe { libc::madvise(start.as_ptr().cast(), len * size_of::<f32>(), libc::MADV_HUGEPAGE) };
        }
        AlignedBuffer { allocation, start, len }
    }

    /// The layout of an allocation for `len` elements, and their alignment in it.
    fn layout(len: usize) -> (Layout, usize) {
        let huge = len.checked_mul(size_of::<f32>()).is_some_and(|bytes| bytes >= HUGE_PAGE);
        let alignment = if huge { HUGE_PAGE } else { ALIGNMENT };
        // A size that overflows is treated as one that memory cannot hold.
        let padded = len.checked_add(alignment / size_of::<f32>());
        let layout = padded.and_then(|len| Layout::array::<f32>(len).ok());
        (layout.unwrap_or_else(|| handle_alloc_error(Layout::new::<f32>())), alignment)
    }

    /// Elements.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All elements.
    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: the memory is initialised, and it is not written while it is borrowed: code that was given an address may
        // use it only while the buffer is not borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// Address of an element, which must be in the buffer or one past its end.
    pub(crate) fn at(&self, index: usize) -> *mut f32 {
        assert!(index <= self.len, "element {index} of a buffer of {}", self.len);
        // SAFETY: the index is at most one past the end of the allocation.
        unsafe { self.start.as_ptr().add(index) }
    }

    /// Copies elements into the buffer, which must be large enough.
    pub(crate) fn write(&mut self, offset: usize, values: &[f32]) {
        assert!(offset + values.len() <= self.len, "{} elements do not fit behind {offset} of {}", values.len(), self.len);
        // SAFETY: the range is within the allocation, and nothing else borrows it while `self` is borrowed for writing.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.start.as_ptr().add(offset), values.len()) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: the memory was allocated with this layout.
        unsafe { std::alloc::dealloc(self.allocation.as_ptr(), Self::layout(self.len).0) }
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
