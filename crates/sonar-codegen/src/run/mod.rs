//! The run time: compiled code together with the memory and the threads that it needs.

pub(crate) mod affinity;
pub(crate) mod context;
pub(crate) mod kernel;
pub(crate) mod launch;
pub(crate) mod model;
pub(crate) mod pool;
pub(crate) mod timeline;
