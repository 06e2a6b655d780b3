//! One attempt as everyone sees it, and what a dealer deals in it: both keys in one package.
//!
//! Guarantees: an [`Attempt`] is of a ceremony that the rules allow, and of the record that it hands over, if there is one; a [`Verified`] package
//! was decoded from exactly the length that the attempt gives, and both of its halves are verified: what is wrong with one is wrong
//! with the package, and shares fit only if both do. Dealers control the bytes of packages and shares.

use super::CeremonyError;
use crate::identity::{
    pair::{halves, joined},
    verify_identities, Accepted, DealerFault, Dealing, EdwardsPoint, Generation, Group, IdentityKeys, IdentityShare,
    IdentityShares, KeyRecord, Package, Possession, ReshareError, Resharing, RistrettoPoint, Session, SubShare,
    VerifiedPackage, VerifiedSubShare, IDENTITY_SHARE_BYTES,
};
use phala_crypto::{signature::ed25519::IdentityKey, Secret};
use phala_protocol::{
    ceremony::{threshold_of, CeremonyAttempt, ParcelHeader, ParcelKind, MAX_SEATS},
    identities::{dealing_hash, IdentityCeremonyRecord, IdentityRecord, IdentityStatement, SignedIdentityStatement},
    Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a compressed point, and of a scalar.
const ELEMENT_BYTES: usize = 32;

/// One holder's shares of a dealer, as they are sealed.
pub(super) type ShareBytes = Secret<[u8; IDENTITY_SHARE_BYTES]>;

/// One of the two keys in one attempt.
enum Course<G> {
    Made(Generation<G>),
    Handed(Resharing<G>),
}

impl<G: Group> Course<G> {
    fn new(session: &Session, former: Option<KeyRecord<G>>) -> Result<Self, CeremonyError> {
        let course = match former {
            Some(former) => Resharing::new(session, former).map(Self::Handed),
            None => Generation::new(session).map(Self::Made),
        };
        course.map_err(|_| CeremonyError::Unsound)
    }

    /// What a dealer deals, and its half of the package.
    fn deal(
        &self,
        dealer: u16,
        share: Option<&IdentityShare<G>>,
        seed: &Secret<[u8; 32]>,
    ) -> Result<(Dealing, Vec<u8>), CeremonyError> {
        let (dealing, proof) = match (self, share) {
            (Self::Made(generation), _) => {
                let (dealing, proof) = generation.deal(dealer, seed).map_err(|_| CeremonyError::NoSeat)?;
                (dealing, [proof.commitment, proof.response].concat())
            }
            (Self::Handed(resharing), Some(share)) => {
                (resharing.deal(share, seed).map_err(|_| CeremonyError::NoShares)?, Vec::new())
            }
            (Self::Handed(_), None) => return Err(CeremonyError::NoShares),
        };
        let bytes = [dealing.package().commitments.concat(), proof].concat();
        Ok((dealing, bytes))
    }

    fn answer(&self, dealing: &mut Dealing, to: u16, accusers: &BTreeSet<u16>) -> Result<SubShare, ReshareError> {
        match self {
            Self::Made(generation) => generation.answer(dealing, to, accusers),
            Self::Handed(resharing) => resharing.answer(dealing, to, accusers),
        }
    }

    /// Verifies a dealer's half of a package, of which the attempt gives the length.
    fn verify(&self, dealer: u16, bytes: &[u8]) -> Result<VerifiedPackage<G>, DealerFault> {
        let (elements, rest) = bytes.as_chunks::<ELEMENT_BYTES>();
        if !rest.is_empty() {
            return Err(DealerFault::Degree(dealer));
        }
        match self {
            Self::Made(generation) => {
                let [commitments @ .., commitment, response] = elements else {
                    return Err(DealerFault::Degree(dealer));
                };
                let proof = Possession { commitment: *commitment, response: *response };
                generation.verify_package(&Package { dealer, commitments: commitments.to_vec() }, &proof)
            }
            Self::Handed(resharing) => resharing.verify_package(&Package { dealer, commitments: elements.to_vec() }),
        }
    }

    fn verify_share(
        &self,
        package: &VerifiedPackage<G>,
        to: u16,
        value: Secret<[u8; 32]>,
    ) -> Result<VerifiedSubShare, DealerFault> {
        let sub_share = SubShare::new(package.dealer(), to, value);
        match self {
            Self::Made(generation) => generation.verify_sub_share(package, &sub_share),
            Self::Handed(resharing) => resharing.verify_sub_share(package, &sub_share),
        }
    }

    fn accept(&self, packages: &[VerifiedPackage<G>]) -> Result<Accepted<G>, CeremonyError> {
        let accepted = match self {
            Self::Made(generation) => generation.accept(packages),
            Self::Handed(resharing) => resharing.accept(packages),
        };
        accepted.map_err(|_| CeremonyError::Failed)
    }
}

/// Another dealer's package, verified.
pub(super) struct Verified {
    bytes: Vec<u8>,
    ed25519: VerifiedPackage<EdwardsPoint>,
    sr25519: VerifiedPackage<RistrettoPoint>,
}

impl Verified {
    /// The bytes whose hash the chain holds.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a dealer deals.
pub(super) struct Dealt {
    /// The bytes whose hash it commits to.
    pub(super) package: Vec<u8>,
    ed25519: Dealing,
    sr25519: Dealing,
}

impl Dealt {
    /// What holder `to` gets, sealed.
    pub(super) fn shares(&self, to: u16) -> Option<ShareBytes> {
        Some(joined(self.ed25519.sub_share(to)?.value(), self.sr25519.sub_share(to)?.value()))
    }

    /// Whose shares are public, or may be.
    pub(super) fn answered(&self) -> &BTreeSet<u16> {
        self.ed25519.answered()
    }

    /// Notes whom a dealer answered before it restarted.
    pub(super) fn note_answered(&mut self, answered: &BTreeSet<u16>) {
        self.ed25519.note_answered(answered);
        self.sr25519.note_answered(answered);
    }
}

/// One attempt.
pub(super) struct Attempt {
    pub(super) genesis: Hash,
    pub(super) era: u32,
    pub(super) attempt: u32,
    pub(super) former: Option<Hash>,
    threshold: u16,
    deals: u16,
    dealers: BTreeMap<u16, WorkerId>,
    holders: Vec<WorkerId>,
    ed25519: Course<EdwardsPoint>,
    sr25519: Course<RistrettoPoint>,
}

impl Attempt {
    /// The attempt of `record`, which hands over what is in `former`.
    pub(super) fn new(
        genesis: &Hash,
        record: &IdentityCeremonyRecord,
        former: Option<&IdentityRecord>,
    ) -> Result<Self, CeremonyError> {
        let seats = record.holders.len();
        let few = seats <= MAX_SEATS && record.dealers.len() <= MAX_SEATS;
        if !few || usize::from(record.threshold) != threshold_of(seats) {
            return Err(CeremonyError::Unsound);
        }
        if former.map(IdentityRecord::hash) != record.former {
            return Err(CeremonyError::OtherFormer);
        }
        let holders: Vec<WorkerId> = record.holders.iter().map(|holder| holder.gatekeeper).collect();
        let dealers: Vec<(u16, WorkerId)> =
            record.dealers.iter().map(|dealer| (dealer.index, dealer.gatekeeper)).collect();
        let (expected, deals): (Vec<(u16, WorkerId)>, u16) = match former {
            Some(former) => {
                let dealers = former.holders.iter().map(|holder| (holder.index, holder.gatekeeper));
                (dealers.collect(), former.threshold)
            }
            None => ((1..).zip(holders.iter().copied()).collect(), record.threshold),
        };
        if dealers != expected || record.deals != deals {
            return Err(CeremonyError::Unsound);
        }
        let keys = former.map(verify_identities).transpose().map_err(|_| CeremonyError::Unsound)?;
        let (ed25519, sr25519) = match keys {
            Some(IdentityKeys { ed25519, sr25519 }) => (Some(ed25519), Some(sr25519)),
            None => (None, None),
        };
        let (era, attempt) = (record.era, record.attempt);
        let session = Session { genesis: *genesis, era, attempt, holders: holders.clone() };
        Ok(Self {
            genesis: *genesis,
            era,
            attempt,
            former: record.former,
            threshold: record.threshold,
            deals,
            dealers: dealers.into_iter().collect(),
            holders,
            ed25519: Course::new(&session, ed25519)?,
            sr25519: Course::new(&session, sr25519)?,
        })
    }

    /// Whether the record is of this attempt, with the same dealers and holders.
    pub(super) fn check(&self, record: &IdentityCeremonyRecord) -> Result<(), CeremonyError> {
        if (record.era, record.attempt) != (self.era, self.attempt) {
            return Err(CeremonyError::OtherAttempt);
        }
        let dealers = record.dealers.iter().map(|dealer| (dealer.index, dealer.gatekeeper));
        let same = record.holders.iter().map(|holder| &holder.gatekeeper).eq(&self.holders)
            && dealers.eq(self.dealers.iter().map(|(index, gatekeeper)| (*index, *gatekeeper)))
            && (record.former, record.threshold, record.deals) == (self.former, self.threshold, self.deals);
        same.then_some(()).ok_or(CeremonyError::Contradiction)
    }

    /// The attempt, as peers announce keys for it.
    pub(super) fn of(&self) -> CeremonyAttempt {
        CeremonyAttempt::identities(self.era, self.attempt)
    }

    /// Dealers that it takes.
    pub(super) fn deals(&self) -> usize {
        self.deals.into()
    }

    /// Who deals under this index.
    pub(super) fn dealer(&self, index: u16) -> Option<&WorkerId> {
        self.dealers.get(&index)
    }

    /// Whether this holder and this dealer are one gatekeeper.
    pub(super) fn is_own(&self, holder: u16, dealer: u16) -> bool {
        let holder = usize::from(holder).checked_sub(1).and_then(|position| self.holders.get(position));
        self.dealer(dealer).zip(holder).is_some_and(|(dealer, holder)| dealer == holder)
    }

    /// Answers in public that a dealer gives at most.
    pub(super) fn tolerated(&self) -> usize {
        phala_protocol::ceremony::tolerated(self.holders.len())
    }

    /// Who sends what to whom.
    pub(super) fn header(&self, from: u16, to: u16) -> ParcelHeader {
        ParcelHeader { era: self.era, attempt: self.attempt, from, to, kind: ParcelKind::Identities }
    }

    /// The hash of a dealer's package.
    pub(super) fn package_hash(&self, dealer: u16, package: &[u8]) -> Hash {
        dealing_hash(&self.genesis, self.era, self.attempt, dealer, package)
    }

    /// A statement under its gatekeeper's identity.
    pub(super) fn sign(
        &self,
        identity: &IdentityKey,
        index: u16,
        statement: IdentityStatement,
    ) -> SignedIdentityStatement {
        let (era, attempt) = (self.era, self.attempt);
        let unsigned = SignedIdentityStatement { era, attempt, index, statement, signature: [0; 64] };
        SignedIdentityStatement { signature: identity.sign(&unsigned.signing_payload(&self.genesis)), ..unsigned }
    }

    /// What the dealer of `index` deals: always the same for one seed and the same shares.
    pub(super) fn deal(
        &self,
        index: u16,
        shares: Option<&IdentityShares>,
        seed: &Secret<[u8; 32]>,
    ) -> Result<Dealt, CeremonyError> {
        let (ed25519, first) = self.ed25519.deal(index, shares.map(|shares| &shares.ed25519), seed)?;
        let (sr25519, second) = self.sr25519.deal(index, shares.map(|shares| &shares.sr25519), seed)?;
        Ok(Dealt { package: [first, second].concat(), ed25519, sr25519 })
    }

    /// The dealer's answer in public to holder `to`, one of `accusers`, of which there are with those of before as many as may lie at most.
    pub(super) fn answer(
        &self,
        dealt: &mut Dealt,
        to: u16,
        accusers: &BTreeSet<u16>,
    ) -> Result<[[u8; 32]; 2], ReshareError> {
        let ed25519 = self.ed25519.answer(&mut dealt.ed25519, to, accusers)?;
        let sr25519 = self.sr25519.answer(&mut dealt.sr25519, to, accusers)?;
        Ok([*ed25519.value().expose(), *sr25519.value().expose()])
    }

    /// Verifies a dealer's package.
    pub(super) fn verify_package(&self, dealer: u16, bytes: &[u8]) -> Result<Verified, DealerFault> {
        let half = match self.ed25519 {
            Course::Made(_) => usize::from(self.threshold).saturating_add(2),
            Course::Handed(_) => self.threshold.into(),
        };
        let half = half.saturating_mul(ELEMENT_BYTES);
        let (first, second) = bytes.split_at_checked(half).ok_or(DealerFault::Degree(dealer))?;
        // A second half of another length costs no verification of the first.
        if second.len() != half {
            return Err(DealerFault::Degree(dealer));
        }
        let ed25519 = self.ed25519.verify(dealer, first)?;
        let sr25519 = self.sr25519.verify(dealer, second)?;
        Ok(Verified { bytes: bytes.to_vec(), ed25519, sr25519 })
    }

    /// A holder's shares of a dealer, if both fit its package.
    fn verify_shares(
        &self,
        package: &Verified,
        to: u16,
        shares: &ShareBytes,
    ) -> Result<(VerifiedSubShare, VerifiedSubShare), DealerFault> {
        let [ed25519, sr25519] = halves(shares);
        let ed25519 = self.ed25519.verify_share(&package.ed25519, to, ed25519)?;
        let sr25519 = self.sr25519.verify_share(&package.sr25519, to, sr25519)?;
        Ok((ed25519, sr25519))
    }

    /// Whether these are the shares of `to` on the dealer's polynomials: both.
    pub(super) fn fits(&self, package: &Verified, to: u16, shares: &ShareBytes) -> bool {
        self.verify_shares(package, to, shares).is_ok()
    }

    /// Both keys, and the shares of holder `index`, of the packages of all that deal and its shares of each.
    pub(super) fn conclude(
        &self,
        index: u16,
        dealt: &[(&Verified, &ShareBytes)],
    ) -> Result<(IdentityKeys, IdentityShares), CeremonyError> {
        let failed = CeremonyError::Failed;
        let (mut of_ed25519, mut of_sr25519) = (Vec::with_capacity(dealt.len()), Vec::with_capacity(dealt.len()));
        for (package, shares) in dealt {
            let (ed25519, sr25519) = self.verify_shares(package, index, shares).map_err(|_| failed)?;
            of_ed25519.push(ed25519);
            of_sr25519.push(sr25519);
        }
        let first: Vec<_> = dealt.iter().map(|(package, _)| package.ed25519.clone()).collect();
        let second: Vec<_> = dealt.iter().map(|(package, _)| package.sr25519.clone()).collect();
        let (ed25519, sr25519) = (self.ed25519.accept(&first)?, self.sr25519.accept(&second)?);
        let shares = IdentityShares {
            ed25519: ed25519.share(index, &of_ed25519).map_err(|_| failed)?,
            sr25519: sr25519.share(index, &of_sr25519).map_err(|_| failed)?,
        };
        let keys = IdentityKeys { ed25519: ed25519.record().clone(), sr25519: sr25519.record().clone() };
        Ok((keys, shares))
    }
}
