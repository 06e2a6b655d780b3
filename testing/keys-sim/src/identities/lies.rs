//! What a malicious dealer or holder of identities does: it runs the real code, and says and sends something else.

use super::chain::place_of;
use crate::{
    members::{Members, Peers, GENESIS},
    random::Random,
};
use phala_crypto::Secret;
use phala_gatekeeper::{
    dkg::{open_parcel, seal_parcel},
    identity::ceremony::Turn,
};
use phala_protocol::{
    ceremony::{delivery_hash, Attachment, CeremonyAttempt, Parcel, ParcelHeader, ParcelKind, Phase},
    identities::{dealing_hash, IdentityCeremonyRecord, IdentityStatement, SignedIdentityStatement},
    WorkerId,
};

/// Bytes of the two shares before the package in a parcel.
const SHARES: usize = 64;
/// Parcels that a liar keeps to send again.
const MOST_SENT: usize = 40;

/// How a gatekeeper misbehaves in one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// Not at all.
    None,
    /// Says and sends nothing.
    Silent,
    /// Commits to nothing.
    NoCommit,
    /// Deals, and sends and delivers nothing.
    Withhold,
    /// Sends wrong shares to one holder, and delivers the right ones on its complaint.
    WrongShare,
    /// Sends nothing to one holder, delivers what is useless, and answers its dispute correctly.
    BadDelivery,
    /// The same, and answers wrongly too.
    WrongAnswer,
    /// Sends other packages than it committed to.
    OtherPackage,
    /// Commits to what is no package, and delivers that.
    Garbage,
    /// Complains of everybody.
    FalseComplaints,
    /// Complains of everybody, and disputes whatever is delivered.
    FalseDisputes,
    /// Rejects everybody.
    FalseRejections,
    /// Does all but confirm.
    NoConfirmation,
    /// Confirms another record.
    OtherConfirmation,
    /// Sends parcels of earlier attempts, and of sets before, again: as they are, and in the name of this attempt.
    Replay,
    /// Signs two commitments and two confirmations where it owes one.
    Equivocate,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::None,
        Self::Silent,
        Self::NoCommit,
        Self::Withhold,
        Self::WrongShare,
        Self::BadDelivery,
        Self::WrongAnswer,
        Self::OtherPackage,
        Self::Garbage,
        Self::FalseComplaints,
        Self::FalseDisputes,
        Self::FalseRejections,
        Self::NoConfirmation,
        Self::OtherConfirmation,
        Self::Replay,
        Self::Equivocate,
    ];

    /// Whether the chain may come to hold another package or confirmation of the liar's than the real code says.
    pub(super) fn misspeaks(self) -> bool {
        matches!(self, Self::Garbage | Self::OtherConfirmation | Self::Equivocate)
    }
}

/// A statement with what stands beside it.
pub(super) type Stated = (SignedIdentityStatement, Option<Attachment>);

/// What a gatekeeper says and sends.
#[derive(Default)]
pub(super) struct Said {
    pub statements: Vec<Stated>,
    pub parcels: Vec<Parcel>,
}

impl Said {
    /// Of both of its parts.
    pub(super) fn of(turns: Vec<Turn>) -> Self {
        let mut said = Self::default();
        for turn in turns {
            said.statements.extend(turn.statements);
            said.parcels.extend(turn.parcels);
        }
        said
    }
}

/// Where it is said: the attempt, and who is who.
pub(super) struct Scene<'a> {
    pub members: &'a Members,
    pub peers: &'a Peers,
    pub record: &'a IdentityCeremonyRecord,
    /// The number of each gatekeeper among the members.
    pub number: &'a dyn Fn(&WorkerId) -> u16,
}

/// A gatekeeper that lies.
pub(super) struct Liar {
    /// Its number among the members.
    pub number: u16,
    /// How it lies now.
    pub lie: Lie,
    /// The index of the holder on whom it picks.
    pub victim: u16,
    /// What it sent before, with the recipient's number.
    pub sent: Vec<(u16, Parcel)>,
}

