//! What a campaign of this simulation records: see [`phala_campaigns`]. INSECURE, never shipped.

use phala_campaigns::seeds::{self, Ran};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::Range};

/// The record of a campaign.
pub type Record = phala_campaigns::Record<Campaign, Piece>;

/// What has to have happened in any campaign: without it the invariants had nothing to look at.
pub const NEEDED: [&str; 2] = ["= items executed", "= replies verified"];
/// How many seeds are many.
pub const MANY: u64 = 200;
/// What has to have happened in many seeds as well: each is what an invariant is there for.
pub const NEEDED_OF_MANY: [&str; 9] = [
    "= states taken over",
    "= snapshots altered on their way",
    "= roots handed over to",
    "forge",
    "fork",
    "tear",
    "full",
    "rewind",
    "requery",
];

/// What never happened in so many seeds, of which these are the counts, and has to.
pub fn missing(seeds: u64, counts: &BTreeMap<String, u64>) -> Vec<&'static str> {
    let any = NEEDED.into_iter().filter(|_| seeds > 0);
    let many = NEEDED_OF_MANY.into_iter().filter(|_| seeds >= MANY);
    any.chain(many).filter(|what| counts.get(*what).is_none_or(|count| *count == 0)).collect()
}

/// What decides a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// The first seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Actions of each.
    pub steps: usize,
}

/// Some seeds that follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The first.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// The commit that was run, as far as it is known.
    pub commit: String,
    /// What happened how often.
    pub counts: BTreeMap<String, u64>,
    /// Which seeds failed, and how.
    pub failures: Vec<String>,
}

impl seeds::Campaign for Campaign {
    fn seeds(&self) -> Range<u64> {
        self.seed..self.seed.saturating_add(self.seeds)
    }
}

impl seeds::Piece for Piece {
    fn ran(&self) -> Ran<'_> {
        let Self { from, seeds, commit, counts, failures } = self;
        Ran { seeds: *from..from.saturating_add(*seeds), commit, counts, failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Action, ActionError};

    #[test]
    fn what_never_happened_is_missing_and_more_of_it_in_many_seeds() {
        let mut counts = BTreeMap::new();
        assert_eq!(missing(0, &counts), Vec::<&str>::new());
        assert_eq!(missing(MANY - 1, &counts), NEEDED);
        assert_eq!(missing(MANY, &counts), [&NEEDED[..], &NEEDED_OF_MANY].concat());
        for what in NEEDED.into_iter().chain(NEEDED_OF_MANY) {
            counts.insert(what.to_owned(), 0);
            assert!(missing(MANY, &counts).contains(&what), "never is not once: {what}");
            counts.insert(what.to_owned(), 1);
            assert!(!missing(MANY, &counts).contains(&what));
        }
        assert_eq!(missing(MANY, &counts), Vec::<&str>::new());
    }

    #[test]
    fn what_is_needed_of_many_seeds_are_actions_or_counted_beside_them() {
        for what in NEEDED_OF_MANY.into_iter().filter(|what| !what.starts_with("= ")) {
            assert_ne!(what.parse::<Action>(), Err(ActionError::Unknown), "{what}");
        }
    }

    #[test]
    fn a_record_is_of_its_seeds_and_actions_and_goes_on_after_its_pieces() {
        const CAMPAIGN: Campaign = Campaign { seed: 5, seeds: 10, steps: 150 };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        let counts = BTreeMap::from([("crash".to_owned(), 2)]);
        let piece = Piece { from: 5, seeds: 4, commit: "0123".to_owned(), counts, failures: vec!["seed 6".to_owned()] };
        Record::open(Some(&path), CAMPAIGN).unwrap().add(piece.clone()).unwrap();
        let record = Record::open(Some(&path), CAMPAIGN).unwrap();
        assert_eq!((record.pieces(), record.next_seed(), record.done()), (&[piece][..], Some(9), 4));
        for other in
            [Campaign { seed: 6, ..CAMPAIGN }, Campaign { seeds: 11, ..CAMPAIGN }, Campaign { steps: 1, ..CAMPAIGN }]
        {
            assert!(Record::open(Some(&path), other).is_err());
        }
    }
}
