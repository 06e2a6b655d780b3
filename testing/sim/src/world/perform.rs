//! What each action does to the network: to the chain, to a TEE, its host and its disk, and to the clients.
//!
//! Guarantees: an action that was chosen for more TEEs or accounts than there are is one all the same, so that a scenario of fewer TEEs
//! stays one. Scenarios control everything here. Does not: check invariants, which comes after every action.

use super::{boundary_keys, take, Departed, World, GATEKEEPER, LIVENESS_ROUNDS};
use crate::{
    action::Action,
    client::{Clients, ACCOUNTS},
    forger,
    host::{Host, Outcome},
    invariants::{self, Check, Violation},
    model::Op,
    random::Random,
    root::{Lie, PlayedRoot},
};
use codec::Encode;
use phala_protocol::{
    chain_state::ClusterRecord,
    relay::{Delivery, InboxItems},
    WorkerId,
};
use std::io::ErrorKind;

/// Seats of the roots that are made on the way, and how many of them give keys.
const SEATS: u16 = 4;
const THRESHOLD: u16 = 3;
/// Rounds in a row in which a process may fail before its operator starts it again.
const PATIENCE: u32 = 2;
/// Large contracts that are created at once.
const MOST_DEPLOYED: u32 = 4;

impl World {
    /// Does one thing, and checks nothing but what the action itself expects.
    pub(super) fn perform(&mut self, action: &Action) -> Check {
        // A scenario that was made for more TEEs stays a scenario.
        let count = self.hosts.len() as u32;
        let tee = |index: u32| (index % count) as usize;
        let worker = |index: u32| if count > 1 { 1 + ((index.max(1) - 1) % (count - 1)) as usize } else { 0 };
        let account = |index: u32| index as usize % ACCOUNTS;
        match *action {
            Action::Block {} => {
                self.node.build(None);
                self.node.finalise();
            }
            Action::Blocks { times } => {
                for _ in 0..times {
                    self.node.build(None);
                    self.node.finalise();
                }
            }
            Action::Build {} => self.node.build(None),
            Action::Finalise {} => self.node.finalise(),
            Action::Reorganise {} => {
                let lost = self.node.reorganise();
                self.lost.extend(lost);
            }
            Action::Handover { authorities } => {
                self.node.build(Some(4 + authorities as usize % 4));
                self.node.finalise();
            }
            Action::ClockForward { seconds } => self.node.clock_ms += u64::from(seconds) * 1_000,
            Action::ClockBack { seconds } => {
                self.node.clock_ms = self.node.clock_ms.saturating_sub(u64::from(seconds) * 1_000);
            }
            Action::Deliver { tee: index, boundaries } => self.deliver(tee(index), boundaries as usize)?,
            Action::Hold { tee: index } => {
                if let Some(delivery) = self.compose(tee(index), self.node.finalised(), usize::MAX) {
                    self.hosts[tee(index)].held.push(delivery.encode());
                }
            }
            Action::Bring { tee: index, index: number } => {
                let held = &self.hosts[tee(index)].held;
                if let Some(bytes) = held.get(number as usize % held.len().max(1)).cloned() {
                    self.bring(tee(index), &bytes)?;
                }
            }
            Action::Repeat { tee: index } => {
                let bytes = self.hosts[tee(index)].last.clone();
                self.bring(tee(index), &bytes)?;
            }
            Action::Cross { tee: index, other } => {
                if let Some(delivery) = self.compose(tee(other), self.node.finalised(), usize::MAX) {
                    self.bring(tee(index), &delivery.encode())?;
                }
            }
            Action::Tamper { tee: index, kind, salt } => {
                if let Some(delivery) = self.compose(tee(index), self.node.finalised(), usize::MAX) {
                    let bytes = forger::tamper(&delivery, kind, &mut Random::new(u64::from(salt)));
                    self.bring(tee(index), &bytes)?;
                }
            }
            Action::Stale { tee: index, blocks } => {
                let height = self.node.finalised().saturating_sub(blocks);
                if let Some(delivery) = self.compose(tee(index), height, usize::MAX) {
                    self.bring(tee(index), &delivery.encode())?;
                }
            }
            Action::Early { tee: index } => self.early(tee(index))?,
            Action::Fork { tee: index, salt } => self.fork(tee(index), salt)?,
            Action::Forge { tee: index, salt } => {
                if let Some(delivery) = self.compose(tee(index), self.node.finalised(), usize::MAX) {
                    let finality = self.node.forged(salt as u8);
                    self.bring(tee(index), &Delivery { finality, ..delivery }.encode())?;
                }
            }
            Action::Lose { tee: index } => self.lose(tee(index)),
            Action::Carry { tee: index, mode } => self.hosts[tee(index)].carry = mode % 4,
            Action::Partition { tee: index } => self.hosts[tee(index)].partitioned = true,
            Action::Heal { tee: index } => self.hosts[tee(index)].partitioned = false,
            Action::Crash { tee: index } => self.hosts[tee(index)].kill(),
            Action::PowerCut { tee: index, salt } => self.cut_power(tee(index), salt),
            Action::Tear { tee: index, changes, salt } => {
                let disk = self.hosts[tee(index)].machine.disk.clone();
                if !disk.is_failing() && self.hosts[tee(index)].tee.is_some() {
                    disk.fail_after(changes, ErrorKind::Other);
                    self.deliver(tee(index), usize::MAX)?;
                    disk.mend();
                    self.cut_power(tee(index), salt);
                }
            }
            Action::Start { tee: index } => self.start(tee(index)),
            Action::Snapshot { tee: index } => {
                let host = &mut self.hosts[tee(index)];
                host.copies.push((host.machine.disk.copy(), host.executed));
            }
            Action::Rewind { tee: index, index: number } => {
                let host = &mut self.hosts[tee(index)];
                let copy = host.copies.get(number as usize % host.copies.len().max(1)).cloned();
                if let Some((copy, executed)) = copy {
                    host.kill();
                    host.machine.disk.replace(copy);
                    (host.attacked, host.executed, host.stored) = (true, executed, None);
                }
            }
            Action::Wipe { tee: index } => {
                let host = &mut self.hosts[tee(index)];
                host.kill();
                host.machine.disk.replace(Vec::new());
                (host.attacked, host.damaged, host.executed, host.stored) = (true, false, 0, None);
            }
            Action::Damage { tee: index, salt } => {
                let host = &mut self.hosts[tee(index)];
                host.kill();
                let (mut bytes, mut chance) = (host.machine.disk.copy(), Random::new(u64::from(salt)));
                let from = chance.below(bytes.len() as u32) as usize;
                let length = (1 + chance.below(64) as usize).min(bytes.len() - from);
                chance.fill(&mut bytes[from..from + length]);
                host.machine.disk.replace(bytes);
                (host.attacked, host.damaged, host.stored) = (true, true, None);
            }
            Action::Alter { tee: index } => {
                let host = &mut self.hosts[tee(index)];
                host.kill();
                if host.machine.alter_longest_row() {
                    (host.attacked, host.damaged) = (true, true);
                }
            }
            Action::Full { tee: index, changes } => {
                self.hosts[tee(index)].machine.disk.fail_after(changes, ErrorKind::StorageFull);
            }
            Action::Room { tee: index } => self.hosts[tee(index)].machine.disk.mend(),
            Action::Dry { tee: index } => self.hosts[tee(index)].machine.entropy.set_dry(true),
            Action::Wet { tee: index } => self.hosts[tee(index)].machine.entropy.set_dry(false),
            Action::Transfer { from, to, amount } => {
                let op = Op::Transfer { to: account(to), amount: u128::from(amount) };
                self.clients.command(&mut self.node, account(from), op);
            }
            Action::Keep { account: index, salt } => {
                let words = Clients::words(account(index), salt);
                self.clients.command(&mut self.node, account(index), Op::Keep(words));
            }
            Action::Poison { account: index, kind } => {
                self.clients.poison(&mut self.node, account(index), kind);
            }
            Action::Copy { index } => {
                let items = &self.node.pallets.items;
                if let Some(item) = items.get(index as usize % items.len().max(1)).cloned() {
                    self.node.pallets.push_again(&item);
                }
            }
            Action::PushAgain {} => {
                for item in std::mem::take(&mut self.lost) {
                    self.node.pallets.push_again(&item);
                }
            }
            Action::Query { tee: index, account: who } => invariants::query(self, worker(index), account(who))?,
            Action::Requery { tee: index } => invariants::invariant_a_query_is_answered_once(self, worker(index))?,
            Action::NextRoot { seats } => {
                let era = self.node.pallets.coming_era().map_or(0, |era| era.saturating_add(1));
                if self.roots.iter().all(|root| root.era() != era) {
                    self.roots.push(PlayedRoot::deal(self.seed, era, THRESHOLD, SEATS));
                }
                let root = self.roots.iter().find(|root| root.era() == era);
                let record = root.map(|root| root.record());
                if record.is_some_and(|record| self.node.pallets.hand_over(record)) {
                    self.count("= roots handed over to");
                }
                self.mute(seats);
                self.tell_lies();
            }
            Action::Mute { seats } => self.mute(seats),
            Action::Lie { seats, kind } => {
                let lie = Lie::ALL[kind as usize % Lie::ALL.len()];
                self.liars = indices(seats).map(|index| (index, lie)).collect();
                self.tell_lies();
            }
            Action::Leave { tee: index } => self.assign(worker(index), false),
            Action::Join { tee: index } => self.assign(worker(index), true),
            Action::Replace { tee: index, other } => self.replace(worker(index), worker(other)),
            Action::Deploy { contracts } => {
                for _ in 0..contracts.min(MOST_DEPLOYED) {
                    self.clients.enlarge(&mut self.node);
                }
            }
            Action::HandOut { tee: index, parts } => self.hand_out_parts(worker(index), parts)?,
            Action::Spoil { tee: index, kind, salt } => self.spoil(worker(index), kind, salt)?,
            Action::Withhold { held } => self.withheld = held != 0,
            Action::Folders { kept } => {
                self.folders = kept != 0;
                if !self.folders {
                    self.shelf.clear();
                }
            }
            Action::Round { times } => {
                for _ in 0..times {
                    self.round()?;
                }
            }
            Action::Settle {} => self.settle()?,
            Action::ExpectRefused { tee: index } => {
                self.expect(index, |host| matches!(host.outcome, Outcome::Refused(_)))?;
            }
            Action::ExpectFault { tee: index } => {
                self.expect(index, |host| matches!(host.outcome, Outcome::Fault(_)))?;
            }
            Action::ExpectTaken { tee: index } => self.expect(index, |host| host.outcome == Outcome::Taken)?,
            Action::ExpectServing { tee: index } => self.expect(index, is_serving)?,
            Action::ExpectSilent { tee: index } => self.expect(index, |host| !is_serving(host))?,
            Action::ExpectLacking { tee: index } => self.expect(index, |host| host.lacks)?,
            Action::ExpectTaking { tee: index, parts } => {
                let taken = self.lacking(tee(index)).map(|(_, taking)| taking.map_or(0, |(_, next)| next));
                self.expect(index, |_| taken == Some(parts))?;
            }
            Action::ExpectKept { snapshots } => {
                let kept = self.shelf.whole(self.node.pallets.epoch());
                if kept < snapshots as usize {
                    return Err(Violation::new("expectation", format!("{kept} snapshots are kept, not {snapshots}")));
                }
            }
            Action::ExpectBehind { tee: index, items } => {
                let total = self.node.items_to(self.node.finalised()).len() as u64;
                let executed = total.saturating_sub(u64::from(items));
                self.expect(index, |host| invariants::executed(host) == Some(executed))?;
            }
            Action::ExpectEpoch { epoch } => {
                let open = self.node.pallets.epoch();
                if open < epoch {
                    return Err(Violation::new("expectation", format!("epoch {open} is open, not {epoch}")));
                }
            }
            Action::ExpectEra { era } => {
                let pallets = &self.node.pallets;
                let eras = pallets.cluster.as_ref().map(|record| (record.era_before, record.era));
                let root = pallets.root.as_ref().map(|root| root.era);
                if pallets.hands_over() || root != Some(era) || eras != Some((era, era)) {
                    return Err(Violation::new("expectation", format!("root of era {root:?}, epochs of {eras:?}")));
                }
            }
        }
        Ok(())
    }

