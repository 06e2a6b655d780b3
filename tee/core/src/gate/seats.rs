//! A gatekeeper's seats: by era, and by the attempt that made each, in memory and in the machine's sealed store. What a seat holds of its
//! era's beacon key comes and goes with it.
//!
//! Guarantees: a seat is here only once it is sealed, so that whoever confirms an attempt with it holds it after a restart too. Of the
//! seats of one era only the one whose share list the chain recorded stays. A seat of an era that is over - a newer root answers, and no
//! cluster is on its way from the old one - is gone from memory in the same step in which the head shows it, whether or not the disk
//! obeys; the disk is tried until it does. The lone seat of a development network is one of these. Where a root was ever seen no lone
//! seat is made again.
//!
//! The host controls the disk: it can put an old sealed seat back, which is dropped again at a head that shows its era over, and
//! answers before that only what the finalised chain of that head gives to its era. It can lose a seat, which then counts among those
//! that may be missing.

use super::SeatHealth;
use crate::{
    chain::Chain,
    machine::{draw_secret, Machine, MachineFault},
    roots::Roots,
    tee::Notice,
};
use codec::{Decode, DecodeAll, Encode};
use phala_crypto::Secret;
use phala_gatekeeper::{BeaconSeat, Seat};
use phala_protocol::chain_state::RootRecord;
use std::collections::{BTreeMap, BTreeSet};

/// Seats of one era that wait for the chain to record the root of one of them: those of its newest attempts.
const MOST_OF_ONE_ERA: usize = 4;

/// Era, and the attempt that made the seat; the lone one was made by none.
type Made = (u32, Option<u32>);

/// What is kept of the seats beside themselves. Not secret; sealed so that it is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct List {
    /// Whether a root was ever seen on chain.
    rooted: bool,
    /// Seats of this era and of those before it were dropped for good.
    retired: Option<u32>,
    /// Era and attempt of each seat that is kept, or that is still to be forgotten.
    made: Vec<(u32, u32)>,
}

/// The seats.
#[derive(Default)]
pub(crate) struct Seats {
    network: String,
    held: BTreeMap<Made, Seat>,
    /// Dropped, and not forgotten by the machine yet.
    doomed: BTreeSet<Made>,
    rooted: bool,
    retired: Option<u32>,
    /// Eras whose recorded root a seat here is of.
    recorded: BTreeSet<u32>,
    /// What the machine keeps as the list.
    kept: List,
}

