//! Runs a worker or a gatekeeper: the measured binary
fn main() {}
