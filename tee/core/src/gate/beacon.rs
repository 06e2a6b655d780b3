//! This gatekeeper's part in the beacon: it shows the chain the key of an era, and evaluates what is due.
//!
//! Guarantees: what is awaited and what is due are records that were proved against this TEE's own finalised head. An evaluation is made for
//! the era and period that such a record shows as due, and for nothing else, by the seat whose root the chain recorded for that era; so
//! nobody whose machine this is learns a value before the chain opened its period. One is made a period, and repeated until the
//! record shows it or is gone. Without a seat of the era there is nothing to say: neither after the era, whose seats are dropped, nor
//! where a ceremony left this gatekeeper out.
//!
//! The host decides which heads arrive and when. After a start it may lead this TEE through the past again: periods that were due then
//! are evaluated again, to the same values, which are public since. Whoever can finalise a fork can have periods opened on it, and so
//! learn values before their time; the same can open an era outright.

use super::{seats::Seats, Sight};
use crate::{
    chain::{ChainError, Records, Shown},
    machine::draw,
    tee::DeliveryError,
};
use phala_gatekeeper::BeaconSeat;
use phala_protocol::{
    beacon::{AwaitedBeacon, BeaconPartial, BeaconRecord, DueBeacon, Period},
    relay::Outgoing,
    storage,
};

/// An evaluation.
struct Made {
    era: u32,
    period: Period,
    partial: BeaconPartial,
}

/// The gatekeeper's part in the beacon.
#[derive(Default)]
pub(super) struct Beacon {
    /// The key that the chain awaits, if a seat is of it.
    key: Option<BeaconRecord>,
    /// The newest evaluation.
    made: Option<Made>,
    /// Whether the chain lacks it.
    lacks: bool,
}

impl Beacon {
    /// What has to be proved: nothing where no seat has a share of a beacon key.
    pub(super) fn wanted_keys(&self, seats: &Seats) -> Vec<Vec<u8>> {
        match seats.beacons().next() {
            Some(_) => vec![storage::beacon_awaited_key(), storage::beacon_due_key()],
            None => Vec::new(),
        }
    }

    /// Does what the head's records ask for. `seats` are those that the same head leaves.
    pub(super) fn observe(
        &mut self,
        records: &Records<'_>,
        sight: &Sight<'_>,
        seats: &Seats,
    ) -> Result<(), DeliveryError> {
        // Before anything can fail: what a seat said that is gone is not repeated.
        if self.key.as_ref().is_some_and(|key| !seats.beacons().any(|beacon| beacon.record() == key)) {
            self.key = None;
        }
        if self.made.as_ref().is_some_and(|made| of_recorded_root(made.era, sight, seats).is_none()) {
            self.made = None;
        }
        let awaited = self.observe_awaited(records, seats).map_err(DeliveryError::from);
        let due = self.observe_due(records, sight, seats);
        awaited.and(due)
    }

    fn observe_awaited(&mut self, records: &Records<'_>, seats: &Seats) -> Result<(), ChainError> {
        match records.get::<AwaitedBeacon>(&storage::beacon_awaited_key())? {
            Shown::Nothing => {}
            Shown::Absent => self.key = None,
            Shown::Value(awaited) => self.key = awaited_key(&awaited, seats),
        }
        Ok(())
    }

    fn observe_due(&mut self, records: &Records<'_>, sight: &Sight<'_>, seats: &Seats) -> Result<(), DeliveryError> {
        match records.get::<DueBeacon>(&storage::beacon_due_key())? {
            Shown::Nothing => Ok(()),
            Shown::Absent => {
                self.lacks = false;
                Ok(())
            }
            Shown::Value(due) => self.evaluate(&due, sight, seats),
        }
    }

    /// Evaluates what a proved record shows as due, unless it was before, or the chain has it.
    fn evaluate(&mut self, due: &DueBeacon, sight: &Sight<'_>, seats: &Seats) -> Result<(), DeliveryError> {
        self.lacks = false;
        let (era, period) = (due.era, due.period);
        let Some(beacon) = of_recorded_root(era, sight, seats) else { return Ok(()) };
        if due.present.contains(&beacon.index()) {
            return Ok(());
        }
        if self.made.as_ref().is_none_or(|made| (made.era, made.period) != (era, period)) {
            let partial = beacon.partial(sight.chain.genesis(), period, &draw(sight.machine)?);
            self.made = Some(Made { era, period, partial });
        }
        self.lacks = true;
        Ok(())
    }

    /// What the chain is to be told, until a later head shows that it knows.
    pub(super) fn outgoing(&self) -> Vec<Outgoing> {
        let key = self.key.iter().cloned().map(Outgoing::BeaconKey);
        let made = self.made.iter().filter(|_| self.lacks);
        key.chain(made.map(|Made { era, period, partial }| Outgoing::BeaconPartial {
            era: *era,
            period: *period,
            partial: *partial,
        }))
        .collect()
    }
}

/// The record with the hash that is awaited, if a seat is of it.
fn awaited_key(awaited: &AwaitedBeacon, seats: &Seats) -> Option<BeaconRecord> {
    let mut records = seats.beacons().map(BeaconSeat::record);
    records.find(|record| record.era == awaited.era && record.hash() == awaited.hash).cloned()
}

/// What the seat of the era's recorded root holds of that era's beacon key.
fn of_recorded_root<'a>(era: u32, sight: &Sight<'_>, seats: &'a Seats) -> Option<&'a BeaconSeat> {
    seats.of(sight.roots.of_era(era)?)?.beacon()
}
