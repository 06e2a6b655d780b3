//! Gives users and operators the phala command
fn main() {}
