//! What a malicious seat does: it runs the real code, and says and sends something else. Who says two things at once does it in
//! `malice/equivocation.rs`.

mod equivocation;

use crate::{members::GENESIS, random::Random, seating::Seating};
use phala_crypto::Secret;
use phala_gatekeeper::dkg::{open_parcel, package_bytes, seal_parcel, Turn};
use phala_protocol::{
    ceremony::{
        delivery_hash, package_hash, Attachment, CeremonyAttempt, CeremonyRecord, Confirmed, Parcel, ParcelHeader,
        ParcelKind, Phase, SignedStatement, Statement,
    },
    Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

/// How a seat misbehaves in one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Malice {
    /// Not at all.
    None,
    /// Commits to nothing.
    NoCommit,
    /// Commits, and is silent from then on.
    Silent,
    /// Sends a wrong share to one seat, and delivers the right one on its complaint.
    WrongShare,
    /// Sends nothing to one seat, delivers what is useless, and answers its dispute correctly.
    BadDelivery,
    /// The same, and answers wrongly too.
    WrongAnswer,
    /// Delivers nothing.
    NoDelivery,
    /// Sends its package to one seat only.
    Withhold,
    /// Sends its package to nobody, and delivers on every complaint.
    WithholdAll,
    /// Sends other bytes than it committed to.
    OtherPackage,
    /// Commits to what is no package.
    Garbage,
    /// Commits to a package whose half of the root is right and whose half of the beacon is none; all shares are right.
    BadBeaconPackage,
    /// Gives one seat its right share of the root with a wrong one of the beacon: as a parcel, on chain, and as an answer.
    BadBeaconShare,
    /// Complains of everybody.
    FalseComplaints,
    /// Complains of everybody, and disputes whatever is delivered.
    FalseDisputes,
    /// Rejects everybody.
    FalseRejections,
    /// Does all but confirm.
    NoConfirmation,
    /// Confirms another root, or the same with another beacon key.
    OtherConfirmation,
    /// Sends parcels of earlier attempts again, also in the name of this one.
    Replay,
    /// Signs two statements of one kind, [`Twice`], where it owes one, and sends one seat another package than the others.
    Equivocate,
}

impl Malice {
    /// All of it.
    pub const ALL: [Self; 20] = [
        Self::None,
        Self::NoCommit,
        Self::Silent,
        Self::WrongShare,
        Self::BadDelivery,
        Self::WrongAnswer,
        Self::NoDelivery,
        Self::Withhold,
        Self::WithholdAll,
        Self::OtherPackage,
        Self::Garbage,
        Self::BadBeaconPackage,
        Self::BadBeaconShare,
        Self::FalseComplaints,
        Self::FalseDisputes,
        Self::FalseRejections,
        Self::NoConfirmation,
        Self::OtherConfirmation,
        Self::Replay,
        Self::Equivocate,
    ];
}

/// Of what a seat that equivocates says two in an attempt: of one kind only, so that each kind has to convict by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twice {
    /// Two commitments.
    Commit,
    /// Two answers to one accuser.
    Answer,
    /// Two confirmations.
    Confirm,
}

impl Twice {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Commit, Self::Answer, Self::Confirm];
}

/// What a seat's own code deals in an attempt, as it is sealed.
pub struct Dealt {
    /// The package.
    pub package: Vec<u8>,
    /// The shares of the other seats, by index.
    pub shares: BTreeMap<u16, Vec<u8>>,
}

/// A seat that lies, as it is in one attempt.
pub struct Liar {
    /// Its index.
    pub index: u16,
    /// How it lies now.
    pub malice: Malice,
    /// What it says twice if it equivocates.
    pub twice: Twice,
    /// Whom it picks on.
    pub victim: u16,
    /// What it sent in earlier attempts, and in this one.
    pub sent: Vec<Parcel>,
    /// What its own code deals, with the attempt, where its malice alters a part of that; then what the same code deals with another
    /// seed, where it deals twice.
    pub dealt: Option<(u32, Vec<Dealt>)>,
}

impl Liar {
    /// Chooses a malice for an attempt among `seats` seats.
    pub fn choose(&mut self, random: &mut Random, seats: u16) {
        self.malice = random.one_of(&Malice::ALL);
        if self.malice == Malice::Equivocate {
            self.twice = random.one_of(&Twice::ALL);
        }
        let step = random.below(u32::from(seats) - 1) as u16 + 1;
        self.victim = (self.index - 1 + step) % seats + 1;
    }

