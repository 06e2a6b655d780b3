//! The record of identities that holders agreed on, and contracts' signatures: submitted while the chain asks for them.
//!
//! Either is free when it is taken, and costs a fee when the chain has it already. So the newest block is asked first. All holders have the
//! same record: their relayers take turns, in an order that a hash decides. A signature is its coordinator's alone, or that of few
//! coordinators one after another, and waits for nobody. The node can lie, which costs its own user a fee, or time.
//!
//! Guarantees: what the newest block has, or has forgotten, is not submitted. Does not: judge records and signatures, which the chain does.

use super::turns::wait;
use codec::DecodeAll;
use phala_client::{
    chain::{Chain, PalletError},
    ClientError,
};
use phala_protocol::{
    egress::{EgressFate, EgressOutcome},
    identities::{signing::EgressSignature, IdentityCeremonyRecord, IdentityRecord},
    ids::BlockNumber,
    relay::Outgoing,
    storage, ClusterId, Hash, WorkerId,
};

/// How many turns there are for a record: the chain waits for it for twenty blocks at least, of which a TEE's head is some three behind.
const TURNS: u8 = 4;

/// Whether the newest block waits for this record.
pub(super) async fn is_asked_for(chain: &Chain, record: &IdentityRecord) -> Result<bool, ClientError> {
    let newest = chain.block_hash(None).await?;
    let ceremony: Option<IdentityCeremonyRecord> =
        chain.storage(&storage::identity_ceremony_key(), Some(&newest)).await?;
    Ok(is_agreed(ceremony.as_ref(), &record.hash()))
}

fn is_agreed(ceremony: Option<&IdentityCeremonyRecord>, record: &Hash) -> bool {
    ceremony.is_some_and(|ceremony| ceremony.agreed.as_ref() == Some(record))
}

/// How the chain would refuse what is submitted next, as far as the newest block shows it; none where it may take it.
pub(super) async fn refusal(chain: &Chain, item: &Outgoing) -> Result<Option<PalletError>, ClientError> {
    let Outgoing::AttachSignature { cluster, sequence, signature } = item else { return Ok(None) };
    let newest = chain.block_hash(None).await?;
    let keys = keys(*cluster, *sequence, signature);
    let [fate, attached]: [Option<Vec<u8>>; 2] = chain.values(&keys, &newest).await?.try_into().unwrap_or_default();
    Ok(foreseen(fate.as_deref(), attached.is_some(), signature))
}

/// Where it stands what became of the message, and its signature of that scheme.
fn keys(cluster: ClusterId, sequence: u64, signature: &EgressSignature) -> [Vec<u8>; 2] {
    let attached = storage::egress_signature_key(cluster, sequence, signature.scheme);
    [storage::egress_fate_key(cluster, sequence), attached]
}

/// The refusal, as the pallet would name it.
fn foreseen(fate: Option<&[u8]>, is_attached: bool, signature: &EgressSignature) -> Option<PalletError> {
    let refused = |error: &str| Some(PalletError { pallet: "Egress".to_owned(), error: error.to_owned() });
    if is_attached {
        return refused("AlreadySigned");
    }
    let fate = fate.and_then(|mut fate| EgressFate::decode_all(&mut fate).ok());
    match fate {
        Some(EgressFate { outcome: EgressOutcome::Left, id, .. }) if id == signature.item => None,
        Some(EgressFate { outcome: EgressOutcome::Left, .. }) => refused("BadSignature"),
        _ => refused("NotLeft"),
    }
}

/// Blocks that the relayer of `tee` waits before it shows a record; nothing for whatever else.
pub(super) fn turn(tee: &WorkerId, item: &Outgoing) -> Option<BlockNumber> {
    match item {
        Outgoing::ShowIdentities(record) => Some(wait(tee, &record.hash(), TURNS)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{judge, turns::tests::of_forty, Settled};
    use codec::Encode;
    use phala_client::chain::SubmitError;
    use phala_protocol::{
        egress::EgressFailure,
        identities::{IdentityPoints, Scheme},
    };
    use std::collections::BTreeSet;

    const KEYS: IdentityPoints = IdentityPoints { ed25519: [1; 32], sr25519: [2; 32] };

    fn record(era: u32) -> IdentityRecord {
        IdentityRecord { era, threshold: 3, keys: KEYS, holders: vec![] }
    }

    #[test]
    fn a_record_is_shown_while_the_chain_waits_for_it_and_no_other() {
        let seats: Vec<_> = (1..=4).map(|byte| WorkerId([byte; 32])).collect();
        let mut ceremony = IdentityCeremonyRecord::new(2, 0, None, &seats, |_| true);
        let hash = record(2).hash();
        assert!(!is_agreed(None, &hash), "another relayer showed it");
        assert!(!is_agreed(Some(&ceremony), &hash), "not all have confirmed");
        ceremony.agreed = Some(hash);
        assert!(is_agreed(Some(&ceremony), &hash));
        assert!(!is_agreed(Some(&ceremony), &record(1).hash()));
    }

    #[test]
    fn relayers_of_a_record_take_turns_and_none_waits_for_long() {
        let item = Outgoing::ShowIdentities(record(2));
        let turns = of_forty(&item, turn);
        assert_eq!(turns, BTreeSet::from([0, 2, 4, 6]));
    }

    #[test]
    fn a_signature_that_the_chain_has_or_has_forgotten_whose_message_it_is_of_is_not_submitted() {
        let signature = EgressSignature { item: [7; 32], scheme: Scheme::Ed25519, key: [1; 32], signature: [2; 64] };
        let fate = |id, outcome| EgressFate { id, block: 9, outcome }.encode();
        let left = fate([7; 32], EgressOutcome::Left);
        assert_eq!(foreseen(Some(&left), false, &signature), None, "the chain takes it");
        let settled = |fate: Option<&[u8]>, is_attached| {
            foreseen(fate, is_attached, &signature).map(|error| judge(&SubmitError::Pallet(error)))
        };
        assert_eq!(settled(Some(&left), true), Some(Settled::Done), "another relayer was first");
        assert_eq!(settled(None, false), Some(Settled::Done), "its fate is forgotten");
        for outcome in [EgressOutcome::Paid, EgressOutcome::Failed(EgressFailure::Voided)] {
            assert_eq!(settled(Some(&fate([7; 32], outcome)), false), Some(Settled::Done));
        }
        assert_eq!(settled(Some(&[1, 2, 3]), false), Some(Settled::Done), "no fate that is known here");
        let other = fate([8; 32], EgressOutcome::Left);
        assert_eq!(settled(Some(&other), false), Some(Settled::Never), "it is of another message");
        // It is asked for where the chain keeps it.
        let [of_fate, of_signature] = keys(ClusterId(1), 5, &signature);
        assert_eq!(of_fate, storage::egress_fate_key(ClusterId(1), 5));
        assert_eq!(of_signature, storage::egress_signature_key(ClusterId(1), 5, Scheme::Ed25519));
    }
}
