//! A seat's view of one attempt: what it dealt, what it believes, and what it sends.
//!
//! Guarantees:
//! - Two polynomials an attempt, one for the root and one for the beacon. Everything that a seat deals follows from its sealed seed
//!   and from key, chain, era, attempt, index and elected seats. A second package for one attempt would contradict the hash on
//!   chain, so that every share of it would look like a lie; and a second proof under the nonce of the first would give a
//!   polynomial's constant term away. A seat that crashed deals the same again; a record of other seats (a fork) gets polynomials
//!   that have nothing in common with these.
//! - The bytes of the package, and shares, leave only after every participant's hash stands on chain, sealed to seats whose
//!   evidence was verified here, under keys that they announced for this attempt. This seat's own follows from its seed, so that nothing
//!   that was sealed to it opens when that is gone.
//! - A package is taken only under the hash that the chain holds, shares only if both fit the package; whatever else arrives
//!   changes nothing. A record that contradicts an earlier one of the same attempt is refused.
//! - What an accuser lacks is delivered to it on chain, sealed to the key that it complained under. A delivery is disputed only if
//!   its bytes are those that the chain has the hash of, under this seat's own key, and give it no share: an honest dealer's never is.
//! - A share is made public only as the answer to a dispute that stands in the record, and to [`tolerated`] accusers at most.
//!
//! What the host of an honest seat can do. It withholds parcels and records, which costs its own seat its place. It can show old
//! records after a restart with an older sealed head: all are of the one finalised chain, and the seat repeats, but for the
//! sealing, what it said at that point. An older sealed state of the same attempt costs what arrived since, and peers send again
//! until this seat has confirmed: one that is restored to before its confirmation, after that went out, has lost its share of
//! this root, and counts among the `n-t` that may be missing. The seed in it is the same, so the host cannot make other polynomials,
//! nor have shares of two attempts mixed. If it restores a state from before the seed was made, the record holds a package that is
//! not this seat's, and the seat says so and takes no part.
//!
//! What a fork can do, for which t validators must collude: show a record that the others do not see. The package then leaves
//! before the hashes of the real chain stand (whoever sees it may choose a polynomial after it; the proofs of possession still
//! keep anyone from cancelling it), and forged disputes draw up to [`tolerated`] shares of this dealer into the open. With the
//! old states of this machine restored between forks, that bound holds for each. The same t can open an era outright.
//!
//! An honest seat is rejected by no honest one, whatever is dropped: a package is judged by its hash, a share by the package.
//!
//! Does not do: read the chain, verify storage proofs or evidence (`peer.rs`), or retire. Peers control parcels, the host their
//! transport; the record must be a fact.

