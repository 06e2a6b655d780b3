//! Proves the stories end to end on real processes.
#![forbid(unsafe_code)]