    fn mute(&mut self, seats: u32) {
        for root in &mut self.roots {
            root.silent = indices(seats).collect();
        }
    }

    /// Has the seats of all roots lie that are to.
    fn tell_lies(&mut self) {
        for root in &mut self.roots {
            root.liars.clone_from(&self.liars);
        }
    }

    fn expect(&self, index: u32, holds: impl Fn(&Host) -> bool) -> Check {
        let host = &self.hosts[index as usize % self.hosts.len()];
        if holds(host) {
            return Ok(());
        }
        let health = host.tee.as_ref().and_then(|tee| tee.cluster_health());
        Err(Violation::new("expectation", format!("TEE {index}: {:?}, {health:?}", host.outcome)))
    }

    fn early(&mut self, index: usize) -> Check {
        if self.node.best() == self.node.finalised() {
            self.clients.command(&mut self.node, 0, Op::Transfer { to: 1, amount: 1 });
            self.node.build(None);
        }
        let (best, finality) = self.node.unfinished();
        let Some(delivery) = self.compose(index, best, usize::MAX) else { return Ok(()) };
        self.bring(index, &Delivery { finality, ..delivery }.encode())
    }

    fn fork(&mut self, index: usize, salt: u32) -> Check {
        let op = Op::Transfer { to: 1 + salt as usize % (ACCOUNTS - 1), amount: u128::from(salt) + 1 };
        self.clients.command(&mut self.node, 0, op);
        self.node.build(None);
        // Lost for good: whoever executes it has executed what never was.
        let forked = self.node.pallets.items.len();
        let lost = self.node.reorganise();
        self.lost.extend(lost.into_iter().filter(|item| item.header.sequence + 1 < forked as u64));
        let Some(delivery) = self.compose(index, self.node.finalised(), usize::MAX) else { return Ok(()) };
        let Some((_, finality)) = self.node.unfinished_fork() else { return Ok(()) };
        let status = self.hosts[index].tee.as_ref().map(|tee| tee.status());
        let Some(status) = status else { return Ok(()) };
        let items = self.node.abandoned.as_ref().map(|fork| fork.items.clone()).unwrap_or_default();
        let mut keys = status.wanted_keys.clone();
        let mut brought = Vec::new();
        for cursor in &status.inboxes {
            let items = take(&items, cursor.head.count, usize::MAX);
            keys.extend(boundary_keys(&items));
            brought.push(InboxItems { cluster: cursor.cluster, items: items.iter().map(Encode::encode).collect() });
        }
        let proof = self.node.prove_fork(&keys);
        self.bring(index, &Delivery { finality, proof, items: brought, ..delivery }.encode())
    }

