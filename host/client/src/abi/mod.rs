//! Contract values: JSON on a user's side, SCALE on the contract's, converted by the metadata inside the contract's code.
//!
//! The grammar is `docs/contract-abi.md`. Guarantees: what is decoded from one [`Budget`], as one reply is, takes at most
//! [`MAX_DECODED_BYTES`], types nest at most [`MAX_DEPTH`] deep, and nothing panics. A contract's author controls the metadata, a contract the bytes, a user the JSON.
//! An error names the argument and the place inside it.

mod convert;
mod metadata;
#[cfg(test)]
mod tests;
mod types;

pub use convert::{Budget, MAX_DECODED_BYTES};
pub use metadata::{Event, Kind, Metadata, MetadataError, Method};
pub use types::{Type, TypeError, MAX_DEPTH};

use crate::{ClientError, ErrorCode};
use phala_protocol::AccountId;

/// How an account's name in JSON becomes an id: bare development names, and whatever else the caller knows.
pub type AccountNames<'a> = &'a dyn Fn(&str) -> Option<AccountId>;

/// Why a value cannot be converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AbiError {
    /// The JSON value is not of the type.
    #[error("{place}: expected {expected}, got {got}")]
    Mismatch {
        /// Where: an argument's name, then fields and indices.
        place: String,
        /// What the type takes.
        expected: String,
        /// What is there.
        got: String,
    },
    /// Bytes are not of the type; the contract's fault, or the metadata is another contract's.
    #[error("{place}: the bytes are not the encoding of {expected}")]
    Malformed {
        /// Where.
        place: String,
        /// What the type is.
        expected: String,
    },
    /// The values of a reply take too much memory as their types make them; the contract's author's fault.
    #[error("{place}: as their types make them, the values of this reply take more than {MAX_DECODED_BYTES} bytes of memory")]
    TooLarge {
        /// Where the memory ended.
        place: String,
    },
    /// Bytes after the value.
    #[error("{place}: {count} bytes follow the value")]
    TrailingBytes {
        /// Where.
        place: String,
        /// How many.
        count: usize,
    },
    /// Too few or too many arguments.
    #[error("`{method}` takes {expected}, got {got}")]
    ArgumentCount {
        /// The method.
        method: String,
        /// Its arguments, as text.
        expected: String,
        /// How many there are.
        got: usize,
    },
    /// No such method.
    #[error("the contract has no {kind} `{method}`; it has: {known}")]
    NoSuchMethod {
        /// What was looked for.
        kind: &'static str,
        /// The name.
        method: String,
        /// What there is.
        known: String,
    },
}

impl From<AbiError> for ClientError {
    fn from(error: AbiError) -> Self {
        let code = match error {
            AbiError::Malformed { .. } | AbiError::TooLarge { .. } | AbiError::TrailingBytes { .. } => {
                ErrorCode::Unverified
            }
            AbiError::NoSuchMethod { .. } => ErrorCode::NotFound,
            _ => ErrorCode::Invalid,
        };
        let hint = match error {
            AbiError::ArgumentCount { .. } | AbiError::Mismatch { .. } => {
                Some("arguments are JSON: numbers of 64 bits and more as strings, accounts by name or address")
            }
            AbiError::Malformed { .. } | AbiError::TrailingBytes { .. } => {
                Some("the contract's metadata does not describe what the contract returns")
            }
            AbiError::TooLarge { .. } => Some("ask the contract for less at once, if it has a method for that"),
            AbiError::NoSuchMethod { .. } => None,
        };
        let error = Self::new(code, error.to_string());
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
