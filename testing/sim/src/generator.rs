//! Chance makes a scenario: one action after the other, with an eye on what runs and what is broken.
//!
//! Guarantees: the actions follow from the seed and from what happened before. Attacks that a replica may not survive (a rewound,
//! emptied or damaged disk, a place lost among the replicas or given to a newcomer) meet one replica of three or more, so that the cluster
//! has to live on. Whoever lacks the state is looked for by more faults than others.

use crate::{
    action::{Action, Scenario},
    client::{ACCOUNTS, POISON_KINDS},
    forger::{ITEM_KINDS, TAMPER_KINDS},
    random::Random,
    root::Lie,
    shelf::SPOIL_KINDS,
    world::World,
};

/// Makes the actions of one seed.
pub struct Generator {
    chance: Random,
    tees: u32,
    /// The worker that is no replica at first, if there is one.
    spare: Option<u32>,
    /// The worker whose host attacks its disk.
    victim: u32,
    /// How many faults there are among the actions, in percent.
    hostility: u32,
}

impl Generator {
    /// The generator of a seed, and the scenario that it begins.
    pub fn new(seed: u64) -> (Self, Scenario) {
        let mut chance = Random::new(seed ^ 0x9e37_79b9_7f4a_7c15);
        let workers = [1, 2, 3, 3][chance.below(4) as usize];
        let epoch_length = 8 + chance.below(24);
        let victim = 1 + chance.below(workers);
        let spares = u32::from(workers == 3 && chance.one_in(2));
        let hostility = [10, 30, 50][chance.below(3) as usize];
        let (tees, spare) = (1 + workers + spares, (spares > 0).then_some(1 + workers));
        let (workers, spares) = (workers as usize, spares as usize);
        let scenario = Scenario { seed, workers, spares, epoch_length, actions: Vec::new() };
        (Self { chance, tees, spare, victim, hostility }, scenario)
    }

    /// What happens next.
    pub fn next(&mut self, world: &World) -> Action {
        if self.chance.below(100) < self.hostility {
            self.fault(world)
        } else {
            self.progress(world)
        }
    }

    fn progress(&mut self, world: &World) -> Action {
        let tee = self.chance.below(self.tees);
        let account = self.chance.below(ACCOUNTS as u32);
        if world.hosts[tee as usize].tee.is_none() && self.chance.one_in(3) {
            return Action::Start { tee };
        }
        match self.chance.below(44) {
            0..16 => Action::Deliver { tee, boundaries: if self.chance.one_in(3) { 1 } else { 99 } },
            16..25 => Action::Block {},
            25 => Action::Build {},
            26 => Action::Finalise {},
            27 | 28 => Action::Round { times: 1 + self.chance.below(2) },
            29..34 => Action::Transfer {
                from: if self.chance.one_in(3) { account } else { 0 },
                to: self.chance.below(ACCOUNTS as u32),
                amount: self.chance.below(1_000),
            },
            34 => Action::Keep { account, salt: self.chance.below(1_000) },
            35 => Action::PushAgain {},
            36 | 37 => Action::Query { tee: 1 + self.chance.below(self.tees - 1), account },
            38 => Action::Heal { tee },
            39 if self.chance.one_in(8) => Action::Settle {},
            39 => Action::Carry { tee, mode: 0 },
            40 if self.chance.one_in(12) => Action::Deploy { contracts: 2 },
            41 => Action::Withhold { held: 0 },
            _ => Action::Transfer { from: 0, to: account, amount: self.chance.below(100) },
        }
    }

