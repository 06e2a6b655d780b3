//! What happens in the middle of a ceremony: a registration lapses, a validator binds another gatekeeper in the place of one that is
//! lost or is not, governance cancels. Or nothing happens to the set, and the network is cut in two, which is in `cut.rs`.
//!
//! By the pallet's rules: a seat stays that of the gatekeeper that it was given to until another set is elected, in which whoever is bound
//! by then has it; nothing is taken of whose registration has lapsed. One such thing happens in a ceremony, to honest seats. Where the
//! network is calm, no more honest seats are away than may lie beside the liars: a lost machine's ceremony is cancelled before that.

use super::{cut, World, STORM_ATTEMPTS};
use crate::{
    invariants::{CutOff, Violation, NAMES},
    machine::Machine,
    members::{attempt_of, GENESIS},
    partition::Partition,
    random::Random,
};
use phala_gatekeeper::dkg::open_parcel;
use phala_protocol::{ceremony::tolerated, ids::BlockNumber};
use std::{collections::BTreeSet, mem::replace};

/// Blocks within which it happens, if the ceremony takes so long.
pub(super) const WITHIN: u32 = 90;
/// Blocks that a registration lapses for, or until governance cancels, at most.
const MOST_BLOCKS: u32 = 60;
/// Parcels to a new gatekeeper that the one before it is tried on.
const TRIED: usize = 4;

/// One thing that happens.
pub(super) enum Change {
    /// The registration of this seat's gatekeeper lapses for so many blocks.
    Lapse(u16, BlockNumber),
    /// The validator of this seat binds another gatekeeper; so many blocks later governance cancels.
    Replace(u16, BlockNumber),
    /// The same, because the machine is lost.
    Lose(u16, BlockNumber),
    /// Governance cancels, and elects the same again.
    Cancel,
    /// The network is cut in two for so many blocks, by [`Partition`]: at once, or so many blocks before the end of a phase.
    Partition { cut: BTreeSet<u16>, blocks: BlockNumber, held: bool, before_end: Option<BlockNumber> },
}

impl Change {
    /// Whether it may happen in this block, in a phase until that one.
    fn is_time(&self, block: BlockNumber, until: BlockNumber) -> bool {
        match self {
            Self::Partition { before_end: Some(blocks), .. } => block + blocks >= until,
            _ => true,
        }
    }
}

/// What happens to the set, and what came of it.
pub(super) struct Changes {
    planned: Option<(BlockNumber, Change)>,
    /// Whose registration has lapsed, and when it is renewed.
    lapsed: Option<(u16, BlockNumber)>,
    /// Whose validators bound another gatekeeper, and when governance cancels.
    bound: Option<(BTreeSet<u16>, BlockNumber)>,
    /// Seats that were away in the calm.
    pub(super) excused: BTreeSet<u16>,
    /// The cut, from its first block on.
    pub(super) partition: Option<Partition>,
    /// Seats that were cut off, by attempt.
    pub(super) cut_off: CutOff,
    /// Machines whose seats others have.
    pub(super) retired: Vec<Machine>,
}

impl Changes {
    /// What chance will, of one of the `honest` seats; or, `apart`, that the network is cut in two, where `room` more than lie may be missing.
    pub(super) fn draw(random: &mut Random, apart: &mut Random, honest: &[u16], room: usize) -> Self {
        let (seat, at) = (random.one_of(honest), 2 + random.below(WITHIN));
        let blocks = 1 + random.below(MOST_BLOCKS);
        let change = match random.below(10) {
            0 | 1 => Some(Change::Lapse(seat, blocks)),
            2 | 3 => Some(Change::Replace(seat, blocks)),
            4 | 5 => Some(Change::Lose(seat, blocks)),
            6 => Some(Change::Cancel),
            _ => None,
        };
        Self {
            planned: change.map(|change| (at, change)).or_else(|| cut::plan(apart, honest, room)),
            lapsed: None,
            bound: None,
            excused: BTreeSet::new(),
            partition: None,
            cut_off: CutOff::new(),
            retired: Vec::new(),
        }
    }

    /// The newest head that this seat's machine can see in this block, if it is cut off.
    pub(super) fn newest_head(&self, index: u16, block: BlockNumber) -> Option<BlockNumber> {
        let partition = self.partition.as_ref().filter(|partition| partition.cuts_off(index, block));
        partition.map(Partition::newest_head)
    }
}

