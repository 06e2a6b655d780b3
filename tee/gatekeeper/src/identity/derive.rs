//! A contract's keys: the network's, moved by a public offset.
//!
//! ```text
//! h    = derivation_offset(genesis, scheme, K, contract)      reduced modulo the group's order
//! K_c  = K + h G          P_i,c = P_i + h G          s_i,c = s_i + h
//! ```
//! The polynomial `f + h` has the degree of `f`, so that shares of `K` become shares of `K_c` without a message. Additive derivation
//! as of BIP 32, and not hardened: whoever knew `s_c` knew `s`. Here nobody has either, and a holder's share tells the same of both. That
//! related keys sign changes nothing for EdDSA and schnorrkel, whose challenges hash the public key: a signature under `K_c` is none under
//! `K_d` (Morita, Schuldt, Matsuda, Hanaoka and Iwata 2015; FROST's binding factors hash it too, RFC 9591, section 4.4).
//!
//! Guarantees: the offset binds chain, scheme, key and contract. A [`KeyRecord`] and an [`IdentityShare`] that were derived fit each other if those
//! did that they were derived from. Nobody controls the inputs but whoever deploys a contract its id, which is a hash.

use super::{
    group::Group,
    sharing::{IdentityShare, KeyRecord},
};
use curve25519_dalek::scalar::Scalar;
use phala_crypto::Secret;
use phala_protocol::{identities::derivation_offset, ContractId, Hash};

/// A key or share that would be the identity, which nobody can aim at: the contract's id has to be another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("contract's key or a share of it would be the identity; deploy it under another id")]
pub struct DeriveError;

fn offset<G: Group>(genesis: &Hash, key: &[u8; 32], contract: &ContractId) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&derivation_offset(genesis, G::SCHEME, key, contract))
}

impl<G: Group> KeyRecord<G> {
    /// The record of a contract's key, of the network's. Both have the same holders and threshold.
    pub fn derived(&self, genesis: &Hash, contract: &ContractId) -> Result<Self, DeriveError> {
        let derived = self.shifted(&offset::<G>(genesis, &self.key(), contract));
        derived.has_no_identity().then_some(derived).ok_or(DeriveError)
    }
}

impl<G: Group> IdentityShare<G> {
    /// The share of a contract's key, of that of the network's, whose encoding is `key`.
    pub fn derived(&self, genesis: &Hash, key: &[u8; 32], contract: &ContractId) -> Self {
        let offset = offset::<G>(genesis, key, contract);
        Self::of(self.index(), Secret::new(self.scalar().expose() + offset))
    }
}