impl Seats {
    /// The seats that this machine keeps for `chain`.
    pub(crate) fn open(chain: &Chain, machine: &dyn Machine) -> Result<Self, MachineFault> {
        let network = chain.name();
        let mut seats = Self { network, ..Self::default() };
        let list = machine.kept(&seats.list_name())?;
        seats.kept = list.and_then(|bytes| List::decode_all(&mut bytes.expose().as_slice()).ok()).unwrap_or_default();
        (seats.rooted, seats.retired) = (seats.kept.rooted, seats.kept.retired);
        let listed: Vec<Made> = seats.kept.made.iter().map(|(era, attempt)| (*era, Some(*attempt))).collect();
        for made in listed.into_iter().chain([(0, None)]) {
            let Some(bytes) = machine.kept(&seats.name(made))? else { continue };
            match Seat::from_secret_bytes(&bytes) {
                Ok(_) if seats.is_retired(made.0) => {
                    seats.doomed.insert(made);
                }
                Ok(seat) if seat.era() == made.0 => {
                    seats.held.insert(made, seat);
                }
                // Of another version, or emptied.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(seats)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether it has a seat of the era, recorded or not.
    pub(crate) fn holds(&self, era: u32) -> bool {
        self.held.keys().any(|made| made.0 == era)
    }

    /// Whether an attempt is older than one that made a seat here, or of an era that is over.
    pub(crate) fn is_past(&self, era: u32, attempt: u32) -> bool {
        self.is_retired(era) || self.held.keys().any(|made| *made > (era, Some(attempt)))
    }

    /// Whether the attempt made a seat here.
    pub(crate) fn made_in(&self, era: u32, attempt: u32) -> bool {
        self.held.contains_key(&(era, Some(attempt)))
    }

    /// The seat of a recorded root.
    pub(crate) fn of(&self, root: &RootRecord) -> Option<&Seat> {
        self.held.values().find(|seat| seat.is_recorded_as(root))
    }

    /// What the seats hold of beacon keys: also of attempts whose root is not recorded.
    pub(crate) fn beacons(&self) -> impl Iterator<Item = &BeaconSeat> {
        self.held.values().filter_map(Seat::beacon)
    }

    /// The lone seat of a development network.
    pub(crate) fn lone(&self) -> Option<&Seat> {
        self.held.get(&(0, None))
    }

    pub(crate) fn health(&self) -> Vec<SeatHealth> {
        let eras: BTreeSet<u32> = self.held.keys().map(|made| made.0).collect();
        eras.into_iter().map(|era| SeatHealth { era, recorded: self.recorded.contains(&era) }).collect()
    }

    /// Makes the only seat of a development network's root, unless the chain ever had a root, or there is a seat.
    pub(crate) fn make_lone(&mut self, chain: &Chain, machine: &dyn Machine) -> Result<(), MachineFault> {
        let Some(token) = chain.development() else { return Ok(()) };
        if self.rooted || self.retired.is_some() || !self.held.is_empty() {
            return Ok(());
        }
        // Entropy that gives no scalar is drawn again with the next delivery.
        let Ok(seat) = Seat::lone(token, 0, &draw_secret(machine)?) else { return Ok(()) };
        machine.keep(&self.name((0, None)), &seat.to_secret_bytes())?;
        self.held.insert((0, None), seat);
        Ok(())
    }

    /// Keeps the seat that an attempt made. It is sealed when this returns without an error, and not held otherwise.
    pub(crate) fn keep(&mut self, attempt: u32, seat: &Seat, machine: &dyn Machine) -> Result<(), MachineFault> {
        let made = (seat.era(), Some(attempt));
        if self.held.get(&made).is_some_and(|held| held.keys() == seat.keys()) {
            return Ok(());
        }
        let bytes = seat.to_secret_bytes();
        let copy = Seat::from_secret_bytes(&bytes).map_err(|error| MachineFault::Sealing(Box::new(error)))?;
        // The list first: what it does not name is not found again.
        let mut list = self.list();
        list.made.extend((!list.made.contains(&(made.0, attempt))).then_some((made.0, attempt)));
        self.keep_list(list, machine)?;
        machine.keep(&self.name(made), &bytes)?;
        self.doomed.remove(&made);
        self.held.insert(made, copy);
        let of_era: Vec<Made> = self.held.keys().filter(|held| held.0 == made.0).copied().collect();
        let excess = of_era.len().saturating_sub(MOST_OF_ONE_ERA);
        for old in of_era.into_iter().take(excess) {
            self.doom(old);
        }
        self.tidy(machine)
    }

    /// Drops what the recorded roots leave no use for.
    pub(crate) fn settle(
        &mut self,
        roots: &Roots,
        machine: &dyn Machine,
        notices: &mut Vec<Notice>,
    ) -> Result<(), MachineFault> {
        self.rooted |= roots.coming_era().is_some();
        let held: Vec<Made> = self.held.keys().copied().collect();
        for made in held {
            let (era, attempt) = made;
            if is_over(era, roots) {
                self.retired = self.retired.max(Some(era));
                self.doom(made);
                notices.push(Notice::SeatRetired { era });
                continue;
            }
            let Some(root) = roots.of_era(era) else { continue };
            if !self.held.get(&made).is_some_and(|seat| seat.is_recorded_as(root)) {
                self.doom(made);
                notices.push(Notice::SeatDropped { era, attempt });
            } else if self.recorded.insert(era) {
                notices.push(Notice::RootRecorded { era });
            }
        }
        let eras: BTreeSet<u32> = self.held.keys().map(|made| made.0).collect();
        self.recorded.retain(|era| eras.contains(era));
        let tidied = self.tidy(machine);
        // A list alone that is not kept costs nothing, and is kept with the next delivery.
        if self.doomed.is_empty() {
            return Ok(());
        }
        tidied
    }

    fn is_retired(&self, era: u32) -> bool {
        self.retired.is_some_and(|retired| era <= retired)
    }

    /// Out of memory at once; the machine forgets it when [`Self::tidy`] succeeds.
    fn doom(&mut self, made: Made) {
        self.held.remove(&made);
        self.doomed.insert(made);
    }

    /// Brings the machine in line with the memory: the list, what is to be forgotten, and the list without that.
    fn tidy(&mut self, machine: &dyn Machine) -> Result<(), MachineFault> {
        // Forgetting takes no room on a full disk, where keeping does.
        let named = self.keep_list(self.list(), machine);
        while let Some(made) = self.doomed.first().copied() {
            machine.forget(&self.name(made))?;
            self.doomed.remove(&made);
        }
        named?;
        self.keep_list(self.list(), machine)
    }

    fn list(&self) -> List {
        let made: BTreeSet<(u32, u32)> =
            self.held.keys().chain(&self.doomed).filter_map(|(era, attempt)| Some((*era, (*attempt)?))).collect();
        List { rooted: self.rooted, retired: self.retired, made: made.into_iter().collect() }
    }

    fn keep_list(&mut self, list: List, machine: &dyn Machine) -> Result<(), MachineFault> {
        if list != self.kept {
            machine.keep(&self.list_name(), &Secret::new(list.encode()))?;
            self.kept = list;
        }
        Ok(())
    }

    fn list_name(&self) -> String {
        format!("seats-{}", self.network)
    }

    fn name(&self, made: Made) -> String {
        match made {
            (era, Some(attempt)) => format!("seat-{}-{era}-{attempt}", self.network),
            (_, None) => format!("seat-{}", self.network),
        }
    }
}

/// Whether a newer root answers, and no cluster is on its way from the root of `era`.
fn is_over(era: u32, roots: &Roots) -> bool {
    roots.present().is_some_and(|root| root.era > era) && roots.next().is_none_or(|next| next.era > era)
}
