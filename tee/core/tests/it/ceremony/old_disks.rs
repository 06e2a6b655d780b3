//! Old disks that a former set puts back under a chain that it makes up: what its gatekeepers' TEEs give then, and what that opens.
//!
//! Nobody breaks a TEE here. The former authorities hold their finality keys, on hosts, and each of them has a copy of its gatekeeper's
//! disk; TEEs follow finality and execute nothing, so that they believe what that chain says of workers and clusters. INSECURE: on a
//! development network; elsewhere the chain has to list the worker's measurement for a day of its blocks first, which costs its makers nothing.
//!
//! One case is played from end to end, and then seeds of it: which disks, copied when, under a chain that goes on from which block, and which
//! epochs it names. Copies are from before the next era's ceremony begins; one that a host made later has the seed of that ceremony or a seat of both
//! eras, and counts among the next era's too. The other gatekeepers are down.

use super::{
    play::{Asker, Play},
    seats,
};
use crate::{chain::CLUSTER, sealed::Sealed};
use phala_core::SeatHealth;
use phala_gatekeeper::Refusal;
use phala_light_client::testing::TestRandom;
use phala_protocol::{chain_state::RootRecord, ids::BlockNumber, keys::KeyPurpose, Epoch};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};
use tempfile::TempDir;

type Keys = BTreeMap<KeyPurpose, [u8; 32]>;
type Disk = BTreeMap<String, Vec<u8>>;

fn disks(play: &Play) -> Vec<Disk> {
    play.nodes.iter().map(|node| node.machine.disk()).collect()
}

/// These machines start from these disks.
fn put_back(play: &mut Play, disks: impl IntoIterator<Item = (usize, Disk)>) {
    for (index, disk) in disks {
        play.nodes[index].machine.rewind(disk);
        play.restart(index);
    }
}

/// The cluster is this worker's, and its open epoch and the one before are of these eras.
fn assign(play: &mut Play, worker: &Asker, epoch: Epoch, eras: (u32, u32)) {
    play.cluster(worker, epoch, eras);
    play.run(2);
}

