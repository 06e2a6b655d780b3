//! What the cluster should do: its meaning, in plain, computed from the plaintexts that the simulation knows.
//!
//! Guarantees: independent of everything that is tested - no keys, no store, no engine. It knows the outcome of every item but gas,
//! events and error bytes. Its inputs are the simulation's own.

use crate::{canary::SUPPLY, pallets::FEE};
use phala_protocol::{
    gas::GasClass,
    hash::blake2_256,
    inbox::{Item, ItemKind},
    limits::NONCE_WINDOW,
    result::{Failure, Outcome},
    ContractId, Hash,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a command asks of a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Creates the token.
    CreateToken,
    /// Creates the keeper.
    CreateKeeper,
    /// Creates one more contract, which nobody uses.
    CreateAnother,
    /// Sends tokens to an account.
    Transfer {
        /// To whom.
        to: usize,
        /// How many.
        amount: u128,
    },
    /// Keeps these bytes.
    Keep(Vec<u8>),
    /// Traps.
    Trap,
    /// Never ends.
    Loop,
    /// Refuses.
    Revert,
    /// Is no method of the token.
    Nonsense,
}

/// What an inbox item holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing that an account said: it fails so.
    Broken(Failure),
    /// A command that its account signed.
    Call {
        /// Whose.
        account: usize,
        /// Its nonce.
        nonce: u64,
        /// To which contract.
        contract: ContractId,
        /// Fails so, without using up its nonce, for what its wrapper is or its account asked for in vain.
        failure: Option<Failure>,
        /// What it asks.
        op: Op,
    },
}

/// What a reply has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This.
    Is(Outcome),
    /// A refusal of the contract.
    Reverted,
    /// Anything but success.
    Failed,
}

impl ExpectedReply {
    /// Whether it was refused with its nonce still free: a later item may carry the same command.
    pub fn leaves_nonce(&self) -> bool {
        matches!(&self.outcome, Expected::Is(Outcome::Failed(failure)) if failure.leaves_nonce())
    }

    /// The reply that an account reads for a nonce: that of the item that used it up, or else of the last that was refused.
    pub fn to(replies: &[Self], account: usize, nonce: u64) -> Option<&Self> {
        let mut all = replies.iter().rev().filter(|reply| reply.caller == Some((account, nonce)));
        let last = all.next()?;
        if last.leaves_nonce() {
            all.find(|reply| !reply.leaves_nonce()).or(Some(last))
        } else {
            Some(last)
        }
    }
}

impl Expected {
    /// Whether an outcome is what was expected.
    pub fn allows(&self, outcome: &Outcome) -> bool {
        match self {
            Self::Is(expected) => expected == outcome,
            Self::Reverted => matches!(outcome, Outcome::Reverted(_)),
            Self::Failed => !matches!(outcome, Outcome::Returned(_)),
        }
    }
}

/// The reply that an item has to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedReply {
    /// The item's sequence number.
    pub sequence: u64,
    /// Account and nonce, if the reply is anybody's.
    pub caller: Option<(usize, u64)>,
    /// The contract, with the caller.
    pub contract: Option<ContractId>,
    /// What it says.
    pub outcome: Expected,
    /// What was paid.
    pub fee: u128,
}

/// The plaintext of every message that was ever sealed.
#[derive(Clone, Debug, Default)]
pub struct Contents(BTreeMap<Hash, Content>);

impl Contents {
    /// Remembers what a message holds.
    pub fn insert(&mut self, message: &[u8], content: Content) {
        self.0.insert(blake2_256(message), content);
    }

    /// What a message holds; bytes that nobody sealed hold nothing.
    pub fn get(&self, message: &[u8]) -> Content {
        self.0.get(&blake2_256(message)).cloned().unwrap_or(Content::Broken(Failure::Malformed))
    }
}

