//! Hand-computed values of every operator, and the identities that tie gradients to what they are gradients of.
