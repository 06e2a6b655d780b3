//! Attestation: simulated machines under the development root, beside genuine collateral; all bans, the longest policy on advisories.

use crate::{
    case::{number, Case, Scene, Work},
    world::{self, BLOCK, ERA, GENESIS, MEASUREMENT, NOW},
};
use anyhow::{anyhow, Context, Result};
use frame_support::{
    traits::{ConstU32, Hooks},
    weights::Weight,
    BoundedVec,
};
use phala_attest::{Ban, Evidence, Subject};
use phala_attest_corpus::{genuine, Kind};
use phala_insecure_tee::InsecureMachine;
use phala_pallet_attestation::{
    Ballot, Ballots, Bans, BrakeCommittee, Call, Committee, Expiries, Expiry, Measurements, Members, Model, Root,
    Sunsets, Suspensions, WatchedModel, WeightInfo, Workers, MOST_MEMBERS,
};
use phala_protocol::{
    attestation::{suspension_payload, Registration, Role},
    chain_state::AllowedMeasurement,
    AccountId, WorkerId,
};
use phala_runtime::{Attestation, Runtime, RuntimeCall, System};
use sp_runtime::DispatchResult;

const DAY: u64 = 86_400;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("attestation", "submit_collateral", |_| <() as WeightInfo>::submit_collateral())
            .at("simulated, in place of older", &[], simulated_collateral)
            .at("genuine, of TDX", &[1], genuine_collateral)
            .at("genuine, of SGX", &[0], genuine_collateral),
        Case::new("attestation", "register", |_| <() as WeightInfo>::register()).at(
            "in place of two others",
            &[],
            register,
        ),
        Case::new("attestation", "govern", |_| <() as WeightInfo>::govern())
            .at("allow_measurement", &[], allow_measurement)
            .at("remove_measurement", &[], remove_measurement)
            .at("set_advisories", &[], set_advisories)
            .at("set_committee", &[], set_committee),
        Case::new("attestation", "bar", |_| <() as WeightInfo>::bar())
            .at("revoke", &[], revoke)
            .at("suspend", &[], suspend)
            .at("lift", &[], lift)
            .at("revoke_hardware", &[], revoke_hardware)
            .at("vote_to_suspend, the one that decides", &[], vote_to_suspend),
        Case::new("attestation", "suspend_by_gatekeepers", |at| {
            <() as WeightInfo>::suspend_by_gatekeepers(number(at, 0))
        })
        .at("2 of 4", &[2, 4], suspend_by_gatekeepers)
        .at("1,000 of 1,000", &[1_000, 1_000], suspend_by_gatekeepers)
        .at("334 of 1,000", &[334, 1_000], suspend_by_gatekeepers),
        Case::new("attestation", "begin_bans", |_| hooks()).at("a ban begins and a sunset passed", &[], begin_bans),
        Case::new("attestation", "watch_collateral", |_| hooks()).at(
            "collateral that ends soon",
            &[],
            watch_collateral,
        ),
        Case::new("attestation", "record_root", |at| <() as WeightInfo>::record_root(number(at, 0)))
            .at("4 seats", &[4], record_root)
            .at("1,000 seats", &[1_000], record_root)
            .at("100 seats", &[100], record_root),
    ]
}

/// What the pallet's hook charges: both are of every block.
fn hooks() -> Weight {
    <() as WeightInfo>::begin_bans().saturating_add(<() as WeightInfo>::watch_collateral())
}

/// A call that nobody's numbers describe: it has no parameters.
fn scene(work: Work) -> Scene {
    Scene { at: Vec::new(), work }
}

fn root(call: Call<Runtime>) -> Result<Scene> {
    Ok(scene(Work::Root(RuntimeCall::Attestation(call))))
}

fn transaction(call: Call<Runtime>) -> Result<Scene> {
    Ok(scene(Work::Call(RuntimeCall::Attestation(call))))
}

fn machine(now: u64) -> Result<InsecureMachine> {
    InsecureMachine::new("weights", b"a program", now).map_err(|error| anyhow!("there is no machine: {error}"))
}

/// Done natively, as a part of the scene.
fn ready(result: DispatchResult, what: &str) -> Result<()> {
    result.map_err(|error| anyhow!("{what}: {error:?}"))
}

