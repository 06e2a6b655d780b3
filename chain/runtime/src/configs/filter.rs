//! Which calls are taken from transactions: outside a development network, none that writes storage by hand.
//!
//! Whoever holds root could otherwise write the mark of a development network, a registration or a ban into state, past every check of
//! the pallets. FRAME lets root pass every filter, so the filter looks where calls come in: at the whole of a transaction's call, with
//! what is inside it, and at preimages, as which calls come in that are dispatched later. A preimage is a call here, and is refused when
//! it cannot be read as one.
//!
//! Guarantees: outside a development network no transaction brings `set_storage`, `kill_storage` or `kill_prefix` into the chain, however
//! it is wrapped; reading a preimage costs what [`ReadPreimages`] charges, once a transaction. The filter runs again for each call inside
//! another, so a preimage has to be a transaction's own call, is read only up to [`MOST_PREIMAGE_BYTES`] and takes no more memory than
//! a mebibyte. Senders control the calls. Does not stop an upgrade of the runtime, which can do anything: gatekeepers and
//! clients read the mark from the genesis state, where no upgrade reaches it. A pallet that carries calls joins the list in `inner`.

use crate::{network, Runtime, RuntimeCall};
use alloc::vec::Vec;
use codec::{DecodeLimit, Encode, MemTrackingInput};
use frame_support::{
    traits::{Contains, Get},
    weights::Weight,
    MAX_EXTRINSIC_DEPTH,
};
use pallet_preimage::weights::{SubstrateWeight, WeightInfo};

/// The length of a preimage that is no upgrade, in bytes, at most.
pub const MOST_PREIMAGE_BYTES: u32 = 64 * 1024;
/// What a preimage may take on the heap when it is read, in bytes: a few thousand calls.
const MOST_PREIMAGE_MEMORY: usize = 1024 * 1024;
/// Reading a byte of a preimage as calls, of which one has two bytes at least, and looking through them. An estimate, on the high side.
const READ_BYTE: Weight = Weight::from_parts(100_000, 0);

/// The filter of every call that does not come from root.
pub struct NoRawStorage;

impl Contains<RuntimeCall> for NoRawStorage {
    fn contains(call: &RuntimeCall) -> bool {
        let brings = match call {
            RuntimeCall::Preimage(pallet_preimage::Call::note_preimage { bytes }) => may_write_raw_storage(bytes),
            _ => writes_raw_storage(call),
        };
        !brings || network::IsDevelopment::get()
    }
}

/// Whether these bytes, read as a call later, could write storage by hand.
fn may_write_raw_storage(mut bytes: &[u8]) -> bool {
    if is_upgrade(bytes) {
        return false;
    }
    if bytes.len() > MOST_PREIMAGE_BYTES as usize {
        return true;
    }
    let mut metered = MemTrackingInput::new(&mut bytes, MOST_PREIMAGE_MEMORY);
    RuntimeCall::decode_with_depth_limit(MAX_EXTRINSIC_DEPTH, &mut metered)
        .map_or(true, |later| writes_raw_storage(&later))
}

/// Whether these bytes name the call that replaces the runtime's code. What follows is code, and no call, of any length.
fn is_upgrade(bytes: &[u8]) -> bool {
    let upgrade = RuntimeCall::System(frame_system::Call::set_code { code: Vec::new() }).encode();
    bytes.get(..2).is_some_and(|pallet_and_call| upgrade.starts_with(pallet_and_call))
}

/// Whether `call`, or a call inside it, writes storage by hand, or could through a preimage, which nobody needs to note from inside
/// another call; without recursion, because the sender chooses how deep calls lie.
fn writes_raw_storage(call: &RuntimeCall) -> bool {
    let mut waiting = Vec::from([call]);
    while let Some(call) = waiting.pop() {
        match call {
            RuntimeCall::System(
                frame_system::Call::set_storage { .. }
                | frame_system::Call::kill_storage { .. }
                | frame_system::Call::kill_prefix { .. },
            )
            | RuntimeCall::Preimage(pallet_preimage::Call::note_preimage { .. }) => return true,
            _ => inner(call, &mut waiting),
        }
    }
    false
}

