//! Making a shared key that nobody deals: Pedersen's key generation with Feldman's commitments (EUROCRYPT 1991), with proofs of possession as
//! in FROST (Komlo and Goldberg, SAC 2020, figure 1).
//!
//! ```text
//! dealer i:   f_i random of degree t - 1; package C_i = (f_i0 G, ..., f_i(t-1) G), to all; f_i(j) to holder j, sealed
//!             proof (Schnorr, Fiat-Shamir): R = r G, c = H(binding, i, C_i0, R), z = r + c f_i0
//! everyone:   refuses dealer i unless C_i has t entries and z G = R + c C_i0
//! everyone:   D = the t lowest accepted dealers; C_k = sum over D of C_ik; the key is C_0
//! holder j:   s_j = sum over D of f_i(j), whose public share P_j = sum of j^k C_k everyone computes
//! ```
//!
//! Why it holds. *Nobody knows the key*: fewer than `t` dealers lie, so one of `D` is honest, and its `f_i0` is in the sum. *Nobody chooses it*: a
//! dealer that subtracted the others' constant terms from its own would have to prove that it knows the difference. That whoever commits
//! last can have some bits of the key its way by not committing is known (Gennaro, Jarecki, Krawczyk and Rabin 1999), and harms no Schnorr
//! signature; here hashes of packages stand before any package. *A lie is shown* by the checks above, which everyone can repeat.
//!
//! `frost-core` has the same generation, and its proof names neither chain nor attempt; what is handed over later ([`super::reshare`]) it does
//! not have, and both share all but the constant term. Guarantees: deterministic given the seed, the nonce of the proof too, whose
//! challenge follows from the same: there are no two proofs under one nonce. Peers control packages, proofs and sub-shares. Which packages
//! decide, and that all take the same, is the caller's.

use super::{
    dealing::{
        Accepted, DealerFault, Dealing, Frame, Package, ReshareError, Session, SubShare, VerifiedPackage,
        VerifiedSubShare,
    },
    group::Group,
};
use codec::Encode;
use core::marker::PhantomData;
use curve25519_dalek::scalar::Scalar;
use phala_crypto::{entropy::EntropyBuilder, kdf, Secret};
use phala_protocol::domain;
use std::collections::BTreeSet;

/// One attempt to make a key, as everyone sees it.
pub struct Generation<G> {
    frame: Frame,
    group: PhantomData<G>,
}

/// The proof that a dealer knows the constant term that it deals, as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Possession {
    /// The commitment to the proof's nonce.
    pub commitment: [u8; 32],
    /// The response, a canonical scalar.
    pub response: [u8; 32],
}

impl<G: Group> Generation<G> {
    /// An attempt of the session's holders, who deal too.
    pub fn new(session: &Session) -> Result<Self, ReshareError> {
        Ok(Self { frame: Frame::new::<G>(session, None)?, group: PhantomData })
    }

    /// The dealing of `dealer`, with its proof: always the same for one `seed`, which must be known to nobody else.
    pub fn deal(&self, dealer: u16, seed: &Secret<[u8; 32]>) -> Result<(Dealing, Possession), ReshareError> {
        if dealer == 0 || dealer > self.frame.seats {
            return Err(ReshareError::NotAHolder(dealer));
        }
        let constant = self.frame.coefficient(dealer, 0, seed);
        let dealing = self.frame.deal::<G>(dealer, &constant, seed);
        let wide: Secret<[u8; 64]> =
            kdf::derive_for(seed, domain::IDENTITY_POSSESSION_NONCE, &(self.frame.binding, dealer));
        let nonce = Secret::new(Scalar::from_bytes_mod_order_wide(wide.expose()));
        let commitment = G::base_times(nonce.expose()).to_encoding();
        let committed = dealing.package().commitments.first().ok_or(ReshareError::NotAHolder(dealer))?;
        let challenge = self.challenge(dealer, committed, &commitment);
        let response = Secret::new(nonce.expose() + challenge * constant.expose());
        Ok((dealing, Possession { commitment, response: response.expose().to_bytes() }))
    }

    /// The dealer's answer in public to the dispute of `to`: see [`super::Resharing::answer`].
    pub fn answer(&self, dealing: &mut Dealing, to: u16, accusers: &BTreeSet<u16>) -> Result<SubShare, ReshareError> {
        self.frame.answer(dealing, to, accusers)
    }

    /// Verifies a dealer's package and its proof.
    pub fn verify_package(&self, package: &Package, proof: &Possession) -> Result<VerifiedPackage<G>, DealerFault> {
        let dealer = package.dealer;
        if dealer == 0 || dealer > self.frame.seats {
            return Err(DealerFault::NoSuchHolder(dealer));
        }
        let commitments: Vec<G> = self.frame.commitments(package)?;
        let refused = DealerFault::Possession(dealer);
        let (constant, encoded) = commitments.first().zip(package.commitments.first()).ok_or(refused)?;
        let nonce = G::from_encoding(&proof.commitment).ok_or(refused)?;
        let response: Option<Scalar> = Scalar::from_canonical_bytes(proof.response).into();
        let response = response.ok_or(refused)?;
        let challenge = self.challenge(dealer, encoded, &proof.commitment);
        if G::base_times(&response) != nonce + G::vartime_multiscalar_mul([challenge], [*constant]) {
            return Err(refused);
        }
        Ok(VerifiedPackage { binding: self.frame.binding, dealer, commitments })
    }

    /// Verifies a sub-share against its dealer's package.
    pub fn verify_sub_share(
        &self,
        package: &VerifiedPackage<G>,
        sub_share: &SubShare,
    ) -> Result<VerifiedSubShare, DealerFault> {
        self.frame.verify_sub_share(package, sub_share)
    }

    /// The key that follows from `packages`, which must be those of all dealers that everyone accepts: the threshold of lowest indices
    /// decide.
    pub fn accept(&self, packages: &[VerifiedPackage<G>]) -> Result<Accepted<G>, ReshareError> {
        self.frame.accept(packages, self.frame.threshold.into(), |dealers| vec![Scalar::ONE; dealers.len()])
    }

    fn challenge(&self, dealer: u16, constant: &[u8; 32], commitment: &[u8; 32]) -> Scalar {
        let bound = (dealer, constant, commitment).encode();
        let builder = EntropyBuilder::new(domain::IDENTITY_POSSESSION, &self.frame.binding.0);
        Scalar::from_bytes_mod_order_wide(builder.bind(&bound).finish().secret::<64>().expose())
    }
}
