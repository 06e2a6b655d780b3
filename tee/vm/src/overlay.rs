//! The writes, events, egress and draws of one execution, in layers: one for each contract on the call stack.
//!
//! Guarantees: a layer's content reaches the layer below only by [`Overlay::commit`], so a contract that fails leaves
//! nothing, and neither does whatever it called. But for its draws: their numbers are used up whatever becomes of the call, so that no draw that was
//! shown to anybody is made again in the execution. Bounded in bytes, events and egress items whatever contracts do. Reads nothing from the world.

use crate::{
    limits::{MAX_EGRESS_BYTES, MAX_EGRESS_ITEMS, MAX_EVENTS, MAX_EVENT_BYTES, MAX_WRITE_BYTES},
    outcome::{Trap, Writes},
};
use phala_protocol::{egress::EgressAction, ids::ContractId, result::ContractEvent};
use std::collections::BTreeMap;

/// Layers of uncommitted changes.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    layers: Vec<Layer>,
    /// How often each contract has drawn random bytes so far, in calls that failed too.
    draws: BTreeMap<ContractId, u64>,
}

#[derive(Debug, Default)]
struct Layer {
    writes: Writes,
    write_bytes: usize,
    events: Vec<ContractEvent>,
    event_bytes: usize,
    egress: Egress,
    egress_bytes: usize,
}

/// What is to leave the cluster, with the contract that sends it.
type Egress = Vec<(ContractId, EgressAction)>;

/// What an entry costs in memory beside its bytes, so that many small entries are bounded too.
const ENTRY_OVERHEAD: usize = 64;

impl Overlay {
    /// Starts a layer.
    pub(crate) fn begin(&mut self) {
        self.layers.push(Layer::default());
    }

    /// Drops the top layer.
    pub(crate) fn roll_back(&mut self) {
        self.layers.pop();
    }

    /// Merges the top layer into the one below, and leaves it alone if there is none below.
    pub(crate) fn commit(&mut self) {
        let Some(top) = self.layers.pop() else { return };
        match self.layers.last_mut() {
            None => self.layers.push(top),
            Some(below) => {
                below.writes.extend(top.writes);
                below.write_bytes = below.write_bytes.saturating_add(top.write_bytes);
                below.events.extend(top.events);
                below.event_bytes = below.event_bytes.saturating_add(top.event_bytes);
                below.egress.extend(top.egress);
                below.egress_bytes = below.egress_bytes.saturating_add(top.egress_bytes);
            }
        }
    }

    /// The latest value of `key`: `None` when it was not written, `Some(None)` when it was removed.
    pub(crate) fn read(&self, contract: &ContractId, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let entry = (*contract, key.to_vec());
        self.layers.iter().rev().find_map(|layer| layer.writes.get(&entry)).cloned()
    }

    /// Writes, or removes with `None`. Every write counts against the bound, one to the same key again too: the bound
    /// is reached at the same write on every replica, and costs no second look-up.
    pub(crate) fn write(&mut self, contract: ContractId, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), Trap> {
        let bytes = key.len() + value.as_ref().map_or(0, Vec::len) + ENTRY_OVERHEAD;
        let total = self.layers.iter().fold(bytes, |total, layer| total.saturating_add(layer.write_bytes));
        let top = self.layers.last_mut().filter(|_| total <= MAX_WRITE_BYTES).ok_or(Trap::TooManyWrites)?;
        top.write_bytes = top.write_bytes.saturating_add(bytes);
        top.writes.insert((contract, key), value);
        Ok(())
    }

    /// Appends an event.
    pub(crate) fn emit(&mut self, event: ContractEvent) -> Result<(), Trap> {
        let (count, bytes) = self.layers.iter().fold((1usize, event.data.len()), |(count, bytes), layer| {
            (count.saturating_add(layer.events.len()), bytes.saturating_add(layer.event_bytes))
        });
        let room = count <= MAX_EVENTS && bytes <= MAX_EVENT_BYTES;
        let top = self.layers.last_mut().filter(|_| room).ok_or(Trap::TooManyEvents)?;
        top.event_bytes = top.event_bytes.saturating_add(event.data.len());
        top.events.push(event);
        Ok(())
    }

    /// Appends what is to leave the cluster, `bytes` long as the contract encoded it.
    pub(crate) fn send(&mut self, contract: ContractId, action: EgressAction, bytes: usize) -> Result<(), Trap> {
        let (count, total) = self.layers.iter().fold((1usize, bytes), |(count, total), layer| {
            (count.saturating_add(layer.egress.len()), total.saturating_add(layer.egress_bytes))
        });
        let room = count <= MAX_EGRESS_ITEMS && total <= MAX_EGRESS_BYTES;
        let top = self.layers.last_mut().filter(|_| room).ok_or(Trap::TooMuchEgress)?;
        top.egress_bytes = top.egress_bytes.saturating_add(bytes);
        top.egress.push((contract, action));
        Ok(())
    }

