//! Signing with a shared key: FROST (RFC 9591) by the library of its authors, for Ed25519 (FROST(Ed25519, SHA-512)) and for sr25519
//! ([`super::sr25519`]).
//!
//! Two rounds: each signer sends commitments to two nonces, then its part of the signature over message and commitments. What
//! [`aggregate`] gives is a plain signature: of Ed25519 (RFC 8032), or as schnorrkel makes it. Unforgeable with up to t - 1 signers corrupted and sessions running at
//! once (Bellare, Crites, Komlo, Maller, Tessaro and Zhu, CRYPTO 2022).
//!
//! Nonces that serve two messages give the share away. So [`Nonces`] are used up by [`Signer::sign`], cannot be copied, encoded or made
//! otherwise than by [`Signer::commit`], and die with the process: a signer that restarts commits anew. They come from entropy, the
//! share (RFC 9591, section 4.1) and a count of this signer's commitments together; entropy is taken by value.
//!
//! ```
//! use phala_gatekeeper::identity::{Authorised, NonceCommitments, Nonces, Signer};
//! fn once(signer: &Signer, nonces: Nonces, commitments: &[NonceCommitments], message: &Authorised) {
//!     let _ = signer.sign(nonces, commitments, message);
//! }
//! ```
//! The same twice, and a copy, do not compile:
//! ```compile_fail,E0382
//! use phala_gatekeeper::identity::{Authorised, NonceCommitments, Nonces, Signer};
//! fn twice(signer: &Signer, nonces: Nonces, commitments: &[NonceCommitments], one: &Authorised, two: &Authorised) {
//!     let _ = signer.sign(nonces, commitments, one);
//!     let _ = signer.sign(nonces, commitments, two);
//! }
//! ```
//! ```compile_fail,E0599
//! use phala_gatekeeper::identity::Nonces;
//! fn copy(nonces: Nonces) -> (Nonces, Nonces) {
//!     (nonces.clone(), nonces)
//! }
//! ```
//!
//! Only what is [`Authorised`] is signed, and as the contract that sent it. Guarantees: a wrong or missing part
//! names its signer. Peers and hosts control commitments and parts. Who signs together, and when, is [`super::session`]'s.

use super::{
    authorise::Authorised,
    group::Group,
    sharing::{IdentityShare, KeyRecord},
    sr25519::{marked, Schnorrkel},
};
use curve25519_dalek::{edwards::EdwardsPoint, ristretto::RistrettoPoint};
use frost_core::{
    aggregate_custom,
    keys::{KeyPackage, PublicKeyPackage, SigningShare, VerifyingShare},
    round1, round2, CheaterDetection, Ciphersuite, Identifier, SigningPackage, VerifyingKey,
};
use frost_ed25519::Ed25519Sha512;
use phala_crypto::{
    entropy::EntropyBuilder,
    signature::{ed25519, sr25519},
    Secret,
};
use phala_protocol::{
    domain,
    identities::signing::{NonceCommitments, PartialSignature},
    ContractId, Hash,
};
use std::collections::BTreeMap;

/// A group whose keys sign.
pub trait Signs: Group {
    /// FROST's hash functions for it.
    type Suite: Ciphersuite;

    /// The signature as everyone else reads it, if it verifies by the rules that everyone else applies, which are not the library's own.
    fn accepted(key: &[u8; 32], message: &[u8], signature: [u8; 64]) -> Option<[u8; 64]>;
}

impl Signs for EdwardsPoint {
    type Suite = Ed25519Sha512;

    fn accepted(key: &[u8; 32], message: &[u8], signature: [u8; 64]) -> Option<[u8; 64]> {
        ed25519::verify(key, message, &signature).ok().map(|()| signature)
    }
}

impl Signs for RistrettoPoint {
    type Suite = Schnorrkel;

    fn accepted(key: &[u8; 32], message: &[u8], signature: [u8; 64]) -> Option<[u8; 64]> {
        let signature = marked(signature);
        sr25519::verify(key, message, &signature).ok().map(|()| signature)
    }
}

/// The nonces of one signature: used once, never stored.
pub struct Nonces<G: Signs = EdwardsPoint>(round1::SigningNonces<G::Suite>);

/// A holder that signs as one contract, with what the contract's offset makes of its share of the network's key.
pub struct Signer<G: Signs = EdwardsPoint> {
    share: ShareSigner<G>,
    genesis: Hash,
    contract: ContractId,
}

