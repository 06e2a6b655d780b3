//! One whole honest ceremony, each seat's processor time and bytes by themselves.
//!
//! The seats run the code that ships. The network is one that loses nothing: every parcel arrives once, every statement is taken. The
//! chain's part is a record that is written by hand: what the chain computes is not in here. INSECURE: keys and seeds follow from
//! numbers, and the machines are simulated.

use crate::measure::timed;
use anyhow::{bail, ensure, Context, Result};
use codec::Encode;
use phala_crypto::{signature::ed25519::IdentityKey, xwing::DecapsulationKey, Secret};
use phala_gatekeeper::{
    dkg::{package_bytes, Ceremony, Turn, View, SHARE_BYTES},
    verify_introduction, Facts, ReceivingKey, Seat, VerifiedPeer, Verifier,
};
use phala_insecure_tee::InsecureMachine;
use phala_keys_sim::members::{introduce, GENESIS};
use phala_protocol::{
    ceremony::{threshold_of, CeremonyRecord, Introduction, Parcel, Phase, SeatRecord, SignedStatement, Statement},
    ids::BlockNumber,
    WorkerId,
};
use std::{collections::BTreeMap, hint::black_box};

/// When the machines' collateral is good: the time of the facts of [`introduce`].
pub const NOW: u64 = 1_790_000_000;
/// The finalised head of every look: long before the last call of a phase.
const HEAD: BlockNumber = 10;
const UNTIL: BlockNumber = 1_000;

struct Member {
    id: WorkerId,
    identity: IdentityKey,
    lasting: DecapsulationKey,
    machine: InsecureMachine,
}

/// Elected gatekeepers.
pub struct Network {
    members: Vec<Member>,
}

/// A gatekeeper's introduction, and what it is judged by.
type Introduced = (WorkerId, Introduction, Facts);

/// A seat in a ceremony.
struct Seated {
    ceremony: Ceremony,
    receiving: ReceivingKey,
    turns: u16,
    seconds: f64,
}

/// What a ceremony cost.
pub struct Cost {
    /// Processor seconds of all seats.
    pub seconds: f64,
    /// Of the seat that took longest.
    pub busiest: f64,
    /// Of all seats, for verifying each other's introductions; part of `seconds`.
    pub introductions: f64,
    /// Bytes of all parcels of all seats, each sent once.
    pub parcel_bytes: usize,
    /// Bytes that are sealed in them.
    pub content_bytes: usize,
    /// Bytes of all statements.
    pub statement_bytes: usize,
    /// Bytes of the chain's record when all have confirmed.
    pub record_bytes: usize,
}

/// INSECURE: what should be unpredictable, by use and number.
fn secret(of: u8, index: u16, turn: u16) -> Secret<[u8; 32]> {
    let ([high, low], [late, early]) = (index.to_be_bytes(), turn.to_be_bytes());
    Secret::<[u8; 32]>::fill(|bytes| {
        for (target, byte) in bytes.iter_mut().zip([of, high, low, late, early]) {
            *target = byte;
        }
    })
}

impl Network {
    /// `seats` gatekeepers.
    pub fn new(seats: u16) -> Result<Self> {
        let mut members = Vec::new();
        for index in 1..=seats {
            let identity = IdentityKey::from_seed(&secret(1, index, 0));
            let lasting = DecapsulationKey::from_seed(&secret(2, index, 0));
            let machine = InsecureMachine::new(&format!("gatekeeper {index}"), b"the binary", NOW)?;
            members.push(Member { id: WorkerId(identity.public()), identity, lasting, machine });
        }
        Ok(Self { members })
    }

    /// The seats, by index from 1.
    pub fn ids(&self) -> Vec<WorkerId> {
        self.members.iter().map(|member| member.id).collect()
    }