use super::{
    package::{deal, finish, Dealt, KeyKind, Package, PackageError, Shares, SHARE_BYTES},
    parcel::{open_parcel, seal_parcel, verify_sender, ParcelError},
};
use crate::{beacon::BeaconSeat, peer::VerifiedPeer, received::Received, receiving::ReceivingKey, seat::Seat};
use codec::Encode;
use phala_crypto::{
    entropy::{EntropyBuilder, EntropyStream},
    Secret,
};
use phala_protocol::{
    ceremony::{
        delivery_hash, package_hash, threshold_of, tolerated, Attachment, CeremonyAttempt, CeremonyRecord, Confirmed,
        Fault, Parcel, ParcelHeader, ParcelKind, Phase, SignedStatement, MAX_SEATS,
    },
    domain, Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

/// What was sealed, by recipient, its key and kind.
pub(super) type Posted = BTreeMap<(u16, Hash, ParcelKind), Parcel>;

/// One seat in one attempt.
pub struct Ceremony {
    pub(super) genesis: Hash,
    pub(super) era: u32,
    pub(super) attempt: u32,
    pub(super) threshold: u16,
    pub(super) index: u16,
    pub(super) seats: Vec<WorkerId>,
    pub(super) seed: Secret<[u8; 32]>,
    pub(super) dealt: Dealt,
    /// Of others; the roster is of all who take part.
    pub(super) received: Received<Package, Shares>,
    /// Accusers whose shares this seat made public, or is about to: counts across forks.
    pub(super) answered: BTreeSet<u16>,
    /// The keys that this seat confirmed, or is about to.
    pub(super) confirmed: Option<Confirmed>,
    /// The outcome, once everything is there. Follows from the rest.
    pub(super) outcome: Option<Seat>,
    /// What was sealed, by recipient, its key and kind: sent again as it is.
    pub(super) posted: Posted,
    /// Whether the roster, `answered` or `confirmed` is another than on disk: until [`Ceremony::mark_sealed`], whatever fails.
    pub(super) unsealed: bool,
}

/// What a seat sees at its finalised head, and what it works with.
pub type View<'a> = crate::View<'a, CeremonyRecord>;

/// What a seat says and sends after a look at the chain. Everything in it is repeated in the next turn until the record shows
/// that it arrived.
#[must_use = "a turn that is not sent stalls the attempt"]
#[derive(Default)]
pub struct Turn {
    /// [`Ceremony::to_secret_bytes`] must be on disk before anything of this turn leaves: so in each turn, for they repeat what they
    /// say, until [`Ceremony::mark_sealed`] says that it is.
    pub seal_first: bool,
    /// To be submitted to the chain.
    pub statements: Vec<SignedStatement>,
    /// To be submitted to the chain, each with what stands beside it.
    pub attached: Vec<(SignedStatement, Attachment)>,
    /// To be carried to other seats.
    pub parcels: Vec<Parcel>,
    /// Participants that must introduce themselves before anything is sealed to them.
    pub strangers: Vec<WorkerId>,
}

/// Why a seat takes no part, or does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CeremonyError {
    /// The record is not of a ceremony that can be run: too many or too few seats, or another threshold than theirs.
    #[error("record of the ceremony is not one that the rules allow")]
    Unsound,
    /// This gatekeeper has no seat.
    #[error("this gatekeeper has no seat in the ceremony")]
    NoSeat,
    /// The record is of another era or attempt than this view: begin that one.
    #[error("record is of another attempt; begin it")]
    OtherAttempt,
    /// The seat is left out of the attempt.
    #[error("this seat is left out of the attempt: {0:?}")]
    LeftOut(Fault),
    /// The seat did not commit in time.
    #[error("this seat did not commit in time and takes no part in the attempt")]
    NotCommitted,
    /// The chain holds another package or another confirmation of this seat: its seed was lost, or sealed by another machine.
    #[error("chain holds what this seat did not say; its seed is not the one that it began with")]
    Foreign,
    /// The record contradicts an earlier one of the same attempt: one of them is of a fork.
    #[error("record contradicts what was finalised before")]
    Contradiction,
    /// Fewer take part than it takes.
    #[error("fewer seats take part than the threshold; the attempt gives no root")]
    TooFew,
    /// Key generation stopped on verified input.
    #[error("key generation failed; the attempt gives this seat no share")]
    Failed,
    /// The sealed bytes are no view of an attempt.
    #[error("sealed state of the ceremony is malformed")]
    Malformed,
}

