//! Runs the chain node: the only program that links the chain's client libraries.
//!
//! It keeps the chain, takes part in consensus when it holds authority keys, and serves JSON-RPC on loopback. Nobody has to
//! trust it: what light clients take from it they verify. It decides nothing about the chain's rules, which are the
//! runtime's.

#![forbid(unsafe_code)]

mod anchor;
mod chain_spec;
mod cli;
mod rpc;
mod service;

fn main() -> sc_cli::Result<()> {
    cli::run()
}