    /// The number of the contract's next draw, from 0, which is used up with it, whatever becomes of the layers. Gas bounds how many there are.
    pub(crate) fn draw(&mut self, contract: ContractId) -> u64 {
        let next = self.draws.entry(contract).or_default();
        let number = *next;
        *next = number.saturating_add(1);
        number
    }

    /// Everything that was committed.
    pub(crate) fn into_changes(mut self) -> (Writes, Vec<ContractEvent>, Egress) {
        self.layers.pop().map(|layer| (layer.writes, layer.events, layer.egress)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const CONTRACT: ContractId = ContractId([1; 32]);

    #[test]
    fn inner_layer_is_seen_until_it_is_rolled_back() {
        let mut overlay = Overlay::default();
        overlay.begin();
        overlay.write(CONTRACT, vec![1], Some(vec![1])).unwrap();
        overlay.begin();
        overlay.write(CONTRACT, vec![1], None).unwrap();
        assert_eq!(overlay.read(&CONTRACT, &[1]), Some(None));
        overlay.roll_back();
        assert_eq!(overlay.read(&CONTRACT, &[1]), Some(Some(vec![1])));
        assert_eq!(overlay.read(&CONTRACT, &[2]), None);
    }

    #[test]
    fn committed_layer_overrides_the_one_below() {
        let mut overlay = Overlay::default();
        overlay.begin();
        overlay.write(CONTRACT, vec![1], Some(vec![1])).unwrap();
        overlay.begin();
        overlay.write(CONTRACT, vec![1], Some(vec![2])).unwrap();
        overlay.emit(ContractEvent { contract: CONTRACT, data: vec![9] }).unwrap();
        overlay.commit();
        overlay.commit();
        let (writes, events, egress) = overlay.into_changes();
        assert!(egress.is_empty());
        assert_eq!(writes.into_iter().collect::<Vec<_>>(), vec![((CONTRACT, vec![1]), Some(vec![2]))]);
        assert_eq!(events.len(), 1);
    }

    #[test]
    fn bytes_and_events_are_bounded_over_all_layers() {
        let mut overlay = Overlay::default();
        overlay.begin();
        let value = vec![0; MAX_WRITE_BYTES / 2];
        overlay.write(CONTRACT, vec![1], Some(value.clone())).unwrap();
        overlay.begin();
        assert_eq!(overlay.write(CONTRACT, vec![2], Some(value)), Err(Trap::TooManyWrites));
        for _ in 0..MAX_EVENTS {
            overlay.emit(ContractEvent { contract: CONTRACT, data: vec![] }).unwrap();
        }
        assert_eq!(overlay.emit(ContractEvent { contract: CONTRACT, data: vec![] }), Err(Trap::TooManyEvents));
    }

    #[test]
    fn draws_are_numbered_by_contract_and_no_number_comes_twice() {
        const OTHER: ContractId = ContractId([2; 32]);
        let mut overlay = Overlay::default();
        overlay.begin();
        assert_eq!([overlay.draw(CONTRACT), overlay.draw(CONTRACT), overlay.draw(OTHER)], [0, 1, 0]);
        overlay.begin();
        assert_eq!([overlay.draw(OTHER), overlay.draw(CONTRACT), overlay.draw(OTHER)], [1, 2, 2]);
        overlay.roll_back();
        overlay.begin();
        assert_eq!(overlay.draw(OTHER), 3, "not one of those that were rolled back");
        overlay.commit();
        assert_eq!([overlay.draw(OTHER), overlay.draw(CONTRACT)], [4, 3]);
    }

    #[test]
    fn egress_is_bounded_over_all_layers_and_goes_with_its_layer() {
        let note = |byte| EgressAction::Message { destination: vec![], payload: vec![byte] };
        let mut overlay = Overlay::default();
        overlay.begin();
        overlay.send(CONTRACT, note(1), 4).unwrap();
        overlay.begin();
        for _ in 1..MAX_EGRESS_ITEMS {
            overlay.send(CONTRACT, note(2), 4).unwrap();
        }
        assert_eq!(overlay.send(CONTRACT, note(2), 4), Err(Trap::TooMuchEgress));
        overlay.roll_back();
        overlay.begin();
        assert_eq!(overlay.send(CONTRACT, note(3), MAX_EGRESS_BYTES - 3), Err(Trap::TooMuchEgress));
        overlay.send(CONTRACT, note(3), MAX_EGRESS_BYTES - 4).unwrap();
        overlay.commit();
        assert_eq!(overlay.into_changes().2, [(CONTRACT, note(1)), (CONTRACT, note(3))]);
    }
}
