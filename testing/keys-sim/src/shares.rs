//! What the shares of one attempt give, tried while the ceremony runs: a set of t and one of t-1 after each block, each time others.
//!
//! Guarantees: each share is evaluated once at either of two epochs, under its public share; whoever comes to hold one holds it of the same
//! list; every set of t that is tried gives the root's key and the storage keys of the epochs that the first gave, which differ; none of fewer
//! gives any of these, nor is combined. Between two additions all sets have had their turn before one has it again; a machine that comes to hold
//! its share again, after a restart, holds the same. Does not: ask gatekeepers for the keys, or look at what else a coalition knows, which
//! `invariants.rs` does.

use crate::invariants::{interpolate, subsets, Holder, Violation, NAMES};
use phala_crypto::{
    kdf,
    prf::{combine, CombineError, VerifiedPartial},
    Secret,
};
use phala_protocol::{domain, Epoch};
use std::collections::BTreeSet;

/// Whichever t seats answer for an epoch, a worker comes to the same key; and each epoch has its own.
pub const ONE_KEY_PER_EPOCH: &str = NAMES[15];

/// The epochs at whose inputs shares are evaluated: one, and the next.
pub(crate) const EPOCHS: [Epoch; 2] = [3, 4];
/// Sets of either size that [`Shares::try_all`] tries: all of four seats. Of more seats a third, if that is more.
const MOST: usize = 12;

/// The shares that machines came to hold in one attempt.
pub struct Shares {
    threshold: usize,
    epochs: [Epoch; 2],
    /// With the evaluations at the epochs.
    held: Vec<(Holder, [VerifiedPartial; 2])>,
    /// The seats that held theirs when it was looked at last.
    present: BTreeSet<u16>,
    /// Sets of the threshold, by position.
    enough: Vec<Vec<usize>>,
    /// Sets of one fewer, or all that there are.
    few: Vec<Vec<usize>>,
    /// What the first set of the threshold gives.
    found: Option<Given>,
    turn: usize,
}

/// What a set of shares gives. INSECURE.
#[derive(Clone, Copy)]
struct Given {
    /// The root's key, by interpolation.
    key: [u8; 32],
    /// The storage keys of the epochs, as a worker derives them.
    epochs: [[u8; 32]; 2],
}

impl Shares {
    /// None yet, of keys of this threshold, which is 2 at least.
    pub fn new(threshold: usize) -> Self {
        Self::at(threshold, EPOCHS)
    }

    /// The same, evaluated at these epochs.
    pub fn at(threshold: usize, epochs: [Epoch; 2]) -> Self {
        Self {
            threshold,
            epochs,
            held: Vec::new(),
            present: BTreeSet::new(),
            enough: Vec::new(),
            few: Vec::new(),
            found: None,
            turn: 0,
        }
    }

    /// How many held one when it was looked at last.
    pub fn present(&self) -> usize {
        self.present.len()
    }