fn simulated_collateral(_: &[u32]) -> Result<Scene> {
    world::strict()?;
    let before = NOW - 10 * DAY;
    world::set_time(before);
    let older = Box::new(machine(before)?.collateral().clone());
    ready(Attestation::submit_collateral(world::alice_signs(), older), "the older collateral")?;
    world::set_time(NOW);
    let collateral = Box::new(machine(NOW)?.collateral().clone());
    transaction(Call::submit_collateral { collateral })
}

/// `[whether it is of TDX]`.
fn genuine_collateral(size: &[u32]) -> Result<Scene> {
    world::strict()?;
    let kind = if number(size, 0) > 0 { Kind::TdxV4 } else { Kind::SgxV3 };
    let case = genuine::of(kind).into_iter().next().context("there is no genuine sample")?;
    world::set_time(case.input.now);
    let collateral = Box::new(case.collateral.clone().context("a genuine sample has collateral")?);
    transaction(Call::submit_collateral { collateral })
}

fn claim(number: u32) -> Registration {
    let block = BLOCK - 1;
    Registration {
        role: Role::Worker,
        identity: world::id(number),
        encryption_key: [4; 32],
        operator: world::alice(),
        block,
        block_hash: System::block_hash(block).0,
    }
}

fn evidence(machine: &InsecureMachine, claim: &Registration) -> Result<Box<Evidence>> {
    let quote = machine.quote(claim.report_data(&GENESIS)).try_into().map_err(|_| anyhow!("the quote is too long"))?;
    Ok(Box::new(Evidence::TdxDcap(quote)))
}

/// The machine carries another identity of its operator, and the identity was on another machine.
fn register(_: &[u32]) -> Result<Scene> {
    world::strict()?;
    let machine = machine(NOW)?;
    let collateral = Box::new(machine.collateral().clone());
    ready(Attestation::submit_collateral(world::alice_signs(), collateral), "the collateral")?;
    world::list(machine.measurement());
    let other = claim(2);
    let registered = Attestation::register(world::alice_signs(), other, evidence(&machine, &other)?);
    ready(registered, "the machine's other identity")?;
    let registration = claim(1);
    world::register_with(1, Role::Worker, world::alice(), MEASUREMENT)?;
    let evidence = evidence(&machine, &registration)?;
    transaction(Call::register { registration, evidence })
}

/// A measurement that is listed until a block, among as many bans as there can be.
fn listed_until(sunset: u32) -> Result<[u8; 32]> {
    world::ban(32, 32)?;
    let measurement = [8; 32];
    world::list(measurement);
    let entry = AllowedMeasurement { source: [1; 32], listed_at: 0, not_before: 0, sunset: Some(sunset) };
    Measurements::<Runtime>::insert(measurement, entry);
    Sunsets::<Runtime>::insert(sunset + 1, 1u32);
    Ok(measurement)
}

fn allow_measurement(_: &[u32]) -> Result<Scene> {
    let measurement = listed_until(BLOCK + 100)?;
    let mut listing = world::listing();
    listing.sunset = Some(BLOCK + 200);
    root(Call::allow_measurement { measurement, listing })
}

fn remove_measurement(_: &[u32]) -> Result<Scene> {
    let measurement = listed_until(BLOCK + 100)?;
    root(Call::remove_measurement { measurement })
}

fn set_advisories(_: &[u32]) -> Result<Scene> {
    root(Call::set_advisories { policy: world::advisory_policy()? })
}

fn members() -> Result<Members> {
    let mut members: Vec<AccountId> = (0..6).map(world::operator).collect();
    members.push(world::alice());
    members.try_into().map_err(|_| anyhow!("too many members"))
}

fn set_committee(_: &[u32]) -> Result<Scene> {
    let members = members()?;
    Ballots::<Runtime>::put(ballots(&members, world::subject(500), 7)?);
    root(Call::set_committee { members, term: 1_000 })
}

/// Votes of the first `number` members.
fn ballots(members: &Members, subject: Subject, number: usize) -> Result<BoundedVec<Ballot, ConstU32<MOST_MEMBERS>>> {
    let ballot = |member: &AccountId| Ballot { member: *member, subject, until: BLOCK + 100 };
    let ballots: Vec<_> = members.iter().take(number).map(ballot).collect();
    ballots.try_into().map_err(|_| anyhow!("too many votes"))
}

