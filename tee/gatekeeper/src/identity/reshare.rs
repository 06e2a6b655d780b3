//! Handing a shared key to another set of holders with another threshold: verifiable secret redistribution.
//!
//! Desmedt and Jajodia (1997) let each old holder share its share; Wong, Wang and Wing (SISW 2002) made it verifiable. With
//! `s_i` the share of old holder `i`, `P_i` its public share, `n'` the new seats, `t` and `t'` = [`threshold_of`]`(n')` the thresholds of
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
//! of honest dealers, so a dealer answers at most `n' - t'` accusers, and never `t'` of them, however many hosts conspire
//! ([`Resharing::answer`]); and a dealer who answered `a` of them is safe from `t' - 1 - a` broken new holders instead of `t' - 1`. With
//! more complaints an attempt is given up: the next has fresh polynomials, of which nothing was published.
//!
//! As in the key ceremony, hashes of packages stand before any package is sent, so that nobody chooses a polynomial after having seen
//! another's; and all must take the same list of accepted dealers. Both are the caller's, who has the chain. At least `t` old holders
//! must deal; with fewer left, the key is lost. Guarantees: deterministic given the seed, so that a dealer who restarts in the middle
//! deals the same again. Peers control packages and sub-shares. Does not do: make old holders forget their shares, remember over
//! a restart whom a dealer answered on a fork, transport, or decide who holds what.

use super::{
    group::Group,
    sharing::{evaluate, lagrange, IdentityShare, KeyRecord},
};
use codec::{Decode, Encode};
use curve25519_dalek::scalar::Scalar;
use phala_crypto::{kdf, Secret};
use phala_protocol::{
    ceremony::{threshold_of, MAX_SEATS},
    domain, hash_value, Hash, WorkerId,
};
use std::collections::BTreeSet;

/// What is agreed before a key is handed over. The new threshold is [`threshold_of`] the new holders.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub struct Session {
    /// The chain.
    pub genesis: Hash,
    /// The era whose set receives the key.
    pub era: u32,
    /// The attempt, from 0. Nothing of one attempt serves another.
    pub attempt: u32,
    /// The new holders, by index from 1.
    pub holders: Vec<WorkerId>,
}

/// What everything of one attempt is bound to: a hash of the group, the old sharing and the session. It names the new holders and
/// not only their number: a fork that elects others would otherwise have values of the same polynomials dealt to them, which a
/// machine that sits in both sets at two indices could add up.
#[derive(Clone, Copy, PartialEq, Eq, Encode)]
struct Binding(Hash);

impl Binding {
    fn of<G: Group>(session: &Session, old: &KeyRecord<G>) -> Self {
        let sharing = (old.threshold(), old.key(), old.holders());
        Self(hash_value(domain::IDENTITY_SESSION, &(G::SCHEME, sharing, session)))
    }
}

/// One attempt to hand a key over, as everyone sees it.
pub struct Resharing<G> {
    binding: Binding,
    threshold: u16,
    seats: u16,
    old: KeyRecord<G>,
}

/// A dealer's commitments as they travel: 32 bytes for each of the new threshold.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Package {
    /// Index of the dealer in the old set.
    pub dealer: u16,
    /// The commitments, that of the constant term first.
    pub commitments: Vec<[u8; 32]>,
}

/// What a dealer made: its package, and the polynomial behind it.
pub struct Dealing {
    package: Package,
    polynomial: Secret<Vec<Scalar>>,
    seats: u16,
    /// Whose sub-shares are public.
    answered: BTreeSet<u16>,
}

/// A dealer's value for one new holder, as it travels: sealed, or in public where it answers a complaint.
pub struct SubShare {
    dealer: u16,
    to: u16,
    value: Secret<[u8; 32]>,
}

/// A package whose constant term is the dealer's public share.
#[derive(Clone)]
pub struct VerifiedPackage<G> {
    binding: Binding,
    dealer: u16,
    commitments: Vec<G>,
}

/// A sub-share that fits its dealer's package.
pub struct VerifiedSubShare {
    binding: Binding,
    dealer: u16,
    to: u16,
    value: Secret<Scalar>,
}

