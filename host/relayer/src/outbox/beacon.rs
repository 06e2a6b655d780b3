//! The beacon's keys and partials: submitted while the chain asks for them, and in turns where many could.
//!
//! Either is free when it is taken, and costs a fee when the chain has it already. So the newest block is asked first whether it still
//! waits for it. All holders have the same record of a key, and a threshold of their partials makes a value: their relayers take turns,
//! each time in another order that a hash decides, and whoever comes late finds that nothing is asked for any more. The node can lie, which
//! costs its own user a fee, or the network a holder's partial.

use super::turns::wait;
use codec::Encode;
use phala_client::{
    chain::{Chain, ChainCall},
    ClientError,
};
use phala_protocol::{
    beacon::{AwaitedBeacon, BeaconRecord, DueBeacon, Period},
    hash::blake2_256,
    ids::BlockNumber,
    relay::Outgoing,
    storage, Hash, WorkerId,
};

/// How many turns there are for a key: one relayer is enough.
const KEY_TURNS: u8 = 8;
/// How many there are for a partial: of two thirds of the holders they have to come, and within a period of twenty blocks.
const PARTIAL_TURNS: u8 = 3;

/// The call for something of the beacon, if the newest block asks for it; nothing for whatever else.
pub(super) async fn call(chain: &Chain, item: &Outgoing) -> Result<Option<ChainCall>, ClientError> {
    Ok(match item {
        Outgoing::BeaconKey(record) => {
            let newest = chain.block_hash(None).await?;
            let awaited = chain.storage(&storage::beacon_awaited_key(), Some(&newest)).await?;
            is_awaited(awaited.as_ref(), record).then(|| ChainCall::publish_beacon_key(record))
        }
        Outgoing::BeaconPartial { era, period, partial } => {
            let newest = chain.block_hash(None).await?;
            let due = chain.storage(&storage::beacon_due_key(), Some(&newest)).await?;
            is_due(due.as_ref(), *era, *period, partial.index)
                .then(|| ChainCall::submit_beacon_partial(*era, *period, partial))
        }
        _ => None,
    })
}

fn is_awaited(awaited: Option<&AwaitedBeacon>, record: &BeaconRecord) -> bool {
    awaited.is_some_and(|awaited| *awaited == AwaitedBeacon { era: record.era, hash: record.hash() })
}

fn is_due(due: Option<&DueBeacon>, era: u32, period: Period, index: u16) -> bool {
    due.is_some_and(|due| (due.era, due.period) == (era, period) && !due.present.contains(&index))
}

/// Blocks that the relayer of `tee` waits before it submits `item`; nothing for what is not of the beacon.
pub(super) fn turn(tee: &WorkerId, item: &Outgoing) -> Option<BlockNumber> {
    let (occasion, turns): (Hash, u8) = match item {
        Outgoing::BeaconKey(record) => (record.hash(), KEY_TURNS),
        Outgoing::BeaconPartial { era, period, .. } => (blake2_256(&(era, period).encode()), PARTIAL_TURNS),
        _ => return None,
    };
    Some(wait(tee, &occasion, turns))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::outbox::{turns::tests::of_forty, Submitted};
    use phala_protocol::beacon::{BeaconHolder, BeaconPartial};
    use std::collections::BTreeSet;

    fn record() -> BeaconRecord {
        BeaconRecord { era: 2, threshold: 1, holders: vec![BeaconHolder { index: 1, share: [1; 32] }] }
    }

    #[test]
    fn what_the_chain_does_not_ask_for_is_not_submitted() {
        let record = record();
        let awaited = AwaitedBeacon { era: 2, hash: record.hash() };
        assert!(is_awaited(Some(&awaited), &record) && !is_awaited(None, &record));
        assert!(!is_awaited(Some(&AwaitedBeacon { era: 3, ..awaited }), &record));
        assert!(!is_awaited(Some(&AwaitedBeacon { hash: [9; 32], ..awaited }), &record));
        let due = DueBeacon { era: 2, period: 7, present: vec![1, 4] };
        assert!(is_due(Some(&due), 2, 7, 3) && !is_due(None, 2, 7, 3));
        assert!(!is_due(Some(&due), 2, 7, 4), "it is there");
        assert!(!is_due(Some(&due), 2, 8, 3) && !is_due(Some(&due), 1, 7, 3));
    }

    #[test]
    fn relayers_of_a_key_and_of_a_value_take_turns() {
        let partial = BeaconPartial { index: 1, point: [2; 32], proof: [3; 64] };
        let value = |period| Outgoing::BeaconPartial { era: 2, period, partial };
        for (item, last, least) in [(Outgoing::BeaconKey(record()), 14, 5), (value(7), 4, 3), (value(8), 4, 3)] {
            let turns = of_forty(&item, turn);
            assert!(turns.iter().all(|waits| *waits <= last && waits.is_multiple_of(2)), "{turns:?}");
            assert!(turns.len() >= least, "{turns:?}");
        }
        // Nobody is always the last.
        let orders = (0..20).map(|period| turn(&WorkerId([1; 32]), &value(period))).collect::<BTreeSet<_>>();
        assert_eq!(orders.len(), 3);
    }

    #[test]
    fn a_partial_is_the_same_whatever_proves_it() {
        let partial = BeaconPartial { index: 1, point: [2; 32], proof: [3; 64] };
        let outgoing = |period, partial| Outgoing::BeaconPartial { era: 2, period, partial };
        let name = |period, partial| super::super::name(&outgoing(period, partial));
        let proved_anew = BeaconPartial { proof: [4; 64], ..partial };
        assert_eq!(name(7, partial), name(7, proved_anew));
        assert_ne!(name(7, partial), name(8, partial));
        assert_ne!(name(7, partial), name(7, BeaconPartial { index: 2, ..partial }));
        // So that a TEE which proves it anew each time has it submitted once.
        let mut submitted = Submitted::default();
        assert_eq!(submitted.due(&[outgoing(7, partial)], 10).len(), 1);
        assert!(submitted.due(&[outgoing(7, proved_anew)], 11).is_empty());
    }
}
