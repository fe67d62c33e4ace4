//! The emitters: from loop programs and tile programs to instructions.

pub(crate) mod cranelift_tile;
pub(crate) mod loops;
pub(crate) mod references;
pub(crate) mod registers;
pub(crate) mod x86;
