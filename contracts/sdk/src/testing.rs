//! A network for unit tests: contracts run on your machine, as plain Rust, one network for each thread.
//!
//! Guarantees: storage, events, egress, random bytes, rollback, queries and calls between contracts behave as they do in a worker, and the
//! limits of keys, values, events and egress hold. Random bytes follow a seed ([`Env::set_seed`]), and are as a worker's only in what
//! they differ by. Does not do: gas, memory, stack, the bound of codes; those only exist for the compiled contract.
//!
//! ```
//! use phala_sdk::{prelude::*, testing::*};
//!
//! phala_sdk::contract! {
//!     pub struct Counter { counts: Map<AccountId, u64> }
//!
//!     impl Counter {
//!         constructor fn create(&mut self) {}
//!
//!         call fn count(&mut self) {
//!             let caller = env::caller();
//!             let count = self.counts.get_or_default(&caller) + 1;
//!             self.counts.insert(&caller, &count);
//!         }
//!
//!         query fn mine(&self) -> u64 {
//!             self.counts.get_or_default(&env::caller())
//!         }
//!     }
//! }
//!
//! fn main() {
//!     let env = Env::new();
//!     let mut counter = Counter::open();
//!     env.set_caller(ALICE);
//!     counter.count();
//!     assert_eq!(counter.mine(), 1);
//!     env.set_caller(BOB);
//!     assert_eq!(counter.mine(), 0);
//! }
//! ```

use crate::{
    codec::{Decode, Encode},
    contract::{handle, Contract, Entry, Event, Reply},
    env::{message, Egress},
    identifier::{AccountId, ContractId},
};
use alloc::{collections::BTreeMap, string::String, vec::Vec};
use std::cell::RefCell;

/// An account for tests.
pub const ALICE: AccountId = AccountId([1; 32]);
/// An account for tests.
pub const BOB: AccountId = AccountId([2; 32]);
/// An account for tests.
pub const CHARLIE: AccountId = AccountId([3; 32]);
/// The contract that tests call unless they say otherwise.
pub const CONTRACT: ContractId = ContractId([0xc0; 32]);

/// The network of this thread.
pub struct Env {
    _private: (),
}

/// Why a message failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It returned an error. Holds the error's encoding: see [`Failure::error`].
    Error(Vec<u8>),
    /// The contract has no such message of this kind.
    UnknownMethod,
    /// The arguments are not those of the message, or its reply is of another type than asked for.
    BadArguments,
    /// It returned [`Denied`](crate::Denied): a network would say that there is no such contract.
    Denied,
}

impl Failure {
    /// The error that the message returned, if it is one of these.
    pub fn error<E: Decode>(&self) -> Option<E> {
        match self {
            Self::Error(bytes) => E::decode_all(bytes).ok(),
            _ => None,
        }
    }
}

impl Env {
    /// A new network, in place of the one this thread had: empty, with Alice as the caller and [`CONTRACT`] as the
    /// contract.
    #[allow(clippy::new_without_default, reason = "it replaces the thread's network, which a default should not do")]
    pub fn new() -> Self {
        NETWORK.with_borrow_mut(|network| *network = Network::default());
        Self { _private: () }
    }

    /// Who sends the messages that follow.
    pub fn set_caller(&self, caller: AccountId) {
        self.edit(|network| network.frame().caller = caller.0);
    }

    /// What is transferred with the messages that follow. Only tests can: on a network [`crate::env::value`] is always 0, \[not yet\]
    /// otherwise, so that a contract whose use rests on it can be tested and not yet used.
    pub fn set_value(&self, value: u128) {
        self.edit(|network| network.frame().value = value);
    }

    /// Which contract the messages that follow are sent to.
    pub fn set_contract(&self, contract: ContractId) {
        self.edit(|network| network.frame().contract = contract.0);
    }

    /// The block of the messages that follow, and its time in milliseconds.
    pub fn set_block(&self, number: u32, time_ms: u64) {
        self.edit(|network| (network.block_number, network.block_time_ms) = (number, time_ms));
    }

    /// What the random bytes of the messages that follow come from: those of one seed repeat from here on. Without it they are of the seed zero.
    pub fn set_seed(&self, seed: u64) {
        self.edit(|network| {
            (network.seed, network.command) = (seed, 0);
            network.draws.clear();
        });
    }

    /// Makes `contract` one that other contracts can call.
    pub fn install<C: Contract>(&self, contract: ContractId) {
        self.edit(|network| network.code.insert(contract.0, handle::<C>));
    }

    /// Runs the constructor with a tuple of arguments.
    pub fn deploy<C: Contract>(&self, arguments: &impl Encode) -> Result<(), Failure> {
        let contract = self.edit(|network| ContractId(network.frame().contract));
        self.install::<C>(contract);
        run(Entry::Deploy, || handle::<C>(Entry::Deploy, &message(C::CONSTRUCTOR, arguments)))
            .map(drop)
            .map_err(failure)
    }

