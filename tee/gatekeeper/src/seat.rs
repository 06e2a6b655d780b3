//! A gatekeeper's place in an era: its share of the root, and the list of all public shares; its share of the beacon key.
//!
//! Guarantees: the shares are [`Secret`]s and leave only sealed, by the caller; the root's public shares travel only inside sealed answers.
//! The host controls when a seat is made and restored, never what is in it.

use crate::{
    beacon::BeaconSeat,
    policy::{verify_inquiry, Facts, Refusal, SignedInquiry},
    verifier::Verifier,
};
use codec::{Decode, DecodeAll, Encode};
use phala_attest::DevelopmentGenesis;
use phala_crypto::{
    hpke,
    prf::{Input, KeyShare},
    xwing::ENTROPY_BYTES,
    Secret,
};
use phala_protocol::{
    beacon::BeaconRecord,
    ceremony::Confirmed,
    chain_state::RootRecord,
    domain,
    keys::{share_list_hash, Evaluation, KeyAnswer, KeyGrant, KeyPurpose, PrfInput},
    Hash, WorkerId,
};
use std::collections::BTreeMap;
use zeroize::Zeroize;

/// One gatekeeper's seat in one era.
pub struct Seat {
    era: u32,
    threshold: u16,
    share: KeyShare,
    /// Of all seats, by index from 1.
    public_shares: Vec<[u8; 32]>,
    /// Unless the seat is a lone one.
    beacon: Option<BeaconSeat>,
}

/// What a seat of this form begins with. Those of another are none: one that was sealed when there was a root alone has no beacon share.
const FORM: [u8; 8] = *b"seat/v2\0";

/// A seat as it is sealed. Its secret shares are in here, so it never travels in clear.
#[derive(Encode, Decode)]
struct Stored {
    form: [u8; 8],
    era: u32,
    threshold: u16,
    index: u16,
    share: [u8; 32],
    public_shares: Vec<[u8; 32]>,
    /// The share of the beacon key, and its record.
    beacon: Option<([u8; 32], BeaconRecord)>,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.share.zeroize();
        if let Some((share, _)) = &mut self.beacon {
            share.zeroize();
        }
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
        let public_shares = vec![share.public_share().to_bytes()];
        Ok(Self { era, threshold: 1, share, public_shares, beacon: None })
    }

    /// A seat of a root that was generated together: `points` are the public shares of those that took part, by index from 1, out
    /// of `seats` that were elected. Whoever took no part has no share: zeros stand in its place, the encoding of the identity,
    /// which every reader refuses as a public share. `beacon` is of the same attempt.
    pub(crate) fn dealt(
        era: u32,
        threshold: u16,
        share: KeyShare,
        points: &BTreeMap<u16, [u8; 32]>,
        seats: u16,
        beacon: BeaconSeat,
    ) -> Self {
        let public_shares = (1..=seats).map(|index| points.get(&index).copied().unwrap_or_default()).collect();
        Self { era, threshold, share, public_shares, beacon: Some(beacon) }
    }

    /// The era whose root it is of.
    pub fn era(&self) -> u32 {
        self.era
    }

    /// [`share_list_hash`] of the public shares, as the chain records it.
    pub fn share_list(&self) -> Hash {
        share_list_hash(self.era, self.threshold, &self.public_shares)
    }

    /// What it holds of the era's beacon key; none of a lone seat.
    pub fn beacon(&self) -> Option<&BeaconSeat> {
        self.beacon.as_ref()
    }

    /// The keys that it holds its shares of, as it confirms them in the ceremony; none of a lone seat, which no ceremony made.
    pub fn keys(&self) -> Option<Confirmed> {
        let beacon = self.beacon.as_ref()?;
        Some(Confirmed { share_list: self.share_list(), beacon: beacon.record().hash() })
    }

    /// The bytes to seal.
    pub fn to_secret_bytes(&self) -> Secret<Vec<u8>> {
        let beacon = self.beacon.as_ref();
        let stored = Stored {
            form: FORM,
            era: self.era,
            threshold: self.threshold,
            index: self.share.index(),
            share: *self.share.to_bytes().expose(),
            public_shares: self.public_shares.clone(),
            beacon: beacon.map(|beacon| (*beacon.share_bytes().expose(), beacon.record().clone())),
        };
        // With its full capacity, so that growing leaves no copy behind.
        let mut bytes = Vec::with_capacity(stored.encoded_size());
        stored.encode_to(&mut bytes);
        Secret::new(bytes)
    }

    /// A seat from unsealed bytes. The beacon's record has to be of this era, with this threshold and the public half of this share.
    pub fn from_secret_bytes(bytes: &Secret<Vec<u8>>) -> Result<Self, SeatError> {
        let mut stored = Stored::decode_all(&mut bytes.expose().as_slice()).map_err(|_| SeatError::Malformed)?;
        if stored.form != FORM {
            return Err(SeatError::Malformed);
        }
        let (era, threshold, index) = (stored.era, stored.threshold, stored.index);
        let restore = |share: &[u8; 32]| {
            KeyShare::from_bytes(index, &Secret::fill(|bytes| bytes.copy_from_slice(share)))
                .map_err(|_| SeatError::Malformed)
        };
        let share = restore(&stored.share)?;
        let beacon = match &stored.beacon {
            None => None,
            Some((beacon, record)) => {
                let of_this_era = (record.era, record.threshold) == (era, threshold);
                let restored = BeaconSeat::restored(restore(beacon)?, record.clone()).filter(|_| of_this_era);
                Some(restored.ok_or(SeatError::Malformed)?)
            }
        };
        Ok(Self { era, threshold, share, public_shares: std::mem::take(&mut stored.public_shares), beacon })
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
    /// gives to that root. `facts` are of the gatekeeper's own finalised head; `verifier` is one for all inquiries.
    pub fn answer(
        &self,
        signed: &SignedInquiry,
        facts: &Facts,
        verifier: &mut Verifier,
        prf_entropy: &[u8; 32],
        seal_entropy: &[u8; ENTROPY_BYTES],
    ) -> Result<KeyAnswer, Refusal> {
        if !facts.root.as_ref().is_some_and(|root| self.is_recorded_as(root)) {
            return Err(Refusal::RootNotRecorded);
        }
        let (allowed, recipient) = verify_inquiry(signed, facts, self.era, verifier)?;
        let (request, payload) = (&signed.inquiry().request.request, signed.payload());
        let input = |purpose| prf_input(&facts.genesis, self.era, request.cluster, request.epoch, purpose);
        let inputs: Vec<Input> = allowed.iter().copied().map(input).collect();
        let partials = self.share.partials(&inputs, prf_entropy);
        let evaluations = allowed
            .into_iter()
            .zip(partials)
            .map(|(purpose, partial)| Evaluation { purpose, point: partial.point, proof: partial.proof })
            .collect();
        let grant = KeyGrant {
            request: payload,
            era: self.era,
            index: self.share.index(),
            shares: self.public_shares.clone(),
            evaluations,
            head: facts.head,
        };
        // With its full capacity, so that growing leaves no copy behind.
        let mut plaintext = Vec::with_capacity(grant.encoded_size());
        grant.encode_to(&mut plaintext);
        let plaintext = Secret::new(plaintext);
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