impl Liar {
    pub(super) fn new(number: u16) -> Self {
        Self { number, lie: Lie::None, victim: 1, sent: Vec::new() }
    }

    /// Chooses how to lie in an attempt with so many holders.
    pub(super) fn choose(&mut self, random: &mut Random, holders: usize) {
        self.lie = random.one_of(&Lie::ALL);
        self.victim = random.below(holders as u32) as u16 + 1;
    }

    /// What it says and sends instead of what the real code does.
    pub(super) fn corrupt(&mut self, scene: &Scene<'_>, mut said: Said, random: &mut Random) -> Said {
        let (record, victim) = (scene.record, self.victim);
        let id = WorkerId(scene.members.identity(self.number).public());
        let (dealer, holder) = (record.dealer_index(&id), record.holder_index(&id));
        match self.lie {
            Lie::None | Lie::Replay => {}
            Lie::Silent => said = Said::default(),
            Lie::NoCommit => {
                said.statements.retain(|(said, _)| !matches!(said.statement, IdentityStatement::Commit { .. }));
            }
            Lie::Withhold => {
                said.parcels.clear();
                said.statements.retain(|(said, _)| !matches!(said.statement, IdentityStatement::Deliver { .. }));
            }
            Lie::WrongShare | Lie::OtherPackage => {
                for parcel in &mut said.parcels {
                    if self.lie == Lie::WrongShare && parcel.header.to != victim {
                        continue;
                    }
                    let Some(mut content) = opened(scene, parcel) else { continue };
                    if self.lie == Lie::WrongShare {
                        content[..SHARES].copy_from_slice(&wrong_shares(random).concat());
                    } else if let Some(last) = content.last_mut() {
                        *last ^= 1;
                    }
                    if let Some(other) = self.sealed(scene, parcel.header, &content, random) {
                        *parcel = other;
                    }
                }
            }
            Lie::BadDelivery | Lie::WrongAnswer => {
                said.parcels.retain(|parcel| parcel.header.to != victim);
                for stated in &mut said.statements {
                    match stated.0.statement {
                        IdentityStatement::Deliver { accuser, .. } if accuser == victim => {
                            let content = wrong_shares(random).concat();
                            if let Some(other) = self.deliver(scene, (stated.0.index, victim), &content, random) {
                                *stated = other;
                            }
                        }
                        IdentityStatement::Answer { accuser, .. }
                            if accuser == victim && self.lie == Lie::WrongAnswer =>
                        {
                            let statement = IdentityStatement::Answer { accuser, shares: wrong_shares(random) };
                            stated.0 = self.sign(scene, stated.0.index, statement);
                        }
                        _ => {}
                    }
                }
            }
            Lie::Garbage => {
                if let Some(dealer) = dealer {
                    self.garbage(scene, dealer, &mut said, random);
                }
            }
            Lie::FalseComplaints | Lie::FalseDisputes => {
                if let Some(holder) = holder {
                    self.accuse(scene, holder, &mut said);
                }
            }
            Lie::FalseRejections => {
                if let Some(holder) = holder.filter(|_| record.phase == Phase::Settle) {
                    let all = record.dealing().map(|dealer| IdentityStatement::Reject { dealer: dealer.index });
                    said.statements.extend(all.map(|statement| (self.sign(scene, holder, statement), None)));
                }
            }
            Lie::NoConfirmation => {
                said.statements.retain(|(said, _)| !matches!(said.statement, IdentityStatement::Confirm { .. }));
            }
            Lie::OtherConfirmation => {
                for (said, _) in &mut said.statements {
                    if let IdentityStatement::Confirm { .. } = said.statement {
                        *said = self.sign(scene, said.index, IdentityStatement::Confirm { record: [0xee; 32] });
                    }
                }
            }
            Lie::Equivocate => {
                let other = |(said, _): &Stated| {
                    let other = match said.statement {
                        IdentityStatement::Commit { .. } => IdentityStatement::Commit { package: [0xee; 32] },
                        IdentityStatement::Confirm { .. } => IdentityStatement::Confirm { record: [0xee; 32] },
                        _ => return None,
                    };
                    Some((self.sign(scene, said.index, other), None))
                };
                let others: Vec<Stated> = said.statements.iter().filter_map(other).collect();
                said.statements.extend(others);
            }
        }
        if let (Lie::Replay, Some(dealer), false) = (self.lie, dealer, record.phase == Phase::Commit) {
            self.replay(scene, dealer, &mut said, random);
        }
        self.keep(scene, &said);
        said
    }