    /// Sends a message that may change state, through its encoding, as the network does. Changes nothing if it fails.
    pub fn call<C: Contract, R: Decode>(&self, method: &str, arguments: &impl Encode) -> Result<R, Failure> {
        finish(run(Entry::Call, || handle::<C>(Entry::Call, &message(method, arguments))))
    }

    /// Asks a query, through its encoding. Panics if the query tries to change state or to draw random bytes.
    pub fn query<C: Contract, R: Decode>(&self, method: &str, arguments: &impl Encode) -> Result<R, Failure> {
        finish(run(Entry::Query, || handle::<C>(Entry::Query, &message(method, arguments))))
    }

    /// The events of type `E` so far, in order.
    pub fn events<E: Event>(&self) -> Vec<E> {
        self.edit(|network| network.state.events.clone())
            .iter()
            .filter_map(|bytes| {
                let mut fields = bytes.as_slice();
                (crate::codec::decode_str(&mut fields).ok()? == E::NAME).then(|| E::decode_all(fields).ok())?
            })
            .collect()
    }

    /// What was sent out of the cluster so far, in order, and by which contract. Nothing of it is done here.
    pub fn egress(&self) -> Vec<(ContractId, Egress)> {
        let sent = self.edit(|network| network.state.egress.clone());
        sent.into_iter()
            .filter_map(|(contract, bytes)| Some((ContractId(contract), Egress::decode_all(&bytes).ok()?)))
            .collect()
    }

    /// What was logged so far.
    pub fn logs(&self) -> Vec<String> {
        self.edit(|network| network.logs.clone())
    }

    fn edit<R>(&self, edit: impl FnOnce(&mut Network) -> R) -> R {
        NETWORK.with_borrow_mut(edit)
    }
}

std::thread_local! {
    static NETWORK: RefCell<Network> = RefCell::new(Network::default());
}

/// A contract's entry points, on their input.
type Code = fn(Entry, &[u8]) -> Reply;

struct Network {
    state: State,
    /// The contracts that have been entered, the first one last but for the frame that a test sets up itself.
    frames: Vec<Frame>,
    block_number: u32,
    block_time_ms: u64,
    /// Where the egress of the command that runs begins; none between commands. Its limits are a command's.
    egress_before: Option<usize>,
    seed: u64,
    /// How many commands have begun.
    command: u64,
    /// How often each contract has drawn random bytes in the command, in calls that failed too.
    draws: BTreeMap<[u8; 32], u64>,
    code: BTreeMap<[u8; 32], Code>,
    logs: Vec<String>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            state: State::default(),
            frames: Vec::from([Frame { contract: CONTRACT.0, caller: ALICE.0, value: 0, read_only: false }]),
            block_number: 1,
            block_time_ms: 1_700_000_000_000,
            egress_before: None,
            seed: 0,
            command: 0,
            draws: BTreeMap::new(),
            code: BTreeMap::new(),
            logs: Vec::new(),
        }
    }
}

impl Network {
    /// The contract that runs.
    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the first frame is never removed")
    }
}

/// What a failing message leaves as it was.
#[derive(Clone, Default)]
struct State {
    storage: BTreeMap<([u8; 32], Vec<u8>), Vec<u8>>,
    events: Vec<Vec<u8>>,
    egress: Vec<([u8; 32], Vec<u8>)>,
}

#[derive(Clone, Copy)]
struct Frame {
    contract: [u8; 32],
    caller: [u8; 32],
    value: u128,
    read_only: bool,
}

/// Runs a message of the contract of the top frame, and takes back what it changed if it fails.
fn run(entry: Entry, message: impl FnOnce() -> Reply) -> Reply {
    let (before, read_only) = NETWORK.with_borrow_mut(|network| {
        let frame = network.frame();
        let read_only = frame.read_only;
        frame.read_only |= entry == Entry::Query;
        if network.frames.len() == 1 {
            network.egress_before = Some(network.state.egress.len());
            network.command += 1;
            network.draws.clear();
        }
        (network.state.clone(), read_only)
    });
    let reply = message();
    NETWORK.with_borrow_mut(|network| {
        network.frame().read_only = read_only;
        if network.frames.len() == 1 {
            network.egress_before = None;
        }
        if reply.is_err() {
            network.state = before;
        }
    });
    reply
}

fn failure(error: Vec<u8>) -> Failure {
    match error.split_first() {
        Some((0, error)) => Failure::Error(error.to_vec()),
        Some((1, _)) => Failure::UnknownMethod,
        Some((3, _)) => Failure::Denied,
        _ => Failure::BadArguments,
    }
}

fn finish<R: Decode>(reply: Reply) -> Result<R, Failure> {
    R::decode_all(&reply.map_err(failure)?).map_err(|_| Failure::BadArguments)
}

/// The host functions.
pub(crate) mod sys {
    use super::{run, Entry, Frame, Network, String, Vec, NETWORK};

    const MAX_KEY_BYTES: usize = 128;
    const MAX_VALUE_BYTES: usize = 16 * 1024;
    const MAX_EVENT_BYTES: usize = 16 * 1024;
    const MAX_EGRESS_ITEMS: usize = 8;
    const MAX_EGRESS_BYTES: usize = 4 * 1024;
    const MAX_INPUT_BYTES: usize = 16 * 1024;
    const MAX_CALL_DEPTH: usize = 8;

