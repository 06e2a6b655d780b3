//! Talks to chain and workers on a user's behalf: sealed commands, private queries, receipts, accounts, contract values.
//!
//! Guarantees: what decides - a cluster's envelope key, a worker's registration, a final result - is read with a storage proof
//! against a header that [`phala_light_client`] verified from the pinned genesis on, never taken from a node's word. What is not
//! proved (fees, nonces, lists for people) can cost a user a retry or a wrong table, not a secret.
//!
//! Node and workers control every answer that arrives here; the user controls accounts and arguments. Does not do: keep accounts or
//! networks on disk, print, or decide what is good enough for a user: [`verify`] lists what holds, and callers decide.
//!
//! | module | what |
//! |---|---|
//! | [`chain`] | one node: reads, proofs, extrinsics |
//! | [`network`] | a node behind a light client: [`Network::read`] returns proved values only |
//! | [`account`] | sr25519 accounts, key files of polkadot.js, SS58 |
//! | [`abi`] | JSON to SCALE and back by a contract's metadata |
//! | [`command`] | sealed commands: call, deploy, wait for the final reply |
//! | [`deadline`] | one end for all that a command waits for |
//! | [`query`] | sealed queries to one attested worker |
//! | [`beacon`] | values of the beacon, with what shows them offline |
//! | [`egress`] | signatures of contracts under what they sent |
//! | [`evidence`] | evidence and collateral as tools write them into files |
//! | [`launch`] | what a TDX machine measures, from the files that it starts from; what an SGX enclave was signed to be |
//! | [`provisioning`] | what a provisioning service answers, as collateral |
//! | [`suspension`] | a gatekeeper's part of a suspension as a file has it |
//! | [`transcript`] | what was seen of a ceremony, with what shows that it is the chain's |
//! | [`receipt`], [`verify`] | what proves a reply offline, and the proof's verdict |
#![forbid(unsafe_code)]

pub mod abi;
pub mod account;
mod bans;
pub mod beacon;
pub mod chain;
pub mod command;
pub mod deadline;
pub mod egress;
mod entropy;
pub mod error;
pub mod evidence;
pub mod launch;
pub mod network;
pub mod provisioning;
pub mod query;
pub mod receipt;
pub mod suspension;
pub mod transcript;
pub mod verify;
pub mod worker;

pub use abi::Metadata;
pub use account::Account;
pub use chain::{Chain, Until};
pub use command::{Command, CommandOptions, Completed};
pub use deadline::Deadline;
pub use error::{ClientError, ErrorCode};
pub use network::Network;
pub use receipt::Receipt;
