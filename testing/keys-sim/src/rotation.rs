//! Clusters that go from one era's root to the next, by the rule of `phala_protocol::chain_state`: which root gives which epoch; and what the
//! former root's shares give there.
//!
//! Guarantees: a [`Cluster`] says of each epoch that it opened, and of the next, of which era it is, one all along, and never of an earlier one
//! than the epoch before; [`old_era_opens_nothing_newer`] tries all shares of the former root on every epoch of the next around a hand-over.
//! [`Former`] does so while the next root is made: after each block all sets of t old shares are tried on the keys of the attempt under way,
//! made or not, and mixtures with its shares in turn; and on each epoch that the chain gives to the next era. Does not: time epochs as the
//! pallet does, or count clusters.

use crate::{
    invariants::{input, interpolate, subsets, Holder, Violation, NAMES},
    shares::{storage_key, Shares, EPOCHS as TRIED},
};
use phala_crypto::{
    prf::{combine, verify_partial, Input, KeyShare, VerifiedPartial},
    Secret,
};
use phala_protocol::{
    chain_state::{next_epoch_era, ClusterRecord, RootRecord},
    ids::BlockNumber,
    Epoch,
};
use std::collections::BTreeMap;

/// Epochs that are followed: four of each root.
const EPOCHS: Epoch = 8;
/// The open epoch when the next root is recorded.
const HANDED_OVER_AT: Epoch = 4;
/// Blocks of an epoch while the next root is made.
const EPOCH_BLOCKS: BlockNumber = 12;

/// What [`Former::try_on`] counts.
pub const COUNTED: [&str; 3] = [
    "sets of shares of an old era tried on the next",
    "mixtures of shares of two eras tried",
    "epochs of the next era on which shares of an old one were tried",
];

/// One cluster, whose epochs open one after the other, from the first.
pub struct Cluster {
    record: ClusterRecord,
    present: RootRecord,
    next: Option<RootRecord>,
    /// By epoch, of which era its keys are.
    eras: BTreeMap<Epoch, u32>,
}

impl Cluster {
    /// One of this root, of which no epoch is open.
    pub fn new(root: &RootRecord) -> Self {
        let record = ClusterRecord {
            era: root.era,
            era_before: root.era,
            epoch: 0,
            opened_at: 0,
            opened_count: 0,
            final_count: 0,
            bound_epoch: 0,
            epoch_length: 100,
            envelope_key: Vec::new(),
            replicas: Vec::new(),
        };
        Self { record, present: root.clone(), next: None, eras: BTreeMap::new() }
    }

    /// Opens the next epoch, where the chain has `recorded` the next era's root, or has not. An error if two records say two things of one epoch,
    /// or the eras run backwards.
    pub fn open(&mut self, recorded: Option<&RootRecord>) -> Result<(), Violation> {
        self.see(recorded);
        let coming = self.coming();
        // What the next epoch is of may change until it opens: only then its keys seal anything.
        for epoch in 0..=self.record.epoch {
            let Some(era) = self.record.era_of(epoch, coming) else { continue };
            let first = *self.eras.entry(epoch).or_insert(era);
            if first != era {
                let what = format!("epoch {epoch} is of era {era}, and was of era {first}");
                return Err(Violation::new(NAMES[7], what));
            }
        }
        if coming < self.record.era {
            let (next, era) = (self.record.next_epoch(), self.record.era);
            let what = format!("epoch {next} is of era {coming}, and the one before of era {era}");
            return Err(Violation::new(NAMES[7], what));
        }
        let record = &mut self.record;
        (record.era_before, record.era, record.epoch) = (record.era, coming, record.next_epoch());
        if let Some(next) = self.next.take_if(|next| next.era == record.era_before) {
            self.present = next;
        }
        Ok(())
    }

    /// Notes the root to which the cluster goes over, if there is one.
    fn see(&mut self, recorded: Option<&RootRecord>) {
        self.next = recorded.filter(|root| root.era != self.present.era).cloned();
    }

    fn coming(&self) -> u32 {
        next_epoch_era(Some(&self.present), self.next.as_ref()).unwrap_or(self.present.era)
    }

    /// The epochs of this era that gatekeepers may be asked for: the open one, and those around it.
    fn epochs_of(&self, era: u32) -> Vec<Epoch> {
        let open = self.record.epoch;
        let around = open.saturating_sub(1)..=self.record.next_epoch();
        around.filter(|epoch| self.record.era_of(*epoch, self.coming()) == Some(era)).collect()
    }
}

