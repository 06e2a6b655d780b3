//! What surrounds a message: who calls, when, the other contracts of the cluster, and the way out of it.
//!
//! Guarantees: all of it is agreed by the network; the caller is an account whose signature was verified, or a
//! contract. There is no clock and no network here, because every replica must compute the same; what is random is the
//! same for all of them, and known to no host ([`random`]).

use crate::{
    codec::{Decode, DecodeError, Encode},
    contract::Event,
    identifier::{AccountId, ContractId},
    sys,
};
use alloc::vec::Vec;

/// Who sent the message: an account, or the contract that calls this one.
pub fn caller() -> AccountId {
    AccountId(sys::caller())
}

/// This contract.
pub fn contract_id() -> ContractId {
    ContractId(sys::contract_id())
}

/// What was transferred with the message, in 10^-12 PHA.
///
/// **\[not yet\]: always 0 on a network**, in commands, constructors, queries and calls between contracts: nothing can be sent along.
/// Only tests set it (`testing::Env::set_value`). A contract that asks for payment by it is one that nobody can pay, and one
/// that takes 0 for "free" is free for everybody: until then, let users pay by a token's transfer.
pub fn value() -> u128 {
    sys::value()
}

/// The cluster that runs this contract.
pub fn cluster() -> u32 {
    sys::cluster()
}

/// The block that ordered this message; in a query, the last final one.
pub fn block_number() -> u32 {
    sys::block_number()
}

/// The time of that block, in milliseconds since 1970.
pub fn block_time_ms() -> u64 {
    sys::block_time_ms()
}

/// Emits an event, if the message succeeds.
pub fn emit<E: Event>(event: E) {
    let mut bytes = E::NAME.encode();
    event.encode_fields(&mut bytes);
    sys::emit_event(&bytes);
}

/// Something to be done outside of the cluster, once the network agrees on this message's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Egress {
    /// Pay out of this contract's account on the chain. `phala contract info` shows its address; whoever wants this contract to pay
    /// sends funds there.
    Transfer {
        /// To whom.
        to: AccountId,
        /// How much, in 10^-12 PHA.
        amount: u128,
    },
    /// Leave a message on the chain, for whoever carries messages to another. It may arrive there more than once; its recipient tells
    /// copies by the id that stands beside it.
    Message {
        /// Where to, as carriers read it.
        destination: Vec<u8>,
        /// What. **Public**, like the destination.
        payload: Vec<u8>,
    },
}

impl Encode for Egress {
    fn encode_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Transfer { to, amount } => {
                out.push(0);
                to.encode_to(out);
                amount.encode_to(out);
            }
            Self::Message { destination, payload } => {
                out.push(1);
                destination.encode_to(out);
                payload.encode_to(out);
            }
        }
    }
}

impl Decode for Egress {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        match u8::decode(input)? {
            0 => Ok(Self::Transfer { to: Decode::decode(input)?, amount: Decode::decode(input)? }),
            1 => Ok(Self::Message { destination: Decode::decode(input)?, payload: Decode::decode(input)? }),
            _ => Err(DecodeError),
        }
    }
}

/// Sends something out of the cluster, if the message succeeds: at most 8 things and 4 KiB in one command. The chain attempts each
/// once, in the order of sending, and says in public what came of it.
///
/// **\[not yet\]: the contract does not learn what came of it.** A transfer fails for good that the contract's account cannot pay, that
/// brings an account to life with less than the chain's existential deposit, or that is more than its cluster may pay out in a whole
/// period; one that is only too much for the rest of a period waits. So a contract must not promise more than its account holds.
pub fn egress(action: &Egress) {
    sys::egress(&action.encode());
}

/// Pays `amount`, in 10^-12 PHA, out of this contract's account on the chain: [`egress`] of a transfer.
pub fn pay(to: AccountId, amount: u128) {
    egress(&Egress::Transfer { to, amount });
}

/// BLAKE2b with a result of 256 bits.
pub fn blake2b_256(bytes: &[u8]) -> [u8; 32] {
    sys::blake2b_256(bytes)
}

/// Random bytes, at most 256: the same on each replica, and unknown to everybody who has not the epoch's entropy, the operators of the machines
/// among them. It is in TEEs alone: of replicas, also of one that was taken off in the epoch, and of as many gatekeepers as give keys. Two thirds of the
/// chain's finality voters with the host of one replica can try blocks until they like what is drawn (`docs/contract-abi.md`). Every draw is another one. Constructors and calls have them; in a query, and in what a query or [`query`] asks, it is a trap.
///
/// ```
/// # use phala_sdk::{env, testing::Env};
/// # let _env = Env::new();
/// let dice: [u8; 4] = env::random();
/// ```
///
/// The bytes belong to the item of the inbox that ordered the command, and **whoever can undo a command after they are known has another
/// try**, in another item. An account can, if only some results cost more gas than it gives; a contract that calls yours can, by failing when
/// it dislikes what it sees; and somebody else's block may order the command later, or not at all, though without seeing the bytes. So let no
/// call that draws succeed or fail, or show anything, by what it drew: take the stake in one call; draw in a later one, that stores the bytes and returns
/// nothing; and act on them in a third. Within one command too: a call that failed has used up its draws, and draws others when it is made again.
pub fn random<const N: usize>() -> [u8; N] {
    const { assert!(N <= 256, "at most 256 random bytes at a time") };
    let mut bytes = [0; N];
    sys::random(&mut bytes);
    bytes
}

/// Says something in tests. A worker discards it: what a contract knows must not reach a log.
pub fn log(message: &str) {
    sys::log(message);
}

/// Calls a message of another contract of this cluster, with a tuple of arguments. A callee that fails has changed
/// nothing.
pub fn call<R: Decode>(contract: &ContractId, method: &str, arguments: &impl Encode) -> Result<R, CallError> {
    finish(sys::call(false, &contract.0, &message(method, arguments)))
}

/// Asks a query of another contract of this cluster, with a tuple of arguments.
pub fn query<R: Decode>(contract: &ContractId, method: &str, arguments: &impl Encode) -> Result<R, CallError> {
    finish(sys::call(true, &contract.0, &message(method, arguments)))
}

/// Why another contract did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// It refused. Holds 0 and its error's encoding, or 1 for a method it does not have, or 2 for arguments of
    /// another type, or 3 where it [denies](crate::Denied) the calling contract.
    Reverted(Vec<u8>),
    /// It was stopped.
    Trapped,
    /// The gas did not suffice.
    OutOfGas,
    /// There is no such contract in this cluster.
    NoContract,
    /// Too many contracts call each other.
    TooDeep,
    /// It is waiting for a call already: contracts are not re-entered.
    Reentrant,
    /// It has other code than the contracts that were called so far, and they have as much code together as one message may run: 16 codes, and
    /// 1 MiB of them, the first contract's included.
    TooManyCodes,
    /// Its reply is of another type.
    BadReply,
}

/// The input of an entry point: a method's name, and a tuple of arguments.
pub(crate) fn message(method: &str, arguments: &impl Encode) -> Vec<u8> {
    let mut input = method.encode();
    arguments.encode_to(&mut input);
    input
}

fn finish<R: Decode>((status, reply): (u32, Vec<u8>)) -> Result<R, CallError> {
    Err(match status {
        0 => return R::decode_all(&reply).map_err(|_| CallError::BadReply),
        1 => CallError::Reverted(reply),
        2 => CallError::Trapped,
        3 => CallError::OutOfGas,
        4 => CallError::NoContract,
        5 => CallError::TooDeep,
        6 => CallError::Reentrant,
        _ => CallError::TooManyCodes,
    })
}