impl<G: Signs> Signer<G> {
    /// A signer as `contract` of the chain with this genesis, with its own share of the network's key.
    pub fn new(
        network: &KeyRecord<G>,
        share: &IdentityShare<G>,
        genesis: &Hash,
        contract: &ContractId,
    ) -> Result<Self, SignError> {
        let index = share.index();
        if network.public_share(index) != Some(&share.public()) {
            return Err(SignError::NoSuchHolder(index));
        }
        let record = network.derived(genesis, contract).map_err(|_| SignError::NoKey)?;
        let share = ShareSigner::new(record, &share.derived(genesis, &network.key(), contract))?;
        Ok(Self { share, genesis: *genesis, contract: *contract })
    }

    /// The contract's key.
    pub fn record(&self) -> &KeyRecord<G> {
        &self.share.record
    }

    /// First round: commits to the nonces of one signature. `entropy` must be fresh.
    pub fn commit(&mut self, entropy: Secret<[u8; 32]>) -> Result<(Nonces<G>, NonceCommitments), SignError> {
        self.share.commit(entropy)
    }

    /// Second round: this signer's part, with `commitments` of at least a threshold of holders, its own among them.
    pub fn sign(
        &self,
        nonces: Nonces<G>,
        commitments: &[NonceCommitments],
        message: &Authorised,
    ) -> Result<PartialSignature, SignError> {
        if *message.genesis() != self.genesis || *message.contract() != self.contract {
            return Err(SignError::OtherContract);
        }
        self.share.sign(nonces, commitments, &message.payload(G::SCHEME))
    }
}

/// A holder with a share of a key, which signs whatever it is given: nothing outside of this module has one.
pub(super) struct ShareSigner<G: Signs> {
    key: KeyPackage<G::Suite>,
    record: KeyRecord<G>,
    index: u16,
    commitments: u64,
}

impl<G: Signs> ShareSigner<G> {
    pub(super) fn new(record: KeyRecord<G>, share: &IdentityShare<G>) -> Result<Self, SignError> {
        let index = share.index();
        if record.public_share(index) != Some(&share.public()) {
            return Err(SignError::NoSuchHolder(index));
        }
        let identifier = identifier::<G>(index)?;
        let signing =
            SigningShare::deserialize(share.to_bytes().expose()).map_err(|_| SignError::NoSuchHolder(index))?;
        let (verifying_key, shares) = public_keys(&record)?;
        let own = shares.get(&identifier).ok_or(SignError::NoSuchHolder(index))?;
        let key = KeyPackage::new(identifier, signing, *own, verifying_key, record.threshold());
        Ok(Self { key, record, index, commitments: 0 })
    }

    pub(super) fn commit(&mut self, entropy: Secret<[u8; 32]>) -> Result<(Nonces<G>, NonceCommitments), SignError> {
        self.commitments = self.commitments.wrapping_add(1);
        let mut stream = EntropyBuilder::new(domain::IDENTITY_NONCE, entropy.expose())
            .bind(&self.record.key())
            .bind(&self.index.to_le_bytes())
            .bind(&self.commitments.to_le_bytes())
            .finish();
        let (nonces, commitments) = round1::commit(self.key.signing_share(), &mut stream);
        let encoded = |commitment: &round1::NonceCommitment<G::Suite>| -> Result<[u8; 32], SignError> {
            let bytes = commitment.serialize().map_err(|_| SignError::Commitment(self.index))?;
            bytes.try_into().map_err(|_| SignError::Commitment(self.index))
        };
        let (hiding, binding) = (encoded(commitments.hiding())?, encoded(commitments.binding())?);
        Ok((Nonces(nonces), NonceCommitments { index: self.index, hiding, binding }))
    }

    pub(super) fn sign(
        &self,
        nonces: Nonces<G>,
        commitments: &[NonceCommitments],
        message: &[u8],
    ) -> Result<PartialSignature, SignError> {
        let package = signing_package(&self.record, commitments, message)?;
        let part = round2::sign(&package, &nonces.0, &self.key).map_err(|_| SignError::OwnCommitment)?;
        let part: [u8; 32] = part.serialize().try_into().map_err(|_| SignError::Part(self.index))?;
        Ok(PartialSignature { index: self.index, part })
    }
}