/// The dealers who decide the new sharing, and what follows from them for everyone.
pub struct Accepted<G> {
    binding: Binding,
    dealers: Vec<u16>,
    record: KeyRecord<G>,
}

impl Dealing {
    /// What everyone gets.
    pub fn package(&self) -> &Package {
        &self.package
    }

    /// What new holder `to` gets, sealed.
    pub fn sub_share(&self, to: u16) -> Option<SubShare> {
        if to == 0 || to > self.seats {
            return None;
        }
        let at = Scalar::from(to);
        let coefficients = self.polynomial.expose();
        let value =
            Secret::new(coefficients.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * at + coefficient));
        let value = Secret::fill(|bytes| bytes.copy_from_slice(value.expose().as_bytes()));
        Some(SubShare { dealer: self.package.dealer, to, value })
    }
}

impl SubShare {
    /// As it arrives: an allegation until [`Resharing::verify_sub_share`].
    pub fn new(dealer: u16, to: u16, value: Secret<[u8; 32]>) -> Self {
        Self { dealer, to, value }
    }

    /// The value, a scalar of 32 bytes little-endian.
    pub fn value(&self) -> &Secret<[u8; 32]> {
        &self.value
    }
}

impl<G> VerifiedPackage<G> {
    /// Index of the dealer in the old set.
    pub fn dealer(&self) -> u16 {
        self.dealer
    }
}

impl VerifiedSubShare {
    /// Index of the dealer in the old set.
    pub fn dealer(&self) -> u16 {
        self.dealer
    }
}

impl<G: Group> Resharing<G> {
    /// An attempt to hand over the key of `old`.
    pub fn new(session: &Session, old: KeyRecord<G>) -> Result<Self, ReshareError> {
        let holders = session.holders.len();
        let refused = ReshareError::Holders(holders);
        // With a threshold of 1 every sub-share would be the dealer's share.
        let sound = holders <= MAX_SEATS && threshold_of(holders) >= 2;
        if !sound || session.holders.iter().collect::<BTreeSet<_>>().len() != holders {
            return Err(refused);
        }
        let threshold = u16::try_from(threshold_of(holders)).map_err(|_| refused)?;
        let seats = u16::try_from(holders).map_err(|_| refused)?;
        Ok(Self { binding: Binding::of(session, &old), threshold, seats, old })
    }

    /// The dealing of the old holder of `share`: always the same for one `seed`, which must be known to nobody else.
    pub fn deal(&self, share: &IdentityShare<G>, seed: &Secret<[u8; 32]>) -> Result<Dealing, ReshareError> {
        let dealer = share.index();
        if self.old.public_share(dealer) != Some(&share.public()) {
            return Err(ReshareError::NotAHolder(dealer));
        }
        let drawn = (1..self.threshold).map(|number| {
            let context = (self.binding, dealer, number);
            let wide: Secret<[u8; 64]> = kdf::derive_for(seed, domain::IDENTITY_POLYNOMIAL, &context);
            Scalar::from_bytes_mod_order_wide(wide.expose())
        });
        // With its full capacity, so that growing leaves no copy behind.
        let mut polynomial = Vec::with_capacity(self.threshold.into());
        polynomial.push(*share.scalar().expose());
        polynomial.extend(drawn);
        let polynomial = Secret::new(polynomial);
        let commitments = polynomial.expose().iter().map(|scalar| G::base_times(scalar).to_encoding()).collect();
        let package = Package { dealer, commitments };
        Ok(Dealing { package, polynomial, seats: self.seats, answered: BTreeSet::new() })
    }

    /// The dealer's answer in public to the complaint of `to`; `accusers` are all who complained of it in this attempt, by the finalised
    /// chain.
    ///
    /// With more of them than may be answered it answers none: see the module. Whom it answered on a fork counts too.
    pub fn answer(&self, dealing: &mut Dealing, to: u16, accusers: &BTreeSet<u16>) -> Result<SubShare, ReshareError> {
        // As many as may be down: always fewer values than decide the polynomial, for the threshold is above two thirds.
        let allowed = usize::from(self.seats.saturating_sub(self.threshold));
        let all: BTreeSet<u16> = dealing.answered.union(accusers).copied().collect();
        if all.len() > allowed {
            return Err(ReshareError::TooManyComplaints { accusers: all.len(), allowed });
        }
        let sub_share =
            dealing.sub_share(to).filter(|_| accusers.contains(&to)).ok_or(ReshareError::NoComplaint(to))?;
        dealing.answered.insert(to);
        Ok(sub_share)
    }