fn revoke(_: &[u32]) -> Result<Scene> {
    world::ban(29, 32)?;
    root(Call::revoke { subject: world::subject(500), from: None })
}

fn suspend(_: &[u32]) -> Result<Scene> {
    world::ban(32, 31)?;
    root(Call::suspend { subject: world::subject(500) })
}

fn lift(_: &[u32]) -> Result<Scene> {
    world::ban(32, 32)?;
    root(Call::lift { subject: world::subject(63) })
}

fn revoke_hardware(_: &[u32]) -> Result<Scene> {
    let worker = world::register(1, Role::Worker)?;
    let hardware = Workers::<Runtime>::get(worker).context("it is registered")?.hardware;
    root(Call::revoke_hardware { hardware })
}

fn vote_to_suspend(_: &[u32]) -> Result<Scene> {
    world::ban(32, 31)?;
    let (members, subject) = (members()?, world::subject(500));
    Ballots::<Runtime>::put(ballots(&members, subject, 6)?);
    Committee::<Runtime>::put(BrakeCommittee { members, until: BLOCK + 100 });
    transaction(Call::vote_to_suspend { subject })
}

/// `[signatures, seats]`.
fn suspend_by_gatekeepers(size: &[u32]) -> Result<Scene> {
    world::ban(32, 31)?;
    let (signatures, seats, subject, expires) = (number(size, 0), number(size, 1), world::subject(500), BLOCK + 100);
    Root::<Runtime>::put(world::root(ERA, (1..=seats).map(world::id).collect())?);
    Suspensions::<Runtime>::insert(subject, 3u32);
    let payload = suspension_payload(&GENESIS, &subject, 3, expires);
    let sign = |seat: u32| -> Result<(u16, [u8; 64])> { Ok((u16::try_from(seat)?, world::sign(seat, &payload))) };
    let signatures = (1..=signatures).map(sign).collect::<Result<Vec<_>>>()?;
    let mut scene = transaction(Call::suspend_by_gatekeepers { subject, expires, signatures })?;
    scene.at = vec![number(size, 0)];
    Ok(scene)
}

fn begin_bans(_: &[u32]) -> Result<Scene> {
    world::ban(32, 31)?;
    let begins = Ban { subject: world::subject(500), from: BLOCK + 1, until: None };
    let mut bans = Bans::<Runtime>::get();
    bans.put(begins, BLOCK).map_err(|_| anyhow!("too many bans"))?;
    Bans::<Runtime>::put(bans);
    Sunsets::<Runtime>::insert(BLOCK + 1, 1u32);
    let hook = <Attestation as Hooks<u32>>::on_initialize;
    let done = || !Sunsets::<Runtime>::contains_key(BLOCK + 1);
    Ok(scene(Work::Block { hook, done }))
}

fn watch_collateral(_: &[u32]) -> Result<Scene> {
    for number in 0..8 {
        let fmspc = [number; 6];
        let model = Model { vendor: phala_attest::Vendor::IntelTdx, fmspc, authority: [2; 32] };
        Expiries::<Runtime>::insert(model, Expiry { valid_until: NOW + DAY, alarm: false });
    }
    let first = Expiries::<Runtime>::iter_keys().next().context("there is no model")?;
    WatchedModel::<Runtime>::put(first);
    let hook = <Attestation as Hooks<u32>>::on_initialize;
    let done = || Expiries::<Runtime>::iter_values().any(|expiry| expiry.alarm);
    Ok(scene(Work::Block { hook, done }))
}

fn record_root(size: &[u32]) -> Result<Scene> {
    world::strict()?;
    let numbers = 1..=number(size, 0);
    let seats =
        numbers.clone().map(|number| world::register(number, Role::Gatekeeper)).collect::<Result<Vec<WorkerId>>>()?;
    let root = world::root(0, seats)?;
    let payload = root.signing_payload(&GENESIS);
    let signatures = numbers.map(|number| world::sign(number, &payload)).collect();
    let mut scene = self::root(Call::record_root { root, signatures })?;
    scene.at = vec![number(size, 0)];
    Ok(scene)
}