impl World<'_> {
    /// What is due in this block, before anything is said in it.
    pub(super) fn change_set(&mut self) {
        if self.chain.is_over() {
            return;
        }
        let (block, attempt) = (self.chain.block, self.chain.record.attempt);
        let calm = attempt >= STORM_ATTEMPTS;
        // Whether an honest seat may be away beside the liars.
        let room = self.beyond() || self.liars.len() < tolerated(self.machines.len());
        let until = self.chain.record.until;
        let due = self.changes.planned.take_if(|(at, change)| *at <= block && change.is_time(block, until));
        if let Some((_, change)) = due {
            self.change(change, !calm || room);
        }
        self.excuse_cut_off();
        if let Some((seat, _)) = self.changes.lapsed.filter(|(_, until)| *until <= block || (calm && !room)) {
            self.changes.lapsed = None;
            self.chain.register(self.seating.ids(attempt)[usize::from(seat) - 1]);
        }
        if calm {
            self.changes.excused.extend(self.changes.lapsed.map(|(seat, _)| seat));
        }
        if let Some((replaced, _)) = self.changes.bound.take_if(|(_, at)| *at <= block || calm) {
            self.elect(replaced);
        }
    }

    fn change(&mut self, change: Change, may_be_away: bool) {
        let (block, attempt) = (self.chain.block, self.chain.record.attempt);
        let what = match change {
            Change::Lapse(seat, blocks) if may_be_away => {
                self.chain.lapse(&self.seating.ids(attempt)[usize::from(seat) - 1]);
                self.changes.lapsed = Some((seat, block + blocks));
                "registration lapsed"
            }
            Change::Lapse(..) => return,
            Change::Replace(seat, blocks) => {
                self.changes.bound = Some((BTreeSet::from([seat]), block + blocks));
                "gatekeeper replaced"
            }
            Change::Lose(seat, blocks) => {
                self.changes.bound = Some((BTreeSet::from([seat]), block + blocks));
                let machine = &mut self.machines[usize::from(seat) - 1];
                // One that has confirmed has done its part in this attempt.
                if machine.confirmed.contains(&attempt) {
                    "gatekeeper replaced"
                } else {
                    machine.lose();
                    "machine lost"
                }
            }
            Change::Cancel => {
                self.changes.bound = Some((BTreeSet::new(), block));
                "set elected again"
            }
            Change::Partition { cut, blocks, held, before_end } => {
                let partition = Partition { cut, since: block, until: block + blocks, held };
                self.note_cut(&partition, before_end.is_some());
                self.happened(&(&partition.cut, partition.until, held));
                self.changes.partition = Some(partition);
                return;
            }
        };
        self.happened(&what);
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    /// Governance cancels, and the set that is elected has the other gatekeepers of these validators, and of those whose gatekeepers are
    /// convicted.
    fn elect(&mut self, mut replaced: BTreeSet<u16>) {
        let convicted = (1u16..).zip(&self.chain.record.seats);
        let convicted = convicted.filter(|(_, seat)| self.chain.convicted.contains(&seat.gatekeeper));
        replaced.extend(convicted.map(|(index, _)| index));
        let first = self.chain.record.attempt + 1;
        self.seating.elect(first, &replaced);
        let ids = self.seating.ids(first);
        for index in &replaced {
            let position = usize::from(*index) - 1;
            self.chain.register(ids[position]);
            let machine = Machine::new(ids[position], *index, self.random.bytes());
            self.changes.retired.push(replace(&mut self.machines[position], machine));
        }
        self.chain.elect_anew(&ids).unwrap();
        *self.counts.entry("ceremony cancelled".to_owned()).or_default() += 1;
    }

    /// A machine whose seat another has opens nothing that is sealed to that seat since, and the other does.
    pub(super) fn replaced_open_nothing(&mut self) -> Result<(), Violation> {
        let liars = self.liar_indices();
        let mut tried = 0;
        for index in self.changes.retired.iter().map(|machine| machine.index) {
            let since = self.posted.values().filter(|parcel| parcel.header.attempt >= self.chain.first_attempt);
            let to_it = since.filter(|parcel| parcel.header.to == index && !liars.contains(&parcel.header.from));
            for parcel in to_it.take(TRIED) {
                let former = self.seating.number(index, 0);
                let former = self.seating.members().receiving(former, attempt_of(parcel));
                if open_parcel(&GENESIS, former.secret(), parcel).is_ok() {
                    return Err(Violation::new(
                        NAMES[0],
                        format!("who had seat {index} before opens what is sealed to it"),
                    ));
                }
                assert!(open_parcel(&GENESIS, self.seating.opener(parcel).secret(), parcel).is_ok());
                tried += 1;
            }
        }
        if tried > 0 {
            *self.counts.entry("parcel that a replaced gatekeeper does not open".to_owned()).or_default() += tried;
        }
        Ok(())
    }
}