/// The signature over `message` by the key of `record`, from one part for each of `commitments`. Anyone may do this; it needs no secret.
pub fn aggregate<G: Signs>(
    record: &KeyRecord<G>,
    commitments: &[NonceCommitments],
    parts: &[PartialSignature],
    message: &[u8],
) -> Result<[u8; 64], SignError> {
    let package = signing_package(record, commitments, message)?;
    let mut by_signer = BTreeMap::new();
    for PartialSignature { index, part } in parts {
        let part = round2::SignatureShare::deserialize(part).map_err(|_| SignError::Part(*index))?;
        if !commitments.iter().any(|commitment| commitment.index == *index) {
            return Err(SignError::NotCommitted(*index));
        }
        if by_signer.insert(identifier::<G>(*index)?, part).is_some() {
            return Err(SignError::Duplicate(*index));
        }
    }
    for commitment in commitments {
        if !by_signer.contains_key(&identifier::<G>(commitment.index)?) {
            return Err(SignError::Missing(commitment.index));
        }
    }
    let (verifying_key, shares) = public_keys(record)?;
    let public = PublicKeyPackage::new(shares, verifying_key, Some(record.threshold()));
    let signature = match aggregate_custom(&package, &by_signer, &public, CheaterDetection::AllCheaters) {
        Ok(signature) => signature.serialize().map_err(|_| SignError::Refused)?,
        Err(error) => {
            let culprits = error.culprits();
            let is_culprit =
                |index: &u16| identifier::<G>(*index).is_ok_and(|identifier| culprits.contains(&identifier));
            let named: Vec<u16> = parts.iter().map(|part| part.index).filter(is_culprit).collect();
            return Err(if named.is_empty() { SignError::Refused } else { SignError::Wrong(named) });
        }
    };
    let signature: [u8; 64] = signature.try_into().map_err(|_| SignError::Refused)?;
    G::accepted(&record.key(), message, signature).ok_or(SignError::Refused)
}

fn signing_package<G: Signs>(
    record: &KeyRecord<G>,
    commitments: &[NonceCommitments],
    message: &[u8],
) -> Result<SigningPackage<G::Suite>, SignError> {
    let (have, need) = (commitments.len(), usize::from(record.threshold()));
    if have < need {
        return Err(SignError::TooFew { have, need });
    }
    let mut by_signer = BTreeMap::new();
    for NonceCommitments { index, hiding, binding } in commitments {
        if record.public_share(*index).is_none() {
            return Err(SignError::NoSuchHolder(*index));
        }
        let point =
            |bytes: &[u8; 32]| round1::NonceCommitment::deserialize(bytes).map_err(|_| SignError::Commitment(*index));
        let committed = round1::SigningCommitments::new(point(hiding)?, point(binding)?);
        if by_signer.insert(identifier::<G>(*index)?, committed).is_some() {
            return Err(SignError::Duplicate(*index));
        }
    }
    Ok(SigningPackage::new(by_signer, message))
}

type PublicKeys<C> = (VerifyingKey<C>, BTreeMap<Identifier<C>, VerifyingShare<C>>);

fn public_keys<G: Signs>(record: &KeyRecord<G>) -> Result<PublicKeys<G::Suite>, SignError> {
    let key = VerifyingKey::deserialize(&record.key()).map_err(|_| SignError::Refused)?;
    let mut shares = BTreeMap::new();
    for (index, share) in record.holders() {
        let share = VerifyingShare::deserialize(&share).map_err(|_| SignError::NoSuchHolder(index))?;
        shares.insert(identifier::<G>(index)?, share);
    }
    Ok((key, shares))
}

fn identifier<G: Signs>(index: u16) -> Result<Identifier<G::Suite>, SignError> {
    Identifier::try_from(index).map_err(|_| SignError::NoSuchHolder(index))
}

/// Why there is no signature; each variant with an index names a signer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The index, or this share, is not of the key's record.
    #[error("signer {0} holds no share of this identity")]
    NoSuchHolder(u16),
    /// A commitment that is not a point of prime order.
    #[error("commitment of signer {0} is not a canonical point of prime order")]
    Commitment(u16),
    /// Two commitments or two parts of one signer.
    #[error("signer {0} appears twice")]
    Duplicate(u16),
    /// Fewer signers than the threshold.
    #[error("{have} signers are fewer than the threshold of {need}")]
    TooFew {
        /// How many there are.
        have: usize,
        /// How many it takes.
        need: usize,
    },
    /// The commitments are not those that these nonces belong to; whoever collected them is at fault.
    #[error("commitments do not hold this signer's own")]
    OwnCommitment,
    /// A part that is not a canonical scalar.
    #[error("part of signer {0} is not a canonical scalar")]
    Part(u16),
    /// A part of someone who committed to nothing.
    #[error("signer {0} sends a part and had not committed")]
    NotCommitted(u16),
    /// No part of someone who committed.
    #[error("signer {0} committed and sends no part")]
    Missing(u16),
    /// Parts that are wrong, by signer.
    #[error("parts of signers {0:?} are wrong")]
    Wrong(Vec<u16>),
    /// The message is another contract's, or another chain's; the caller's fault.
    #[error("message is not of the contract that this signer signs as")]
    OtherContract,
    /// The network's key and the contract's offset cancel, which happens to nobody.
    #[error("contract has no key")]
    NoKey,
    /// All parts are right, and yet the signature is not; a consistent record leaves no such case.
    #[error("signature does not verify under the identity's key")]
    Refused,
}
