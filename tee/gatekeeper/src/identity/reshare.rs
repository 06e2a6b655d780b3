//! Handing a shared key to another set of holders with another threshold: verifiable secret redistribution.
//!
//! Desmedt and Jajodia (1997) let each old holder share its share; Wong, Wang and Wing (SISW 2002) made it verifiable. With
//! `s_i` the share of old holder `i`, `P_i` its public share, `n'` the new seats, `t` and `t'` = `threshold_of(n')` the thresholds of
//! the old and the new set:
//!
//! ```text
//! dealer i:     g_i random of degree t' - 1 with g_i(0) = s_i; package C_i = (g_i0 G, ..., g_i(t'-1) G), to all;
//!               g_i(j) to new holder j, sealed
//! everyone:     refuses dealer i unless C_i has t' entries and C_i0 = P_i
//! new holder j: complains of dealer i unless g_i(j) G = sum of j^k C_ik; i answers with g_i(j) in public, for all to judge
//! everyone:     D = the t lowest accepted dealers; C'_k = sum over D of lambda_i C_ik; requires C'_0 = the key
//! new holder j: s'_j = sum over D of lambda_i g_i(j), whose public share P'_j = sum of j^k C'_k everyone computes
//! ```
//!
//! Why it holds. *The key stays*: `lambda` interpolates at 0, and each constant term is pinned to a public share, so `C'_0` is the key
//! whoever deals. *Nothing is learned*: to fewer than `t` old and fewer than `t'` new holders, each honest `g_i` is a random polynomial
//! of which they see fewer than `t'` values; Feldman's commitments add its public values and no more (discrete logarithm). *Sets do
//! not mix*: new shares lie on a polynomial that is independent of the old one but for the key. *A lie is shown*: by the two checks
//! above, which everyone can repeat.
//!
//! What an answer in public costs: the world has one more value of `g_i`. A host that drops sealed messages makes honest holders complain
//! of honest dealers, so in the ceremony of identities ([`super::ceremony`]) it first delivers on chain, sealed, and answers disputes of
//! that alone; and at most `n' - t'` accusers, and never `t'` of them, however many conspire ([`Resharing::answer`]); and a dealer who answered `a` of them is safe from `t' - 1 - a` broken new holders instead of `t' - 1`. With
//! more complaints an attempt is given up: the next has fresh polynomials, of which nothing was published.
//!
//! As in the key ceremony, hashes of packages stand before any package is sent, so that nobody chooses a polynomial after having seen
//! another's; and all must take the same list of accepted dealers. Both are the caller's, who has the chain. At least `t` old holders
//! must deal; with fewer left, the key is lost. Guarantees: deterministic given the seed, so that a dealer who restarts in the middle
//! deals the same again. Peers control packages and sub-shares. Does not do: make old holders forget their shares, remember over
//! a restart whom a dealer answered on a fork, transport, or decide who holds what.

use super::{
    dealing::{
        Accepted, DealerFault, Dealing, Frame, Package, ReshareError, Session, SubShare, VerifiedPackage,
        VerifiedSubShare,
    },
    group::Group,
    sharing::{lagrange, IdentityShare, KeyRecord},
};
use phala_crypto::Secret;
use phala_protocol::{domain, hash_value, Hash};
use std::collections::BTreeSet;

/// One attempt to hand a key over, as everyone sees it.
pub struct Resharing<G> {
    frame: Frame,
    old: KeyRecord<G>,
}

impl<G: Group> Resharing<G> {
    /// An attempt to hand over the key of `old`.
    pub fn new(session: &Session, old: KeyRecord<G>) -> Result<Self, ReshareError> {
        Ok(Self { frame: Frame::new(session, Some(&old))?, old })
    }

    /// The dealing of the old holder of `share`: always the same for one `seed`, which must be known to nobody else.
    pub fn deal(&self, share: &IdentityShare<G>, seed: &Secret<[u8; 32]>) -> Result<Dealing, ReshareError> {
        let dealer = share.index();
        if self.old.public_share(dealer) != Some(&share.public()) {
            return Err(ReshareError::NotAHolder(dealer));
        }
        Ok(self.frame.deal::<G>(dealer, share.scalar(), seed))
    }

    /// The dealer's answer in public to the complaint of `to`; `accusers` are all who complained of it in this attempt, by the finalised
    /// chain.
    ///
    /// With more of them than may be answered it answers none: see the module. Whom it answered on a fork counts too.
    pub fn answer(&self, dealing: &mut Dealing, to: u16, accusers: &BTreeSet<u16>) -> Result<SubShare, ReshareError> {
        self.frame.answer(dealing, to, accusers)
    }

    /// The hash of a package, which stands on chain before the package is sent.
    pub fn package_hash(&self, package: &Package) -> Hash {
        hash_value(domain::IDENTITY_PACKAGE, &(self.frame.binding, package))
    }

    /// Verifies a dealer's package.
    pub fn verify_package(&self, package: &Package) -> Result<VerifiedPackage<G>, DealerFault> {
        let dealer = package.dealer;
        let public = self.old.public_share(dealer).ok_or(DealerFault::NoSuchHolder(dealer))?;
        let commitments: Vec<G> = self.frame.commitments(package)?;
        if commitments.first() != Some(public) {
            return Err(DealerFault::ConstantTerm(dealer));
        }
        Ok(VerifiedPackage { binding: self.frame.binding, dealer, commitments })
    }

    /// Verifies a sub-share against its dealer's package: what a new holder does with its own, and everyone with an answer to a complaint.
    pub fn verify_sub_share(
        &self,
        package: &VerifiedPackage<G>,
        sub_share: &SubShare,
    ) -> Result<VerifiedSubShare, DealerFault> {
        self.frame.verify_sub_share(package, sub_share)
    }

    /// The new sharing that follows from `packages`, which must be those of all dealers that everyone accepts: the old threshold of lowest
    /// indices decide. Its key is the old one.
    pub fn accept(&self, packages: &[VerifiedPackage<G>]) -> Result<Accepted<G>, ReshareError> {
        let need = usize::from(self.old.threshold());
        let accepted = self.frame.accept(packages, need, |dealers| lagrange(dealers, 0))?;
        if accepted.record().point() != self.old.point() {
            return Err(ReshareError::KeyChanged);
        }
        Ok(accepted)
    }
}
