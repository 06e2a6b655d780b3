//! The light client's state, and the two ways it changes: a finality proof moves it, a checkpoint restores it.
//!
//! Guarantees that the state after an error is the state before it, that heights only grow, and that authority sets
//! follow one another exactly as headers finalised by the set before say. The host controls finality proofs. Does not
//! do: keep the checkpoint confidential or fresh; a rewound checkpoint is an older true state, and what notices it is a
//! newer finalised head.

use crate::{
    authorities::{AuthoritiesError, AuthorityKey, AuthoritySet},
    header::{decode_header, DecodedHeader, HeaderError, HeaderFields, VerifiedHeader},
    justification::{verify_justification, JustificationError},
};
use codec::{Decode, Encode};
use phala_protocol::{
    finality::{FinalityDecodeError, FinalityFragment, FinalityProof},
    ids::BlockNumber,
    Hash,
};
use smoldot::header::{DigestItemRef, DigestRef, GrandpaConsensusLogRef};

/// A verified view of one chain: its newest known finalised header and the authorities of the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightClient {
    genesis: Hash,
    head: VerifiedHeader,
    authorities: AuthoritySet,
}

/// What a finality proof did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The new head.
    pub head: VerifiedHeader,
    /// How many authority sets ended between the old head and the new one.
    pub set_changes: u64,
    /// Whether the server *says* that it knows nothing newer. An allegation: only good for deciding to ask again.
    pub alleged_complete: bool,
}

/// Why a finality proof was refused; the host's fault, and the client is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FinalityError {
    /// Not a finality proof.
    #[error("finality proof cannot be decoded")]
    Decode(#[from] FinalityDecodeError),
    /// It ends at or below the head that is already known.
    #[error("finality proof has nothing newer than block {0}")]
    NothingNewer(BlockNumber),
    /// A header cannot be decoded.
    #[error("a header of the finality proof is refused")]
    Header(#[from] HeaderError),
    /// A header that is not above the one before it, or above the head.
    #[error("block {number} comes after block {after} in the finality proof")]
    OutOfOrder {
        /// Height of the header.
        number: BlockNumber,
        /// Height of the one before it.
        after: BlockNumber,
    },
    /// A header's justification does not hold.
    #[error("block {number} is not finalised by authority set {set_id}")]
    Justification {
        /// Height of the header.
        number: BlockNumber,
        /// The set that should have finalised it.
        set_id: u64,
        /// What is wrong with the justification.
        #[source]
        reason: JustificationError,
    },
    /// A header before the last hands over to nobody: only the last header of a set can be followed by another
    /// fragment.
    #[error("block {0} is followed by another fragment and changes no authority set")]
    MissingSetChange(BlockNumber),
    /// A forced change: the chain replaced its authorities without their finality. Only a release with a new checkpoint
    /// goes on.
    #[error("block {0} forces a change of authorities; a release with a new checkpoint is needed")]
    ForcedChange(BlockNumber),
    /// A change that takes effect later, which a chain whose sessions change authorities never schedules.
    #[error("block {number} delays its change of authorities by {delay} blocks")]
    DelayedChange {
        /// Height of the header.
        number: BlockNumber,
        /// Blocks of delay.
        delay: u64,
    },
    /// Two changes in one header.
    #[error("block {0} changes authorities more than once")]
    SeveralChanges(BlockNumber),
    /// The next authorities are not a set.
    #[error("the authorities that block {number} names are refused")]
    Authorities {
        /// Height of the header.
        number: BlockNumber,
        /// What is wrong with them.
        #[source]
        reason: AuthoritiesError,
    },
    /// The number of the next set does not fit.
    #[error("there is no authority set after the last number")]
    SetIdExhausted,
}

/// Everything needed to go on after a restart, in SCALE. **Trusted**: it is compiled into a release or kept sealed,
/// never taken from a host, because a restored client believes it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Checkpoint {
    genesis: Hash,
    head: HeaderFields,
    set_id: u64,
    authorities: Vec<AuthorityKey>,
}

/// Why a checkpoint was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not the encoding of a checkpoint.
    #[error("checkpoint is malformed")]
    Malformed,
    /// It is of another chain.
    #[error("checkpoint is of another chain")]
    WrongGenesis,
    /// Its authorities are not a set.
    #[error("checkpoint has no valid authority set")]
    Authorities(#[from] AuthoritiesError),
}

impl LightClient {
    pub(crate) fn at_genesis(header: HeaderFields, authorities: AuthoritySet) -> Self {
        Self { genesis: header.hash, head: VerifiedHeader(header), authorities }
    }

    /// Goes on from a checkpoint of the chain whose genesis is pinned.
    pub fn restore(pinned_genesis: &Hash, checkpoint: &Checkpoint) -> Result<Self, CheckpointError> {
        if checkpoint.genesis != *pinned_genesis {
            return Err(CheckpointError::WrongGenesis);
        }
        let keys = checkpoint.authorities.iter().map(|key| (*key, 1));
        Ok(Self {
            genesis: checkpoint.genesis,
            head: VerifiedHeader(checkpoint.head.clone()),
            authorities: AuthoritySet::verify(checkpoint.set_id, keys)?,
        })
    }