/// Why a parcel changed nothing. The fault is the sender's, or of whoever carried it; none of these is a reason to complain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParcelRefusal {
    /// It is of another era or attempt, or for another seat.
    #[error("parcel is not of this attempt, or not for this seat")]
    WrongAddressee,
    /// The hashes do not stand yet: the sender's head is newer. It sends again.
    #[error("parcel came before all hashes of packages stand")]
    TooEarly,
    /// Its dealer takes no part.
    #[error("parcel is of a seat that takes no part in the attempt")]
    NoParticipant,
    /// Its dealer signed too many that were wrong. What it owes comes on chain, after a complaint.
    #[error("dealer sent too many parcels that were wrong; no more of them are opened")]
    TooManyWrong,
    /// It is not signed by its dealer, or does not open.
    #[error(transparent)]
    Parcel(#[from] ParcelError),
    /// The package is not the one whose hash the chain holds.
    #[error("package is not the one that its dealer committed to")]
    WrongHash,
    /// The dealer committed to bytes that are no package.
    #[error("dealer committed to what is no package: {0}")]
    Package(#[from] PackageError),
    /// Shares before their package. They are sent again.
    #[error("shares came before their dealer's package")]
    PackageMissing,
    /// The shares are not this seat's on the dealer's polynomials: of the root, of the beacon, or of both.
    #[error("shares do not fit their dealer's package")]
    WrongShare,
    /// It is not what the chain has as delivered to this seat, sealed to its key, as far as this seat's head shows.
    #[error("parcel is not what the chain has as delivered to this seat")]
    NotDelivered,
}

impl Ceremony {
    /// Begins the attempt of `record` for the seat of `gatekeeper`. `seed` is made once, unpredictable, and sealed before this is
    /// called.
    pub fn begin(
        genesis: &Hash,
        gatekeeper: &WorkerId,
        seed: &Secret<[u8; 32]>,
        record: &CeremonyRecord,
    ) -> Result<Self, CeremonyError> {
        let index = record.index_of(gatekeeper).ok_or(CeremonyError::NoSeat)?;
        let seats: Vec<_> = record.seats.iter().map(|seat| seat.gatekeeper).collect();
        Self::resume(*genesis, seed, (record.era, record.attempt, record.threshold, index), seats)
    }

    /// Begins a later attempt of the same era, for the same gatekeeper, with the seed of this one.
    pub fn begin_next(&self, gatekeeper: &WorkerId, record: &CeremonyRecord) -> Result<Self, CeremonyError> {
        if record.era != self.era || record.attempt <= self.attempt {
            return Err(CeremonyError::OtherAttempt);
        }
        Self::begin(&self.genesis, gatekeeper, &self.seed, record)
    }

    /// The view with nothing received yet.
    pub(super) fn resume(
        genesis: Hash,
        seed: &Secret<[u8; 32]>,
        (era, attempt, threshold, index): (u32, u32, u16, u16),
        seats: Vec<WorkerId>,
    ) -> Result<Self, CeremonyError> {
        let count = u16::try_from(seats.len()).map_err(|_| CeremonyError::Unsound)?;
        // A threshold of 1 would be a root that each seat holds.
        let sound = seats.len() <= MAX_SEATS && threshold >= 2 && usize::from(threshold) == threshold_of(seats.len());
        if !sound || seats.iter().collect::<BTreeSet<_>>().len() != seats.len() {
            return Err(CeremonyError::Unsound);
        }
        if index == 0 || index > count {
            return Err(CeremonyError::NoSeat);
        }
        let seed = Secret::<[u8; 32]>::fill(|bytes| bytes.copy_from_slice(seed.expose()));
        let draw = |key| stream(key, &seed, &genesis, (era, attempt, threshold, index), &seats);
        let dealt = deal(draw, index, threshold, count).map_err(|_| CeremonyError::Failed)?;
        Ok(Self {
            genesis,
            era,
            attempt,
            threshold,
            index,
            seats,
            seed,
            dealt,
            received: Received::new(),
            answered: BTreeSet::new(),
            confirmed: None,
            outcome: None,
            posted: BTreeMap::new(),
            unsealed: false,
        })
    }

    /// The era and the attempt.
    pub fn attempt(&self) -> (u32, u32) {
        (self.era, self.attempt)
    }

    /// The seat's index, from 1.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The key pair under which the seat receives in this attempt. Follows from the seed, and goes with it.
    pub fn receiving(&self) -> ReceivingKey {
        ReceivingKey::derive(&self.seed, &self.genesis, self.of())
    }

    /// The attempt, as peers announce keys for it.
    pub(super) fn of(&self) -> CeremonyAttempt {
        CeremonyAttempt::root(self.era, self.attempt)
    }

    /// The seat in the keys that this attempt makes, once everything was received. It counts when the chain records its list.
    pub fn seat(&self) -> Option<&Seat> {
        self.outcome.as_ref()
    }

    /// Notes that [`Self::to_secret_bytes`], made after the last [`Self::step`], is on disk. Not to be called when the write failed.
    pub fn mark_sealed(&mut self) {
        self.unsealed = false;
    }

    /// Looks at the chain: what is to be said and sent now.
    pub fn step(&mut self, view: &View<'_>) -> Result<Turn, CeremonyError> {
        self.check(view.record)?;
        if view.record.phase != Phase::Commit {
            self.fix_roster(view.record)?;
            self.received.note_deliveries(self.index, &view.record.complaints);
            self.take_answers(view.record);
            self.conclude(view.record)?;
        }
        let mut turn = Turn::default();
        self.statements(view, &mut turn)?;
        if view.record.phase != Phase::Commit {
            self.post(view, &mut turn)?;
        }
        turn.seal_first = self.unsealed;
        Ok(turn)
    }

    /// Takes a parcel, sent or delivered on chain, or says why it changes nothing. One that was taken before changes nothing either.
    pub fn accept(&mut self, receiving: &ReceivingKey, parcel: &Parcel) -> Result<(), ParcelRefusal> {
        let header = &parcel.header;
        let dealer = header.from;
        if (header.era, header.attempt, header.to) != (self.era, self.attempt, self.index) || dealer == self.index {
            return Err(ParcelRefusal::WrongAddressee);
        }
        self.committed(dealer)?;
        match header.kind {
            ParcelKind::Package => {
                if self.received.knows_package(dealer) {
                    return Ok(());
                }
                self.accept_signed(receiving, parcel)
            }
            ParcelKind::Share => {
                if self.received.shares.contains_key(&dealer) {
                    return Ok(());
                }
                if !self.received.packages.contains_key(&dealer) {
                    return Err(ParcelRefusal::PackageMissing);
                }
                self.accept_signed(receiving, parcel)
            }
            ParcelKind::Delivery => {
                if self.received.shares.contains_key(&dealer) {
                    return Ok(());
                }
                let hash = delivery_hash(&receiving.hash(), parcel);
                if self.received.delivered.get(&dealer) != Some(&hash) {
                    return Err(ParcelRefusal::NotDelivered);
                }
                let taken = self.accept_delivery(receiving, parcel);
                if taken.is_err() {
                    self.received.useless.insert(dealer, hash);
                }
                taken
            }
            ParcelKind::Identities => Err(ParcelRefusal::WrongAddressee),
        }
    }

    /// Opens what its dealer signed, and counts what is wrong. Whoever is no seat cannot have anything opened, and a seat only so often.
    fn accept_signed(&mut self, receiving: &ReceivingKey, parcel: &Parcel) -> Result<(), ParcelRefusal> {
        let ParcelHeader { from, kind, .. } = parcel.header;
        if self.received.is_spent(from, kind) {
            return Err(ParcelRefusal::TooManyWrong);
        }
        let position = usize::from(from).checked_sub(1).ok_or(ParcelRefusal::NoParticipant)?;
        let sender = self.seats.get(position).ok_or(ParcelRefusal::NoParticipant)?;
        verify_sender(&self.genesis, sender, parcel)?;
        let opened = open_parcel(&self.genesis, receiving.secret(), parcel);
        let taken = opened.map_err(ParcelRefusal::from).and_then(|content| match kind {
            ParcelKind::Package => self.accept_package(from, content.expose()),
            ParcelKind::Share => self.accept_share(from, content.expose()),
            ParcelKind::Delivery | ParcelKind::Identities => Err(ParcelRefusal::NotDelivered),
        });
        if taken.is_err() {
            self.received.note_wrong(from, kind);
        }
        taken
    }

    /// Takes a dealer's package in clear, as its answer to a dispute brings it, or says why it changes nothing.
    pub fn accept_package(&mut self, dealer: u16, bytes: &[u8]) -> Result<(), ParcelRefusal> {
        let committed = self.committed(dealer)?;
        if dealer == self.index || self.received.knows_package(dealer) {
            return Ok(());
        }
        if package_hash(&self.genesis, self.era, self.attempt, dealer, bytes) != committed {
            return Err(ParcelRefusal::WrongHash);
        }
        let decoded = Package::decode(dealer, self.threshold, bytes);
        self.received.note_package(dealer, decoded).map_err(ParcelRefusal::from)
    }

    fn accept_share(&mut self, dealer: u16, bytes: &[u8]) -> Result<(), ParcelRefusal> {
        let package = self.received.packages.get(&dealer).ok_or(ParcelRefusal::PackageMissing)?;
        let shares = Shares::from_slice(bytes).ok_or(ParcelRefusal::WrongShare)?;
        if !package.fits_secret(self.index, &shares) {
            return Err(ParcelRefusal::WrongShare);
        }
        self.received.shares.insert(dealer, shares);
        Ok(())
    }

    fn accept_delivery(&mut self, receiving: &ReceivingKey, parcel: &Parcel) -> Result<(), ParcelRefusal> {
        let content = open_parcel(&self.genesis, receiving.secret(), parcel)?;
        let (shares, package) = content.expose().split_at_checked(SHARE_BYTES).ok_or(ParcelRefusal::WrongShare)?;
        self.accept_package(parcel.header.from, package)?;
        self.accept_share(parcel.header.from, shares)
    }

    /// The hash of the package of a seat that takes part.
    fn committed(&self, dealer: u16) -> Result<Hash, ParcelRefusal> {
        if self.received.roster.is_empty() {
            return Err(ParcelRefusal::TooEarly);
        }
        self.received.roster.get(&dealer).copied().ok_or(ParcelRefusal::NoParticipant)
    }

    /// The hash of this seat's package.
    pub(super) fn own_package(&self) -> Hash {
        package_hash(&self.genesis, self.era, self.attempt, self.index, &self.dealt.package)
    }

    /// The other participants.
    pub(super) fn others(&self) -> impl Iterator<Item = u16> + '_ {
        self.received.roster.keys().copied().filter(|index| *index != self.index)
    }

    /// Seats that may fail without stopping a ceremony.
    pub(super) fn tolerated(&self) -> usize {
        tolerated(self.seats.len())
    }

    /// Whether the record is of this attempt and says of this seat what it said.
    fn check(&self, record: &CeremonyRecord) -> Result<(), CeremonyError> {
        if (record.era, record.attempt) != (self.era, self.attempt) {
            return Err(CeremonyError::OtherAttempt);
        }
        let same_seats = record.seats.iter().map(|seat| &seat.gatekeeper).eq(&self.seats);
        if record.threshold != self.threshold || !same_seats {
            return Err(CeremonyError::Contradiction);
        }
        let position = usize::from(self.index).checked_sub(1).ok_or(CeremonyError::NoSeat)?;
        let own = record.seats.get(position).ok_or(CeremonyError::NoSeat)?;
        if let Some(fault) = own.left_out {
            return Err(CeremonyError::LeftOut(fault));
        }
        if own.package.is_some_and(|package| package != self.own_package()) {
            return Err(CeremonyError::Foreign);
        }
        if own.package.is_none() && record.phase != Phase::Commit {
            return Err(CeremonyError::NotCommitted);
        }
        if self.confirmed.is_some() && own.confirmed.is_some() && self.confirmed != own.confirmed {
            return Err(CeremonyError::Foreign);
        }
        Ok(())
    }

    /// Fixes who takes part when the hashes stand; they never change in an attempt.
    fn fix_roster(&mut self, record: &CeremonyRecord) -> Result<(), CeremonyError> {
        let mut roster = BTreeMap::new();
        for (index, seat) in (1..).zip(&record.seats) {
            if let (true, Some(package)) = (record.takes_part(index), seat.package) {
                roster.insert(index, package);
            }
        }
        if roster.len() < usize::from(self.threshold) {
            return Err(CeremonyError::TooFew);
        }
        self.unsealed |= self.received.fix_roster(roster).ok_or(CeremonyError::Contradiction)?;
        Ok(())
    }

    /// Takes as this seat's shares the public answers that fit.
    fn take_answers(&mut self, record: &CeremonyRecord) {
        let own = self.index;
        let fitting =
            |package: &Package, answer: &[[u8; 32]; 2]| package.fits(own, answer).then(|| Shares::copied(answer));
        self.received.take_answers(own, &record.complaints, fitting);
    }

    /// Adds everything up, once it is all there, and confirms the keys: the same as before, and as the record says.
    fn conclude(&mut self, record: &CeremonyRecord) -> Result<(), CeremonyError> {
        let Received { packages, shares, .. } = &self.received;
        let complete = self.others().all(|dealer| packages.contains_key(&dealer) && shares.contains_key(&dealer));
        if self.outcome.is_none() && complete {
            let attempt = (self.era, self.attempt, self.threshold, self.index);
            let draw = |key| stream(key, &self.seed, &self.genesis, attempt, &self.seats);
            let (root, beacon) =
                finish(draw, self.index, self.threshold, packages, shares).map_err(|_| CeremonyError::Failed)?;
            let seats = u16::try_from(self.seats.len()).map_err(|_| CeremonyError::Unsound)?;
            let beacon = BeaconSeat::dealt(self.era, self.threshold, beacon.share, &beacon.points);
            self.outcome = Some(Seat::dealt(self.era, self.threshold, root.share, &root.points, seats, beacon));
        }
        let Some(keys) = self.outcome.as_ref().and_then(Seat::keys) else { return Ok(()) };
        let position = usize::from(self.index).checked_sub(1).ok_or(CeremonyError::NoSeat)?;
        let recorded = record.seats.get(position).and_then(|seat| seat.confirmed);
        if self.confirmed.or(recorded).is_some_and(|confirmed| confirmed != keys) {
            return Err(CeremonyError::Foreign);
        }
        self.unsealed |= self.confirmed != Some(keys);
        self.confirmed = Some(keys);
        Ok(())
    }

    /// Seals what the others lack: this seat's package and their shares, to all that have not confirmed.
    fn post(&mut self, view: &View<'_>, turn: &mut Turn) -> Result<(), CeremonyError> {
        for (to, seat) in (1..).zip(&view.record.seats) {
            if to == self.index || !self.received.roster.contains_key(&to) || seat.confirmed.is_some() {
                continue;
            }
            let Some(peer) = view.peer(self.of(), &seat.gatekeeper) else {
                turn.strangers.push(seat.gatekeeper);
                continue;
            };
            for kind in [ParcelKind::Package, ParcelKind::Share] {
                turn.parcels.push(self.sealed(view, peer, to, kind)?);
            }
        }
        Ok(())
    }

    /// What this seat owes another, sealed to it: the same bytes each time.
    pub(super) fn sealed(
        &mut self,
        view: &View<'_>,
        peer: &VerifiedPeer,
        to: u16,
        kind: ParcelKind,
    ) -> Result<Parcel, CeremonyError> {
        let known = (to, peer.key_hash(), kind);
        if let Some(parcel) = self.posted.get(&known) {
            return Ok(parcel.clone());
        }
        let shares = self.dealt.share(to).ok_or(CeremonyError::Failed)?.to_bytes();
        let content = Secret::new(match kind {
            ParcelKind::Package => self.dealt.package.clone(),
            ParcelKind::Share => shares.expose().to_vec(),
            ParcelKind::Delivery => [&shares.expose()[..], &self.dealt.package[..]].concat(),
            ParcelKind::Identities => return Err(CeremonyError::Failed),
        });
        let header = ParcelHeader { era: self.era, attempt: self.attempt, from: self.index, to, kind };
        let parcel = seal_parcel(&self.genesis, view.identity, peer.key(), header, content.expose(), view.entropy)
            .map_err(|_| CeremonyError::Failed)?;
        self.posted.insert(known, parcel.clone());
        Ok(parcel)
    }
}

/// The stream of one key in one attempt. It binds the elected seats too: a fork that elects others, or more of them, would otherwise
/// draw a longer polynomial from the same stream, whose next coefficient is this one's nonce.
pub(super) fn stream(
    key: KeyKind,
    seed: &Secret<[u8; 32]>,
    genesis: &Hash,
    attempt: (u32, u32, u16, u16),
    seats: &[WorkerId],
) -> EntropyStream {
    let label = match key {
        KeyKind::Root => domain::CEREMONY_SEED,
        KeyKind::Beacon => domain::CEREMONY_BEACON_SEED,
    };
    EntropyBuilder::new(label, seed.expose()).bind(&(genesis, attempt, seats).encode()).finish()
}