    /// The hash of a package, which stands on chain before the package is sent.
    pub fn package_hash(&self, package: &Package) -> Hash {
        hash_value(domain::IDENTITY_PACKAGE, &(self.binding, package))
    }

    /// Verifies a dealer's package.
    pub fn verify_package(&self, package: &Package) -> Result<VerifiedPackage<G>, DealerFault> {
        let dealer = package.dealer;
        let public = self.old.public_share(dealer).ok_or(DealerFault::NoSuchHolder(dealer))?;
        if package.commitments.len() != usize::from(self.threshold) {
            return Err(DealerFault::Degree(dealer));
        }
        let commitments: Option<Vec<G>> = package.commitments.iter().map(G::from_encoding).collect();
        let commitments = commitments.ok_or(DealerFault::Commitment(dealer))?;
        if commitments.first() != Some(public) {
            return Err(DealerFault::ConstantTerm(dealer));
        }
        Ok(VerifiedPackage { binding: self.binding, dealer, commitments })
    }

    /// Verifies a sub-share against its dealer's package: what a new holder does with its own, and everyone with an answer to a complaint.
    pub fn verify_sub_share(
        &self,
        package: &VerifiedPackage<G>,
        sub_share: &SubShare,
    ) -> Result<VerifiedSubShare, DealerFault> {
        let SubShare { dealer, to, value } = sub_share;
        let (dealer, to) = (*dealer, *to);
        if package.binding != self.binding || package.dealer != dealer {
            return Err(DealerFault::OtherPackage(dealer));
        }
        if to == 0 || to > self.seats {
            return Err(DealerFault::NoSuchSeat { dealer, to });
        }
        let value: Option<Scalar> = Scalar::from_canonical_bytes(*value.expose()).into();
        let value = Secret::new(value.ok_or(DealerFault::SubShare { dealer, to })?);
        if G::base_times(value.expose()) != evaluate(&package.commitments, to) {
            return Err(DealerFault::SubShare { dealer, to });
        }
        Ok(VerifiedSubShare { binding: self.binding, dealer, to, value })
    }

    /// The new sharing that follows from `packages`, which must be those of all dealers that everyone accepts: the old threshold of lowest
    /// indices decide. Its key is the old one.
    pub fn accept(&self, packages: &[VerifiedPackage<G>]) -> Result<Accepted<G>, ReshareError> {
        let mut sorted: Vec<&VerifiedPackage<G>> = packages.iter().collect();
        sorted.sort_by_key(|package| package.dealer);
        let mut last = None;
        for package in &sorted {
            if package.binding != self.binding {
                return Err(ReshareError::OtherAttempt(package.dealer));
            }
            if last == Some(package.dealer) {
                return Err(ReshareError::Duplicate(package.dealer));
            }
            last = Some(package.dealer);
        }
        let (have, need) = (sorted.len(), usize::from(self.old.threshold()));
        let chosen = sorted.get(..need).ok_or(ReshareError::TooFew { have, need })?;
        let dealers: Vec<u16> = chosen.iter().map(|package| package.dealer).collect();
        let weights = lagrange(&dealers, 0);
        let combined: Vec<G> = (0..usize::from(self.threshold))
            .map(|position| {
                let column: Vec<G> =
                    chosen.iter().filter_map(|package| package.commitments.get(position).copied()).collect();
                G::vartime_multiscalar_mul(&weights, &column)
            })
            .collect();
        let record = KeyRecord::of_polynomial(&combined, self.threshold, self.seats).ok_or(ReshareError::KeyChanged)?;
        if record.point() != self.old.point() {
            return Err(ReshareError::KeyChanged);
        }
        Ok(Accepted { binding: self.binding, dealers, record })
    }
}

