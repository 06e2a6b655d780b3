//! The stories of a confidential network in one command, on real processes. TEE simulated: INSECURE, and each answer must say so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod one_command;
mod outside_contract;
