//! Timing of kernels in isolated workers, statistics, and records.