/// Which era gives which epoch its keys, out of every record on the way: an error if two records say two things.
pub fn follow(old: &RootRecord, new: &RootRecord) -> Result<BTreeMap<Epoch, u32>, Violation> {
    let mut cluster = Cluster::new(old);
    for epoch in 0..EPOCHS {
        cluster.open((epoch >= HANDED_OVER_AT).then_some(new))?;
    }
    Ok(cluster.eras)
}

/// All shares of `old` together give no key of an epoch that the chain gives to `new`, and those of `new` give each.
pub fn old_era_opens_nothing_newer(
    (old, old_holders): (&RootRecord, &[Holder]),
    (new, new_holders): (&RootRecord, &[Holder]),
) -> Result<(), Violation> {
    let mut newer = 0;
    for (epoch, era) in follow(old, new)? {
        if era == new.era {
            newer += 1;
            old_era_does_not_open((old, old_holders), (new, new_holders), epoch)?;
        } else if key(old.threshold.into(), old_holders, era, epoch).is_none() {
            return Err(violated("too few shares"));
        }
    }
    if newer == 0 {
        return Err(violated("no epoch was of the next era"));
    }
    Ok(())
}

/// The shares of `new` give this epoch's key, and no set of as many of `old` as gave its own does, each of which gives some key.
fn old_era_does_not_open(
    (old, old_holders): (&RootRecord, &[Holder]),
    (new, new_holders): (&RootRecord, &[Holder]),
    epoch: Epoch,
) -> Result<(), Violation> {
    let threshold = usize::from(old.threshold);
    let sets = subsets(&old_holders.iter().collect::<Vec<_>>(), threshold);
    let right = key(new.threshold.into(), new_holders, new.era, epoch).ok_or_else(|| violated("too few shares"))?;
    // Whoever kept old shares may name either era in the input.
    for named in [old.era, new.era] {
        for set in &sets {
            // A share that gave nothing would be no proof that it opens nothing.
            let found = key(threshold, set.iter().copied(), named, epoch);
            if found.ok_or_else(|| violated(format!("shares of era {} give no key", old.era)))? == right {
                return Err(violated(format!("the shares of era {} open epoch {epoch} of era {}", old.era, new.era)));
            }
        }
    }
    Ok(())
}

/// The key of an epoch by the first shares that suffice.
fn key<'a>(
    threshold: usize,
    holders: impl IntoIterator<Item = &'a Holder>,
    era: u32,
    epoch: Epoch,
) -> Option<[u8; 32]> {
    let input = input(era, epoch);
    let partials =
        holders.into_iter().take(threshold).map(|holder| partial(holder, &input)).collect::<Option<Vec<_>>>()?;
    combine(threshold, &partials).ok().map(|key| *key.expose())
}

/// A holder's evaluation, under the public share that its own has.
fn partial(holder: &Holder, input: &Input) -> Option<VerifiedPartial> {
    let share = KeyShare::from_bytes(holder.index, &Secret::new(holder.share)).ok()?;
    verify_partial(&share.public_share(), input, &share.partial(input, &[1; 32])).ok()
}

fn violated(what: impl Into<String>) -> Violation {
    Violation::new(NAMES[7], what)
}

/// All shares of a root, while the next era's is made among the same seats. INSECURE: in clear.
pub struct Former {
    root: RootRecord,
    cluster: Cluster,
    /// With their evaluations at the epochs of [`Shares`], in the name of the next era.
    held: Vec<(Holder, [VerifiedPartial; 2])>,
    /// What each set of t of them gives: the root's key, and storage keys of the epochs in the name of either era.
    keys: Vec<[u8; 32]>,
    /// Sets of t.
    sets: u64,
    turn: usize,
}

impl Former {
    /// The shares of `root`, which are to open nothing of `era`.
    pub fn new((root, holders): (&RootRecord, &[Holder]), era: u32) -> Self {
        let threshold = usize::from(root.threshold);
        let evaluate = |holder: &Holder, named| TRIED.map(|epoch| partial(holder, &input(named, epoch)).unwrap());
        let held_in = |named| holders.iter().map(|holder| (holder.clone(), evaluate(holder, named))).collect();
        let [of_old, held]: [Vec<(Holder, [VerifiedPartial; 2])>; 2] = [root.era, era].map(held_in);
        let all: Vec<usize> = (0..holders.len()).collect();
        let sets = subsets(&all, threshold);
        let mut keys = Vec::new();
        for set in &sets {
            keys.push(interpolate(&set.iter().map(|position| &holders[*position]).collect::<Vec<_>>()));
            for (held, epoch) in [&of_old, &held].into_iter().flat_map(|held| [(held, 0), (held, 1)]) {
                let partials = set.iter().map(|position| held[*position].1[epoch].clone()).collect::<Vec<_>>();
                keys.push(storage_key(&combine(threshold, &partials).unwrap()));
            }
        }
        Self { root: root.clone(), cluster: Cluster::new(root), held, keys, sets: sets.len() as u64, turn: 0 }
    }