#[test]
fn old_disks_under_a_forged_continuation_of_their_era_open_that_era_and_nothing_after_the_hand_over() {
    let mut play = Play::new(910, false);
    let (genesis, folder) = (play.genesis(), TempDir::new().unwrap());
    let seal = |epoch: Epoch, keys: &Keys| {
        let store = folder.path().join(format!("{epoch}.redb"));
        // The first epoch is of the first root.
        let place = (if epoch == 1 { 1 } else { 2 }, CLUSTER, epoch);
        Sealed::new(&genesis, place, |purpose| keys[&purpose], store)
    };
    play.start(1);
    let first = play.make_root();
    play.record(Some(first.clone()), None);
    let worker = Asker::new(&mut play);
    assign(&mut play, &worker, 1, (1, 1));
    let of_first = play.keys(&worker, 1, 1).unwrap();
    let in_first = seal(1, &of_first);
    let (old, last) = (disks(&play), play.number() - 1);

    // The chain goes on: another root, to which the cluster goes over in its second epoch, and other authorities.
    play.start(2);
    let second = play.make_root();
    play.record(Some(first.clone()), Some(second.clone()));
    assign(&mut play, &worker, 1, (1, 1));
    let of_both = disks(&play);
    assign(&mut play, &worker, 2, (2, 1));
    let mut in_second = vec![seal(2, &play.keys(&worker, 2, 2).unwrap())];
    play.record(Some(second.clone()), None);
    play.replace_authorities();
    assign(&mut play, &worker, 3, (2, 2));
    in_second.push(seal(3, &play.keys(&worker, 2, 3).unwrap()));
    in_second.push(seal(4, &play.keys(&worker, 2, 4).unwrap()));
    for index in 0..play.nodes.len() {
        assert_eq!(seats(&play, index), [SeatHealth { era: 2, recorded: true }]);
    }

    // The former authorities make up another chain, on which their era never ended and the cluster is their worker's, with the old disks.
    play.fork(last);
    put_back(&mut play, old.into_iter().enumerate());
    play.record(Some(first.clone()), None);
    let theirs = Asker::of(&mut play, 0x66);
    let mut given: BTreeMap<Epoch, Keys> = BTreeMap::new();
    for epoch in 1..=5 {
        assign(&mut play, &theirs, epoch, (1, 1));
        let keys = play.keys(&theirs, 1, epoch).unwrap();
        assert_eq!(keys.len(), KeyPurpose::ALL.len());
        given.insert(epoch, keys);
    }
    for index in 0..play.nodes.len() {
        assert_eq!(seats(&play, index), [SeatHealth { era: 1, recorded: true }]);
    }
    // Their era is theirs: t shares of it, whoever gathers them, open it. For all other epochs the same root gives keys that nothing is under.
    assert!(given[&1] == of_first && in_first.opens_by(|purpose| given[&1][&purpose]));
    for sealed in &in_second {
        for (named, keys) in &given {
            for (purpose, tried) in keys {
                let opened = sealed.opened(tried, true);
                assert!(opened.is_empty(), "{opened:?} of epoch {} by epoch {named}'s {purpose:?}", sealed.epoch);
            }
        }
    }

    // By the newer era's name they have nothing to give: neither under its root, nor under their own as if it were that.
    assert_eq!(second.era, 2);
    for root in [second.clone(), RootRecord { era: 2, ..first.clone() }] {
        play.record(Some(first.clone()), Some(root));
        assign(&mut play, &theirs, 3, (2, 1));
        for index in 0..play.nodes.len() {
            for epoch in [3, 4] {
                assert_eq!(play.ask(&theirs, index, 2, epoch), Err(Refusal::RootNotRecorded));
                assert_eq!(play.ask(&theirs, index, 1, epoch), Err(Refusal::WrongEra));
            }
        }
    }

    // Disks of the time when the seats of both eras were on them are the newer set's too, which opens its own era: so it is tried.
    play.record(Some(first), Some(second));
    play.next_block();
    put_back(&mut play, of_both.into_iter().enumerate());
    assign(&mut play, &theirs, 3, (2, 1));
    let keys = play.keys(&theirs, 2, 3).unwrap();
    assert!(in_second[1].epoch == 3 && in_second[1].opens_by(|purpose| keys[&purpose]));
}

/// Seeds that are played: some, and many with `PHALA_LONG`.
fn seeds() -> Range<u64> {
    0..if std::env::var_os("PHALA_LONG").is_some() { 200 } else { 6 }
}

/// So many of these, in an order of chance.
fn some(random: &mut TestRandom, count: usize, of: &[usize]) -> Vec<usize> {
    let mut left = of.to_vec();
    (0..count).map(|_| left.swap_remove(random.below(left.len()))).collect()
}

/// What is sealed in an epoch, and that epoch's keys.
struct Opened {
    sealed: Sealed,
    keys: Keys,
}

/// A network that had two eras, and what hosts kept of it.
struct Past {
    play: Play,
    roots: [RootRecord; 2],
    /// Copies of all disks while there were seats of the first era alone, each with the newest block of then.
    copies: Vec<(BlockNumber, Vec<Disk>)>,
    /// The last block of that time.
    end: BlockNumber,
    /// Disks of the hand-over, with seats of both eras.
    of_both: Vec<Disk>,
    /// By epoch: those of the first era from 1 on, and two of the second.
    eras: [BTreeMap<Epoch, Opened>; 2],
    /// Where the stores are.
    _folder: TempDir,
}

/// How the past came back.
struct Forged {
    /// The gatekeepers whose disks were put back.
    back: BTreeSet<usize>,
    /// Blocks at which those disks were copied.
    copied_at: BTreeSet<BlockNumber>,
    /// The block after which the chain is made up.
    at: BlockNumber,
    /// Epochs that it named.
    named: Vec<Epoch>,
}

