//! A campaign in pieces: what was done of a plan, in a file that the next run goes on from.
//!
//! Guarantees, beside those of [`phala_campaigns`]: the pieces together do each step of the plan that the seed gives, once and in order; a
//! piece counts only when it has ended with everything checked, and one that broke off stays in the record as a failure whatever comes
//! after it. Every piece has a network of its own: what one leaves behind is not what the next begins with.

use super::{
    plan::{self, plan, Step},
    Report,
};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What decides a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// Decides what is killed and when.
    pub seed: u64,
    /// At least so many kills.
    pub kills: usize,
    /// The least length of clusters' epochs in blocks.
    pub epoch_blocks: u32,
}

/// One run of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The first step.
    pub from: usize,
    /// The seed of its load.
    pub load_seed: u64,
    /// The commit that was run, as far as it is known.
    #[serde(default)]
    pub commit: String,
    /// What it came to; its recoveries are as many as its steps. None when it broke off.
    pub report: Option<Report>,
    /// Why it broke off.
    pub failure: Option<String>,
}

/// The record.
pub struct Record {
    file: phala_campaigns::Record<Campaign, Piece>,
    plan: Vec<Step>,
}

impl phala_campaigns::Piece<Campaign> for Piece {
    fn fit(campaign: &Campaign, pieces: &[Self]) -> bool {
        let mut next = 0;
        let in_order = pieces.iter().all(|piece| {
            let fits = piece.from == next;
            next += piece.steps();
            fits
        });
        in_order && next <= plan(campaign.seed, campaign.kills).len()
    }
}

impl Record {
    /// Opens the record at `path`, or begins it.
    ///
    /// # Errors
    /// When the file is another campaign's, or no record.
    pub fn open(path: &Path, campaign: Campaign) -> Result<Self> {
        let plan = plan(campaign.seed, campaign.kills);
        Ok(Self { file: phala_campaigns::Record::open(Some(path), campaign)?, plan })
    }

    /// The steps that are left.
    pub fn left(&self) -> &[Step] {
        self.plan.get(self.done()..).unwrap_or_default()
    }

    /// How many steps are done.
    pub fn done(&self) -> usize {
        self.file.pieces().iter().map(Piece::steps).sum()
    }

    /// The pieces so far.
    pub fn pieces(&self) -> &[Piece] {
        self.file.pieces()
    }

    /// The seed of the next piece's load: what is sent must not begin anew with each piece.
    pub fn load_seed(&self) -> u64 {
        plan::load_seed(self.file.campaign().seed, self.file.pieces().len() as u64)
    }

