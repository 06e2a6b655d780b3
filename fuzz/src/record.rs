//! What a campaign has searched so far, in a file that the next run goes on from.
//!
//! Guarantees, beside those of [`phala_campaigns`]: a target is in it only when its search has ended, and once. What was found stays in
//! it: a target that was mended is searched again under another record.

use crate::{campaign::Report, targets::TARGETS};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What decides a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// Decides the inputs.
    pub seed: u64,
    /// How long each target is searched.
    pub milliseconds: u64,
}

/// One target's search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The target.
    pub target: String,
    /// How long it took.
    pub seconds: u64,
    /// The commit that was searched, as far as it is known.
    pub commit: String,
    /// What it came to.
    pub report: Report,
}

impl phala_campaigns::Piece<Campaign> for Row {
    fn fit(_: &Campaign, rows: &[Self]) -> bool {
        let twice = |(at, row): (usize, &Self)| rows.iter().skip(at + 1).any(|other| other.target == row.target);
        !rows.iter().enumerate().any(twice)
    }
}

/// The record; in memory only when no file was named.
pub struct Record(phala_campaigns::Record<Campaign, Row>);

impl Record {
    /// Opens the record at `path`, or begins it.
    ///
    /// # Errors
    /// When the file is another campaign's, or no record.
    pub fn open(path: Option<&Path>, campaign: Campaign) -> Result<Self, String> {
        phala_campaigns::Record::open(path, campaign).map(Self).map_err(|error| format!("{error:#}"))
    }

    /// Whether the target's search has ended.
    pub fn has(&self, target: &str) -> bool {
        self.0.pieces().iter().any(|row| row.target == target)
    }

    /// Adds what a search came to, and writes it down.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, row: Row) -> Result<(), String> {
        self.0.add(row).map_err(|error| format!("{error:#}"))
    }

    /// What was searched, in the order of the targets.
    pub fn rows(&self) -> Vec<&Row> {
        let place = |row: &&Row| TARGETS.iter().position(|target| target.name == row.target);
        let mut rows: Vec<&Row> = self.0.pieces().iter().collect();
        rows.sort_by_key(place);
        rows
    }

    /// The targets that were not searched.
    pub fn left(&self) -> Vec<&'static str> {
        TARGETS.iter().map(|target| target.name).filter(|name| !self.has(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const CAMPAIGN: Campaign = Campaign { seed: 3, milliseconds: 30_000 };

    fn row(target: &str, findings: &[&str]) -> Row {
        let findings = findings.iter().map(|finding| (*finding).to_owned()).collect();
        let report = Report { executions: 7, findings, ..Report::default() };
        Row { target: target.to_owned(), seconds: 30, commit: "0123".to_owned(), report }
    }

    #[test]
    fn a_record_goes_on_where_it_was_and_forgets_no_finding() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        let mut record = Record::open(Some(&path), CAMPAIGN).unwrap();
        let (first, second) = (TARGETS[1].name, TARGETS[0].name);
        record.add(row(first, &["it panicked"])).unwrap();
        let mut record = Record::open(Some(&path), CAMPAIGN).unwrap();
        assert!(record.has(first) && !record.has(second));
        record.add(row(second, &[])).unwrap();
        let record = Record::open(Some(&path), CAMPAIGN).unwrap();
        let names: Vec<&str> = record.rows().iter().map(|row| row.target.as_str()).collect();
        assert_eq!(names, [second, first]);
        assert_eq!(record.rows()[1].report.findings, ["it panicked"]);
        assert_eq!(record.left().len(), TARGETS.len() - 2);
    }

    #[test]
    fn another_campaigns_record_or_a_damaged_one_is_refused_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        let mut record = Record::open(Some(&path), CAMPAIGN).unwrap();
        record.add(row(TARGETS[0].name, &[])).unwrap();
        let whole = fs::read(&path).unwrap();
        for other in [Campaign { seed: 4, ..CAMPAIGN }, Campaign { milliseconds: 60_000, ..CAMPAIGN }] {
            assert!(Record::open(Some(&path), other).err().unwrap().contains("another campaign"));
        }
        for damaged in [&whole[..whole.len() / 2], b""] {
            fs::write(&path, damaged).unwrap();
            assert!(Record::open(Some(&path), CAMPAIGN).is_err());
            assert_eq!(fs::read(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn without_a_file_nothing_is_written() {
        let mut record = Record::open(None, CAMPAIGN).unwrap();
        record.add(row(TARGETS[0].name, &[])).unwrap();
        assert_eq!(record.rows().len(), 1);
    }
}