/// Adds the calls that `call` carries.
fn inner<'a>(call: &'a RuntimeCall, waiting: &mut Vec<&'a RuntimeCall>) {
    match call {
        RuntimeCall::Utility(
            pallet_utility::Call::batch { calls }
            | pallet_utility::Call::batch_all { calls }
            | pallet_utility::Call::force_batch { calls },
        ) => waiting.extend(calls),
        RuntimeCall::Utility(pallet_utility::Call::if_else { main, fallback }) => {
            waiting.push(main);
            waiting.push(fallback);
        }
        RuntimeCall::Utility(
            pallet_utility::Call::as_derivative { call, .. }
            | pallet_utility::Call::dispatch_as { call, .. }
            | pallet_utility::Call::dispatch_as_fallible { call, .. }
            | pallet_utility::Call::with_weight { call, .. },
        )
        | RuntimeCall::Sudo(
            pallet_sudo::Call::sudo { call }
            | pallet_sudo::Call::sudo_unchecked_weight { call, .. }
            | pallet_sudo::Call::sudo_as { call, .. },
        )
        | RuntimeCall::Proxy(
            pallet_proxy::Call::proxy { call, .. } | pallet_proxy::Call::proxy_announced { call, .. },
        )
        | RuntimeCall::Multisig(
            pallet_multisig::Call::as_multi_threshold_1 { call, .. } | pallet_multisig::Call::as_multi { call, .. },
        )
        | RuntimeCall::Scheduler(
            pallet_scheduler::Call::schedule { call, .. }
            | pallet_scheduler::Call::schedule_named { call, .. }
            | pallet_scheduler::Call::schedule_after { call, .. }
            | pallet_scheduler::Call::schedule_named_after { call, .. },
        ) => waiting.push(call),
        _ => {}
    }
}

/// Weights of the preimage pallet, with what the filter reads.
pub struct ReadPreimages;

/// What the filter does with a preimage of `bytes` bytes.
fn read(bytes: u32) -> Weight {
    READ_BYTE.saturating_mul(bytes.min(MOST_PREIMAGE_BYTES).into())
}

impl WeightInfo for ReadPreimages {
    fn note_preimage(bytes: u32) -> Weight {
        SubstrateWeight::<Runtime>::note_preimage(bytes).saturating_add(read(bytes))
    }

    fn note_requested_preimage(bytes: u32) -> Weight {
        SubstrateWeight::<Runtime>::note_requested_preimage(bytes).saturating_add(read(bytes))
    }

    fn note_no_deposit_preimage(bytes: u32) -> Weight {
        SubstrateWeight::<Runtime>::note_no_deposit_preimage(bytes).saturating_add(read(bytes))
    }

    fn unnote_preimage() -> Weight {
        SubstrateWeight::<Runtime>::unnote_preimage()
    }

    fn unnote_no_deposit_preimage() -> Weight {
        SubstrateWeight::<Runtime>::unnote_no_deposit_preimage()
    }

    fn request_preimage() -> Weight {
        SubstrateWeight::<Runtime>::request_preimage()
    }

    fn request_no_deposit_preimage() -> Weight {
        SubstrateWeight::<Runtime>::request_no_deposit_preimage()
    }

    fn request_unnoted_preimage() -> Weight {
        SubstrateWeight::<Runtime>::request_unnoted_preimage()
    }

    fn request_requested_preimage() -> Weight {
        SubstrateWeight::<Runtime>::request_requested_preimage()
    }

    fn unrequest_preimage() -> Weight {
        SubstrateWeight::<Runtime>::unrequest_preimage()
    }

    fn unrequest_unnoted_preimage() -> Weight {
        SubstrateWeight::<Runtime>::unrequest_unnoted_preimage()
    }

    fn unrequest_multi_referenced_preimage() -> Weight {
        SubstrateWeight::<Runtime>::unrequest_multi_referenced_preimage()
    }