    /// What it says and sends instead of the `turn` that the real code took; none if that had nothing to say. `dealt` is what that code
    /// deals with its own seed (0), or with another, and with this entropy.
    pub fn corrupt(
        &mut self,
        seating: &Seating<'_>,
        record: &CeremonyRecord,
        turn: Option<Turn>,
        random: &mut Random,
        dealt: impl Fn(u8, [u8; 32]) -> Dealt,
    ) -> Turn {
        let seeds: &[u8] = match self.malice {
            Malice::BadBeaconPackage | Malice::BadBeaconShare => &[0],
            Malice::Equivocate => &[0, 1],
            _ => &[],
        };
        let has_dealt = |(attempt, dealt): &(u32, Vec<Dealt>)| *attempt == record.attempt && dealt.len() >= seeds.len();
        if !seeds.is_empty() && !self.dealt.as_ref().is_some_and(has_dealt) {
            self.dealt = Some((record.attempt, seeds.iter().map(|seed| dealt(*seed, random.bytes())).collect()));
        }
        let mut turn = turn.unwrap_or_default();
        let (statements, parcels, attached) = (&mut turn.statements, &mut turn.parcels, &mut turn.attached);
        let own_index = self.index;
        let own = |parcel: &Parcel, kind: ParcelKind| parcel.header.from == own_index && parcel.header.kind == kind;
        match self.malice {
            Malice::None | Malice::Replay => {}
            Malice::NoCommit => statements.retain(|said| !matches!(said.statement, Statement::Commit { .. })),
            Malice::Silent => {
                statements.retain(|said| matches!(said.statement, Statement::Commit { .. }));
                parcels.clear();
                attached.clear();
            }
            Malice::WrongShare => {
                for parcel in parcels.iter_mut() {
                    if own(parcel, ParcelKind::Share) && parcel.header.to == self.victim {
                        *parcel = reseal(seating, parcel.header, &wrong_shares(random).concat(), random);
                    }
                }
            }
            Malice::BadDelivery | Malice::WrongAnswer => {
                let victim = self.victim;
                parcels.retain(|parcel| parcel.header.to != victim);
                for (said, beside) in attached.iter_mut() {
                    if matches!(said.statement, Statement::Deliver { accuser, .. } if accuser == victim) {
                        let content = wrong_shares(random).concat();
                        (*said, *beside) = deliver(seating, record, (own_index, victim), &content, random);
                    }
                }
                if self.malice == Malice::WrongAnswer {
                    for said in statements.iter_mut().chain(attached.iter_mut().map(|(said, _)| said)) {
                        if let Statement::Answer { accuser, .. } = said.statement {
                            let statement = Statement::Answer { accuser, shares: wrong_shares(random) };
                            *said = sign(seating, record, own_index, statement);
                        }
                    }
                }
            }
            Malice::NoDelivery => attached.retain(|(said, _)| !matches!(said.statement, Statement::Deliver { .. })),
            Malice::Withhold => {
                let victim = self.victim;
                parcels.retain(|parcel| !own(parcel, ParcelKind::Package) || parcel.header.to == victim);
            }
            Malice::WithholdAll => parcels.retain(|parcel| !own(parcel, ParcelKind::Package)),
            Malice::OtherPackage => {
                for parcel in parcels.iter_mut() {
                    if own(parcel, ParcelKind::Package) {
                        let content = open_parcel(&GENESIS, seating.opener(parcel).secret(), parcel).unwrap();
                        let mut content = content.expose().clone();
                        let last = content.len() - 1;
                        content[last] ^= 1;
                        *parcel = reseal(seating, parcel.header, &content, random);
                    }
                }
            }
            Malice::Garbage => turn = self.deal(seating, record, &self.garbage(record, random), random),
            Malice::BadBeaconPackage => {
                if let Some((attempt, dealt)) = &self.dealt {
                    let Dealt { package, shares } = &dealt[0];
                    let bad = Dealt { package: with_bad_beacon(package, *attempt), shares: shares.clone() };
                    turn = self.deal(seating, record, &bad, random);
                }
            }
            Malice::BadBeaconShare => {
                let victim = self.victim;
                if let Some((_, dealt)) = &self.dealt {
                    let Dealt { package, shares } = &dealt[0];
                    let mut bad = shares[&victim].clone();
                    bad[32] ^= 1;
                    for parcel in parcels.iter_mut() {
                        if own(parcel, ParcelKind::Share) && parcel.header.to == victim {
                            *parcel = reseal(seating, parcel.header, &bad, random);
                        }
                    }
                    for (said, beside) in attached.iter_mut() {
                        if matches!(said.statement, Statement::Deliver { accuser, .. } if accuser == victim) {
                            let content = [&bad[..], &package[..]].concat();
                            (*said, *beside) = deliver(seating, record, (own_index, victim), &content, random);
                        }
                    }
                    for said in statements.iter_mut().chain(attached.iter_mut().map(|(said, _)| said)) {
                        if matches!(said.statement, Statement::Answer { accuser, .. } if accuser == victim) {
                            let statement = Statement::Answer { accuser: victim, shares: halves(&bad) };
                            *said = sign(seating, record, own_index, statement);
                        }
                    }
                }
            }
            Malice::FalseComplaints | Malice::FalseDisputes => {
                if record.phase == Phase::Share {
                    // Whoever confirmed can complain no more.
                    statements.clear();
                    let of = CeremonyAttempt::root(record.era, record.attempt);
                    let identity = seating.identity(own_index, record.attempt);
                    let key = Attachment::Key(seating.receiving(own_index, of).announce(identity));
                    let all = record.participants().filter(|dealer| *dealer != own_index);
                    let complain = |dealer| sign(seating, record, own_index, Statement::Complain { dealer });
                    attached.extend(all.map(|dealer| (complain(dealer), key.clone())));
                }
                if record.phase == Phase::Deliver && self.malice == Malice::FalseDisputes {
                    statements.clear();
                    for complaint in record.complaints.iter().filter(|complaint| complaint.accuser == own_index) {
                        if let Some(parcel) = complaint.delivered {
                            let statement = Statement::Dispute { dealer: complaint.dealer, parcel };
                            statements.push(sign(seating, record, own_index, statement));
                        }
                    }
                }
            }
            Malice::FalseRejections => {
                if record.phase == Phase::Settle {
                    let all = record.participants().filter(|dealer| *dealer != self.index);
                    statements
                        .extend(all.map(|dealer| sign(seating, record, self.index, Statement::Reject { dealer })));
                }
            }
            Malice::NoConfirmation => statements.retain(|said| !matches!(said.statement, Statement::Confirm(_))),
            Malice::OtherConfirmation => {
                for said in statements.iter_mut() {
                    if let Statement::Confirm(keys) = said.statement {
                        let other = match record.attempt.is_multiple_of(2) {
                            true => Confirmed { beacon: [0xee; 32], ..keys },
                            false => Confirmed { share_list: [0xee; 32], ..keys },
                        };
                        *said = sign(seating, record, self.index, Statement::Confirm(other));
                    }
                }
            }
            Malice::Equivocate => {
                if let Some((_, dealt)) = &self.dealt {
                    turn = self.equivocate(seating, record, turn, [&dealt[0], &dealt[1]], random);
                }
            }
        }
        let old = |parcel: &&Parcel| parcel.header.attempt != record.attempt;
        if self.malice == Malice::Replay && record.phase != Phase::Commit {
            let from = random.below(40) as usize;
            let replayed: Vec<Parcel> = self.sent.iter().filter(old).skip(from).take(4).cloned().collect();
            for parcel in replayed {
                let renamed = ParcelHeader { attempt: record.attempt, ..parcel.header };
                turn.parcels.push(Parcel { header: renamed, ..parcel.clone() });
                if let Ok(content) = open_parcel(&GENESIS, seating.opener(&parcel).secret(), &parcel) {
                    turn.parcels.push(reseal(seating, renamed, content.expose(), random));
                }
                turn.parcels.push(parcel);
            }
        }
        for parcel in &turn.parcels {
            if parcel.header.attempt == record.attempt && self.sent.len() < 40 && !self.sent.contains(parcel) {
                self.sent.push(parcel.clone());
            }
        }
        turn
    }

