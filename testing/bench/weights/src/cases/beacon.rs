//! The beacon: keys of up to a hundred holders, dealt here, and their partials.
//!
//! INSECURE: the polynomials follow from numbers.

use crate::{
    case::{number, Case, Scene, Work},
    world::{self, BLOCK, ERA, GENESIS},
};
use anyhow::{anyhow, bail, Result};
use curve25519_dalek::scalar::Scalar;
use frame_support::traits::Hooks;
use phala_crypto::{beacon::BeaconShare, prf::KeyShare, Secret};
use phala_pallet_beacon::{
    Awaited, Call, Due, Gathered, Gathering, Kept, Keys, Latest, Schedule, Timetable, Values, WeightInfo,
};
use phala_protocol::{
    beacon::{
        AwaitedBeacon, BeaconHolder, BeaconInput, BeaconPartial, BeaconRecord, BeaconValue, DueBeacon, MadeBeacon,
    },
    ceremony::threshold_of,
};
use phala_runtime::{Beacon, Runtime, RuntimeCall};

/// The period that is due.
const PERIOD: u32 = 5;
/// Values that the runtime keeps.
const KEPT: u32 = 168;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("beacon", "look", |_| <() as WeightInfo>::look())
            .at("a partial that is there", &[67, 100], taken_before)
            .at("a record that is not awaited", &[100], not_awaited),
        Case::new("beacon", "hash", |at| <() as WeightInfo>::hash(number(at, 0)))
            .at("4 holders", &[4], another_record)
            .at("100 holders", &[100], another_record),
        Case::new("beacon", "publish_key", |at| <() as WeightInfo>::publish_key(number(at, 0)))
            .at("4 holders", &[4], publish)
            .at("100 holders", &[100], publish)
            .at("52 holders", &[52], publish)
            .at("100 holders, a threshold of 2", &[100, 2], publish),
        Case::new("beacon", "partial", |_| <() as WeightInfo>::partial())
            .at("the last but one of 100", &[67, 100], partial)
            .at("one of another holder", &[67, 100], bad_partial),
        Case::new("beacon", "complete", |at| <() as WeightInfo>::complete(number(at, 0), number(at, 1)))
            .at("3 of 4", &[3, 4], complete)
            .at("67 of 100", &[67, 100], complete)
            .at("3 of 100", &[3, 100], complete)
            .at("35 of 52", &[35, 52], complete),
        Case::new("beacon", "open", |_| <() as WeightInfo>::open()).at(
            "after a period without a value",
            &[67, 100],
            open,
        ),
    ]
}

struct InsecureKey {
    shares: Vec<BeaconShare>,
    record: BeaconRecord,
}

impl InsecureKey {
    fn new(threshold: u32, holders: u32) -> Result<Self> {
        let coefficients: Vec<_> =
            (1..=threshold).map(|number| Scalar::from_bytes_mod_order(world::bytes(0x20, number))).collect();
        let shares = (1..=u16::try_from(holders)?)
            .map(|index| {
                let at = Scalar::from(index);
                let value = coefficients.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * at + coefficient);
                let share = KeyShare::from_bytes(index, &Secret::new(value.to_bytes()));
                share.map(BeaconShare::new).map_err(|_| anyhow!("there is no share {index}"))
            })
            .collect::<Result<Vec<_>>>()?;
        let holders = shares
            .iter()
            .map(|share| BeaconHolder { index: share.index(), share: share.public_share().to_bytes() })
            .collect();
        Ok(Self { shares, record: BeaconRecord { era: ERA, threshold: u16::try_from(threshold)?, holders } })
    }

    /// What the first `number` holders give.
    fn partials(&self, number: u32) -> Vec<BeaconPartial> {
        let input = BeaconInput { genesis: GENESIS, era: ERA, period: PERIOD };
        self.shares.iter().take(number as usize).map(|share| share.partial(&input, &[9; 32])).collect()
    }
}