    /// Those that were seen to hold one, whether they have it still or lost it in a crash.
    pub fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.held.iter().map(|(holder, _)| holder)
    }

    /// The shares with their evaluations at the epochs, of those that were seen to hold one.
    pub(crate) fn held(&self) -> &[(Holder, [VerifiedPartial; 2])] {
        &self.held
    }

    /// Whether as many hold one as give the keys.
    pub(crate) fn are_enough(&self) -> bool {
        self.found.is_some()
    }

    /// Whether this is one of the keys that they give: the root's, or the storage key of an epoch.
    pub(crate) fn give_key(&self, key: &[u8; 32]) -> bool {
        self.found.is_some_and(|found| found.key == *key || found.epochs.contains(key))
    }

    /// Looks at all that hold a share `now`: whoever held one before holds the same, of the same list, with the same one of the beacon. Says
    /// how many hold again what they had lost.
    pub fn see(&mut self, now: Vec<Holder>) -> Result<u64, Violation> {
        let present = now.iter().map(|holder| holder.index).collect();
        let before = std::mem::replace(&mut self.present, present);
        let mut again = 0;
        for holder in now {
            let index = holder.index;
            let known = self.holders().find(|known| known.index == index).map(|known| *known == holder);
            match known {
                None => self.add(holder)?,
                Some(true) => again += u64::from(!before.contains(&index)),
                Some(false) => {
                    return Err(Violation::new(NAMES[1], format!("seat {index} holds another share than before")))
                }
            }
        }
        Ok(again)
    }

    /// Notes a seat that holds its share.
    pub fn add(&mut self, holder: Holder) -> Result<(), Violation> {
        let violated = |what: String| Violation::new(NAMES[1], what);
        if self.holders().any(|other| other.shares != holder.shares || other.index == holder.index) {
            return Err(violated(format!("seat {} holds a share of another list", holder.index)));
        }
        let [one, next] = self.epochs;
        let partials = [holder.evaluate(one).map_err(violated)?, holder.evaluate(next).map_err(violated)?];
        self.held.push((holder, partials));
        let all: Vec<usize> = (0..self.held.len()).collect();
        self.enough = subsets(&all, self.threshold);
        self.few = subsets(&all, all.len().min(self.threshold - 1));
        if let (None, Some(first)) = (self.found, self.enough.first()) {
            let given = self.give(first, self.threshold).map_err(of_epoch)?;
            let [one, next] = given.epochs;
            if one == next {
                return Err(of_epoch(format!("epochs {:?} have one key", self.epochs)));
            }
            self.found = Some(given);
        }
        Ok(())
    }

    /// Tries the next set of either size. Says how many there were to try.
    pub fn try_next(&mut self) -> Result<u64, Violation> {
        let turn = self.turn;
        self.turn = turn.wrapping_add(1);
        let next = |sets: &[Vec<usize>]| turn.checked_rem(sets.len()).map(|position| sets[position].clone());
        let (enough, few) = (next(&self.enough), next(&self.few).filter(|few| !few.is_empty()));
        if let Some(enough) = &enough {
            self.try_enough(enough)?;
        }
        if let Some(few) = &few {
            self.try_few(few)?;
        }
        Ok(u64::from(enough.is_some()) + u64::from(few.is_some()))
    }

    /// Tries [`MOST`] sets of either size, or a third of all.
    pub fn try_all(&mut self) -> Result<u64, Violation> {
        let most = |sets: &[Vec<usize>]| sets.len().min(MOST).max(sets.len().div_ceil(3));
        let mut tried = 0;
        for _ in 0..most(&self.enough).max(most(&self.few)) {
            tried += self.try_next()?;
        }
        Ok(tried)
    }

    /// Whether each set of the threshold gives both epochs the keys that the first gave them, and each its own. Says how many sets there are.
    pub fn one_key_per_epoch(&self) -> Result<u64, Violation> {
        for set in &self.enough {
            let given = self.give(set, self.threshold).map_err(of_epoch)?;
            self.same_of_epochs(set, &given)?;
        }
        Ok(self.enough.len() as u64)
    }

    fn same_of_epochs(&self, set: &[usize], given: &Given) -> Result<(), Violation> {
        if self.found.is_some_and(|found| found.epochs == given.epochs) {
            return Ok(());
        }
        let what = format!("seats {:?} give epochs {:?} other keys than the first", self.indices(set), self.epochs);
        Err(of_epoch(what))
    }

    fn try_enough(&self, set: &[usize]) -> Result<(), Violation> {
        let given = self.give(set, self.threshold).map_err(of_epoch)?;
        if self.found.is_none_or(|found| found.key != given.key) {
            let what = format!("seats {:?} have another key than the first", self.indices(set));
            return Err(Violation::new(NAMES[1], what));
        }
        self.same_of_epochs(set, &given)
    }

    fn try_few(&self, set: &[usize]) -> Result<(), Violation> {
        let violated = |what: &str| Violation::new(NAMES[0], format!("{what}: seats {:?}", self.indices(set)));
        let too_few = CombineError::TooFew { have: set.len(), need: self.threshold };
        if self.give(set, self.threshold).err() != Some(too_few) {
            return Err(violated("fewer partials than the threshold were combined"));
        }
        let given = self.give(set, set.len()).map_err(|_| violated("nothing comes of these"))?;
        if [given.key].iter().chain(&given.epochs).any(|key| self.give_key(key)) {
            return Err(violated("fewer shares than the threshold give the key"));
        }
        Ok(())
    }

    /// The key that these shares give by interpolation, and what comes of their partials, if so few as `threshold` are asked for.
    fn give(&self, set: &[usize], threshold: usize) -> Result<Given, CombineError> {
        let of = |epoch: usize| -> Result<[u8; 32], CombineError> {
            let partials = set.iter().map(|position| self.held[*position].1[epoch].clone());
            let output = combine(threshold, &partials.collect::<Vec<VerifiedPartial>>())?;
            Ok(storage_key(&output))
        };
        let epochs = [of(0)?, of(1)?];
        let holders: Vec<&Holder> = set.iter().map(|position| &self.held[*position].0).collect();
        Ok(Given { key: interpolate(&holders), epochs })
    }

    fn indices(&self, set: &[usize]) -> Vec<u16> {
        set.iter().map(|position| self.held[*position].0.index).collect()
    }
}

/// The storage key that a worker derives of what partials combine to.
pub(crate) fn storage_key(output: &Secret<[u8; 32]>) -> [u8; 32] {
    *kdf::derive::<32>(output, domain::EPOCH_STORAGE, &[]).expose()
}

/// An epoch that has no key, or more than one.
fn of_epoch(what: impl ToString) -> Violation {
    Violation::new(ONE_KEY_PER_EPOCH, what.to_string())
}
