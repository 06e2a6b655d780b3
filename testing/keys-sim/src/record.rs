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
    pub from: u64,
    /// The seed after the last.
    pub end: u64,
    /// Seats of each ceremony.
    pub seats: u8,
}

/// Some seeds that follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The first.
    pub from: u64,
    /// The one after the last.
    pub end: u64,
    /// The commit that was run, as far as it is known.
    pub commit: String,
    /// Hash over the traces of all of them.
    pub trace: String,
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
        let mut next = campaign.from;
        for piece in &content.pieces {
            ensure!(
                piece.from == next && piece.end > next && piece.end <= campaign.end,
                "the pieces of {} do not follow each other",
                path.display()
            );
            next = piece.end;
        }
        Ok(Self { path: Some(path.to_owned()), content })
    }

    /// The first seed that was not run, if there is one.
    pub fn next_seed(&self) -> Option<u64> {
        let Campaign { from, end, .. } = self.content.campaign;
        let next = self.content.pieces.last().map_or(from, |piece| piece.end);
        (next < end).then_some(next)
    }

    /// How many seeds were run.
    pub fn done(&self) -> u64 {
        self.content.pieces.iter().map(|piece| piece.end.saturating_sub(piece.from)).sum()
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

    /// All pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.content.pieces
    }

    /// What happened how often, in all pieces.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (what, count) in self.content.pieces.iter().flat_map(|piece| &piece.counts) {
            *counts.entry(what.clone()).or_default() += count;
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

#[cfg(test)]
mod tests {
    use super::*;

    const CAMPAIGN: Campaign = Campaign { from: 5, end: 15, seats: 4 };

    fn piece(from: u64, end: u64, failures: &[&str]) -> Piece {
        Piece {
            from,
            end,
            commit: "0123".to_owned(),
            trace: "0xab".to_owned(),
            counts: BTreeMap::from([("started".to_owned(), from)]),
            failures: failures.iter().map(|failure| (*failure).to_owned()).collect(),
        }
    }

    #[test]
    fn pieces_run_each_seed_once_and_what_failed_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        for (from, end, failures) in [(5, 9, &["seed 6"][..]), (9, 15, &[][..])] {
            let mut record = Record::open(Some(&path), CAMPAIGN).unwrap();
            assert_eq!(record.next_seed(), Some(from));
            record.add(piece(from, end, failures)).unwrap();
        }
        let record = Record::open(Some(&path), CAMPAIGN).unwrap();
        assert_eq!((record.next_seed(), record.done()), (None, 10));
        assert_eq!(record.failures(), ["seed 6"]);
        assert_eq!(record.counts(), BTreeMap::from([("started".to_owned(), 14)]));
        assert_eq!(record.commits(), ["0123"]);
    }

    #[test]
    fn another_campaigns_record_or_a_damaged_one_is_refused_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        let mut record = Record::open(Some(&path), CAMPAIGN).unwrap();
        record.add(piece(5, 9, &[])).unwrap();
        let whole = fs::read(&path).unwrap();
        for other in
            [Campaign { from: 6, ..CAMPAIGN }, Campaign { end: 16, ..CAMPAIGN }, Campaign { seats: 7, ..CAMPAIGN }]
        {
            let error = Record::open(Some(&path), other).err().unwrap();
            assert!(error.to_string().contains("another campaign"), "{error}");
        }
        let text = String::from_utf8(whole.clone()).unwrap();
        let [empty, long] = ["5", "16"].map(|end| text.replace("\"end\": 9", &format!("\"end\": {end}")));
        assert!(empty != text && long != text);
        for damaged in [&whole[..whole.len() / 2], b"", empty.as_bytes(), long.as_bytes()] {
            fs::write(&path, damaged).unwrap();
            assert!(Record::open(Some(&path), CAMPAIGN).is_err());
            assert_eq!(fs::read(&path).unwrap(), damaged);
        }
    }
}