    /// What [`LightClient::restore`] needs to go on from here.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            genesis: self.genesis,
            head: self.head.0.clone(),
            set_id: self.authorities.id(),
            authorities: self.authorities.keys().to_vec(),
        }
    }

    /// Hash of the chain's genesis header.
    pub fn genesis(&self) -> &Hash {
        &self.genesis
    }

    /// The newest finalised header that the client was shown.
    pub fn head(&self) -> &VerifiedHeader {
        &self.head
    }

    /// The authorities that must finalise whatever comes after the head.
    pub fn authorities(&self) -> &AuthoritySet {
        &self.authorities
    }

    /// Moves the head along an encoded [`FinalityProof`]: the last header of every set that ended since the head, then
    /// optionally a header of the set after those. `entropy` is 32 fresh bytes that the host cannot know; they choose
    /// the coefficients of the signature batch.
    ///
    /// Nothing says that the new head descends from the old one: two thirds of a set that finalised both would have to
    /// be slashed.
    pub fn advance(&mut self, proof: &[u8], entropy: &[u8; 32]) -> Result<Advance, FinalityError> {
        let proof = FinalityProof::decode_bounded(proof)?;
        let known = self.head.number();
        let newest = proof.fragments.last().ok_or(FinalityError::NothingNewer(known))?;
        // Before any signature: a relayer that repeats itself costs nothing.
        if decode_header(&newest.header)?.fields.number <= known {
            return Err(FinalityError::NothingNewer(known));
        }

        // Worked on apart and stored at the end, so that an error leaves the client as it was.
        let mut head = self.head.clone();
        let mut authorities = self.authorities.clone();
        let mut fragments = proof.fragments.iter().peekable();
        while let Some(fragment) = fragments.next() {
            let (next_head, next_authorities) = verify_fragment(&head, &authorities, fragment, entropy)?;
            head = next_head;
            match next_authorities {
                Some(next) => authorities = next,
                None if fragments.peek().is_some() => return Err(FinalityError::MissingSetChange(head.number())),
                None => {}
            }
        }

        let set_changes = authorities.id().saturating_sub(self.authorities.id());
        self.head = head.clone();
        self.authorities = authorities;
        Ok(Advance { head, set_changes, alleged_complete: proof.complete })
    }
}

impl Checkpoint {
    /// Decodes a checkpoint and nothing after it. The bytes are the caller's own, unsealed.
    pub fn decode_exact(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let mut rest = bytes;
        let checkpoint = Self::decode(&mut rest).map_err(|_| CheckpointError::Malformed)?;
        if rest.is_empty() {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::Malformed)
        }
    }
}

/// Verifies one header above `head` under `authorities`; the second value is the set that its digest hands over to.
fn verify_fragment(
    head: &VerifiedHeader,
    authorities: &AuthoritySet,
    fragment: &FinalityFragment,
    entropy: &[u8; 32],
) -> Result<(VerifiedHeader, Option<AuthoritySet>), FinalityError> {
    let DecodedHeader { fields, digest } = decode_header(&fragment.header)?;
    let number = fields.number;
    if number <= head.number() {
        return Err(FinalityError::OutOfOrder { number, after: head.number() });
    }
    verify_justification(authorities, &fields, &fragment.justification, entropy)
        .map_err(|reason| FinalityError::Justification { number, set_id: authorities.id(), reason })?;
    let next = scheduled_change(number, authorities, &digest)?;
    Ok((VerifiedHeader(fields), next))
}

/// Reads the change of authorities that a finalised header's digest schedules.
///
/// A node stops finalising at such a header: it is the last of its set, and the next set has the next number. Pausing,
/// resuming and disabling authorities change nothing for a verifier, as in a node.
fn scheduled_change(
    number: BlockNumber,
    authorities: &AuthoritySet,
    digest: &DigestRef<'_>,
) -> Result<Option<AuthoritySet>, FinalityError> {
    let mut next = None;
    for item in digest.logs() {
        let DigestItemRef::GrandpaConsensus(log) = item else { continue };
        match log {
            GrandpaConsensusLogRef::ForcedChange { .. } => return Err(FinalityError::ForcedChange(number)),
            GrandpaConsensusLogRef::ScheduledChange(_) if next.is_some() => {
                return Err(FinalityError::SeveralChanges(number))
            }
            GrandpaConsensusLogRef::ScheduledChange(change) => {
                if change.delay != 0 {
                    return Err(FinalityError::DelayedChange { number, delay: change.delay });
                }
                let id = authorities.id().checked_add(1).ok_or(FinalityError::SetIdExhausted)?;
                let keys = change.next_authorities.map(|authority| (*authority.public_key, authority.weight.get()));
                next = Some(
                    AuthoritySet::verify(id, keys).map_err(|reason| FinalityError::Authorities { number, reason })?,
                );
            }
            GrandpaConsensusLogRef::OnDisabled(_)
            | GrandpaConsensusLogRef::Pause(_)
            | GrandpaConsensusLogRef::Resume(_) => {}
        }
    }
    Ok(next)
}
