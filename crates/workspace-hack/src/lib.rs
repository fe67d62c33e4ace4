//! Holds no code: its manifest makes all kinds of build ask for the same features of dependencies.
