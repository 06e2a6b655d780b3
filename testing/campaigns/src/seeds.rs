//! Campaigns of seeds that follow each other.
//!
//! Guarantees: the pieces together run each seed once and in order; what failed stays.

use crate::{commits, Record};
use serde::{de::DeserializeOwned, Serialize};
use std::{collections::BTreeMap, ops::Range, process::ExitCode};

/// What decides such a campaign.
pub trait Campaign {
    /// Its seeds: from the first to the one after the last.
    fn seeds(&self) -> Range<u64>;
}

/// What such a campaign records of some of its seeds.
pub trait Piece: Serialize + DeserializeOwned {
    /// What all of them do.
    fn ran(&self) -> Ran<'_>;
}

/// What some seeds that follow each other came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran<'a> {
    /// From the first to the one after the last.
    pub seeds: Range<u64>,
    /// The commit that was run, as far as it is known.
    pub commit: &'a str,
    /// What happened how often.
    pub counts: &'a BTreeMap<String, u64>,
    /// Which seeds failed, and how.
    pub failures: &'a [String],
}

impl<C: Campaign, P: Piece> crate::Piece<C> for P {
    fn fit(campaign: &C, pieces: &[Self]) -> bool {
        let Range { start: mut next, end } = campaign.seeds();
        pieces.iter().all(|piece| {
            let seeds = piece.ran().seeds;
            let fits = seeds.start == next && !seeds.is_empty() && seeds.end <= end;
            next = seeds.end;
            fits
        })
    }
}

impl<C: Campaign, P: Piece> Record<C, P> {
    /// The first seed that was not run, if there is one.
    pub fn next_seed(&self) -> Option<u64> {
        let seeds = self.campaign().seeds();
        let next = self.ran().last().map_or(seeds.start, |ran| ran.seeds.end);
        (next < seeds.end).then_some(next)
    }

    /// How many seeds were run.
    pub fn done(&self) -> u64 {
        self.ran().map(|ran| ran.seeds.end.saturating_sub(ran.seeds.start)).sum()
    }

    /// What happened how often, in all pieces.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (what, count) in self.ran().flat_map(|ran| ran.counts) {
            add(&mut counts, what, *count);
        }
        counts
    }

    /// What failed, in all pieces.
    pub fn failures(&self) -> Vec<String> {
        self.ran().flat_map(|ran| ran.failures.to_vec()).collect()
    }

    /// The commits that were run.
    pub fn commits(&self) -> Vec<&str> {
        commits(self.ran().map(|ran| ran.commit))
    }

    /// Prints which commits were run, and from which seed on nothing was. Returns how the campaign's process ends: 0 when all is run and
    /// nothing failed, 1 when something did, 3 when there is more to run.
    pub fn conclude(&self, failures: &[String]) -> ExitCode {
        println!("commits: {}", self.commits().join("; "));
        if !failures.is_empty() {
            return ExitCode::FAILURE;
        }
        match self.next_seed() {
            Some(next) => {
                println!("NOT RUN: seeds from {next} on; run it again with the same --record to go on");
                ExitCode::from(3)
            }
            None => ExitCode::SUCCESS,
        }
    }

    fn ran(&self) -> impl Iterator<Item = Ran<'_>> {
        self.pieces().iter().map(Piece::ran)
    }
}

/// Adds to a count, or keeps the larger one of what is a maximum by its name.
pub fn add(counts: &mut BTreeMap<String, u64>, what: &str, count: u64) {
    let total = counts.entry(what.to_owned()).or_default();
    *total = if what.ends_with("most") { (*total).max(count) } else { *total + count };
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::fs;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Seeds {
        from: u64,
        end: u64,
        size: u8,
    }

    #[derive(Serialize, Deserialize)]
    struct Part {
        from: u64,
        end: u64,
        commit: String,
        counts: BTreeMap<String, u64>,
        failures: Vec<String>,
    }

    impl Campaign for Seeds {
        fn seeds(&self) -> Range<u64> {
            self.from..self.end
        }
    }

    impl Piece for Part {
        fn ran(&self) -> Ran<'_> {
            let Self { from, end, commit, counts, failures } = self;
            Ran { seeds: *from..*end, commit, counts, failures }
        }
    }

    const SEEDS: Seeds = Seeds { from: 5, end: 15, size: 4 };

    fn part(from: u64, end: u64, failures: &[&str]) -> Part {
        let counts = [("crash", 2), ("= newest epoch, most", from)];
        let counts = counts.into_iter().map(|(what, count)| (what.to_owned(), count)).collect();
        let failures = failures.iter().map(|failure| (*failure).to_owned()).collect();
        Part { from, end, commit: "0123".to_owned(), counts, failures }
    }

    #[test]
    fn pieces_run_each_seed_once_and_what_failed_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        for (from, end, failures) in [(5, 9, &["seed 6"][..]), (9, 15, &[][..])] {
            let mut record = Record::<_, Part>::open(Some(&path), SEEDS).unwrap();
            assert_eq!(record.next_seed(), Some(from));
            record.add(part(from, end, failures)).unwrap();
        }
        let record = Record::<_, Part>::open(Some(&path), SEEDS).unwrap();
        assert_eq!((record.next_seed(), record.done()), (None, 10));
        assert_eq!(record.failures(), ["seed 6"]);
        assert_eq!(record.counts().into_values().collect::<Vec<_>>(), [9, 4]);
        assert_eq!(record.commits(), ["0123"]);
    }

    #[test]
    fn a_record_of_other_seeds_or_of_pieces_that_do_not_follow_each_other_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        let open = |seeds| Record::<_, Part>::open(Some(&path), seeds);
        open(SEEDS).unwrap().add(part(5, 9, &[])).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for other in [Seeds { from: 6, ..SEEDS }, Seeds { end: 16, ..SEEDS }, Seeds { size: 7, ..SEEDS }] {
            let error = open(other).err().unwrap();
            assert!(error.to_string().contains("another campaign"), "{error}");
        }
        for (from, end) in [(6, 9), (5, 5), (5, 16)] {
            let seeds = |from, end| format!("\"from\": {from},\n      \"end\": {end},");
            let damaged = text.replace(&seeds(5, 9), &seeds(from, end));
            assert_ne!(damaged, text);
            fs::write(&path, damaged).unwrap();
            assert!(open(SEEDS).is_err(), "{from} to {end}");
        }
    }
}
