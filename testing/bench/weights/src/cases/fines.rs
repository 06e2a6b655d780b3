//! What validators pay for gatekeepers that are missing: in a period of the beacon, and when identities are received. Under staking with as
//! many voters as an election hears, though a fine reads nobody behind the validator.

use super::gatekeepers;
use crate::{
    case::{Case, Scene, Work},
    world::{self, BLOCK, ERA},
};
use anyhow::Result;
use frame_support::traits::Hooks;
use phala_pallet_beacon::{Due, Gathered, Gathering, Keys, Schedule, Timetable};
use phala_pallet_gatekeepers::{
    Call, CurrentPolicy, DealtBy, Elected, Elections, Identity, IdentityAbsences, IdentityCeremony, IdentityDue,
    SilenceRecord, Silences, WeightInfo,
};
use phala_protocol::{
    beacon::{BeaconHolder, BeaconRecord, DueBeacon},
    ceremony::{threshold_of, tolerated, Fault, Phase, MAX_SEATS},
    identities::{IdentityHolder, IdentityRecord},
};
use phala_runtime::{AccountId, Beacon, Runtime, RuntimeCall};
use std::ops::RangeInclusive;

/// As few seats as can be of which all that are nominated may be silent, and each pays.
const SEATS: u32 = 24;
/// The period that ends without a value.
const PERIOD: u32 = 5;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("gatekeepers", "silence", |_| <() as WeightInfo>::silence()).of(world::NOMINATED.into()).at(
            "each of 16 that are fined, with all who may be behind them",
            &[],
            silence,
        ),
        Case::new("gatekeepers", "show", |_| <() as WeightInfo>::show()).at(
            "all complaints, and a third of a hundred dealers and of a hundred holders is fined",
            &[],
            show,
        ),
    ]
}

/// How often somebody was missing whose next absence costs the fine.
fn warned() -> u32 {
    CurrentPolicy::<Runtime>::get().absences.saturating_sub(1)
}

/// Seats of the gatekeepers of these numbers.
pub(super) fn elected(numbers: RangeInclusive<u32>) -> Elected<AccountId> {
    let seats = numbers.map(|number| (world::id(number), world::account(number))).collect();
    Elected { first_attempt: 0, seats }
}

fn silence(_: &[u32]) -> Result<Scene> {
    world::staked(SEATS, 0)?;
    world::strict()?;
    gatekeepers::seats(SEATS)?;
    Elections::<Runtime>::insert(ERA, elected(1..=SEATS));
    for number in 1..=world::NOMINATED {
        let record = SilenceRecord { era: ERA - 1, times: warned(), fined_in: None };
        Silences::<Runtime>::insert(world::account(number), record);
    }
    let holders = (1..=SEATS as u16).map(|index| BeaconHolder { index, share: [1; 32] }).collect();
    let threshold = u16::try_from(threshold_of(SEATS as usize))?;
    Keys::<Runtime>::insert(ERA, BeaconRecord { era: ERA, threshold, holders });
    Schedule::<Runtime>::put(Timetable { era: ERA, next: PERIOD + 1, opens: BLOCK + 1 });
    let present = (world::NOMINATED as u16 + 1..=SEATS as u16).collect();
    Due::<Runtime>::put(DueBeacon { era: ERA, period: PERIOD, present });
    Gathering::<Runtime>::put(Gathered { opened: BLOCK - 5, partials: Vec::new() });
    let done = || {
        let fined = |number| Silences::<Runtime>::get(world::account(number)).and_then(|known| known.fined_in);
        (1..=world::NOMINATED).all(|number| fined(number) == Some(ERA))
    };
    let hook = <Beacon as Hooks<u32>>::on_initialize;
    Ok(Scene { at: vec![], work: Work::Block { hook, done } })
}

/// As many are missing as may be where a record is agreed on: of the former set, that dealt, and of the new one, whose first seats have the
/// nominators. Everybody was missing before.
fn show(_: &[u32]) -> Result<Scene> {
    let seats = MAX_SEATS as u32;
    world::staked(seats, seats)?;
    let (mut record, former) = (gatekeepers::identities(Phase::Settle)?, gatekeepers::held()?);
    let missing = tolerated(MAX_SEATS);
    for dealer in record.dealers.iter_mut().rev().take(missing) {
        dealer.left_out = Some(Fault::Absent);
    }
    for holder in record.holders.iter_mut().take(missing) {
        holder.left_out = Some(Fault::Absent);
    }
    let shares = former.keys;
    let holders = record.receiving();
    let holders =
        holders.map(|(index, known)| IdentityHolder { index, gatekeeper: known.gatekeeper, shares }).collect();
    let shown = IdentityRecord { era: record.era, threshold: record.threshold, keys: shares, holders };
    for holder in record.holders.iter_mut().skip(missing) {
        holder.confirmed = Some(shown.hash());
    }
    record.agreed = Some(shown.hash());
    record.begin(Phase::Settle, BLOCK - 1, 100);
    IdentityDue::<Runtime>::put(record.until + 1);
    IdentityCeremony::<Runtime>::put(record);
    Elections::<Runtime>::insert(ERA, elected(1..=seats));
    Elections::<Runtime>::insert(former.era, elected(seats + 1..=2 * seats));
    DealtBy::<Runtime>::insert(ERA, former.era);
    Identity::<Runtime>::put(former);
    for number in 1..=2 * seats {
        IdentityAbsences::<Runtime>::insert(world::account(number), warned());
    }
    Ok(Scene { at: vec![], work: Work::Call(RuntimeCall::Gatekeepers(Call::show_identities { record: shown })) })
}
