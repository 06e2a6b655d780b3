//! The stories of a confidential network in one command, on real processes. TEE simulated: INSECURE, and each answer must say so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod crash;
mod full_disk;
mod gatekeeper_disk;
mod gatekeepers;
mod heartbeats;
mod hostile;
mod hostile_contracts;
mod hostile_evidence;
mod hostile_flood;
mod hours_off;
mod identities;
mod identities_kills;
mod joins;
mod node_disk;
mod one_command;
mod one_gatekeeper;
mod outside_contract;
mod relay_lies;
mod replaced;
mod replies;
mod sessions;
mod shut_out;
mod stock_clients;
mod successor;
mod surface;
mod taken_over;
