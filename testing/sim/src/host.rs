//! One machine with its operator: the process that may run on it, and what the host did to it.

use crate::{client::Asked, machine::SimMachine};
use phala_core::{DeliveryError, Lack, Seen, Settings, StartError, Tee};
use phala_protocol::{finality::GenesisAnchor, ids::BlockNumber, Epoch, WorkerId};
use std::sync::Arc;

/// What became of the last delivery, or of the last start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was taken.
    Taken,
    /// Refused as the relayer's fault, for this reason.
    Refused(String),
    /// It failed here, for this reason.
    Fault(String),
}

/// A machine, its process, and its relayer's memory.
pub struct Host {
    /// The machine.
    pub machine: Arc<SimMachine>,
    /// What its process is started as.
    pub settings: Settings,
    /// The process, if it runs.
    pub tee: Option<Tee>,
    /// The query nonces of the process.
    pub seen: Seen,
    /// Nothing comes or goes.
    pub partitioned: bool,
    /// How outgoing messages are carried: see `Action::Carry`.
    pub carry: u32,
    /// Deliveries that were kept back.
    pub held: Vec<Vec<u8>>,
    /// The last delivery.
    pub last: Vec<u8>,
    /// Copies of the disk that the host made, with [`Self::executed`] of their time.
    pub copies: Vec<(Vec<u8>, u64)>,
    /// Items that were executed into the disk that is there now.
    pub executed: u64,
    /// The last query.
    pub asked: Option<Asked>,
    /// What became of the last delivery.
    pub outcome: Outcome,
    /// Faults in a row.
    pub faults: u32,
    /// The host rewound, emptied or damaged the disk, or the worker was no replica for a while: it may be unable to go on.
    pub attacked: bool,
    /// The host overwrote a part of the disk.
    pub damaged: bool,
    /// The epoch of the store's keys, once a process failed to open it for being older than those that anybody gets. Epochs only go on:
    /// it stays so until the disk is another one, or opens after all.
    pub stored: Option<Epoch>,
    /// The process said that it lacks the state, and has not taken it over since.
    pub lacks: bool,
    /// Items covered by the last state of which a whole snapshot was asked for, in this process.
    pub handed_out: Option<u64>,
    /// The TEE that runs or last ran here.
    pub identity: Option<WorkerId>,
    /// The head when it was last looked at, in this process.
    pub height: BlockNumber,
    /// Times it was started after it ran once.
    pub restarts: u32,
}

impl Host {
    /// A machine on which nothing runs.
    pub fn new(machine: Arc<SimMachine>, settings: Settings) -> Self {
        Self {
            machine,
            settings,
            tee: None,
            seen: Seen::default(),
            partitioned: false,
            carry: 0,
            held: Vec::new(),
            last: Vec::new(),
            copies: Vec::new(),
            executed: 0,
            asked: None,
            outcome: Outcome::Taken,
            faults: 0,
            attacked: false,
            damaged: false,
            stored: None,
            lacks: false,
            handed_out: None,
            identity: None,
            height: 0,
            restarts: 0,
        }
    }

    /// Starts the process, after it was ended in order if it runs. It stays down if it cannot start.
    pub fn start(&mut self, anchor: &GenesisAnchor) {
        self.tee = None;
        self.machine.disk.kill();
        self.seen = Seen::default();
        (self.height, self.faults, self.lacks, self.handed_out) = (0, 0, false, None);
        self.restarts += 1;
        match Tee::start(self.settings.clone(), anchor, self.machine.clone()) {
            Ok(tee) => {
                self.identity = Some(tee.identity());
                self.tee = Some(tee);
                self.outcome = Outcome::Taken;
            }
            Err(error @ (StartError::Machine(_) | StartError::Engine(_))) => {
                self.outcome = Outcome::Fault(format!("{error:?}"));
            }
            Err(error @ StartError::Anchor(_)) => self.outcome = Outcome::Refused(format!("{error:?}")),
        }
    }

    /// Kills the process: nothing that it does from now on reaches the disk.
    pub fn kill(&mut self) {
        self.machine.disk.kill();
        self.tee = None;
    }

    /// Remembers why the process cannot go on from its disk.
    pub fn note_lack(&mut self, why: &Lack) {
        self.lacks = true;
        if let Lack::Outdated { stored } = why {
            self.stored = Some(*stored);
        }
    }

    /// The state is another's now, in a file that is whole.
    pub fn note_taken_over(&mut self) {
        (self.lacks, self.damaged, self.stored) = (false, false, None);
    }

    /// Remembers what became of a delivery.
    pub fn note(&mut self, result: &Result<(), DeliveryError>) {
        self.outcome = match result {
            Ok(()) => Outcome::Taken,
            Err(error) if error.is_the_relayers() => Outcome::Refused(format!("{error:?}")),
            Err(error) => Outcome::Fault(format!("{error:?}")),
        };
        self.faults = if matches!(self.outcome, Outcome::Fault(_)) { self.faults + 1 } else { 0 };
    }
}
