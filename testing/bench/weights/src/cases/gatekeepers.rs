//! Gatekeepers: validators with a gatekeeper each, ceremonies of up to a hundred seats with every complaint there can be, hand-overs; the
//! same of identities, which a hundred seats receive from a hundred others.

use crate::{
    case::{number, Case, Scene, Work},
    world::{self, BLOCK, ERA, GENESIS},
};
use anyhow::{anyhow, Context, Result};
use frame_support::{traits::Hooks, weights::Weight};
use phala_attest::MOST_ADVISORIES;
use phala_pallet_attestation::{AdvisoriesOf, Applying, Members, NextRoot, Root};
use phala_pallet_beacon::{Due as DuePeriod, Gathered, Gathering, Keys, Schedule, Timetable};
use phala_pallet_contracts::{ClustersOfEra, NextCluster};
use phala_pallet_gatekeepers::{
    Call, Ceremony, CommitteeVotes, Due, Elected, Elections, FormerElections, FormerSets, HandOver, Identity,
    IdentityCeremony, IdentityDue, Next, Plan, Planned, Roots, Seats, Validators, WeightInfo, MOST_COMPLAINTS,
    MOST_FORMER_SETS, REMEMBERED_ERAS,
};
use phala_protocol::{
    attestation::{encryption_key_hash, Role},
    beacon::{BeaconHolder, BeaconRecord, DueBeacon},
    ceremony::{
        delivery_hash, AnnouncedKey, Attachment, CeremonyAttempt, CeremonyRecord, Complaint, Parcel, ParcelHeader,
        ParcelKind, Phase, SignedStatement, Statement, MAX_ATTACHMENT_BYTES, MAX_SEATS,
    },
    identities::{
        IdentityCeremonyRecord, IdentityHolder, IdentityPoints, IdentityRecord, IdentityStatement,
        SignedIdentityStatement,
    },
    AccountId, WorkerId,
};
use phala_runtime::{Gatekeepers, Runtime, RuntimeCall};
use sp_keyring::Sr25519Keyring;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("gatekeepers", "bind", |_| <() as WeightInfo>::bind())
            .at("register_seat of another's former gatekeeper, in the place of one's own", &[], register_seat)
            .at("leave", &[], leave),
        Case::new("gatekeepers", "start", |at| <() as WeightInfo>::start(number(at, 0)))
            .at("4 seats", &[4], start)
            .at("100 seats", &[100], start)
            .at("start_identities, of 100 seats from 100 others", &[], start_identities),
        Case::new("gatekeepers", "state", |at| <() as WeightInfo>::state(number(at, 0), number(at, 1)))
            .at("a dispute among 4", &[4, 2], dispute)
            .at("a dispute among 100", &[100, 2], dispute)
            .at("a dispute among 100, all complaints", &[100, MOST_COMPLAINTS], dispute)
            .at("a rejection among 100, all complaints", &[100, MOST_COMPLAINTS], reject)
            .at("a dispute of identities, all complaints", &[], dispute_identities)
            .at("a rejection of identities, all complaints", &[], reject_identities),
        Case::new("gatekeepers", "state_with", |at| <() as WeightInfo>::state_with(number(at, 0), number(at, 1)))
            .at("a delivery among 4", &[4, 2], deliver)
            .at("a delivery among 100", &[100, 2], deliver)
            .at("a delivery among 100, all complaints", &[100, MOST_COMPLAINTS], deliver)
            .at("a delivery of identities, all complaints", &[], deliver_identities)
            .at("a first complaint among 100, all complaints", &[100, MOST_COMPLAINTS], complain),
        Case::new("gatekeepers", "govern", |_| <() as WeightInfo>::govern())
            .at("cancel, all complaints", &[], cancel)
            .at("cancel_identities, all complaints", &[], cancel_identities)
            .at("cancel_next", &[], cancel_next),
        Case::new("gatekeepers", "vote_for_committee", |_| <() as WeightInfo>::vote_for_committee())
            .at("of 1,000 seats, undecided", &[1_000], vote_for_committee)
            .at("of 100 seats, the one that decides", &[100], vote_for_committee),
        Case::new("gatekeepers", "wait", |_| beside_idle(<() as WeightInfo>::wait())).at(
            "clusters need the former root",
            &[],
            wait,
        ),
        Case::new("gatekeepers", "activate", |_| beside_idle(<() as WeightInfo>::activate()))
            .at("the root answers", &[], answer)
            .at("clusters begin to go over", &[], begin_hand_over),
        Case::new("gatekeepers", "candidate", |_| <() as WeightInfo>::candidate()).of(MAX_SEATS as u64).at(
            "each seat of a root that waits for its seats",
            &[],
            too_few_active,
        ),
    ]
}