    fn keep(&mut self, scene: &Scene<'_>, said: &Said) {
        for parcel in &said.parcels {
            let known = self.sent.len() >= MOST_SENT || self.sent.iter().any(|(_, sent)| sent == parcel);
            if known || (parcel.header.era, parcel.header.attempt) != place_of(scene.record) {
                continue;
            }
            if let Some(holder) = scene.record.holder(parcel.header.to) {
                self.sent.push(((scene.number)(&holder.gatekeeper), parcel.clone()));
            }
        }
    }

    /// Old parcels: as they are, under the present attempt's name, and what is in them sealed anew.
    fn replay(&self, scene: &Scene<'_>, dealer: u16, said: &mut Said, random: &mut Random) {
        let (era, attempt) = place_of(scene.record);
        let old = |(_, parcel): &&(u16, Parcel)| (parcel.header.era, parcel.header.attempt) != (era, attempt);
        let from = random.below(MOST_SENT as u32) as usize;
        for (number, parcel) in self.sent.iter().filter(old).skip(from).take(4) {
            let header = ParcelHeader { era, attempt, from: dealer, ..parcel.header };
            let of = CeremonyAttempt::identities(parcel.header.era, parcel.header.attempt);
            let receiving = scene.members.receiving(*number, of);
            said.parcels.push(Parcel { header, ..parcel.clone() });
            if let Ok(content) = open_parcel(&GENESIS, receiving.secret(), parcel) {
                said.parcels.extend(self.sealed(scene, header, content.expose(), random));
            }
            said.parcels.push(parcel.clone());
        }
    }

    /// Deals what is no package, from the commitment to the answers.
    fn garbage(&self, scene: &Scene<'_>, dealer: u16, said: &mut Said, random: &mut Random) {
        let record = scene.record;
        let (era, attempt) = place_of(record);
        let proofs = if record.former.is_none() { 2 * 64 } else { 0 };
        let whole = 64 * usize::from(record.threshold) + proofs;
        let package = vec![dealer as u8; if attempt.is_multiple_of(2) { whole } else { whole / 2 }];
        said.parcels.clear();
        said.statements.retain(|(said, _)| !said.statement.is_of_dealer());
        if record.phase == Phase::Commit {
            let package = dealing_hash(&GENESIS, era, attempt, dealer, &package);
            said.statements.push((self.sign(scene, dealer, IdentityStatement::Commit { package }), None));
            return;
        }
        for (to, _) in record.receiving() {
            let header = ParcelHeader { era, attempt, from: dealer, to, kind: ParcelKind::Identities };
            let content = [wrong_shares(random).concat(), package.clone()].concat();
            said.parcels.extend(self.sealed(scene, header, &content, random));
        }
        for complaint in record.complaints.iter().filter(|complaint| complaint.dealer == dealer) {
            let accuser = complaint.accuser;
            if complaint.delivered.is_none() {
                let content = [wrong_shares(random).concat(), package.clone()].concat();
                said.statements.extend(self.deliver(scene, (dealer, accuser), &content, random));
            }
            if complaint.disputed {
                let statement = IdentityStatement::Answer { accuser, shares: wrong_shares(random) };
                let beside = Attachment::Package(package.clone());
                said.statements.push((self.sign(scene, dealer, statement), Some(beside)));
            }
        }
    }

