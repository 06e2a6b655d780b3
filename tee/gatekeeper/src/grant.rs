//! The worker's side: opening a gatekeeper's answer, and combining enough of them into keys.
//!
//! Guarantees: an [`OpenedGrant`] answers exactly the worker's own request, and what it gives is what the share of the asked seat gives,
//! which the chain's record commits: all purposes, or the storage key's alone, each proved. [`Grants::key`] gives keys only from a threshold
//! of them. Gatekeepers and hosts control the bytes, and so does whoever saw the request, for its key is public: an answer is sealed and not
//! signed.
//!
//! Why a proof is as good as a signature here: an evaluation is the only one of its share at its input, so that whoever brings it brings
//! what the seat itself would say. A seat's evaluations are known to workers that it answered, and a broken one of those may leave some out. So
//! what was given is never taken away by what comes after it, and only an answer with all purposes ([`OpenedGrant::is_whole`]) is the last
//! word of its seat. What else a grant says, such as its head, is nobody's proved word.

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
    keys::{share_list_hash, Evaluation, KeyAnswer, KeyGrant, KeyPurpose, KeyRequest},
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
    /// It has neither one evaluation for each purpose, nor one for the storage key alone: no gatekeeper gives that.
    #[error("key answer has neither all keys of its epoch nor the storage key alone")]
    WrongPurposes,
    /// The proof of an evaluation does not hold.
    #[error("key answer has a wrong evaluation")]
    WrongEvaluation,
}

impl GrantError {
    /// Its kind, by which refusals are counted.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unauthentic => "unauthentic",
            Self::Malformed => "malformed",
            Self::WrongRoot => "wrong_root",
            Self::NoSuchSeat => "no_such_seat",
            Self::WrongPurposes => "wrong_purposes",
            Self::WrongEvaluation => "wrong_evaluation",
        }
    }
}

/// An answer whose evaluations are verified.
pub struct OpenedGrant {
    index: u16,
    partials: Vec<(KeyPurpose, VerifiedPartial)>,
    /// A finalised head, by the word of whoever made the answer: what is proved of an answer are its evaluations.
    pub head: (BlockNumber, Hash),
}

impl OpenedGrant {
    /// Whether it has all that its seat has to give of the epoch, whoever asks when. Otherwise it has the storage key's evaluation, which
    /// is what gatekeepers give of an epoch that they know to be over, and what somebody else may repeat of one that is not.
    pub fn is_whole(&self) -> bool {
        self.partials.len() == KeyPurpose::ALL.len()
    }
}

/// Whether these are of the purposes that a gatekeeper gives together, each once.
fn are_given_together(evaluations: &[Evaluation]) -> bool {
    match evaluations {
        [only] => only.purpose == KeyPurpose::Storage,
        all => {
            let is_there = |purpose: &KeyPurpose| all.iter().any(|evaluation| evaluation.purpose == *purpose);
            all.len() == KeyPurpose::ALL.len() && KeyPurpose::ALL.iter().all(is_there)
        }
    }
}

/// Opens the answer to `request` with the request's own key and checks it against the recorded root. Costs a decapsulation, and no more
/// verified proofs than there are purposes, whatever the answer holds.
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
    // Before any proof: a long list of good ones would be dear.
    if !are_given_together(&grant.evaluations) {
        return Err(GrantError::WrongPurposes);
    }
    let mut partials = Vec::with_capacity(grant.evaluations.len());
    for evaluation in &grant.evaluations {
        let input = prf_input(&request.genesis, grant.era, request.cluster, request.epoch, evaluation.purpose);
        let partial = PartialEvaluation { index: grant.index, point: evaluation.point, proof: evaluation.proof };
        let verified = verify_partial(&public, &input, &partial).map_err(|_| GrantError::WrongEvaluation)?;
        partials.push((evaluation.purpose, verified));
    }
    Ok(OpenedGrant { index: grant.index, partials, head: grant.head })
}

/// What seats gave of one (cluster, epoch) of one root.
#[derive(Default)]
pub struct Grants {
    by_seat: BTreeMap<u16, BTreeMap<KeyPurpose, VerifiedPartial>>,
}

impl Grants {
    /// Adds an answer to what its seat gave before. Whether it had anything that was not here: what has nothing makes no key either.
    pub fn add(&mut self, grant: OpenedGrant) -> bool {
        let given = self.by_seat.entry(grant.index).or_default();
        let before = given.len();
        given.extend(grant.partials);
        given.len() > before
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
        let partials: Vec<VerifiedPartial> =
            self.by_seat.values().filter_map(|given| given.get(&purpose)).cloned().collect();
        combine(threshold.into(), &partials).ok()
    }
}