    /// What it deals instead of a package, of the right length or not, and of shares.
    fn garbage(&self, record: &CeremonyRecord, random: &mut Random) -> Dealt {
        let length = package_bytes(record.threshold);
        let package = vec![self.index as u8; if record.attempt.is_multiple_of(2) { length } else { length / 2 }];
        let shares = (1u16..).zip(&record.seats).map(|(to, _)| (to, wrong_shares(random).concat())).collect();
        Dealt { package, shares }
    }

    /// Deals this, whatever it is, from the commitment to the answers.
    fn deal(&self, seating: &Seating<'_>, record: &CeremonyRecord, dealt: &Dealt, random: &mut Random) -> Turn {
        let mut turn = Turn::default();
        if record.phase == Phase::Commit {
            let package: Hash = package_hash(&GENESIS, record.era, record.attempt, self.index, &dealt.package);
            turn.statements.push(sign(seating, record, self.index, Statement::Commit { package }));
            return turn;
        }
        for to in record.participants().filter(|to| *to != self.index) {
            let header = |kind| ParcelHeader { era: record.era, attempt: record.attempt, from: self.index, to, kind };
            turn.parcels.push(reseal(seating, header(ParcelKind::Package), &dealt.package, random));
            turn.parcels.push(reseal(seating, header(ParcelKind::Share), &dealt.shares[&to], random));
        }
        for complaint in record.complaints.iter().filter(|complaint| complaint.dealer == self.index) {
            let accuser = complaint.accuser;
            if complaint.delivered.is_none() {
                let content = [&dealt.shares[&accuser][..], &dealt.package[..]].concat();
                turn.attached.push(deliver(seating, record, (self.index, accuser), &content, random));
            }
            if complaint.disputed {
                let statement = Statement::Answer { accuser, shares: halves(&dealt.shares[&accuser]) };
                let package = Attachment::Package(dealt.package.clone());
                turn.attached.push((sign(seating, record, self.index, statement), package));
            }
        }
        turn
    }
}