    /// After a block of the next era, by which the chain has `recorded` its root or not, and machines came to hold these shares of the
    /// attempt under way: the old ones give none of their keys. Says what was tried how often, by [`COUNTED`].
    pub fn try_on(
        &mut self,
        block: BlockNumber,
        recorded: Option<&RootRecord>,
        shares: &Shares,
    ) -> Result<[(&'static str, u64); 3], Violation> {
        self.cluster.see(recorded);
        if block.is_multiple_of(EPOCH_BLOCKS) {
            self.cluster.open(recorded)?;
        }
        let (mut sets, mut mixtures, mut epochs) = (0, 0, 0);
        if shares.are_enough() {
            if self.keys.iter().any(|key| shares.give_key(key)) {
                return Err(violated(format!("the shares of era {} give a key of the next", self.root.era)));
            }
            sets = self.sets;
            mixtures = self.try_mixtures(shares)?;
            if let Some(new) = recorded {
                epochs = self.try_epochs(new, shares)?;
            }
        }
        let [of_sets, of_mixtures, of_epochs] = COUNTED;
        Ok([(of_sets, sets), (of_mixtures, mixtures), (of_epochs, epochs)])
    }

    /// One old share with as many new ones as are too few without, one new one with as many old ones, each time others; and no old share is
    /// taken for a new one. Says how many mixtures there were to try.
    fn try_mixtures(&mut self, shares: &Shares) -> Result<u64, Violation> {
        let turn = self.turn;
        self.turn = turn.wrapping_add(1);
        let (old, new, few) = (self.held.as_slice(), shares.held(), usize::from(self.root.threshold) - 1);
        let mut tried = 0;
        for (ones, others) in [(old, new), (new, old)] {
            let Some(position) = turn.checked_rem(ones.len()) else { continue };
            let one = &ones[position];
            // From another one on in each round.
            let from = turn / ones.len();
            let rest = (0..others.len()).map(|next| &others[(from + next) % others.len()]);
            let rest = rest.filter(|(other, _)| other.index != one.0.index).take(few);
            let mixed: Vec<&(Holder, [VerifiedPartial; 2])> = rest.chain([one]).collect();
            if mixed.len() <= few {
                continue;
            }
            tried += 1;
            let epoch = turn % TRIED.len();
            let partials = mixed.iter().map(|(_, partials)| partials[epoch].clone()).collect::<Vec<_>>();
            let output = combine(mixed.len(), &partials).map_err(|error| violated(error.to_string()))?;
            let root = interpolate(&mixed.iter().map(|(holder, _)| holder).collect::<Vec<_>>());
            if shares.give_key(&root) || shares.give_key(&storage_key(&output)) {
                let seats: Vec<u16> = mixed.iter().map(|(holder, _)| holder.index).collect();
                return Err(violated(format!("shares of two eras give a key of the next: seats {seats:?}")));
            }
        }
        if let (Some(position), Some((new, _))) = (turn.checked_rem(old.len()), new.first()) {
            let (old, _) = &old[position];
            if old.evaluate_as_of(new, TRIED[0]).is_ok() {
                return Err(violated(format!(
                    "the share of seat {} of era {} passes as a new one",
                    old.index, old.era
                )));
            }
        }
        Ok(tried)
    }

    /// The epochs around the open one that the chain gives to the next era. Says how many there are.
    fn try_epochs(&self, new: &RootRecord, shares: &Shares) -> Result<u64, Violation> {
        let old_holders: Vec<Holder> = self.held.iter().map(|(holder, _)| holder.clone()).collect();
        let new_holders: Vec<Holder> = shares.holders().cloned().collect();
        let epochs = self.cluster.epochs_of(new.era);
        for epoch in &epochs {
            old_era_does_not_open((&self.root, &old_holders), (new, &new_holders), *epoch)?;
        }
        Ok(epochs.len() as u64)
    }
}