    fn fault(&mut self, world: &World) -> Action {
        let tee = self.chance.below(self.tees);
        let account = self.chance.below(ACCOUNTS as u32);
        let salt = self.chance.below(1 << 20);
        let victim = self.victim;
        let host = &world.hosts[tee as usize];
        if host.machine.disk.is_failing() && self.chance.one_in(2) {
            return Action::Room { tee };
        }
        if let Some(fault) = self.on_the_way(world) {
            return fault;
        }
        match self.chance.below(43) {
            0 => Action::Hold { tee },
            1 => Action::Bring { tee, index: self.chance.below(8) },
            2 => Action::Repeat { tee },
            3 => Action::Cross { tee, other: self.chance.below(self.tees) },
            4..9 => {
                // Half of them at the items, on which most depends.
                let kinds = if self.chance.one_in(2) { ITEM_KINDS } else { TAMPER_KINDS };
                Action::Tamper { tee, kind: self.chance.below(kinds), salt }
            }
            9 => Action::Stale { tee, blocks: 1 + self.chance.below(12) },
            10 => Action::Early { tee },
            11 => Action::Fork { tee, salt },
            12 => Action::Forge { tee, salt },
            13 => Action::Lose { tee },
            14 => Action::Carry { tee, mode: 1 + self.chance.below(3) },
            15 => Action::Partition { tee },
            16 | 17 => Action::Crash { tee },
            18 => Action::PowerCut { tee, salt },
            19..22 => Action::Tear { tee, changes: self.chance.below(60), salt },
            22 => Action::Start { tee },
            23 => Action::Snapshot { tee: victim },
            24 if self.tees > 3 => Action::Rewind { tee: victim, index: self.chance.below(8) },
            25 if self.tees > 3 && self.chance.one_in(3) => Action::Wipe { tee: victim },
            26 if self.tees > 3 && self.chance.one_in(3) => Action::Damage { tee: victim, salt },
            27 if self.tees > 3 && self.chance.one_in(3) => Action::Leave { tee: victim },
            28 => Action::Join { tee: victim },
            29 => Action::Full { tee, changes: self.chance.below(80) },
            30 => {
                if self.chance.one_in(2) {
                    Action::Dry { tee }
                } else {
                    Action::Wet { tee }
                }
            }
            31 => match self.chance.below(4) {
                0 => Action::ClockBack { seconds: self.chance.below(7_200) },
                1 => Action::ClockForward { seconds: 80_000 + self.chance.below(20_000) },
                _ => Action::ClockForward { seconds: self.chance.below(3_600) },
            },
            32 => Action::Reorganise {},
            33 => match self.chance.below(4) {
                0 => Action::NextRoot { seats: 1 << self.chance.below(6) },
                1 => Action::Mute { seats: self.chance.below(16) },
                2 => {
                    // Mostly one, beside whom the others give keys.
                    let few = 1 << self.chance.below(4);
                    let seats = if self.chance.one_in(4) { self.chance.below(16) } else { few };
                    Action::Lie { seats, kind: self.chance.below(Lie::ALL.len() as u32) }
                }
                _ => Action::Handover { authorities: self.chance.below(4) },
            },
            34 => Action::Copy { index: self.chance.below(64) },
            35 => Action::Requery { tee: 1 + self.chance.below(self.tees - 1) },
            36 => Action::HandOut { tee: 1 + self.chance.below(self.tees - 1), parts: 1 + self.chance.below(2) },
            37 => Action::Withhold { held: 1 },
            38 => match self.spare {
                Some(spare) if self.chance.one_in(3) => Action::Replace { tee: spare, other: victim },
                Some(spare) => Action::Replace { tee: victim, other: spare },
                None => Action::Repeat { tee },
            },
            _ => Action::Poison { account, kind: self.chance.below(POISON_KINDS) },
        }
    }

    /// While a worker lacks the state, half of the faults meet it, what is on its way to it, or one that may have made that.
    fn on_the_way(&mut self, world: &World) -> Option<Action> {
        let lacking = (1..self.tees).find(|tee| world.hosts[*tee as usize].lacks)?;
        if self.chance.one_in(2) {
            return None;
        }
        let (salt, other) = (self.chance.below(1 << 20), 1 + self.chance.below(self.tees - 1));
        Some(match self.chance.below(10) {
            0..4 => Action::Spoil { tee: lacking, kind: self.chance.below(SPOIL_KINDS), salt },
            4 => Action::Crash { tee: lacking },
            5 => Action::Tear { tee: lacking, changes: self.chance.below(60), salt },
            6 => Action::HandOut { tee: other, parts: 1 },
            7 => Action::Crash { tee: other },
            8 => Action::Withhold { held: self.chance.below(2) },
            _ => Action::Deliver { tee: lacking, boundaries: 99 },
        })
    }
}
