//! A gatekeeper's place in an era: its share, and the list of all public shares.
//!
//! Guarantees: the share is a [`Secret`] and leaves only sealed, by the caller; public shares travel only inside sealed answers.
//! The host controls when a seat is made and restored, never what is in it.

use crate::policy::{verify_inquiry, Facts, Refusal};
use codec::{Decode, DecodeAll, Encode};
use phala_attest::DevelopmentGenesis;
use phala_crypto::{
    hpke,
    prf::{Input, KeyShare},
    xwing::{EncapsulationKey, ENTROPY_BYTES},
    Secret,
};
use phala_protocol::{
    chain_state::{ClusterRecord, RootRecord},
    domain,
    keys::{share_list_hash, Evaluation, KeyAnswer, KeyGrant, KeyPurpose, PrfInput},
    relay::KeyInquiry,
    Hash, WorkerId,
};
use std::collections::BTreeMap;
use zeroize::Zeroize;

/// One gatekeeper's seat in one era.
pub struct Seat {
    era: u32,
    threshold: u16,
    share: KeyShare,
    shares: Vec<[u8; 32]>,
}

/// A seat as it is sealed: the share's bytes are in here, so it never travels in clear.
#[derive(Encode, Decode)]
struct Stored {
    era: u32,
    threshold: u16,
    index: u16,
    share: [u8; 32],
    shares: Vec<[u8; 32]>,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.share.zeroize();
    }
}

/// Why a seat could not be made or restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeatError {
    /// The entropy gave no valid scalar: draw again.
    #[error("entropy gives no valid share; draw again")]
    Entropy,
    /// The unsealed bytes are not a seat: they were sealed by another version.
    #[error("sealed seat is malformed")]
    Malformed,
}

impl Seat {
    /// The only seat of a development network's root: 1 of 1. The token proves that the chain's genesis marks it as one.
    pub fn lone(_: DevelopmentGenesis, era: u32, entropy: &Secret<[u8; 32]>) -> Result<Self, SeatError> {
        let scalar = Secret::fill(|bytes| {
            bytes.copy_from_slice(entropy.expose());
            // Clears the top bits, so that the bytes are a canonical scalar: below 2^252, which is below the group's order.
            if let Some(last) = bytes.last_mut() {
                *last &= 0x0f;
            }
        });
        let share = KeyShare::from_bytes(1, &scalar).map_err(|_| SeatError::Entropy)?;
        let shares = vec![share.public_share().to_bytes()];
        Ok(Self { era, threshold: 1, share, shares })
    }

    /// A seat of a root that was generated together: `points` are the public shares of those that took part, by index from 1, out
    /// of `seats` that were elected. Whoever took no part has no share: zeros stand in its place, the encoding of the identity,
    /// which every reader refuses as a public share.
    pub(crate) fn dealt(
        era: u32,
        threshold: u16,
        share: KeyShare,
        points: &BTreeMap<u16, [u8; 32]>,
        seats: u16,
    ) -> Self {
        let shares = (1..=seats).map(|index| points.get(&index).copied().unwrap_or_default()).collect();
        Self { era, threshold, share, shares }
    }

    /// The era whose root it is of.
    pub fn era(&self) -> u32 {
        self.era
    }

    /// [`share_list_hash`] of the public shares, as the chain records it.
    pub fn share_list(&self) -> Hash {
        share_list_hash(self.era, self.threshold, &self.shares)
    }

    /// The bytes to seal.
    pub fn to_secret_bytes(&self) -> Secret<Vec<u8>> {
        let stored = Stored {
            era: self.era,
            threshold: self.threshold,
            index: self.share.index(),
            share: *self.share.to_bytes().expose(),
            shares: self.shares.clone(),
        };
        // With its full capacity, so that growing leaves no copy behind.
        let mut bytes = Vec::with_capacity(stored.encoded_size());
        stored.encode_to(&mut bytes);
        Secret::new(bytes)
    }

    /// A seat from unsealed bytes.
    pub fn from_secret_bytes(bytes: &Secret<Vec<u8>>) -> Result<Self, SeatError> {
        let mut stored = Stored::decode_all(&mut bytes.expose().as_slice()).map_err(|_| SeatError::Malformed)?;
        let share = KeyShare::from_bytes(stored.index, &Secret::fill(|bytes| bytes.copy_from_slice(&stored.share)))
            .map_err(|_| SeatError::Malformed)?;
        Ok(Self { era: stored.era, threshold: stored.threshold, share, shares: std::mem::take(&mut stored.shares) })
    }

    /// What the chain records of the root that this seat belongs to, `seats` being all gatekeepers by index from 1.
    pub fn root_record(&self, seats: Vec<WorkerId>) -> RootRecord {
        RootRecord { era: self.era, threshold: self.threshold, seats, share_list: self.share_list() }
    }

    /// Whether the chain's record is of this seat's root.
    pub fn is_recorded_as(&self, root: &RootRecord) -> bool {
        root.era == self.era && root.threshold == self.threshold && root.share_list == self.share_list()
    }

    /// Answers an inquiry, or refuses it: only of this seat's own root as the chain records it, and only for an epoch that the chain
    /// gives to that root. `facts` are of the gatekeeper's own finalised head.
    pub fn answer(
        &self,
        inquiry: &KeyInquiry,
        facts: &Facts,
        prf_entropy: &[u8; 32],
        seal_entropy: &[u8; ENTROPY_BYTES],
    ) -> Result<KeyAnswer, Refusal> {
        if !facts.root.as_ref().is_some_and(|root| self.is_recorded_as(root)) {
            return Err(Refusal::RootNotRecorded);
        }
        let allowed = verify_inquiry(inquiry, facts)?;
        let request = &inquiry.request.request;
        let of = |cluster: &ClusterRecord| cluster.era_of(request.epoch, facts.coming_era?);
        if request.era != self.era || facts.cluster.as_ref().and_then(of) != Some(self.era) {
            return Err(Refusal::WrongEra);
        }
        let evaluations = allowed
            .into_iter()
            .map(|purpose| {
                let input = prf_input(&facts.genesis, self.era, request.cluster, request.epoch, purpose);
                let partial = self.share.partial(&input, prf_entropy);
                Evaluation { purpose, point: partial.point, proof: partial.proof }
            })
            .collect();
        let payload = request.signing_payload();
        let grant = KeyGrant {
            request: payload,
            era: self.era,
            index: self.share.index(),
            shares: self.shares.clone(),
            evaluations,
            head: facts.head,
        };
        let recipient =
            EncapsulationKey::from_bytes(&inquiry.request.encryption_key).map_err(|_| Refusal::BadEncryptionKey)?;
        let plaintext = Secret::new(grant.encode());
        let (encapsulated, context) = hpke::setup_sender(&recipient, &answer_info(&facts.genesis), seal_entropy);
        let (body, _) = context.seal(&payload, plaintext.expose()).map_err(|_| Refusal::BadEncryptionKey)?;
        Ok(KeyAnswer { encapsulated: encapsulated.to_vec(), body })
    }
}

/// The PRF's input for one key.
pub(crate) fn prf_input(
    genesis: &Hash,
    era: u32,
    cluster: phala_protocol::ClusterId,
    epoch: phala_protocol::Epoch,
    purpose: KeyPurpose,
) -> Input {
    Input::of(domain::PRF_INPUT, &PrfInput { genesis: *genesis, era, cluster, epoch, purpose })
}

/// HPKE info of an answer.
pub(crate) fn answer_info(genesis: &Hash) -> Vec<u8> {
    [domain::KEY_ANSWER.as_bytes(), genesis].concat()
}
