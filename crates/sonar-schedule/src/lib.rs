//! Graph to loop programs, schedule primitives, schedule spaces.
