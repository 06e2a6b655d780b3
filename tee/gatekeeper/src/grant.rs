//! The worker's side: opening a gatekeeper's answer, and combining enough of them into keys.
//!
//! Guarantees: an [`OpenedGrant`] answers exactly the worker's own request, comes from a holder of the share that the chain's
//! record commits, and its evaluations are proved; [`Grants::keys`] gives keys only from a threshold of them. Gatekeepers and hosts
//! control the bytes.

use crate::seat::{answer_info, prf_input};
use codec::DecodeLimit;
use phala_crypto::{
    hpke,
    prf::{combine, verify_partial, PartialEvaluation, PublicShare, VerifiedPartial},
    xwing::{DecapsulationKey, CIPHERTEXT_BYTES},
    Secret,
};
use phala_protocol::{
    chain_state::RootRecord,
    ids::BlockNumber,
    keys::{share_list_hash, KeyAnswer, KeyGrant, KeyPurpose, KeyRequest},
    Hash,
};
use std::collections::BTreeMap;

/// Why an answer gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It does not open under this request's key.
    #[error("key answer does not open for this request")]
    Unauthentic,
    /// Its content is malformed.
    #[error("key answer is malformed")]
    Malformed,
    /// It is of another era than the recorded root, or its share list is not the recorded one.
    #[error("key answer is of another root than the recorded one")]
    WrongRoot,
    /// Its index has no seat.
    #[error("key answer names a seat that does not exist")]
    NoSuchSeat,
    /// The proof of an evaluation does not hold.
    #[error("key answer has a wrong evaluation")]
    WrongEvaluation,
}

/// An answer whose evaluations are verified.
pub struct OpenedGrant {
    index: u16,
    partials: Vec<(KeyPurpose, VerifiedPartial)>,
    /// The gatekeeper's finalised head.
    pub head: (BlockNumber, Hash),
}

/// Opens the answer to `request` with the request's own key and checks it against the recorded root.
pub fn open_grant(
    secret: &DecapsulationKey,
    request: &KeyRequest,
    root: &RootRecord,
    answer: &KeyAnswer,
) -> Result<OpenedGrant, GrantError> {
    let encapsulated: &[u8; CIPHERTEXT_BYTES] =
        answer.encapsulated.as_slice().try_into().map_err(|_| GrantError::Malformed)?;
    let payload = request.signing_payload();
    let context = hpke::setup_receiver(secret, encapsulated, &answer_info(&request.genesis));
    let (plaintext, _) = context.open(&payload, &answer.body).map_err(|_| GrantError::Unauthentic)?;
    let mut rest = plaintext.expose().as_slice();
    let grant = KeyGrant::decode_with_depth_limit(8, &mut rest).map_err(|_| GrantError::Malformed)?;
    if !rest.is_empty() || grant.request != payload {
        return Err(GrantError::Malformed);
    }
    if grant.era != root.era || share_list_hash(grant.era, root.threshold, &grant.shares) != root.share_list {
        return Err(GrantError::WrongRoot);
    }
    let position = usize::from(grant.index).checked_sub(1).ok_or(GrantError::NoSuchSeat)?;
    // The answer must come from the seat that was asked, whoever relayed it.
    if root.seats.get(position) != Some(&request.gatekeeper) {
        return Err(GrantError::NoSuchSeat);
    }
    let point = grant.shares.get(position).ok_or(GrantError::NoSuchSeat)?;
    let public = PublicShare::from_bytes(grant.index, point).map_err(|_| GrantError::NoSuchSeat)?;
    let mut partials = Vec::with_capacity(grant.evaluations.len());
    for evaluation in &grant.evaluations {
        let input = prf_input(&request.genesis, grant.era, request.cluster, request.epoch, evaluation.purpose);
        let partial = PartialEvaluation { index: grant.index, point: evaluation.point, proof: evaluation.proof };
        let verified = verify_partial(&public, &input, &partial).map_err(|_| GrantError::WrongEvaluation)?;
        partials.push((evaluation.purpose, verified));
    }
    Ok(OpenedGrant { index: grant.index, partials, head: grant.head })
}

/// Verified answers about one (cluster, epoch), by seat.
#[derive(Default)]
pub struct Grants {
    by_seat: BTreeMap<u16, OpenedGrant>,
}

impl Grants {
    /// Adds an answer; a later one of the same seat replaces the earlier.
    pub fn add(&mut self, grant: OpenedGrant) {
        self.by_seat.insert(grant.index, grant);
    }

    /// How many seats answered.
    pub fn len(&self) -> usize {
        self.by_seat.len()
    }

    /// Whether no seat has answered.
    pub fn is_empty(&self) -> bool {
        self.by_seat.is_empty()
    }

    /// The PRF's output for `purpose`, once `threshold` seats gave it.
    pub fn key(&self, threshold: u16, purpose: KeyPurpose) -> Option<Secret<[u8; 32]>> {
        let partials: Vec<VerifiedPartial> = self
            .by_seat
            .values()
            .filter_map(|grant| grant.partials.iter().find(|(found, _)| *found == purpose))
            .map(|(_, partial)| partial.clone())
            .collect();
        combine(threshold.into(), &partials).ok()
    }
}