impl Past {
    /// Both eras, in times that chance gives each step.
    fn live(seed: u64, random: &mut TestRandom) -> Self {
        let (mut play, folder) = (Play::of(20_000 + seed, 4 + random.below(2), false), TempDir::new().unwrap());
        let genesis = play.genesis();
        let seal = |era: u32, epoch: Epoch, keys: Keys| {
            let store = folder.path().join(format!("{epoch}.redb"));
            let sealed = Sealed::new(&genesis, (era, CLUSTER, epoch), |purpose| keys[&purpose], store);
            (epoch, Opened { sealed, keys })
        };
        let mut copies = Vec::new();
        let mut go_on = |play: &mut Play, steps: usize| {
            for _ in 0..steps {
                play.step();
                copies.push((play.number() - 1, disks(play)));
            }
        };
        play.start(1);
        let first = play.make_root();
        go_on(&mut play, random.below(3));
        play.record(Some(first.clone()), None);
        let worker = Asker::new(&mut play);
        let by: Vec<usize> = (0..usize::from(first.threshold)).collect();
        let last = 1 + random.below(2) as Epoch;
        let mut in_first = BTreeMap::new();
        for epoch in 1..=last {
            play.cluster(&worker, epoch, (1, 1));
            go_on(&mut play, 2 + random.below(3));
            in_first.extend([seal(1, epoch, play.keys_by(&worker, 1, epoch, &by).unwrap())]);
        }
        let end = play.number() - 1;

        play.start(2);
        let second = play.make_root();
        play.record(Some(first.clone()), Some(second.clone()));
        assign(&mut play, &worker, last, (1, 1));
        play.run(random.below(3));
        let of_both = disks(&play);
        assign(&mut play, &worker, last + 1, (2, 1));
        let mut in_second = BTreeMap::from([seal(2, last + 1, play.keys_by(&worker, 2, last + 1, &by).unwrap())]);
        play.record(Some(second.clone()), None);
        play.replace_authorities();
        assign(&mut play, &worker, last + 2, (2, 2));
        in_second.extend([seal(2, last + 2, play.keys_by(&worker, 2, last + 2, &by).unwrap())]);
        for index in 0..play.nodes.len() {
            assert_eq!(seats(&play, index), [SeatHealth { era: 2, recorded: true }]);
        }
        let (roots, eras) = ([first, second], [in_first, in_second]);
        // Everything opens with what it is sealed under.
        for Opened { sealed, keys } in eras.iter().flat_map(BTreeMap::values) {
            assert!(sealed.opens_by(|purpose| keys[&purpose]), "epoch {}", sealed.epoch);
        }
        Self { play, roots, copies, end, of_both, eras, _folder: folder }
    }

    fn all(&self) -> Vec<usize> {
        (0..self.play.nodes.len()).collect()
    }

    /// These machines start from these disks, and all others are down.
    fn only(&mut self, disks: BTreeMap<usize, Disk>) {
        self.play.asleep = self.all().into_iter().filter(|index| !disks.contains_key(index)).collect();
        put_back(&mut self.play, disks);
    }

