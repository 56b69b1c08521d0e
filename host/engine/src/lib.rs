#![forbid(unsafe_code)]
//! skeleton
