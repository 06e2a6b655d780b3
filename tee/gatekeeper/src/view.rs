//! What a gatekeeper sees of a ceremony under way, of roots or of identities, and what it works with.
//!
//! Guarantees: a peer is given out only as long as its verification is good for the attempt. The record must be a fact, out of a verified
//! storage proof; does not read it.

use crate::{peer::VerifiedPeer, receiving::ReceivingKey};
use phala_crypto::{signature::ed25519::IdentityKey, Secret};
use phala_protocol::{ceremony::CeremonyAttempt, ids::BlockNumber, WorkerId};
use std::collections::BTreeMap;

/// What a gatekeeper sees at its finalised head, and what it works with. `R` is the ceremony's record.
pub struct View<'a, R> {
    /// The ceremony, out of a verified storage proof.
    pub record: &'a R,
    /// The head's number.
    pub head: BlockNumber,
    /// Chain time at that head, in Unix seconds.
    pub now: u64,
    /// The number of the head at which this gatekeeper first saw the attempt: peers that were verified before are strangers again.
    pub since: BlockNumber,
    /// The gatekeeper's identity.
    pub identity: &'a IdentityKey,
    /// The gatekeeper's key of this attempt.
    pub receiving: &'a ReceivingKey,
    /// The others, as far as they introduced themselves.
    pub peers: &'a BTreeMap<WorkerId, VerifiedPeer>,
    /// Fresh for each turn.
    pub entropy: &'a Secret<[u8; 32]>,
}

impl<'a, R> View<'a, R> {
    /// The gatekeeper of this identity, if its verification is good for the attempt `of`.
    pub(crate) fn peer(&self, of: CeremonyAttempt, gatekeeper: &WorkerId) -> Option<&'a VerifiedPeer> {
        let peer = self.peers.get(gatekeeper)?;
        (peer.identity() == *gatekeeper && peer.is_good(of, self.since, self.now)).then_some(peer)
    }
}