/// The chain has the key of `[threshold, holders]`, and all but `lacking` of a threshold of partials; the next partial. As many values are
/// kept as may be, the oldest of a former era.
fn gathered(size: &[u32], lacking: u32) -> Result<BeaconPartial> {
    let (threshold, holders) = (number(size, 0), number(size, 1));
    let key = InsecureKey::new(threshold, holders)?;
    let mut partials = key.partials(threshold.saturating_sub(lacking).saturating_add(1));
    let Some(next) = partials.pop() else { bail!("there is no partial") };
    Keys::<Runtime>::insert(ERA, key.record);
    let present = partials.iter().map(|partial| partial.index).collect();
    Due::<Runtime>::put(DueBeacon { era: ERA, period: PERIOD, present });
    Gathering::<Runtime>::put(Gathered { opened: BLOCK - 5, partials });
    Schedule::<Runtime>::put(Timetable { era: ERA, next: PERIOD + 1, opens: BLOCK + 1 });
    let kept: Vec<_> = (0..KEPT).map(|period| (if period == 0 { ERA - 1 } else { ERA }, 1_000 + period)).collect();
    for place in kept.first().into_iter().chain(kept.last()) {
        let proof = BeaconValue { era: place.0, period: place.1, partials: Vec::new() };
        Values::<Runtime>::insert(place, MadeBeacon { opened: 1, made: 2, value: [1; 32], proof });
        Latest::<Runtime>::put(place);
    }
    let former = InsecureKey::new(3, 4)?.record;
    Keys::<Runtime>::insert(ERA - 1, BeaconRecord { era: ERA - 1, ..former });
    Kept::<Runtime>::put(kept);
    Ok(next)
}

fn submit(partial: BeaconPartial) -> RuntimeCall {
    RuntimeCall::Beacon(Call::submit_partial { era: ERA, period: PERIOD, partial })
}

fn taken_before(size: &[u32]) -> Result<Scene> {
    let next = gathered(size, 1)?;
    Ok(Scene { at: vec![], work: Work::Refused(submit(BeaconPartial { index: 1, ..next }), "AlreadyTaken") })
}

fn not_awaited(size: &[u32]) -> Result<Scene> {
    let record = record(size)?;
    Awaited::<Runtime>::kill();
    let call = RuntimeCall::Beacon(Call::publish_key { record });
    Ok(Scene { at: vec![], work: Work::Refused(call, "NotAwaited") })
}

fn partial(size: &[u32]) -> Result<Scene> {
    let next = gathered(size, 2)?;
    Ok(Scene { at: vec![], work: Work::Call(submit(next)) })
}

fn bad_partial(size: &[u32]) -> Result<Scene> {
    let next = gathered(size, 1)?;
    let index = next.index.saturating_add(1);
    Ok(Scene { at: vec![], work: Work::Refused(submit(BeaconPartial { index, ..next }), "BadPartial") })
}

fn complete(size: &[u32]) -> Result<Scene> {
    let next = gathered(size, 1)?;
    Ok(Scene { at: size.to_vec(), work: Work::Call(submit(next)) })
}

/// `[holders, threshold]`; the threshold is a ceremony's where none is said.
fn record(size: &[u32]) -> Result<BeaconRecord> {
    let holders = number(size, 0);
    let threshold = match number(size, 1) {
        0 => u32::try_from(threshold_of(holders as usize))?,
        threshold => threshold,
    };
    Ok(InsecureKey::new(threshold, holders)?.record)
}

fn publish(size: &[u32]) -> Result<Scene> {
    let record = record(size)?;
    Awaited::<Runtime>::put(AwaitedBeacon { era: ERA, hash: record.hash() });
    let call = RuntimeCall::Beacon(Call::publish_key { record });
    Ok(Scene { at: vec![number(size, 0)], work: Work::Call(call) })
}

fn another_record(size: &[u32]) -> Result<Scene> {
    let record = record(size)?;
    Awaited::<Runtime>::put(AwaitedBeacon { era: ERA, hash: [1; 32] });
    let call = RuntimeCall::Beacon(Call::publish_key { record });
    Ok(Scene { at: vec![number(size, 0)], work: Work::Refused(call, "WrongRecord") })
}

fn open(size: &[u32]) -> Result<Scene> {
    gathered(size, 1)?;
    let hook = <Beacon as Hooks<u32>>::on_initialize;
    let done = || Due::<Runtime>::get().is_some_and(|due| due.period == PERIOD + 1);
    Ok(Scene { at: vec![], work: Work::Block { hook, done } })
}
