//! A command, and what its account signs.
//!
//! The signature covers label, genesis, cluster, the hash of the epoch's envelope key and the whole call (purpose, contract,
//! nonce, validity, gas class, limits, payload), so that whoever opened an envelope cannot re-seal its call to another chain,
//! cluster or epoch. Purpose and gas class are what the public wrapper says too, and anyone may wrap a copy of an envelope:
//! signed, they tell a worker that a wrapper is not the account's, so that it takes neither the nonce nor the contract id.
//!
//! Guarantees: bounded decoding. Does not verify the signature: `phala_crypto::signature` does. The sender controls all of it.

use crate::{
    domain,
    gas::GasClass,
    hash_value,
    ids::{AccountId, Balance, BlockNumber, ClusterId, ContractId},
    Hash,
};
use alloc::vec::Vec;
use codec::{Decode, Encode};

/// What an account signs a call for: the kind of inbox item that may carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum CallPurpose {
    /// A command to a contract that exists, carried by an item of kind [`crate::inbox::ItemKind::Envelope`].
    #[codec(index = 0)]
    Command,
    /// The constructor of a new contract, carried by [`crate::inbox::ChainMessage::Instantiate`].
    #[codec(index = 1)]
    Constructor,
}

/// A command to a contract, before it is signed and sealed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Call {
    /// What it is signed for; an item of another kind does not execute it.
    pub purpose: CallPurpose,
    /// The contract that is called.
    pub contract: ContractId,
    /// Used once per account and cluster, within a window of [`crate::limits::NONCE_WINDOW`].
    pub nonce: u64,
    /// The last block that may include the command.
    pub valid_until: BlockNumber,
    /// The public gas class of its item; an item of another class does not execute it.
    pub gas_class: GasClass,
    /// Gas the command may use, within the class.
    pub gas_limit: u64,
    /// The most that may be charged for the class, in 10^-12 PHA.
    pub max_fee: Balance,
    /// The contract's input: method name and arguments, as the contract ABI encodes them.
    pub payload: Vec<u8>,
}

/// A call with its account's authority: the plaintext of an envelope of kind `Call`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedCall {
    /// Who calls.
    pub account: AccountId,
    /// What is called.
    pub call: Call,
    /// sr25519 over [`signing_payload`].
    pub signature: [u8; 64],
}

/// The plaintext of an envelope of kind `SessionOpen`: a first call, and the key that authorises the session's later commands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SessionOpen {
    /// The account whose session it is, and its first call. The signature covers `session_key` too: see [`session_payload`].
    pub signed: SignedCall,
    /// Ed25519 (ZIP-215) public key.
    pub session_key: [u8; 32],
}

/// The plaintext of an envelope of kind `SessionCommand`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SessionCommand {
    /// What is called. Its nonce is one of the account's, like that of any other call: replies are found by it, and it is what makes
    /// the command execute once. The session's own number is not in here: the tag stands for it.
    pub call: Call,
    /// Ed25519 by the session key over [`session_command_payload`].
    pub signature: [u8; 64],
}

/// The 32 bytes that an account signs to authorise `call`.
pub fn signing_payload(genesis: &Hash, cluster: ClusterId, envelope_key: &Hash, call: &Call) -> Hash {
    hash_value(domain::CALL, &(genesis, cluster, envelope_key, call))
}

/// The 32 bytes that an account signs to open a session with `call` as its first command.
pub fn session_payload(
    genesis: &Hash,
    cluster: ClusterId,
    envelope_key: &Hash,
    call: &Call,
    session_key: &[u8; 32],
) -> Hash {
    hash_value(domain::SESSION_OPEN, &(genesis, cluster, envelope_key, call, session_key))
}

/// The 32 bytes that a session key signs under the command with `tag`.
pub fn session_command_payload(genesis: &Hash, cluster: ClusterId, tag: &[u8; 16], call: &Call) -> Hash {
    hash_value(domain::SESSION_SIGN, &(genesis, cluster, tag, call))
}

impl SignedCall {
    /// Decodes an envelope's plaintext, and nothing after it.
    pub fn decode_exact(bytes: &[u8]) -> Result<Self, CallDecodeError> {
        decode_exact(bytes)
    }
}

impl SessionOpen {
    /// Decodes an envelope's plaintext, and nothing after it.
    pub fn decode_exact(bytes: &[u8]) -> Result<Self, CallDecodeError> {
        decode_exact(bytes)
    }
}

impl SessionCommand {
    /// Decodes an envelope's plaintext, and nothing after it.
    pub fn decode_exact(bytes: &[u8]) -> Result<Self, CallDecodeError> {
        decode_exact(bytes)
    }
}

fn decode_exact<T: Decode>(bytes: &[u8]) -> Result<T, CallDecodeError> {
    let mut rest = bytes;
    let value = T::decode(&mut rest).map_err(|_| CallDecodeError::Malformed)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(CallDecodeError::TrailingBytes(rest.len()))
    }
}

/// Why a plaintext is not a signed call; the fault is the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallDecodeError {
    /// Not the encoding of a signed call.
    #[error("signed call is malformed")]
    Malformed,
    /// Bytes after the call.
    #[error("signed call has {0} bytes after its end")]
    TrailingBytes(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call {
            purpose: CallPurpose::Command,
            contract: ContractId([1; 32]),
            nonce: 2,
            valid_until: 3,
            gas_class: GasClass::Small,
            gas_limit: 4,
            max_fee: 5,
            payload: alloc::vec![6],
        }
    }

    #[test]
    fn signature_binds_chain_cluster_key_and_every_field() {
        let base = signing_payload(&[0; 32], ClusterId(0), &[9; 32], &call());
        let mut others = alloc::vec![
            signing_payload(&[1; 32], ClusterId(0), &[9; 32], &call()),
            signing_payload(&[0; 32], ClusterId(1), &[9; 32], &call()),
            signing_payload(&[0; 32], ClusterId(0), &[8; 32], &call()),
            session_payload(&[0; 32], ClusterId(0), &[9; 32], &call(), &[0; 32]),
        ];
        let edits: [fn(&mut Call); 8] = [
            |c| c.purpose = CallPurpose::Constructor,
            |c| c.gas_class = GasClass::Medium,
            |c| c.contract = ContractId([2; 32]),
            |c| c.nonce = 0,
            |c| c.valid_until = 0,
            |c| c.gas_limit = 0,
            |c| c.max_fee = 0,
            |c| c.payload = alloc::vec![],
        ];
        for edit in edits {
            let mut changed = call();
            edit(&mut changed);
            others.push(signing_payload(&[0; 32], ClusterId(0), &[9; 32], &changed));
        }
        assert!(others.iter().all(|other| *other != base));
    }

    #[test]
    fn decoding_refuses_trailing_bytes() {
        let signed = SignedCall { account: AccountId([1; 32]), call: call(), signature: [2; 64] };
        let mut bytes = signed.encode();
        assert_eq!(SignedCall::decode_exact(&bytes), Ok(signed));
        bytes.push(0);
        assert_eq!(SignedCall::decode_exact(&bytes), Err(CallDecodeError::TrailingBytes(1)));
        assert_eq!(SignedCall::decode_exact(&bytes[..10]), Err(CallDecodeError::Malformed));
        let mut bytes = SessionCommand { call: call(), signature: [2; 64] }.encode();
        assert!(SessionCommand::decode_exact(&bytes).is_ok());
        bytes.push(0);
        assert_eq!(SessionCommand::decode_exact(&bytes), Err(CallDecodeError::TrailingBytes(1)));
    }
}