impl<G: Group> Accepted<G> {
    /// The key's record in the new set.
    pub fn record(&self) -> &KeyRecord<G> {
        &self.record
    }

    /// Indices of the dealers who decided, ascending.
    pub fn dealers(&self) -> &[u16] {
        &self.dealers
    }

    /// The share of new holder `index`, from the sub-shares that it verified.
    pub fn share(&self, index: u16, sub_shares: &[VerifiedSubShare]) -> Result<IdentityShare<G>, ReshareError> {
        let public = self.record.public_share(index).ok_or(ReshareError::NotAHolder(index))?;
        let mut sum = Secret::new(Scalar::ZERO);
        for (dealer, weight) in self.dealers.iter().zip(lagrange(&self.dealers, 0)) {
            let found = sub_shares
                .iter()
                .find(|sub| sub.binding == self.binding && sub.dealer == *dealer && sub.to == index)
                .ok_or(ReshareError::NoSubShare(*dealer))?;
            sum = Secret::new(sum.expose() + found.value.expose() * weight);
        }
        let share = IdentityShare::of(index, sum);
        // Holds for verified sub-shares; a share that signed wrongly would be noticed only when it is needed.
        if share.public() != *public {
            return Err(ReshareError::KeyChanged);
        }
        Ok(share)
    }
}

/// What a dealer did wrong, for everyone to check; each variant names the dealer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DealerFault {
    /// No holder of the old set.
    #[error("dealer {0} holds no share of this identity")]
    NoSuchHolder(u16),
    /// Not as many commitments as the new threshold: more would make shares that do not combine, fewer a lower threshold.
    #[error("package of dealer {0} has another number of commitments than the new threshold")]
    Degree(u16),
    /// A commitment that is not a point of prime order.
    #[error("package of dealer {0} holds a commitment that is not a canonical point of prime order")]
    Commitment(u16),
    /// The constant term is not the dealer's share: the key would change.
    #[error("package of dealer {0} shares something else than the dealer's own share")]
    ConstantTerm(u16),
    /// The package is another dealer's, or of another attempt; the caller's fault.
    #[error("sub-share of dealer {0} is verified against another package")]
    OtherPackage(u16),
    /// The new set has no such seat.
    #[error("sub-share of dealer {dealer} is for seat {to}, which the new set does not have")]
    NoSuchSeat {
        /// The dealer.
        dealer: u16,
        /// The seat.
        to: u16,
    },
    /// The sub-share does not fit the package.
    #[error("sub-share of dealer {dealer} for seat {to} does not fit its package")]
    SubShare {
        /// The dealer.
        dealer: u16,
        /// The new holder.
        to: u16,
    },
}

/// Why a key is not handed over; the caller's fault, or of too many dealers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReshareError {
    /// Fewer than two new holders, too many, or one twice.
    #[error("new set has {0} holders; they must be different ones, from 2 to the most seats of a root")]
    Holders(usize),
    /// The index, or this share, is not of the set.
    #[error("holder {0} has no such share of this identity")]
    NotAHolder(u16),
    /// No complaint of this seat stands: its sub-share goes to nobody else.
    #[error("seat {0} has not complained")]
    NoComplaint(u16),
    /// More complaints of one dealer than it may answer without giving its share away: begin another attempt.
    #[error("{accusers} complaints of one dealer, who may answer {allowed}; begin another attempt")]
    TooManyComplaints {
        /// How many complain.
        accusers: usize,
        /// How many may be answered.
        allowed: usize,
    },
    /// A package of another attempt.
    #[error("package of dealer {0} is of another attempt")]
    OtherAttempt(u16),
    /// Two packages of one dealer.
    #[error("dealer {0} appears twice")]
    Duplicate(u16),
    /// Fewer dealers than the old threshold.
    #[error("{have} dealers are fewer than the old threshold of {need}")]
    TooFew {
        /// How many there are.
        have: usize,
        /// How many it takes.
        need: usize,
    },
    /// A dealer who decides gave no verified sub-share: complain.
    #[error("no verified sub-share of dealer {0}; complain")]
    NoSubShare(u16),
    /// The result is of another key; verified packages of a consistent record leave no such case.
    #[error("resharing gives another key")]
    KeyChanged,
}
