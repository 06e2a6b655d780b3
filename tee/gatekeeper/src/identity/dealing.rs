//! What dealers send and holders check, whether a key is made ([`super::generate`]) or handed over ([`super::reshare`]): a polynomial's
//! commitments, its values, and what follows from those of several dealers.
//!
//! Guarantees: deterministic given the seed, so that a dealer who restarts in the middle deals the same again; each polynomial is bound to the
//! group, to what is dealt and to the session; a [`VerifiedSubShare`] fits its dealer's package; what is wrong names its dealer. Peers
//! control packages and sub-shares. Does not say whether a constant term is the right one, nor who deals.

use super::{
    group::Group,
    sharing::{evaluate, IdentityShare, KeyRecord},
};
use codec::{Decode, Encode};
use curve25519_dalek::scalar::Scalar;
use phala_crypto::{kdf, Secret};
use phala_protocol::{
    ceremony::{threshold_of, MAX_SEATS},
    domain, hash_value, Hash, WorkerId,
};
use std::collections::BTreeSet;

/// What is agreed before a key is made or handed over. The threshold is [`threshold_of`] the holders.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub struct Session {
    /// The chain.
    pub genesis: Hash,
    /// The era whose set receives the key.
    pub era: u32,
    /// The attempt, from 0. Nothing of one attempt serves another.
    pub attempt: u32,
    /// The holders, by index from 1.
    pub holders: Vec<WorkerId>,
}

/// What everything of one attempt is bound to: a hash of the group, the old sharing and the session. It names the new holders and
/// not only their number: a fork that elects others would otherwise have values of the same polynomials dealt to them, which a
/// machine that sits in both sets at two indices could add up.
#[derive(Clone, Copy, PartialEq, Eq, Encode)]
pub(super) struct Binding(pub(super) Hash);

impl Binding {
    /// Of a key that is made there is no old sharing: a threshold of 0 and nobody, which is no key's.
    fn of<G: Group>(session: &Session, old: Option<&KeyRecord<G>>) -> Self {
        let sharing = old.map_or((0, [0; 32], Vec::new()), |old| (old.threshold(), old.key(), old.holders()));
        Self(hash_value(domain::IDENTITY_SESSION, &(G::SCHEME, sharing, session)))
    }
}

/// One attempt, but for what is dealt.
pub(super) struct Frame {
    pub(super) binding: Binding,
    pub(super) threshold: u16,
    pub(super) seats: u16,
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
    pub(super) binding: Binding,
    pub(super) dealer: u16,
    pub(super) commitments: Vec<G>,
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
    /// By how much each dealer's values count.
    weights: Vec<Scalar>,
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
    /// As it arrives: an allegation until [`super::Resharing::verify_sub_share`].
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

impl Dealing {
    /// Whose sub-shares are public, or may be.
    pub(super) fn answered(&self) -> &BTreeSet<u16> {
        &self.answered
    }

    /// Notes whom a dealer answered before it restarted.
    pub(super) fn note_answered(&mut self, answered: &BTreeSet<u16>) {
        self.answered.extend(answered);
    }
}

impl Frame {
    /// An attempt to share the key of `old` anew, or to make one.
    pub(super) fn new<G: Group>(session: &Session, old: Option<&KeyRecord<G>>) -> Result<Self, ReshareError> {
        let holders = session.holders.len();
        let refused = ReshareError::Holders(holders);
        // With a threshold of 1 every sub-share would be what is dealt.
        let sound = holders <= MAX_SEATS && threshold_of(holders) >= 2;
        if !sound || session.holders.iter().collect::<BTreeSet<_>>().len() != holders {
            return Err(refused);
        }
        let threshold = u16::try_from(threshold_of(holders)).map_err(|_| refused)?;
        let seats = u16::try_from(holders).map_err(|_| refused)?;
        Ok(Self { binding: Binding::of(session, old), threshold, seats })
    }

    /// A coefficient of a dealer's polynomial.
    pub(super) fn coefficient(&self, dealer: u16, number: u16, seed: &Secret<[u8; 32]>) -> Secret<Scalar> {
        let context = (self.binding, dealer, number);
        let wide: Secret<[u8; 64]> = kdf::derive_for(seed, domain::IDENTITY_POLYNOMIAL, &context);
        Secret::new(Scalar::from_bytes_mod_order_wide(wide.expose()))
    }

    /// A polynomial with this constant term.
    pub(super) fn deal<G: Group>(&self, dealer: u16, constant: &Secret<Scalar>, seed: &Secret<[u8; 32]>) -> Dealing {
        // With its full capacity, so that growing leaves no copy behind.
        let mut polynomial = Vec::with_capacity(self.threshold.into());
        polynomial.push(*constant.expose());
        polynomial.extend((1..self.threshold).map(|number| *self.coefficient(dealer, number, seed).expose()));
        let polynomial = Secret::new(polynomial);
        let commitments = polynomial.expose().iter().map(|scalar| G::base_times(scalar).to_encoding()).collect();
        let package = Package { dealer, commitments };
        Dealing { package, polynomial, seats: self.seats, answered: BTreeSet::new() }
    }

    /// See [`super::Resharing::answer`].
    pub(super) fn answer(
        &self,
        dealing: &mut Dealing,
        to: u16,
        accusers: &BTreeSet<u16>,
    ) -> Result<SubShare, ReshareError> {
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

    /// The points of a package, of which there have to be as many as the threshold.
    pub(super) fn commitments<G: Group>(&self, package: &Package) -> Result<Vec<G>, DealerFault> {
        let dealer = package.dealer;
        if package.commitments.len() != usize::from(self.threshold) {
            return Err(DealerFault::Degree(dealer));
        }
        let commitments: Option<Vec<G>> = package.commitments.iter().map(G::from_encoding).collect();
        commitments.ok_or(DealerFault::Commitment(dealer))
    }

    /// See [`super::Resharing::verify_sub_share`].
    pub(super) fn verify_sub_share<G: Group>(
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

    /// The sharing that follows from the `need` packages of lowest indices, of which `weights` gives each dealer's.
    pub(super) fn accept<G: Group>(
        &self,
        packages: &[VerifiedPackage<G>],
        need: usize,
        weights: impl FnOnce(&[u16]) -> Vec<Scalar>,
    ) -> Result<Accepted<G>, ReshareError> {
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
        let have = sorted.len();
        let chosen = sorted.get(..need).ok_or(ReshareError::TooFew { have, need })?;
        let dealers: Vec<u16> = chosen.iter().map(|package| package.dealer).collect();
        let weights = weights(&dealers);
        let combined: Vec<G> = (0..usize::from(self.threshold))
            .map(|position| {
                let column: Vec<G> =
                    chosen.iter().filter_map(|package| package.commitments.get(position).copied()).collect();
                G::vartime_multiscalar_mul(&weights, &column)
            })
            .collect();
        let record = KeyRecord::of_polynomial(&combined, self.threshold, self.seats).ok_or(ReshareError::KeyChanged)?;
        Ok(Accepted { binding: self.binding, dealers, weights, record })
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
        for (dealer, weight) in self.dealers.iter().zip(&self.weights) {
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
    /// A key is made, and the dealer does not prove that it knows what it deals: with another's it could choose what the key is.
    #[error("package of dealer {0} does not prove that the dealer knows what it deals")]
    Possession(u16),
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