    fn lose(&mut self, index: usize) {
        if index == GATEKEEPER {
            self.inquiries.clear();
        } else if let Some(tee) = self.hosts[index].tee.as_ref() {
            self.answers.remove(&tee.identity());
        }
    }

    fn cut_power(&mut self, index: usize, salt: u32) {
        let host = &mut self.hosts[index];
        host.kill();
        host.machine.disk.cut_power(&mut Random::new(u64::from(salt)));
    }

    fn start(&mut self, index: usize) {
        let anchor = self.node.anchor();
        self.hosts[index].start(&anchor);
        let said = format!("{:?}", self.hosts[index].outcome);
        self.record(said.as_bytes());
    }

    fn assign(&mut self, index: usize, member: bool) {
        let Some(id) = self.hosts[index].tee.as_ref().map(|tee| tee.identity()) else { return };
        let Some(record) = self.node.pallets.cluster.clone() else { return };
        let mut replicas = record.replicas.clone();
        if replicas.contains(&id) == member {
            return;
        }
        replicas.retain(|replica| *replica != id);
        if member {
            replicas.push(id);
        }
        if self.reassign(&record, replicas) {
            self.hosts[index].attacked = true;
        }
    }

    fn replace(&mut self, index: usize, other: usize) {
        let ids = (self.hosts[index].identity, self.hosts[other].identity);
        let (Some(id), Some(newcomer), Some(record)) = (ids.0, ids.1, self.node.pallets.cluster.clone()) else {
            return;
        };
        if !record.replicas.contains(&id) || record.replicas.contains(&newcomer) {
            return;
        }
        let replicas = record.replicas.iter().map(|replica| if *replica == id { newcomer } else { *replica });
        if self.reassign(&record, replicas.collect()) {
            (self.hosts[index].attacked, self.hosts[other].attacked) = (true, true);
            self.count("= replicas replaced by another");
        }
    }

