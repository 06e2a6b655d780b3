//! What a campaign of seeds has run so far, in a file that the next run goes on from. INSECURE, never shipped.
//!
//! Guarantees: the pieces together run each seed once and in order; the file is replaced whole after each piece; a file of another
//! campaign, or a damaged one, is refused and left as it is; what failed stays in it.

use anyhow::{ensure, Context, Result};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

const VERSION: u32 = 1;

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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    version: u32,
    campaign: Campaign,
    pieces: Vec<Piece>,
}

/// The record; in memory only when no file was named.
pub struct Record {
    path: Option<PathBuf>,
    content: Content,
}

impl Record {
    /// Opens the record at `path`, or begins it.
    ///
    /// # Errors
    /// When the file is another campaign's, or no record.
    pub fn open(path: Option<&Path>, campaign: Campaign) -> Result<Self> {
        let empty = Content { version: VERSION, campaign, pieces: Vec::new() };
        let Some(path) = path else { return Ok(Self { path: None, content: empty }) };
        let content: Content = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is no record of this campaign", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => empty,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        ensure!(
            content.version == VERSION && content.campaign == campaign,
            "{} is the record of another campaign: {:?}",
            path.display(),
            content.campaign
        );
        let mut next = campaign.seed;
        for piece in &content.pieces {
            ensure!(piece.from == next, "a piece of {} does not begin where the one before ended", path.display());
            next = next.saturating_add(piece.seeds);
        }
        ensure!(next <= campaign.seed.saturating_add(campaign.seeds), "{} has too many seeds", path.display());
        Ok(Self { path: Some(path.to_owned()), content })
    }

    /// The first seed that was not run, if there is one.
    pub fn next_seed(&self) -> Option<u64> {
        let Campaign { seed, seeds, .. } = self.content.campaign;
        let next = seed.saturating_add(self.done());
        (next < seed.saturating_add(seeds)).then_some(next)
    }

    /// How many seeds were run.
    pub fn done(&self) -> u64 {
        self.content.pieces.iter().map(|piece| piece.seeds).sum()
    }

    /// Adds a piece, and writes it down.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, piece: Piece) -> Result<()> {
        self.content.pieces.push(piece);
        let Some(path) = &self.path else { return Ok(()) };
        let aside = path.with_extension("new");
        fs::write(&aside, serde_json::to_vec_pretty(&self.content)?)
            .and_then(|()| fs::rename(&aside, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// What happened how often, in all pieces.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (what, count) in self.content.pieces.iter().flat_map(|piece| &piece.counts) {
            add(&mut counts, what, *count);
        }
        counts
    }

    /// What failed, in all pieces.
    pub fn failures(&self) -> Vec<String> {
        self.content.pieces.iter().flat_map(|piece| piece.failures.clone()).collect()
    }

    /// The commits that were run.
    pub fn commits(&self) -> Vec<&str> {
        let mut commits: Vec<&str> = self.content.pieces.iter().map(|piece| piece.commit.as_str()).collect();
        commits.sort_unstable();
        commits.dedup();
        commits
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

    const CAMPAIGN: Campaign = Campaign { seed: 5, seeds: 10, steps: 150 };

    fn piece(from: u64, seeds: u64, failures: &[&str]) -> Piece {
        let counts = [("crash", 2), ("= newest epoch, most", from)];
        Piece {
            from,
            seeds,
            commit: "0123".to_owned(),
            counts: counts.into_iter().map(|(what, count)| (what.to_owned(), count)).collect(),
            failures: failures.iter().map(|failure| (*failure).to_owned()).collect(),
        }
    }

    #[test]
    fn pieces_run_each_seed_once_and_what_failed_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        for (from, seeds, failures) in [(5, 4, &["seed 6"][..]), (9, 6, &[][..])] {
            let mut record = Record::open(Some(&path), CAMPAIGN).unwrap();
            assert_eq!(record.next_seed(), Some(from));
            record.add(piece(from, seeds, failures)).unwrap();
        }
        let record = Record::open(Some(&path), CAMPAIGN).unwrap();
        assert_eq!((record.next_seed(), record.done()), (None, 10));
        assert_eq!(record.failures(), ["seed 6"]);
        assert_eq!(record.counts().into_values().collect::<Vec<_>>(), [9, 4]);
        assert_eq!(record.commits(), ["0123"]);
    }

    #[test]
    fn another_campaigns_record_or_a_damaged_one_is_refused_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        let mut record = Record::open(Some(&path), CAMPAIGN).unwrap();
        record.add(piece(5, 4, &[])).unwrap();
        let whole = fs::read(&path).unwrap();
        for other in
            [Campaign { seed: 6, ..CAMPAIGN }, Campaign { seeds: 11, ..CAMPAIGN }, Campaign { steps: 1, ..CAMPAIGN }]
        {
            let error = Record::open(Some(&path), other).err().unwrap();
            assert!(error.to_string().contains("another campaign"), "{error}");
        }
        let moved = String::from_utf8(whole.clone()).unwrap().replace("\"from\": 5", "\"from\": 6");
        for damaged in [&whole[..whole.len() / 2], b"", moved.as_bytes()] {
            fs::write(&path, damaged).unwrap();
            assert!(Record::open(Some(&path), CAMPAIGN).is_err());
            assert_eq!(fs::read(&path).unwrap(), damaged);
        }
    }
}