    fn ensure_updated(number: u32) -> Weight {
        SubstrateWeight::<Runtime>::ensure_updated(number)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{AccountId, Address, OriginCaller, RuntimeOrigin};
    use frame_support::assert_ok;
    use sp_runtime::traits::Dispatchable;

    const ROOT: AccountId = AccountId::new([1; 32]);

    fn mark() -> RuntimeCall {
        let items = vec![(network::Development::<Runtime>::hashed_key().to_vec(), true.encode())];
        RuntimeCall::System(frame_system::Call::set_storage { items })
    }

    fn remark() -> RuntimeCall {
        RuntimeCall::System(frame_system::Call::remark { remark: vec![1] })
    }

    fn sudo(call: RuntimeCall) -> RuntimeCall {
        RuntimeCall::Sudo(pallet_sudo::Call::sudo { call: Box::new(call) })
    }

    fn preimage(call: RuntimeCall) -> RuntimeCall {
        RuntimeCall::Preimage(pallet_preimage::Call::note_preimage { bytes: call.encode() })
    }

    /// `call` in everything that carries calls.
    fn wrapped(call: &RuntimeCall) -> Vec<RuntimeCall> {
        let boxed = || Box::new(call.clone());
        let calls = || vec![remark(), call.clone()];
        let (weight, origin) = (Weight::zero(), || Box::new(OriginCaller::system(frame_system::RawOrigin::Root)));
        let (account, after) = (Address::Id(ROOT), 1);
        vec![
            RuntimeCall::Utility(pallet_utility::Call::batch { calls: calls() }),
            RuntimeCall::Utility(pallet_utility::Call::batch_all { calls: calls() }),
            RuntimeCall::Utility(pallet_utility::Call::force_batch { calls: calls() }),
            RuntimeCall::Utility(pallet_utility::Call::as_derivative { index: 0, call: boxed() }),
            RuntimeCall::Utility(pallet_utility::Call::with_weight { call: boxed(), weight }),
            RuntimeCall::Utility(pallet_utility::Call::dispatch_as { as_origin: origin(), call: boxed() }),
            RuntimeCall::Utility(pallet_utility::Call::dispatch_as_fallible { as_origin: origin(), call: boxed() }),
            RuntimeCall::Utility(pallet_utility::Call::if_else { main: Box::new(remark()), fallback: boxed() }),
            RuntimeCall::Utility(pallet_utility::Call::if_else { main: boxed(), fallback: Box::new(remark()) }),
            sudo(call.clone()),
            RuntimeCall::Sudo(pallet_sudo::Call::sudo_unchecked_weight { call: boxed(), weight }),
            RuntimeCall::Sudo(pallet_sudo::Call::sudo_as { who: account.clone(), call: boxed() }),
            RuntimeCall::Proxy(pallet_proxy::Call::proxy {
                real: account.clone(),
                force_proxy_type: None,
                call: boxed(),
            }),
            RuntimeCall::Proxy(pallet_proxy::Call::proxy_announced {
                delegate: account.clone(),
                real: account,
                force_proxy_type: None,
                call: boxed(),
            }),
            RuntimeCall::Multisig(pallet_multisig::Call::as_multi_threshold_1 {
                other_signatories: vec![],
                call: boxed(),
            }),
            RuntimeCall::Multisig(pallet_multisig::Call::as_multi {
                threshold: 2,
                other_signatories: vec![],
                maybe_timepoint: None,
                call: boxed(),
                max_weight: weight,
            }),
            RuntimeCall::Scheduler(pallet_scheduler::Call::schedule {
                when: 1,
                maybe_periodic: None,
                priority: 0,
                call: boxed(),
            }),
            RuntimeCall::Scheduler(pallet_scheduler::Call::schedule_named {
                id: [0; 32],
                when: 1,
                maybe_periodic: None,
                priority: 0,
                call: boxed(),
            }),
            RuntimeCall::Scheduler(pallet_scheduler::Call::schedule_after {
                after,
                maybe_periodic: None,
                priority: 0,
                call: boxed(),
            }),
            RuntimeCall::Scheduler(pallet_scheduler::Call::schedule_named_after {
                id: [0; 32],
                after,
                maybe_periodic: None,
                priority: 0,
                call: boxed(),
            }),
            preimage(call.clone()),
        ]
    }

    #[test]
    fn root_writes_no_storage_by_hand_outside_a_development_network() {
        for development in [false, true] {
            sp_io::TestExternalities::default().execute_with(|| {
                network::Development::<Runtime>::put(development);
                pallet_sudo::Key::<Runtime>::put(ROOT);
                let key = b"anything".to_vec();
                let items = vec![(key.clone(), b"else".to_vec())];
                let write = sudo(RuntimeCall::System(frame_system::Call::set_storage { items }));
                let outcome = write.dispatch(RuntimeOrigin::signed(ROOT)).map(|_| ()).map_err(|refused| refused.error);
                if development {
                    assert_ok!(outcome);
                } else {
                    assert_eq!(outcome, Err(frame_system::Error::<Runtime>::CallFiltered.into()));
                }
                assert_eq!(sp_io::storage::get(&key).is_some(), development);
                // What else root does, it does everywhere.
                assert_ok!(sudo(remark()).dispatch(RuntimeOrigin::signed(ROOT)));
            });
        }
    }

    #[test]
    fn the_mark_is_not_written_however_the_call_is_wrapped() {
        sp_io::TestExternalities::default().execute_with(|| {
            let prefix = RuntimeCall::System(frame_system::Call::kill_prefix { prefix: vec![], subkeys: 1 });
            let keys = RuntimeCall::System(frame_system::Call::kill_storage { keys: vec![vec![1]] });
            for write in [mark(), prefix, keys] {
                assert!(!NoRawStorage::contains(&write));
                for once in wrapped(&write) {
                    assert!(!NoRawStorage::contains(&once), "{once:?}");
                    for twice in wrapped(&once) {
                        assert!(!NoRawStorage::contains(&twice), "{twice:?}");
                    }
                }
            }
            for harmless in wrapped(&remark()) {
                assert!(NoRawStorage::contains(&harmless), "{harmless:?}");
            }
            network::Development::<Runtime>::put(true);
            assert!(wrapped(&mark()).iter().all(NoRawStorage::contains));
        });
    }

    #[test]
    fn a_preimage_that_cannot_be_read_as_a_call_is_refused() {
        sp_io::TestExternalities::default().execute_with(|| {
            let note = |bytes| RuntimeCall::Preimage(pallet_preimage::Call::note_preimage { bytes });
            assert!(!NoRawStorage::contains(&note(vec![0xff; 40])));
            // What follows a call is not read when it is dispatched.
            let mut bytes = mark().encode();
            bytes.push(0);
            assert!(!NoRawStorage::contains(&note(bytes)));
            // Deeper than a transaction may lie, though whoever dispatches a preimage would read it.
            let mut deep = mark();
            for _ in 0..MAX_EXTRINSIC_DEPTH {
                deep = sudo(deep);
            }
            assert!(!NoRawStorage::contains(&note(deep.encode())));
        });
    }

    #[test]
    fn a_preimage_is_read_once_and_only_as_a_transactions_own_call() {
        sp_io::TestExternalities::default().execute_with(|| {
            let noted = preimage(remark());
            assert!(NoRawStorage::contains(&noted));
            for hidden in wrapped(&noted) {
                assert!(!NoRawStorage::contains(&hidden), "{hidden:?}");
            }
        });
    }

    #[test]
    fn a_preimage_that_is_no_upgrade_is_short_and_takes_little_memory() {
        sp_io::TestExternalities::default().execute_with(|| {
            let most = MOST_PREIMAGE_BYTES as usize;
            let code = vec![0; 2 * most];
            assert!(NoRawStorage::contains(&preimage(RuntimeCall::System(frame_system::Call::set_code { code }))));
            // Two bytes that name the call, and four that say how long it is.
            let long = |bytes: usize| RuntimeCall::System(frame_system::Call::remark { remark: vec![0; bytes - 6] });
            assert_eq!(long(most).encoded_size(), most);
            assert!(NoRawStorage::contains(&preimage(long(most))));
            assert!(!NoRawStorage::contains(&preimage(long(most + 1))));
            let batch = |number| {
                let calls = vec![RuntimeCall::System(frame_system::Call::remark { remark: vec![] }); number];
                RuntimeCall::Utility(pallet_utility::Call::batch { calls })
            };
            assert!(NoRawStorage::contains(&preimage(batch(100))));
            let many = batch(MOST_PREIMAGE_MEMORY / core::mem::size_of::<RuntimeCall>() + 1);
            assert!(many.encoded_size() <= most, "its memory is what is refused");
            assert!(!NoRawStorage::contains(&preimage(many)));
        });
    }

    #[test]
    fn whoever_notes_a_preimage_pays_for_its_reading() {
        let reading = |bytes| ReadPreimages::note_preimage(bytes) - SubstrateWeight::<Runtime>::note_preimage(bytes);
        assert_eq!(reading(1_000), READ_BYTE.saturating_mul(1_000));
        assert_eq!(reading(MOST_PREIMAGE_BYTES), READ_BYTE.saturating_mul(MOST_PREIMAGE_BYTES.into()));
        assert_eq!(reading(4 * 1024 * 1024), reading(MOST_PREIMAGE_BYTES), "of an upgrade two bytes are read");
    }
}