    fn with<R>(read: impl FnOnce(&mut Network) -> R) -> R {
        NETWORK.with_borrow_mut(read)
    }

    fn within(what: &str, bytes: &[u8], limit: usize) {
        assert!(bytes.len() <= limit, "{what} of {} bytes: at most {limit}", bytes.len());
    }

    fn changes_state(network: &mut Network) {
        assert!(!network.frame().read_only, "a query may not change state");
    }

    pub(crate) fn storage_get(key: &[u8]) -> Option<Vec<u8>> {
        within("a storage key", key, MAX_KEY_BYTES);
        with(|network| {
            let contract = network.frame().contract;
            network.state.storage.get(&(contract, key.to_vec())).cloned()
        })
    }

    pub(crate) fn storage_set(key: &[u8], value: &[u8]) {
        within("a storage key", key, MAX_KEY_BYTES);
        within("a stored value", value, MAX_VALUE_BYTES);
        with(|network| {
            changes_state(network);
            let contract = network.frame().contract;
            network.state.storage.insert((contract, key.to_vec()), value.to_vec());
        });
    }

    pub(crate) fn storage_remove(key: &[u8]) {
        with(|network| {
            changes_state(network);
            let contract = network.frame().contract;
            network.state.storage.remove(&(contract, key.to_vec()));
        });
    }

    pub(crate) fn caller() -> [u8; 32] {
        with(|network| network.frame().caller)
    }

    pub(crate) fn contract_id() -> [u8; 32] {
        with(|network| network.frame().contract)
    }

    pub(crate) fn value() -> u128 {
        with(|network| network.frame().value)
    }

    pub(crate) fn cluster() -> u32 {
        0
    }

    pub(crate) fn block_number() -> u32 {
        with(|network| network.block_number)
    }

    pub(crate) fn block_time_ms() -> u64 {
        with(|network| network.block_time_ms)
    }

    pub(crate) fn emit_event(bytes: &[u8]) {
        within("an event", bytes, MAX_EVENT_BYTES);
        with(|network| {
            changes_state(network);
            network.state.events.push(bytes.to_vec());
        });
    }

    pub(crate) fn egress(bytes: &[u8]) {
        with(|network| {
            changes_state(network);
            if let Some(before) = network.egress_before {
                let sent = network.state.egress.get(before..).unwrap_or_default();
                let total = sent.iter().fold(bytes.len(), |total, (_, bytes)| total + bytes.len());
                assert!(sent.len() < MAX_EGRESS_ITEMS, "at most {MAX_EGRESS_ITEMS} egress items in a command");
                assert!(total <= MAX_EGRESS_BYTES, "egress of {total} bytes in a command: at most {MAX_EGRESS_BYTES}");
            }
            let contract = network.frame().contract;
            network.state.egress.push((contract, bytes.to_vec()));
        });
    }

    pub(crate) fn random(bytes: &mut [u8]) {
        let (seed, command, contract, draw) = with(|network| {
            assert!(!network.frame().read_only, "a query has no randomness");
            let contract = network.frame().contract;
            let draws = network.draws.entry(contract).or_default();
            *draws += 1;
            (network.seed, network.command, contract, *draws)
        });
        let mut input = Vec::from(contract);
        [seed, command, draw].iter().for_each(|number| input.extend_from_slice(&number.to_le_bytes()));
        let at = input.len();
        for (block, chunk) in (0u8..).zip(bytes.chunks_mut(32)) {
            input.truncate(at);
            input.push(block);
            chunk.copy_from_slice(&blake2b_256(&input)[..chunk.len()]);
        }
    }

    pub(crate) fn log(message: &str) {
        with(|network| network.logs.push(String::from(message)));
    }

    pub(crate) fn stop(reason: &str) -> ! {
        panic!("{reason}")
    }

    pub(crate) fn blake2b_256(bytes: &[u8]) -> [u8; 32] {
        crate::blake2b::blake2b_256(bytes)
    }

    pub(crate) fn call(query: bool, contract: &[u8; 32], input: &[u8]) -> (u32, Vec<u8>) {
        within("the input of a call", input, MAX_INPUT_BYTES);
        let entry = if query { Entry::Query } else { Entry::Call };
        let entered = with(|network| {
            if !query {
                changes_state(network);
            }
            if network.frames.iter().any(|frame| frame.contract == *contract) {
                return Err(6);
            }
            if network.frames.len() >= MAX_CALL_DEPTH {
                return Err(5);
            }
            let code = *network.code.get(contract).ok_or(4u32)?;
            let Frame { contract: caller, read_only, .. } = *network.frame();
            network.frames.push(Frame { contract: *contract, caller, value: 0, read_only });
            Ok(code)
        });
        let reply = match entered {
            Err(status) => return (status, Vec::new()),
            Ok(code) => run(entry, || code(entry, input)),
        };
        with(|network| network.frames.pop());
        match reply {
            Ok(output) => (0, output),
            Err(error) => (1, error),
        }
    }
}