    /// Chance says which of the first era's disks come back, and under which continuation of their time: they open what is of their era and
    /// named, and nothing else.
    fn forge(&mut self, random: &mut TestRandom) -> Forged {
        let [first, second] = self.roots.clone();
        let (all, threshold) = (self.all(), usize::from(first.threshold));
        let count = threshold + random.below(all.len() - threshold + 1);
        let back = some(random, count, &all);
        let mut copied_at = BTreeSet::new();
        let mut old = BTreeMap::new();
        for index in back.iter().copied() {
            let (block, copy) = &self.copies[random.below(self.copies.len())];
            copied_at.insert(*block);
            old.insert(index, copy[index].clone());
        }
        let newest = copied_at.last().copied().unwrap();
        let at = newest + random.below((self.end - newest + 1) as usize) as BlockNumber;
        // One epoch of either era, and others, in any order.
        let last = self.eras[0].len();
        let mut named = BTreeSet::from([1 + random.below(last), last + 1 + random.below(2)]);
        named.extend((0..random.below(4)).map(|_| 1 + random.below(last + 4)));
        let named: Vec<usize> = named.into_iter().collect();
        let named: Vec<Epoch> = some(random, named.len(), &named).into_iter().map(|epoch| epoch as Epoch).collect();

        self.play.fork(at);
        self.only(old);
        self.play.record(Some(first.clone()), None);
        let theirs = Asker::of(&mut self.play, 0x66);
        for epoch in named.iter().copied() {
            assign(&mut self.play, &theirs, epoch, (1, 1));
            let by = some(random, threshold, &back);
            let given = self.play.keys_by(&theirs, 1, epoch, &by).unwrap();
            assert_eq!(given.len(), KeyPurpose::ALL.len());
            self.judge(epoch, &given);
        }
        for index in back.iter().copied() {
            assert_eq!(seats(&self.play, index), [SeatHealth { era: 1, recorded: true }]);
        }
        // By the newer era's name they have nothing to give.
        let newer = last as Epoch + 1 + random.below(2) as Epoch;
        for root in [second.clone(), RootRecord { era: 2, ..first.clone() }] {
            self.play.record(Some(first.clone()), Some(root));
            assign(&mut self.play, &theirs, newer, (2, 1));
            for (index, epoch) in back.iter().flat_map(|index| [(*index, newer), (*index, newer + 1)]) {
                assert_eq!(self.play.ask(&theirs, index, 2, epoch), Err(Refusal::RootNotRecorded));
                assert_eq!(self.play.ask(&theirs, index, 1, epoch), Err(Refusal::WrongEra));
            }
        }

        // Disks of the hand-over have: so it is tried.
        self.play.record(Some(first), Some(second));
        self.play.next_block();
        let by = some(random, threshold, &all);
        let of_both = by.iter().map(|index| (*index, self.of_both[*index].clone())).collect();
        self.only(of_both);
        assign(&mut self.play, &theirs, newer, (2, 1));
        let keys = self.play.keys_by(&theirs, 2, newer, &by).unwrap();
        assert!(self.eras[1][&newer].keys == keys);
        assert!(self.eras[1][&newer].sealed.opens_by(|purpose| keys[&purpose]));
        Forged { back: back.into_iter().collect(), copied_at, at, named }
    }

    /// What the first era's root has for an epoch opens that epoch, if it was of that era, and nothing of the second era.
    fn judge(&self, epoch: Epoch, given: &Keys) {
        if let Some(Opened { sealed, keys }) = self.eras[0].get(&epoch) {
            assert!(given == keys && sealed.opens_by(|purpose| given[&purpose]), "epoch {epoch}");
        }
        for Opened { sealed, keys } in self.eras[1].values() {
            for (purpose, tried) in given {
                assert!(keys.values().all(|key| key != tried));
                let stores = sealed.epoch == epoch || *purpose == KeyPurpose::Storage;
                let opened = sealed.opened(tried, stores);
                assert!(opened.is_empty(), "{opened:?} of epoch {} by epoch {epoch}'s {purpose:?}", sealed.epoch);
            }
        }
    }
}

#[test]
fn whichever_old_disks_come_back_from_whenever_open_their_era_and_nothing_after_the_hand_over() {
    let (mut sets, mut forged_at) = (BTreeSet::new(), BTreeSet::new());
    let (mut with_all, mut with_fewer, mut of_several_times, mut after_the_copies, mut out_of_order) = (0, 0, 0, 0, 0);
    for seed in seeds() {
        println!("seed {seed}");
        let mut random = TestRandom::new(seed);
        let mut past = Past::live(seed, &mut random);
        let forged = past.forge(&mut random);
        let all = forged.back.len() == past.play.nodes.len();
        with_all += u32::from(all);
        with_fewer += u32::from(!all);
        of_several_times += u32::from(forged.copied_at.len() > 1);
        after_the_copies += u32::from(forged.copied_at.last().is_some_and(|newest| forged.at > *newest));
        out_of_order += u32::from(!forged.named.is_sorted());
        sets.insert(forged.back);
        forged_at.insert(forged.at);
    }
    // Chance gave what it is asked for.
    assert!(with_all > 0 && with_fewer > 0 && of_several_times > 0, "{with_all} {with_fewer} {of_several_times}");
    assert!(after_the_copies > 0 && out_of_order > 0, "{after_the_copies} {out_of_order}");
    assert!(sets.len() > 2 && forged_at.len() > 1, "{sets:?} {forged_at:?}");
}
