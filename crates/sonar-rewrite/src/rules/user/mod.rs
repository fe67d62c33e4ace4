//! Rules that a user states as text.

pub mod matching;
pub mod special;
pub mod trial;