    /// Assigns these replicas, and remembers whom that leaves without a place.
    fn reassign(&mut self, record: &ClusterRecord, replicas: Vec<WorkerId>) -> bool {
        if !self.node.pallets.assign(replicas.clone()) {
            return false;
        }
        // An epoch that opens closes the one before first.
        let (epoch, closing) = match self.node.pallets.decided_epoch() {
            Some(decided) if decided > record.epoch => (decided, true),
            _ => (record.epoch, record.is_closing()),
        };
        if record.replicas.iter().any(|replica| !replicas.contains(replica)) {
            self.departed.push(Departed { before: record.replicas.clone(), after: replicas, epoch, closing });
        }
        true
    }

    /// All faults stop, and operators do what error messages ask of them.
    fn settle(&mut self) -> Check {
        self.node.finalise();
        self.mute(0);
        // Who lies does not stop for it. As many are honest as give keys.
        while self.liars.len() > usize::from(SEATS - THRESHOLD) {
            self.liars.pop_last();
        }
        self.tell_lies();
        self.withheld = false;
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            (host.partitioned, host.carry) = (false, 0);
            host.machine.disk.mend();
            host.machine.entropy.set_dry(false);
            if host.tee.is_none() {
                self.start(index);
            }
        }
        let mut rounds = 0;
        while rounds < LIVENESS_ROUNDS && !invariants::is_settled(self) {
            self.round()?;
            rounds += 1;
            self.say_something_to_be_handed_on();
            for index in 0..self.hosts.len() {
                // Not again and again: what a start does not mend, another does not either.
                if self.hosts[index].faults == PATIENCE {
                    self.count("= operators' restarts");
                    self.start(index);
                    self.hosts[index].faults = PATIENCE + 1;
                }
            }
        }
        *self.counts.entry("= newest epoch, most").or_default() = u64::from(self.node.pallets.epoch());
        let slowest = self.counts.entry("= rounds to settle, most").or_default();
        *slowest = (*slowest).max(u64::from(rounds));
        invariants::at_rest(self)
    }
}

/// The seats whose bits are set, by index from 1.
fn indices(seats: u32) -> impl Iterator<Item = u16> {
    (1..=SEATS).filter(move |index| (seats >> (index - 1)) & 1 == 1)
}

fn is_serving(host: &Host) -> bool {
    host.tee.as_ref().is_some_and(|tee| tee.serving().is_some())
}
