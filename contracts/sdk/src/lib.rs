//! Lets a developer write a confidential contract.
//!
//! A contract is a struct of storage fields and the messages on it, in [`contract!`]; its own types are made by
//! [`types!`]; what surrounds a message is in [`env`]. It compiles to `wasm32v1-none`, where this crate brings the
//! allocator and the panic handler, and to the machine you work on, where [`testing`] takes the network's place.
//!
//! The smallest contract:
//!
//! ```
//! use phala_sdk::prelude::*;
//!
//! phala_sdk::contract! {
//!     /// A note for every account, which only that account can read.
//!     pub struct Notes {
//!         notes: Map<AccountId, String>,
//!     }
//!
//!     impl Notes {
//!         constructor fn create(&mut self) {}
//!
//!         call fn write(&mut self, note: String) {
//!             self.notes.insert(&env::caller(), &note);
//!         }
//!
//!         query fn read(&self) -> Option<String> {
//!             self.notes.get(&env::caller())
//!         }
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! Guarantees: no dependency; the ABI of `docs/contract-abi.md`; a query that returns [`Denied`] looks to its asker like one to a
//! contract that does not exist. Does not check what a contract means: a query that shows one account's data to another does so.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod codec;
mod contract;
pub mod env;
mod identifier;
pub mod metadata;
mod storage;
mod types;

#[cfg(target_arch = "wasm32")]
mod guest;
#[cfg(target_arch = "wasm32")]
use guest as sys;

#[cfg(not(target_arch = "wasm32"))]
mod blake2b;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
#[cfg(not(target_arch = "wasm32"))]
use testing::sys;

pub use alloc::{format, vec};
pub use contract::{Contract, Denied, Entry, Event, Refusal, Reply, Returns};
pub use identifier::{AccountId, ContractId};
pub use storage::{Field, Map, Value};

/// What most contracts use.
pub mod prelude {
    pub use crate::{
        codec::{Decode, Encode},
        ensure, env, AccountId, ContractId, Denied, Map, Value,
    };
    pub use alloc::{
        string::{String, ToString},
        vec::Vec,
    };
}

/// For the expansion of the macros, and for nothing else.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_arch = "wasm32")]
    pub use crate::guest::enter;
    pub use crate::{
        codec::{Decode, DecodeError, Encode},
        contract::{Contract, Entry, Event, Refusal, Reply, Returns},
        metadata::{ContractText, Text, TypeInfo, TypeText},
        storage::{Field, MAX_FIELD_NAME_BYTES},
    };
    pub use alloc::vec::Vec;
}