/// What the pallet's hook charges in a block in which this is due.
fn beside_idle(weight: Weight) -> Weight {
    <() as WeightInfo>::idle().saturating_add(weight)
}

fn transaction(at: Vec<u32>, call: Call<Runtime>) -> Scene {
    Scene { at, work: Work::Call(RuntimeCall::Gatekeepers(call)) }
}

fn root(at: Vec<u32>, call: Call<Runtime>) -> Scene {
    Scene { at, work: Work::Root(RuntimeCall::Gatekeepers(call)) }
}

/// A gatekeeper of this number, bound to the validator that is the account of this number.
fn bind(number: u32) -> Result<WorkerId> {
    let gatekeeper = world::register(number, Role::Gatekeeper)?;
    Seats::<Runtime>::insert(world::account(number), gatekeeper);
    Validators::<Runtime>::insert(gatekeeper, world::account(number));
    Ok(gatekeeper)
}

/// As many gatekeepers, numbered from 1, each bound to its validator.
pub(super) fn seats(number: u32) -> Result<Vec<WorkerId>> {
    (1..=number).map(bind).collect()
}

fn register_seat(_: &[u32]) -> Result<Scene> {
    world::strict()?;
    let gatekeeper = bind(1)?;
    world::register_with(1, Role::Gatekeeper, world::alice(), world::MEASUREMENT)?;
    let (replaced, alice) = (world::id(2), Sr25519Keyring::Alice.to_account_id());
    Seats::<Runtime>::insert(&alice, replaced);
    Validators::<Runtime>::insert(replaced, &alice);
    Ok(transaction(vec![], Call::register_seat { gatekeeper }))
}

fn leave(_: &[u32]) -> Result<Scene> {
    let (gatekeeper, alice) = (world::id(1), Sr25519Keyring::Alice.to_account_id());
    Seats::<Runtime>::insert(&alice, gatekeeper);
    Validators::<Runtime>::insert(gatekeeper, &alice);
    Ok(transaction(vec![], Call::leave {}))
}

/// `[seats]`: they begin an era again, and as many former sets are kept as may be, of which two are of too long ago.
fn start(size: &[u32]) -> Result<Scene> {
    world::strict()?;
    world::root_answers()?;
    let seats = seats(number(size, 0))?;
    let elected: Vec<_> = seats.iter().zip(1u32..).map(|(seat, at)| (*seat, world::account(at))).collect();
    let old = [(ERA + 1 - REMEMBERED_ERAS, 0), (ERA + 1 - REMEMBERED_ERAS, 1)];
    for set in old {
        FormerElections::<Runtime>::insert(set, elected.clone());
    }
    let kept: Vec<_> = old.into_iter().chain((2..MOST_FORMER_SETS).map(|first| (ERA + 1, first))).collect();
    FormerSets::<Runtime>::put(kept);
    Elections::<Runtime>::insert(ERA + 1, Elected { first_attempt: MOST_FORMER_SETS, seats: elected });
    let seats = seats.try_into().map_err(|_| anyhow!("too many seats"))?;
    Ok(root(size.to_vec(), Call::start { seats }))
}

/// As many elected validators as there can be wait for the root of the next era.
fn plan() {
    let validators = (1..=MAX_SEATS as u32).map(world::account).collect();
    Planned::<Runtime>::put(Plan { era: ERA + 1, validators });
}

/// The ceremony of `[seats, complaints]`, with all that a seat can have. The last complaint but one is the first seat's of the second,
/// delivered; the last is the second's of the first, not yet delivered.
fn ceremony(size: &[u32], phase: Phase) -> Result<CeremonyRecord> {
    world::strict()?;
    let (of_seats, of_complaints) = (u16::try_from(number(size, 0))?, number(size, 1) as usize);
    let mut record = CeremonyRecord::new(ERA + 1, 0, &seats(of_seats.into())?);
    record.begin(phase, BLOCK - 1, 100);
    for (index, seat) in (1u16..).zip(&mut record.seats) {
        seat.package = Some([1; 32]);
        seat.key = Some(encryption_key_hash(&world::key_of(index.into())));
        seat.rejected = (3..=of_seats).collect();
    }
    let pairs = (1..=of_seats).flat_map(|accuser| (1..=of_seats).map(move |dealer| (accuser, dealer)));
    let others = pairs.filter(|pair| pair.0 != pair.1 && ![(1, 2), (2, 1)].contains(pair));
    record.complaints = others.take(of_complaints.saturating_sub(2)).map(answered).collect();
    record.complaints.push(Complaint { delivered: Some([2; 32]), ..Complaint::new(1, 2) });
    record.complaints.push(Complaint::new(2, 1));
    Due::<Runtime>::put(record.until + 1);
    Ok(record)
}

