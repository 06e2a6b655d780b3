//! What a campaign of key ceremonies records: see [`phala_campaigns`]. INSECURE, never shipped.

use phala_campaigns::seeds::{self, Ran};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::Range};

/// The record of a campaign.
pub type Record = phala_campaigns::Record<Campaign, Piece>;

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

impl seeds::Campaign for Campaign {
    fn seeds(&self) -> Range<u64> {
        self.from..self.end
    }
}

impl seeds::Piece for Piece {
    fn ran(&self) -> Ran<'_> {
        let Self { from, end, commit, counts, failures, .. } = self;
        Ran { seeds: *from..*end, commit, counts, failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_of_its_seeds_and_seats_and_goes_on_after_its_pieces() {
        const CAMPAIGN: Campaign = Campaign { from: 5, end: 15, seats: 4 };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        let [commit, trace] = ["0123", "0xab"].map(str::to_owned);
        let counts = BTreeMap::from([("started".to_owned(), 4)]);
        let piece = Piece { from: 5, end: 9, commit, trace, counts, failures: vec!["seed 6".to_owned()] };
        Record::open(Some(&path), CAMPAIGN).unwrap().add(piece.clone()).unwrap();
        let record = Record::open(Some(&path), CAMPAIGN).unwrap();
        assert_eq!((record.pieces(), record.next_seed(), record.done()), (&[piece][..], Some(9), 4));
        for other in
            [Campaign { from: 4, ..CAMPAIGN }, Campaign { end: 16, ..CAMPAIGN }, Campaign { seats: 7, ..CAMPAIGN }]
        {
            assert!(Record::open(Some(&path), other).is_err());
        }
    }
}
