//! Loop programs and tile programs to machine code.
