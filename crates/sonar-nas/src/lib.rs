//! The joint search of architectures and schedules.
