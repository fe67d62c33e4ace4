//! For untrusted kernels: memory that detects wrong writes, limits of the process, and faults for tests.

pub(crate) mod fault;
pub(crate) mod guarded;
pub(crate) mod limits;