/// A complaint that went all its way.
fn answered((accuser, dealer): (u16, u16)) -> Complaint {
    Complaint {
        delivered: Some([2; 32]),
        disputed: true,
        answer: Some([[1; 32]; 2]),
        ..Complaint::new(accuser, dealer)
    }
}

/// What the first seat says.
fn say(record: CeremonyRecord, statement: Statement) -> SignedStatement {
    let unsigned =
        SignedStatement { era: record.era, attempt: record.attempt, index: 1, statement, signature: [0; 64] };
    Ceremony::<Runtime>::put(record);
    SignedStatement { signature: world::sign(1, &unsigned.signing_payload(&GENESIS)), ..unsigned }
}

fn dispute(size: &[u32]) -> Result<Scene> {
    let record = ceremony(size, Phase::Deliver)?;
    let statement = say(record, Statement::Dispute { dealer: 2, parcel: [2; 32] });
    Ok(transaction(size.to_vec(), Call::state { statement }))
}

fn reject(size: &[u32]) -> Result<Scene> {
    let mut record = ceremony(size, Phase::Settle)?;
    for complaint in record.complaints.iter_mut().rev().take(2) {
        (complaint.disputed, complaint.answer) = (true, Some([[1; 32]; 2]));
    }
    let statement = say(record, Statement::Reject { dealer: 2 });
    Ok(transaction(size.to_vec(), Call::state { statement }))
}

fn deliver(size: &[u32]) -> Result<Scene> {
    let record = ceremony(size, Phase::Deliver)?;
    let parcel = parcel(record.era, record.attempt, ParcelKind::Delivery);
    let hash = delivery_hash(&encryption_key_hash(&world::key_of(2)), &parcel);
    let statement = say(record, Statement::Deliver { accuser: 2, parcel: hash });
    Ok(transaction(size.to_vec(), Call::state_with { statement, attachment: Attachment::Parcel(parcel) }))
}

/// The first seat complains of the third, with its key: the last complaint that there can be.
fn complain(size: &[u32]) -> Result<Scene> {
    let mut record = ceremony(size, Phase::Share)?;
    record.complaints.retain(|complaint| (complaint.accuser, complaint.dealer) != (1, 3));
    record.seats.first_mut().context("a ceremony of nobody")?.key = None;
    let of = CeremonyAttempt::root(record.era, record.attempt);
    let unsigned = AnnouncedKey { of, key: vec![0; 1_216], signature: [0; 64] };
    let signature = world::sign(1, &unsigned.signing_payload(&GENESIS));
    let statement = say(record, Statement::Complain { dealer: 3 });
    let attachment = Attachment::Key(AnnouncedKey { signature, ..unsigned });
    Ok(transaction(size.to_vec(), Call::state_with { statement, attachment }))
}

/// What the first dealer delivers to the second holder, as long as may be.
fn parcel(era: u32, attempt: u32, kind: ParcelKind) -> Parcel {
    Parcel {
        header: ParcelHeader { era, attempt, from: 1, to: 2, kind },
        encapsulated: vec![1; 1_120],
        body: vec![2; MAX_ATTACHMENT_BYTES - 1_120],
        signature: [3; 64],
    }
}

/// The record of identities that a hundred gatekeepers hold, numbered from 101.
pub(super) fn held() -> Result<IdentityRecord> {
    let points = IdentityPoints { ed25519: [1; 32], sr25519: [2; 32] };
    let holder = |index: u16| -> Result<IdentityHolder> {
        Ok(IdentityHolder { index, gatekeeper: bind(100 + u32::from(index))?, shares: points })
    };
    let holders = (1..=100).map(holder).collect::<Result<Vec<_>>>()?;
    Ok(IdentityRecord { era: ERA - 1, threshold: 67, keys: points, holders })
}

fn start_identities(_: &[u32]) -> Result<Scene> {
    world::strict()?;
    Identity::<Runtime>::put(held()?);
    Root::<Runtime>::put(world::root(ERA, seats(MAX_SEATS as u32)?)?);
    Ok(root(vec![2 * MAX_SEATS as u32], Call::start_identities {}))
}