    /// Makes the keys of `era`, root and beacon; also gives all seats, by index from 1.
    pub fn run(&self, era: u32) -> Result<(Cost, Vec<Seat>)> {
        let threshold = u16::try_from(threshold_of(self.members.len()))?;
        let mut record = CeremonyRecord {
            era,
            attempt: 0,
            threshold,
            phase: Phase::Commit,
            until: UNTIL,
            seats: self.members.iter().map(|member| fresh(member.id)).collect(),
            complaints: Vec::new(),
        };
        let mut cost = Cost {
            seconds: 0.0,
            busiest: 0.0,
            introductions: 0.0,
            parcel_bytes: 0,
            content_bytes: 0,
            statement_bytes: 0,
            record_bytes: 0,
        };

        let mut seated = Vec::new();
        for (index, member) in (1u16..).zip(&self.members) {
            let mut seconds = 0.0;
            let seed = secret(3, index, 0);
            let ceremony = timed(&mut seconds, || Ceremony::begin(&GENESIS, &member.id, &seed, &record))?;
            let receiving = timed(&mut seconds, || ceremony.receiving());
            seated.push(Seated { ceremony, receiving, turns: 0, seconds });
        }
        let introduced = self.members.iter().zip(&mut seated).map(|(member, seat)| -> Introduced {
            let announced = timed(&mut seat.seconds, || seat.receiving.announce(&member.identity));
            let (introduction, facts) = introduce(&member.identity, &member.lasting, announced, &member.machine);
            (member.id, introduction, facts)
        });
        let introduced: Vec<Introduced> = introduced.collect();
        for (member, seat) in self.members.iter().zip(&mut seated) {
            let mut seconds = 0.0;
            timed(&mut seconds, || meet_others(member, &introduced))?;
            cost.introductions += seconds;
            seat.seconds += seconds;
        }
        let mut peers = BTreeMap::new();
        for (id, introduction, facts) in &introduced {
            peers.insert(*id, verify_introduction(id, introduction, facts, &mut Verifier::default())?);
        }
        for (member, seat) in self.members.iter().zip(&mut seated) {
            let turn = look(member, seat, &record, &peers)?;
            cost.statement_bytes += take(&mut record, &turn.statements)?;
        }
        ensure!(record.seats.iter().all(|seat| seat.package.is_some()), "a seat did not commit");
        record.phase = Phase::Share;

        let mut carried: Vec<Parcel> = Vec::new();
        for (member, seat) in self.members.iter().zip(&mut seated) {
            let turn = look(member, seat, &record, &peers)?;
            ensure!(turn.statements.is_empty() && turn.strangers.is_empty(), "a seat lacks what was there");
            carried.extend(turn.parcels);
        }
        let pairs = self.members.len() * self.members.len().saturating_sub(1);
        ensure!(carried.len() == 2 * pairs, "each seat sends each other a package and shares");
        cost.parcel_bytes = carried.iter().map(Encode::encoded_size).sum();
        cost.content_bytes = pairs * (package_bytes(threshold) + SHARE_BYTES);
        for parcel in &carried {
            let position = usize::from(parcel.header.to).checked_sub(1).context("a parcel to nobody")?;
            let Seated { ceremony, receiving, seconds, .. } = seated.get_mut(position).context("a parcel to nobody")?;
            timed(seconds, || ceremony.accept(receiving, parcel))?;
        }
        drop(carried);
        for (member, seat) in self.members.iter().zip(&mut seated) {
            let turn = look(member, seat, &record, &peers)?;
            cost.statement_bytes += take(&mut record, &turn.statements)?;
        }

        let first = seated.first().and_then(|seat| seat.ceremony.seat()).context("the first seat has no share")?;
        let keys = first.keys().context("the first seat has no share of the beacon key")?;
        ensure!(
            record.seats.iter().all(|seat| seat.confirmed == Some(keys)),
            "the seats did not confirm the same keys"
        );
        let made = seated.iter().map(|seat| -> Result<Seat> {
            let seat = seat.ceremony.seat().context("a seat has no share")?;
            Ok(Seat::from_secret_bytes(&seat.to_secret_bytes())?)
        });
        let made = made.collect::<Result<Vec<Seat>>>()?;
        cost.record_bytes = record.encoded_size();
        cost.seconds = seated.iter().map(|seat| seat.seconds).sum();
        cost.busiest = seated.iter().map(|seat| seat.seconds).fold(0.0, f64::max);
        Ok((cost, made))
    }
}

/// One seat verifies all others' introductions, as before its first attempt.
fn meet_others(own: &Member, introduced: &[Introduced]) -> Result<()> {
    let mut verifier = Verifier::default();
    for (id, introduction, facts) in introduced.iter().filter(|(id, ..)| *id != own.id) {
        black_box(verify_introduction(id, introduction, facts, &mut verifier)?);
    }
    Ok(())
}

/// One seat looks at the chain, and makes the bytes that it would seal.
fn look(
    member: &Member,
    seat: &mut Seated,
    record: &CeremonyRecord,
    peers: &BTreeMap<WorkerId, VerifiedPeer>,
) -> Result<Turn> {
    seat.turns += 1;
    let Seated { ceremony, receiving, turns, seconds } = seat;
    let entropy = secret(4, ceremony.index(), *turns);
    let view = View {
        record,
        head: HEAD,
        now: NOW,
        since: HEAD,
        identity: &member.identity,
        receiving,
        peers,
        entropy: &entropy,
    };
    timed(seconds, || -> Result<Turn> {
        let turn = ceremony.step(&view)?;
        if turn.seal_first {
            black_box(ceremony.to_secret_bytes());
            ceremony.mark_sealed();
        }
        Ok(turn)
    })
}

/// Takes what a seat said into the record; gives its bytes.
fn take(record: &mut CeremonyRecord, said: &[SignedStatement]) -> Result<usize> {
    let mut bytes = 0;
    for signed in said {
        bytes += signed.encoded_size();
        let position = usize::from(signed.index).checked_sub(1);
        let seat = position.and_then(|position| record.seats.get_mut(position)).context("a statement of no seat")?;
        match signed.statement {
            Statement::Commit { package } => seat.package = Some(package),
            Statement::Confirm(keys) => seat.confirmed = Some(keys),
            other => bail!("nobody has a reason to say {other:?}"),
        }
    }
    Ok(bytes)
}

fn fresh(gatekeeper: WorkerId) -> SeatRecord {
    SeatRecord::new(gatekeeper)
}
