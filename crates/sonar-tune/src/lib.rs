//! Schedule search, and compile(): the straight line through the passes.
