//! Identifiers. Each is a newtype, so that one kind of 32 bytes is never passed for another.
//!
//! Guarantees nothing about who chose the bytes: an identifier that arrives is an allegation.

use crate::{domain, hash_value, Hash};
use alloc::string::String;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

macro_rules! bytes32 {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
        #[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
        pub struct $name(pub [u8; 32]);

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }
    )*};
}

bytes32! {
    /// An account of the chain: an sr25519 public key.
    AccountId;
    /// A contract: see [`ContractId::derive`].
    ContractId;
    /// The hash of a contract's code: see [`CodeHash::of`].
    CodeHash;
    /// A TEE's identity: the Ed25519 public key (ZIP-215) that its evidence binds.
    WorkerId;
}

impl ContractId {
    /// The id of a contract: bound to the chain, so that two networks never share one, and to deployer and salt, so that
    /// nobody takes another's id.
    pub fn derive(genesis: &Hash, cluster: ClusterId, deployer: &AccountId, code: &CodeHash, salt: &[u8; 32]) -> Self {
        Self(hash_value(domain::CONTRACT_ID, &(genesis, cluster, deployer, code, salt)))
    }
}

impl CodeHash {
    /// The hash of a contract's WASM bytes.
    pub fn of(code: &[u8]) -> Self {
        Self(crate::hash(domain::CODE, code))
    }
}

/// A cluster: the unit of isolation, order and keys.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct ClusterId(pub u32);

impl core::fmt::Display for ClusterId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A cluster's epoch, counted from 1. Its keys live as long as it is open; its length is the granularity of forward secrecy.
pub type Epoch = u32;

/// A number of a block of our chain.
pub type BlockNumber = u32;

/// An amount in the chain's smallest unit: 10^-12 PHA.
pub type Balance = u128;

/// Lower-case hexadecimal with `0x`.
pub fn to_hex(bytes: &[u8]) -> String {
    use core::fmt::Write;
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("0x");
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
