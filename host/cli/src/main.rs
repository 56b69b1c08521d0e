#![forbid(unsafe_code)]
//! skeleton
fn main() {}
