//! Probes of this machine: the fastest that a core computes and moves data.

pub(crate) mod bandwidth;
pub(crate) mod peak;