    /// Adds what the next piece came to, and writes it down.
    pub fn add(&mut self, outcome: &Result<Report>) -> Result<()> {
        let (from, load_seed) = (self.done(), self.load_seed());
        let (report, failure) = match outcome {
            Ok(report) => (Some(report.clone()), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        self.file.add(Piece { from, load_seed, commit: phala_campaigns::commit(), report, failure })
    }

    /// All pieces as one.
    pub fn total(&self) -> Report {
        let mut total = Report::default();
        for report in self.file.pieces().iter().filter_map(|piece| piece.report.as_ref()) {
            total.add(report);
        }
        total
    }

    /// Kills that were wanted of all pieces together.
    pub fn wanted(&self) -> usize {
        self.file.campaign().kills
    }

    /// Why pieces broke off.
    pub fn failures(&self) -> Vec<&str> {
        self.file.pieces().iter().filter_map(|piece| piece.failure.as_deref()).collect()
    }
}

impl Piece {
    /// How many steps it did.
    pub fn steps(&self) -> usize {
        self.report.as_ref().map_or(0, |report| report.recoveries.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        campaign::{audit::Violation, Recovery},
        load,
    };
    use std::{collections::BTreeSet, fs, time::Duration};

    const CAMPAIGN: Campaign = Campaign { seed: 11, kills: 40, epoch_blocks: 30 };

    /// A run that does the first `count` of the steps that are left.
    fn run(left: &[Step], count: usize) -> Report {
        let mut report = Report { transfers: count, took: Duration::from_secs(count as u64), ..Report::default() };
        for step in left.iter().take(count) {
            let action = step.action.name();
            *report.kills.entry(action.clone()).or_default() += step.action.kills();
            report.recoveries.push(Recovery { action, started: step.after, recovered: step.after });
        }
        report
    }

    #[test]
    fn pieces_do_each_step_of_the_plan_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("record.json");
        let whole = plan(CAMPAIGN.seed, CAMPAIGN.kills);
        let (mut done, mut seeds) = (Vec::new(), Vec::new());
        for count in [3, 1, 0, 7, 1000] {
            // Another process each time.
            let mut record = Record::open(&file, CAMPAIGN).unwrap();
            assert_eq!(record.done(), done.len());
            done.extend(record.left().iter().take(count).cloned());
            seeds.push(record.load_seed());
            let report = run(record.left(), count);
            record.add(&Ok(report)).unwrap();
        }
        assert_eq!(done, whole);
        assert_eq!(seeds.iter().collect::<BTreeSet<_>>().len(), 5, "each piece has a load of its own");
        let record = Record::open(&file, CAMPAIGN).unwrap();
        assert!(record.left().is_empty());
        let total = record.total();
        assert_eq!(total.recoveries.len(), whole.len());
        assert!(total.killed() >= CAMPAIGN.kills);
        assert_eq!(total.killed(), whole.iter().map(|step| step.action.kills()).sum::<usize>());
        assert_eq!(total.took, Duration::from_secs(1011));
    }

    /// Neither what a sender draws first nor anything after it is what another sender of any piece draws at any time.
    #[test]
    fn no_sender_of_any_piece_repeats_another() {
        const PIECES: usize = 8;
        const SENDERS: usize = 8;
        const DRAWN: usize = 64;
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::open(&folder.path().join("record.json"), CAMPAIGN).unwrap();
        let mut drawn = BTreeSet::new();
        for _ in 0..PIECES {
            for sender in 0..SENDERS {
                let mut random = load::stream(record.load_seed(), sender);
                drawn.extend((0..DRAWN).map(|_| random.bits()));
            }
            record.add(&Ok(run(record.left(), 1))).unwrap();
        }
        assert_eq!(drawn.len(), PIECES * SENDERS * DRAWN);
    }

    #[test]
    fn what_broke_stays_and_its_steps_are_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("record.json");
        let mut record = Record::open(&file, CAMPAIGN).unwrap();
        record.add(&Ok(run(record.left(), 2))).unwrap();
        let left = record.left().to_vec();
        record.add(&Err(anyhow::anyhow!("no answer").context("the network does not recover"))).unwrap();
        assert_eq!(record.left(), left);
        let mut broken = run(&left, 4);
        broken.violations.push(Violation { invariant: "nothing_lost".into(), detail: "item 3".to_owned() });
        record.add(&Ok(broken.clone())).unwrap();

        let record = Record::open(&file, CAMPAIGN).unwrap();
        assert_eq!(record.done(), 6);
        assert_eq!(record.failures(), ["the network does not recover: no answer"]);
        assert_eq!(record.total().violations, broken.violations);
        assert_eq!(record.pieces()[1].from, record.pieces()[2].from);
    }

    #[test]
    fn another_campaigns_record_or_a_damaged_one_is_refused_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("record.json");
        let mut record = Record::open(&file, CAMPAIGN).unwrap();
        record.add(&Ok(run(record.left(), 5))).unwrap();
        let whole = fs::read(&file).unwrap();
        for other in [
            Campaign { seed: 12, ..CAMPAIGN },
            Campaign { kills: 41, ..CAMPAIGN },
            Campaign { epoch_blocks: 31, ..CAMPAIGN },
        ] {
            let error = Record::open(&file, other).err().unwrap();
            assert!(error.to_string().contains("another campaign"), "{error}");
        }
        let moved = String::from_utf8(whole.clone()).unwrap().replace("\"from\": 0", "\"from\": 1");
        for damaged in [&whole[..whole.len() / 2], b"", moved.as_bytes()] {
            fs::write(&file, damaged).unwrap();
            assert!(Record::open(&file, CAMPAIGN).is_err());
            assert_eq!(fs::read(&file).unwrap(), damaged);
        }
    }
}