/// The cluster's state in plain.
#[derive(Clone, Debug, Default)]
pub struct Model {
    nonces: BTreeMap<usize, BTreeSet<u64>>,
    token: bool,
    keeper: bool,
    balances: BTreeMap<usize, u128>,
    /// What the keeper keeps.
    pub kept: Option<Vec<u8>>,
}

impl Model {
    /// The state after these items, and their replies.
    pub fn after(items: &[Item], contents: &Contents) -> (Self, Vec<ExpectedReply>) {
        let mut model = Self::default();
        let replies = items.iter().map(|item| model.apply(item, contents.get(&item.message))).collect();
        (model, replies)
    }

    /// An account's balance.
    pub fn balance(&self, account: usize) -> u128 {
        self.balances.get(&account).copied().unwrap_or(0)
    }

    /// Whether the token exists.
    pub fn has_token(&self) -> bool {
        self.token
    }

    fn apply(&mut self, item: &Item, content: Content) -> ExpectedReply {
        let sequence = item.header.sequence;
        let nobodys = |failure| ExpectedReply {
            sequence,
            caller: None,
            contract: None,
            outcome: Expected::Is(Outcome::Failed(failure)),
            fee: FEE,
        };
        let (account, nonce, contract, failure, op) = match content {
            Content::Broken(failure) => return nobodys(failure),
            Content::Call { account, nonce, contract, failure, op } => (account, nonce, contract, failure, op),
        };
        if !self.is_free(account, nonce) {
            return nobodys(Failure::NonceUsed);
        }
        // Every good command of the simulation is signed for the small class.
        let copied = item.header.kind == ItemKind::Envelope(GasClass::Large);
        let outcome = match failure.or(copied.then_some(Failure::WrongClass)) {
            Some(failure) => {
                if !failure.leaves_nonce() {
                    self.nonces.entry(account).or_default().insert(nonce);
                }
                Expected::Is(Outcome::Failed(failure))
            }
            None => {
                self.nonces.entry(account).or_default().insert(nonce);
                self.run(account, op)
            }
        };
        ExpectedReply { sequence, caller: Some((account, nonce)), contract: Some(contract), outcome, fee: FEE }
    }

    fn is_free(&self, account: usize, nonce: u64) -> bool {
        let Some(used) = self.nonces.get(&account) else { return true };
        let in_time = used.last().is_none_or(|highest| nonce.saturating_add(NONCE_WINDOW) > *highest);
        in_time && !used.contains(&nonce)
    }

    fn run(&mut self, account: usize, op: Op) -> Expected {
        let returned = Expected::Is(Outcome::Returned(Vec::new()));
        let failed = |failure| Expected::Is(Outcome::Failed(failure));
        match op {
            Op::CreateToken if self.token => return failed(Failure::ContractExists),
            Op::CreateToken => {
                self.token = true;
                self.balances.insert(account, SUPPLY);
            }
            Op::CreateKeeper if self.keeper => return failed(Failure::ContractExists),
            Op::CreateKeeper => {
                self.keeper = true;
                self.kept = Some(vec![0]);
            }
            // Of code and a place of its own, each once.
            Op::CreateAnother => {}
            Op::Transfer { .. } | Op::Nonsense if !self.token => return failed(Failure::NoSuchContract),
            Op::Transfer { to, amount } => {
                let Some(rest) = self.balance(account).checked_sub(amount) else { return Expected::Reverted };
                self.balances.insert(account, rest);
                let received = self.balance(to) + amount;
                self.balances.insert(to, received);
            }
            Op::Nonsense => return Expected::Failed,
            _ if !self.keeper => return failed(Failure::NoSuchContract),
            Op::Keep(bytes) => self.kept = Some(bytes),
            Op::Trap => return failed(Failure::Trapped),
            Op::Loop => return failed(Failure::OutOfGas),
            Op::Revert => return Expected::Is(Outcome::Reverted(Vec::new())),
        }
        returned
    }
}
