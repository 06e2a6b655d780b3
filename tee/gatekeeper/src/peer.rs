//! Whom a gatekeeper seals to: other seats, whose evidence it verified itself, under keys that live one attempt.
//!
//! Guarantees: a [`VerifiedPeer`] exists only after every check that a worker's inquiry passes, for the role of a gatekeeper: a
//! registration on chain that has not lapsed, evidence under a root of this binary that binds identity and role, a measurement that is
//! allowed and old enough, and nothing that bars it; and only with a key that this identity announced for one attempt on this chain. "The
//! chain says that it has a seat" is never enough. It says at which head that was and when the registration lapses: nothing is sealed to
//! one that was verified before the attempt, or announced its key for another.
//!
//! The encryption key that the evidence binds is of no interest here: it lives as long as the machine. A registration that was replaced
//! by one with another such key shows as well whose identity it is.
//! The peer controls its introduction, the host the transport and the collateral.

use crate::{
    policy::{verify_machine, Facts, Presented, Refusal},
    receiving::verify_announced,
    verifier::Verifier,
};
use phala_crypto::xwing::EncapsulationKey;
use phala_protocol::{
    attestation::{encryption_key_hash, Role},
    ceremony::{CeremonyAttempt, Introduction},
    chain_state::WorkerRecord,
    ids::BlockNumber,
    Hash, WorkerId,
};

/// Another gatekeeper, with the key that it announced for an attempt under the identity that its evidence binds.
pub struct VerifiedPeer {
    identity: WorkerId,
    of: CeremonyAttempt,
    key: EncapsulationKey,
    key_hash: Hash,
    verified_at: BlockNumber,
    valid_until: u64,
}

impl VerifiedPeer {
    /// Its identity.
    pub fn identity(&self) -> WorkerId {
        self.identity
    }

    /// The key that is sealed to.
    pub fn key(&self) -> &EncapsulationKey {
        &self.key
    }

    /// [`encryption_key_hash`] of that key.
    pub fn key_hash(&self) -> Hash {
        self.key_hash
    }

    /// Whether its key is of the attempt `of`, it was verified at the head of number `since` or later, and its registration has not lapsed
    /// at chain time `now`, in Unix seconds. What changed between the two heads - a measurement that was suspended, a ban - is not known
    /// here.
    pub fn is_good(&self, of: CeremonyAttempt, since: BlockNumber, now: u64) -> bool {
        self.of == of && self.verified_at >= since && now < self.valid_until
    }
}

/// Verifies the introduction of `peer`, a seat's identity. Of `facts`, `worker` and `measurement` are the introduced gatekeeper's;
/// `root` and `cluster` are not looked at. Good for the facts that it was verified on: verify again before each attempt, which costs
/// `verifier` no signature where it saw the same bytes before.
pub fn verify_introduction(
    peer: &WorkerId,
    introduction: &Introduction,
    facts: &Facts,
    verifier: &mut Verifier,
) -> Result<VerifiedPeer, Refusal> {
    let record =
        facts.worker.as_ref().filter(|record| record.role == Role::Gatekeeper).ok_or(Refusal::NotRegistered)?;
    if record.valid_until <= facts.now {
        return Err(Refusal::Lapsed);
    }
    // Before the evidence: it costs one signature.
    let key = verify_announced(&facts.genesis, peer, &introduction.announced)?;
    let record = WorkerRecord { encryption_key: introduction.registration.encryption_key, ..*record };
    let machine = Presented {
        identity: *peer,
        role: Role::Gatekeeper,
        record: &record,
        registration: &introduction.registration,
        evidence: &introduction.evidence,
        collateral: &introduction.collateral,
    };
    verify_machine(&machine, facts, verifier)?;
    Ok(VerifiedPeer {
        identity: *peer,
        of: introduction.announced.of,
        key,
        key_hash: encryption_key_hash(&introduction.announced.key),
        verified_at: facts.head.0,
        valid_until: record.valid_until,
    })
}