/// The ceremony in which a hundred seats receive identities from a hundred others, with all that a holder can have, and with every complaint
/// about those who deal. The last complaints are as in [`ceremony`].
pub(super) fn identities(phase: Phase) -> Result<IdentityCeremonyRecord> {
    world::strict()?;
    let (former, seats) = (held()?, seats(MAX_SEATS as u32)?);
    let mut record = IdentityCeremonyRecord::new(ERA, 0, Some(&former), &seats, |_| true);
    record.begin(phase, BLOCK - 1, 100);
    for dealer in &mut record.dealers {
        dealer.package = Some([1; 32]);
    }
    for (index, holder) in (1u32..).zip(&mut record.holders) {
        holder.key = Some(encryption_key_hash(&world::key_of(index)));
        holder.rejected = (3..=former.threshold).collect();
    }
    let pairs = (1..=100u16).flat_map(|accuser| (1..=former.threshold).map(move |dealer| (accuser, dealer)));
    let others = pairs.filter(|pair| ![(1, 2), (2, 1)].contains(pair));
    record.complaints = others.map(answered).collect();
    record.complaints.push(Complaint { delivered: Some([2; 32]), ..Complaint::new(1, 2) });
    record.complaints.push(Complaint::new(2, 1));
    IdentityDue::<Runtime>::put(record.until + 1);
    Ok(record)
}

/// What a gatekeeper says as the first holder, or as the first dealer; and how large the ceremony is.
fn say_of_identities(
    record: IdentityCeremonyRecord,
    gatekeeper: u32,
    statement: IdentityStatement,
) -> Result<(Vec<u32>, SignedIdentityStatement)> {
    let (era, attempt) = (record.era, record.attempt);
    let unsigned = SignedIdentityStatement { era, attempt, index: 1, statement, signature: [0; 64] };
    let at = vec![2 * MAX_SEATS as u32, u32::try_from(record.complaints.len())?];
    IdentityCeremony::<Runtime>::put(record);
    let signature = world::sign(gatekeeper, &unsigned.signing_payload(&GENESIS));
    Ok((at, SignedIdentityStatement { signature, ..unsigned }))
}

fn dispute_identities(_: &[u32]) -> Result<Scene> {
    let record = identities(Phase::Deliver)?;
    let said = IdentityStatement::Dispute { dealer: 2, parcel: [2; 32] };
    let (at, statement) = say_of_identities(record, 1, said)?;
    Ok(transaction(at, Call::state_identities { statement, attachment: None }))
}

fn reject_identities(_: &[u32]) -> Result<Scene> {
    let mut record = identities(Phase::Settle)?;
    for complaint in record.complaints.iter_mut().rev().take(2) {
        (complaint.disputed, complaint.answer) = (true, Some([[1; 32]; 2]));
    }
    let (at, statement) = say_of_identities(record, 1, IdentityStatement::Reject { dealer: 2 })?;
    Ok(transaction(at, Call::state_identities { statement, attachment: None }))
}

fn deliver_identities(_: &[u32]) -> Result<Scene> {
    let record = identities(Phase::Deliver)?;
    let parcel = parcel(record.era, record.attempt, ParcelKind::Identities);
    let hash = delivery_hash(&encryption_key_hash(&world::key_of(2)), &parcel);
    let (at, statement) = say_of_identities(record, 101, IdentityStatement::Deliver { accuser: 2, parcel: hash })?;
    let attachment = Some(Attachment::Parcel(parcel));
    Ok(transaction(at, Call::state_identities { statement, attachment }))
}

fn cancel_identities(_: &[u32]) -> Result<Scene> {
    let record = identities(Phase::Settle)?;
    IdentityCeremony::<Runtime>::put(record);
    Ok(root(vec![], Call::cancel_identities {}))
}

fn cancel(_: &[u32]) -> Result<Scene> {
    let record = ceremony(&[MAX_SEATS as u32, MOST_COMPLAINTS], Phase::Settle)?;
    Ceremony::<Runtime>::put(record);
    plan();
    Ok(root(vec![], Call::cancel {}))
}

/// A root of a hundred seats comes, with its beacon's key; the root that answers has a thousand, and a value of its beacon is due.
fn coming(from: u32) -> Result<Vec<WorkerId>> {
    world::root_answers()?;
    let seats = seats(MAX_SEATS as u32)?;
    Roots::<Runtime>::insert(ERA, world::root(ERA, seats.clone())?);
    Roots::<Runtime>::insert(ERA + 1, world::root(ERA + 1, seats.clone())?);
    Next::<Runtime>::put(HandOver { era: ERA + 1, from });
    let holders: Vec<_> = (1..=100).map(|index| BeaconHolder { index, share: [1; 32] }).collect();
    for era in [ERA, ERA + 1] {
        Keys::<Runtime>::insert(era, BeaconRecord { era, threshold: 67, holders: holders.clone() });
    }
    // Not before the block after: the period does not end by itself.
    Schedule::<Runtime>::put(Timetable { era: ERA, next: 6, opens: BLOCK + 10 });
    DuePeriod::<Runtime>::put(DueBeacon { era: ERA, period: 5, present: (1..=66).collect() });
    Gathering::<Runtime>::put(Gathered { opened: BLOCK - 5, partials: Vec::new() });
    Ok(seats)
}

