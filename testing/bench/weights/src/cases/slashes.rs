//! Slashes through staking: the conviction of a validator with all who may be behind it, and what is taken of them when an era begins.
//!
//! INSECURE, as all of this crate: gatekeepers sign with keys that follow from numbers.

use super::{fines, gatekeepers};
use crate::{
    case::{number, Case, Scene, Work},
    world::{self, ERA, GENESIS},
};
use anyhow::{ensure, Context, Result};
use codec::Encode;
use frame_support::{
    dispatch::DispatchClass,
    storage::storage_prefix,
    traits::{Get, Hooks},
    weights::Weight,
    StorageHasher, Twox64Concat,
};
use phala_pallet_gatekeepers::{
    Call, Config, CurrentPolicy, Elected, Elections, FormerElections, FormerSets, Misdeed, Offence, Punish, WeightInfo,
    MOST_FORMER_SETS,
};
use phala_protocol::ceremony::{SignedStatement, Statement, MAX_SEATS};
use phala_runtime::{
    currency::UNIT, network::EpochDuration, AccountId, Runtime, RuntimeCall, Session, Staking, System,
};

/// Validators of the set whose stakes are taken of: as few as there may be, so that a session's change is the least part of it.
const FEW: u32 = 4;
/// The era that begins, and its first session: the next ones.
const NEXT: u32 = 1;
/// Stakes that one slash takes of at most: a validator's, and of all who may be behind it.
const MOST_STAKES: u32 = world::MOST_NOMINATORS + 1;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("gatekeepers", "report", |at| <() as WeightInfo>::report(number(at, 0)))
            .at("of one that nobody nominates, as the last of a hundred", &[0], report)
            .at("of one with all who may be behind it, as the last of a hundred", &[world::MOST_NOMINATORS], report),
        Case::new("gatekeepers", "apply", |at| <() as WeightInfo>::apply(number(at, 0)))
            .at("of a validator alone", &[1], apply)
            .at("of one with all who may be behind it", &[MOST_STAKES], apply),
    ]
}

/// `[nominators]`, none or all: a seat of a former set is convicted of an attempt of which all others of the set were convicted before. Staking
/// reads the slashes of all of them again, and the list of the era's slashes has them.
fn report(size: &[u32]) -> Result<Scene> {
    let seats = MAX_SEATS as u32;
    world::staked(seats, 0)?;
    world::strict()?;
    gatekeepers::seats(seats)?;
    // Nominated are the first.
    let offender = if number(size, 0) > 0 { 1 } else { seats };
    let nominators = Staking::eras_stakers(0, &world::account(offender)).others.len();
    ensure!(nominators == number(size, 0) as usize, "{nominators} nominators are behind validator {offender}");

    // The era was begun again as often as is remembered. The attempt was the first set's.
    let former = fines::elected(1..=seats);
    FormerElections::<Runtime>::insert((ERA, 0), former.seats.clone());
    FormerSets::<Runtime>::put((0..MOST_FORMER_SETS).map(|first| (ERA, first)).collect::<Vec<_>>());
    Elections::<Runtime>::insert(ERA, Elected { first_attempt: MOST_FORMER_SETS, ..former });
    let fraction = CurrentPolicy::<Runtime>::get().fault;
    for number in (1..=seats).filter(|number| *number != offender) {
        <Runtime as Config>::Punish::punish(Misdeed {
            offender: world::account(number),
            offence: Offence::Equivocation,
            era: ERA,
            attempt: 0,
            set: 0,
            fraction,
            reporters: vec![world::account(seats + number)],
        });
    }

    let index = u16::try_from(offender)?;
    let said = |package: u8| {
        let statement = Statement::Commit { package: [package; 32] };
        let unsigned = SignedStatement { era: ERA, attempt: 0, index, statement, signature: [0; 64] };
        SignedStatement { signature: world::sign(offender, &unsigned.signing_payload(&GENESIS)), ..unsigned }
    };
    let call = Call::report_equivocation { first: said(1), second: said(2) };
    Ok(Scene { at: size.to_vec(), work: Work::Call(RuntimeCall::Gatekeepers(call)) })
}

/// Puts what a pallet keeps, which this crate does not link, where it keeps it.
fn put(pallet: &str, item: &str, key: Option<u32>, value: &impl Encode) {
    sp_io::storage::set(&place(pallet, item, key), &value.encode());
}

/// The key of a value, or of an entry of a map by Twox64Concat.
fn place(pallet: &str, item: &str, key: Option<u32>) -> Vec<u8> {
    let mut place = storage_prefix(pallet.as_bytes(), item.as_bytes()).to_vec();
    if let Some(key) = key {
        place.extend(key.using_encoded(Twox64Concat::hash));
    }
    place
}

/// `[stakes]`: a session ends, an era begins with the next one, and a slash of the first validator and of so many less one of whoever is behind
/// it was put off until then.
fn apply(size: &[u32]) -> Result<Scene> {
    world::staked(FEW, 0)?;
    let (validator, stakes) = (world::account(1), number(size, 0));
    let behind = Staking::eras_stakers(0, &validator).others.into_iter();
    let others: Vec<(AccountId, u128)> =
        behind.take(stakes as usize - 1).map(|nominator| (nominator.who, UNIT)).collect();
    ensure!(others.len() + 1 == stakes as usize, "{} nominators are behind the validator", others.len());
    // The validator, what it loses, the others, who reported it, and what of it is theirs.
    let slash = (validator, UNIT, others, Vec::<AccountId>::new(), 0u128);
    put("Staking", "UnappliedSlashes", Some(NEXT), &vec![slash]);
    put("Staking", "CurrentEra", None, &NEXT);
    put("Staking", "ErasStartSessionIndex", Some(NEXT), &NEXT);
    // The block's slot is the first of the next epoch.
    let genesis = world::NOW.checked_sub(EpochDuration::get()).context("an epoch is longer than time")?;
    put("Babe", "GenesisSlot", None, &genesis);
    put("Babe", "CurrentSlot", None, &world::NOW);
    let done = || {
        let is_due = sp_io::storage::get(&place("Staking", "UnappliedSlashes", Some(NEXT))).is_some();
        !is_due && Staking::slashable_balance_of(&world::account(1)) < world::STAKE
    };
    Ok(Scene { at: size.to_vec(), work: Work::Block { hook: change_sessions, done } })
}

/// The session pallet's hook. Gives what is charged beside the whole block that a change of sessions is charged as.
fn change_sessions(block: u32) -> Weight {
    let registered = || *System::block_weight().get(DispatchClass::Mandatory);
    let before = registered();
    let _whole_block = <Session as Hooks<u32>>::on_initialize(block);
    registered().saturating_sub(before)
}