/// Canonical scalars that are nobody's shares, of the root and of the beacon.
fn wrong_shares(random: &mut Random) -> [[u8; 32]; 2] {
    [random.bytes(), random.bytes()].map(|mut share| {
        share[31] &= 0x0f;
        share
    })
}

/// Shares as they stand in an answer.
fn halves(shares: &[u8]) -> [[u8; 32]; 2] {
    let (root, beacon) = shares.split_at(32);
    [root, beacon].map(|half| half.try_into().unwrap())
}

/// A package whose second half, of the beacon, is none: its proof does not hold, or it commits to the identity. Its coefficients
/// have commitments that all shares fit in the first case.
fn with_bad_beacon(package: &[u8], attempt: u32) -> Vec<u8> {
    let mut bad = package.to_vec();
    let beacon = bad.len() / 2;
    if attempt.is_multiple_of(2) {
        let last = bad.len() - 32;
        bad[last] ^= 1;
    } else {
        bad[beacon + 1..beacon + 33].fill(0);
    }
    bad
}

/// A delivery of this content by (dealer, accuser), sealed as the chain asks for.
fn deliver(
    seating: &Seating<'_>,
    record: &CeremonyRecord,
    (dealer, accuser): (u16, u16),
    content: &[u8],
    random: &mut Random,
) -> (SignedStatement, Attachment) {
    let (era, attempt) = (record.era, record.attempt);
    let header = ParcelHeader { era, attempt, from: dealer, to: accuser, kind: ParcelKind::Delivery };
    let parcel = reseal(seating, header, content, random);
    let hash = delivery_hash(&seating.opener(&parcel).hash(), &parcel);
    (sign(seating, record, dealer, Statement::Deliver { accuser, parcel: hash }), Attachment::Parcel(parcel))
}

fn reseal(seating: &Seating<'_>, header: ParcelHeader, content: &[u8], random: &mut Random) -> Parcel {
    let entropy = Secret::new(random.bytes());
    let identity = seating.identity(header.from, header.attempt);
    let peers = seating.peers(CeremonyAttempt::root(header.era, header.attempt), &BTreeSet::new());
    let recipient = peers[&WorkerId(seating.identity(header.to, header.attempt).public())].key();
    seal_parcel(&GENESIS, identity, recipient, header, content, &entropy).unwrap()
}

/// A statement that its seat signed.
pub fn sign(seating: &Seating<'_>, record: &CeremonyRecord, index: u16, statement: Statement) -> SignedStatement {
    let unsigned = SignedStatement { era: record.era, attempt: record.attempt, index, statement, signature: [0; 64] };
    let signature = seating.identity(index, record.attempt).sign(&unsigned.signing_payload(&GENESIS));
    SignedStatement { signature, ..unsigned }
}