    /// Complains of everybody, and if it also disputes, of whatever is delivered.
    fn accuse(&self, scene: &Scene<'_>, holder: u16, said: &mut Said) {
        let record = scene.record;
        if record.phase == Phase::Share {
            // Whoever confirmed can complain no more.
            said.statements.retain(|(said, _)| said.statement.is_of_dealer());
            let of = CeremonyAttempt::identities(record.era, record.attempt);
            let receiving = scene.members.receiving(self.number, of);
            let key = Attachment::Key(receiving.announce(scene.members.identity(self.number)));
            let all = record.dealing().map(|dealer| IdentityStatement::Complain { dealer: dealer.index });
            said.statements.extend(all.map(|statement| (self.sign(scene, holder, statement), Some(key.clone()))));
        }
        if record.phase == Phase::Deliver && self.lie == Lie::FalseDisputes {
            said.statements.retain(|(said, _)| said.statement.is_of_dealer());
            for complaint in record.complaints.iter().filter(|complaint| complaint.accuser == holder) {
                if let Some(parcel) = complaint.delivered {
                    let statement = IdentityStatement::Dispute { dealer: complaint.dealer, parcel };
                    said.statements.push((self.sign(scene, holder, statement), None));
                }
            }
        }
    }

    fn sign(&self, scene: &Scene<'_>, index: u16, statement: IdentityStatement) -> SignedIdentityStatement {
        let (era, attempt) = place_of(scene.record);
        let unsigned = SignedIdentityStatement { era, attempt, index, statement, signature: [0; 64] };
        let signature = scene.members.identity(self.number).sign(&unsigned.signing_payload(&GENESIS));
        SignedIdentityStatement { signature, ..unsigned }
    }

    /// A delivery of this content by (dealer, accuser), sealed as the chain asks for.
    fn deliver(
        &self,
        scene: &Scene<'_>,
        (dealer, accuser): (u16, u16),
        content: &[u8],
        random: &mut Random,
    ) -> Option<Stated> {
        let (era, attempt) = place_of(scene.record);
        let header = ParcelHeader { era, attempt, from: dealer, to: accuser, kind: ParcelKind::Identities };
        let parcel = self.sealed(scene, header, content, random)?;
        let hash = delivery_hash(&scene.record.holder(accuser)?.key?, &parcel);
        let statement = IdentityStatement::Deliver { accuser, parcel: hash };
        Some((self.sign(scene, dealer, statement), Some(Attachment::Parcel(parcel))))
    }

    fn sealed(&self, scene: &Scene<'_>, header: ParcelHeader, content: &[u8], random: &mut Random) -> Option<Parcel> {
        let recipient = scene.peers.get(&scene.record.holder(header.to)?.gatekeeper)?.key();
        let identity = scene.members.identity(self.number);
        seal_parcel(&GENESIS, identity, recipient, header, content, &Secret::new(random.bytes())).ok()
    }
}

/// What is in a parcel of the attempt under way, as its recipient reads it.
fn opened(scene: &Scene<'_>, parcel: &Parcel) -> Option<Vec<u8>> {
    let to = scene.record.holder(parcel.header.to)?.gatekeeper;
    let of = CeremonyAttempt::identities(parcel.header.era, parcel.header.attempt);
    let receiving = scene.members.receiving((scene.number)(&to), of);
    open_parcel(&GENESIS, receiving.secret(), parcel).ok().map(|content| content.expose().clone())
}

/// Canonical scalars that are nobody's shares.
fn wrong_shares(random: &mut Random) -> [[u8; 32]; 2] {
    [random.bytes(), random.bytes()].map(|mut share| {
        share[31] &= 0x0f;
        share
    })
}