fn cancel_next(_: &[u32]) -> Result<Scene> {
    coming(BLOCK + 100)?;
    plan();
    Ok(root(vec![], Call::cancel_next {}))
}

/// `[seats]`: a hundred of them have a validator each, of whom Alice votes last.
fn vote_for_committee(size: &[u32]) -> Result<Scene> {
    let number = number(size, 0);
    let seats: Vec<_> = (1..=number).map(|number| WorkerId(world::bytes(0x40, number))).collect();
    let members: Vec<AccountId> = (1..=7).map(world::operator).collect();
    let mut sorted: Members = members.try_into().map_err(|_| anyhow!("too many members"))?;
    sorted.sort();
    let mut elected: Vec<_> = seats.iter().zip(1u32..).take(99).map(|(seat, at)| (*seat, world::account(at))).collect();
    // The first half is for the same committee.
    let wanted = |at: u32| -> Result<_> {
        let members = if at <= 50 { sorted.clone() } else { others(at)? };
        Ok((world::account(at), members))
    };
    let votes = (1..=99).map(wanted).collect::<Result<Vec<_>>>()?;
    if let Some(last) = seats.get(99) {
        elected.push((*last, Sr25519Keyring::Alice.to_account_id()));
    }
    Elections::<Runtime>::insert(ERA, Elected { first_attempt: 0, seats: elected });
    CommitteeVotes::<Runtime>::put((ERA, votes));
    Root::<Runtime>::put(world::root(ERA, seats)?);
    Ok(transaction(vec![], Call::vote_for_committee { members: sorted }))
}

fn others(at: u32) -> Result<Members> {
    let members: Vec<AccountId> = (0..7).map(|number| world::operator(1_000 * at + number)).collect();
    members.try_into().map_err(|_| anyhow!("too many members"))
}

fn wait(_: &[u32]) -> Result<Scene> {
    let seats = coming(0)?;
    NextRoot::<Runtime>::put(world::root(ERA + 1, seats)?);
    ClustersOfEra::<Runtime>::insert(ERA, 1u32);
    ClustersOfEra::<Runtime>::insert(ERA + 1, 1u32);
    Ok(Scene { at: vec![], work: Work::Block { hook: hook(), done: Next::<Runtime>::exists } })
}

fn answer(_: &[u32]) -> Result<Scene> {
    let seats = coming(0)?;
    NextRoot::<Runtime>::put(world::root(ERA + 1, seats)?);
    ClustersOfEra::<Runtime>::insert(ERA + 1, 1u32);
    let done = || Root::<Runtime>::get().is_some_and(|root| root.era == ERA + 1);
    Ok(Scene { at: vec![], work: Work::Block { hook: hook(), done } })
}

fn begin_hand_over(_: &[u32]) -> Result<Scene> {
    world::strict()?;
    coming(0)?;
    ClustersOfEra::<Runtime>::insert(ERA, 1u32);
    NextCluster::<Runtime>::put(0u32);
    let done = NextRoot::<Runtime>::exists;
    Ok(Scene { at: vec![], work: Work::Block { hook: hook(), done } })
}

/// A third of the seats had an advisory when they attested that is forbidden by now: the root waits, and all of its seats are looked at.
fn too_few_active(_: &[u32]) -> Result<Scene> {
    world::strict()?;
    let seats = coming(0)?;
    ClustersOfEra::<Runtime>::insert(ERA, 1u32);
    let mut applying = world::advisory_policy()?.forbidden.to_vec();
    applying.truncate(MOST_ADVISORIES - 1);
    for seat in seats.iter().take(40) {
        AdvisoriesOf::<Runtime>::insert(seat, Applying::truncate_from(applying.clone()));
    }
    let done = || Next::<Runtime>::exists() && !NextRoot::<Runtime>::exists();
    Ok(Scene { at: vec![], work: Work::Block { hook: hook(), done } })
}

fn hook() -> fn(u32) -> Weight {
    <Gatekeepers as Hooks<u32>>::on_initialize
}
