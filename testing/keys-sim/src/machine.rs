//! One seat's machine: the code that ships, its disk, and what its host does to it.

use crate::{
    malice::Dealt,
    members::{GENESIS, NOW},
    seating::Seating,
};
use phala_crypto::Secret;
use phala_gatekeeper::dkg::{open_parcel, Ceremony, CeremonyError, Transcript, Turn, View};
use phala_protocol::{
    ceremony::{Attachment, CeremonyAttempt, CeremonyRecord, Parcel, ParcelKind, Phase, Statement},
    ids::BlockNumber,
    WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

/// A machine.
pub(crate) struct Machine {
    pub(crate) index: u16,
    /// Whether it runs.
    pub(crate) up: bool,
    /// Whether it is gone for good.
    pub(crate) lost: bool,
    pub(crate) ceremony: Option<Ceremony>,
    pub(crate) transcript: Transcript,
    /// The newest finalised head that it saw. It is sealed with everything else, and goes back with it.
    pub(crate) head: BlockNumber,
    /// Whether its host shows it old records, block by block, from a head that it restored.
    pub(crate) behind: bool,
    /// Attempts in which a confirmation of it went out.
    pub(crate) confirmed: BTreeSet<u32>,
    id: WorkerId,
    seed: [u8; 32],
    /// INSECURE: in clear. Everything that it ever sealed, newest last.
    disk: Vec<(BlockNumber, Vec<u8>)>,
}

impl Machine {
    pub(crate) fn new(id: WorkerId, index: u16, seed: [u8; 32]) -> Self {
        Self {
            index,
            up: true,
            lost: false,
            ceremony: None,
            transcript: Transcript::default(),
            head: 0,
            behind: false,
            confirmed: BTreeSet::new(),
            id,
            seed,
            disk: Vec::new(),
        }
    }

    /// Whether it has its seat in this ceremony: another may have had it before, or have it now.
    pub(crate) fn has_seat_in(&self, record: &CeremonyRecord) -> bool {
        record.seat(self.index).is_some_and(|seat| seat.gatekeeper == self.id)
    }

    /// A look at the chain, at a head at which these seats were not registered.
    pub(crate) fn look(
        &mut self,
        seating: &Seating<'_>,
        head: BlockNumber,
        record: &CeremonyRecord,
        away: &BTreeSet<u16>,
        entropy: [u8; 32],
    ) -> Result<Turn, CeremonyError> {
        self.head = head;
        // A transcript is of one set.
        let gatekeepers =
            |record: &CeremonyRecord| -> Vec<WorkerId> { record.seats.iter().map(|seat| seat.gatekeeper).collect() };
        if self.transcript.records.first().is_some_and(|(_, first)| gatekeepers(first) != gatekeepers(record)) {
            self.transcript = Transcript::default();
        }
        self.transcript.observe(head, record);
        let current = (record.era, record.attempt);
        if self.ceremony.as_ref().is_none_or(|ceremony| ceremony.attempt() != current) {
            self.ceremony = Some(Ceremony::begin(&GENESIS, &self.id, &Secret::new(self.seed), record)?);
            self.seal();
        }
        let of = CeremonyAttempt::root(record.era, record.attempt);
        let view = View {
            record,
            head,
            now: NOW,
            // Members are verified once in an attempt, and again where one is away.
            since: 0,
            identity: seating.identity(self.index, record.attempt),
            receiving: &seating.receiving(self.index, of),
            peers: &seating.peers(of, away),
            entropy: &Secret::new(entropy),
        };
        let turn = self.ceremony.as_mut().unwrap().step(&view)?;
        if turn.seal_first {
            self.seal();
        }
        Ok(turn)
    }

    /// What the code that ships deals in the attempt of `record`, for a liar who alters a part of it: read off a fork on which the hashes of
    /// all stand. With another `seed` than 0 it is a second dealing of the same seat, as good as the first.
    pub(crate) fn dealt(&self, seating: &Seating<'_>, record: &CeremonyRecord, seed: u8, entropy: [u8; 32]) -> Dealt {
        let mut own = self.seed;
        own[0] ^= seed;
        let mut ceremony = Ceremony::begin(&GENESIS, &self.id, &Secret::new(own), record).unwrap();
        let of = CeremonyAttempt::root(record.era, record.attempt);
        let mut fork = CeremonyRecord::new(record.era, record.attempt, &seating.ids(record.attempt));
        let step = |ceremony: &mut Ceremony, fork: &CeremonyRecord| {
            let view = View {
                record: fork,
                head: 0,
                now: NOW,
                since: 0,
                identity: seating.identity(self.index, record.attempt),
                receiving: &seating.receiving(self.index, of),
                peers: &seating.peers(of, &BTreeSet::new()),
                entropy: &Secret::new(entropy),
            };
            ceremony.step(&view).unwrap()
        };
        let said = step(&mut ceremony, &fork).statements;
        let own = said.iter().find_map(|said| match said.statement {
            Statement::Commit { package } => Some(package),
            _ => None,
        });
        fork.seats.iter_mut().for_each(|seat| seat.package = Some([1; 32]));
        fork.seats[usize::from(self.index) - 1].package = own;
        fork.phase = Phase::Share;
        let (mut package, mut shares) = (Vec::new(), BTreeMap::new());
        for parcel in step(&mut ceremony, &fork).parcels {
            let to = parcel.header.to;
            let content = open_parcel(&GENESIS, seating.opener(&parcel).secret(), &parcel).unwrap().expose().clone();
            match parcel.header.kind {
                ParcelKind::Package => package = content,
                ParcelKind::Share => drop(shares.insert(to, content)),
                ParcelKind::Delivery | ParcelKind::Identities => {}
            }
        }
        Dealt { package, shares }
    }

    /// A parcel arrives.
    pub(crate) fn receive(&mut self, seating: &Seating<'_>, parcel: &Parcel) -> bool {
        let Some(ceremony) = self.ceremony.as_mut().filter(|_| self.up) else { return false };
        let (era, attempt) = ceremony.attempt();
        ceremony.accept(&seating.receiving(self.index, CeremonyAttempt::root(era, attempt)), parcel).is_ok()
    }

    /// Its host shows it what stands on chain beside statements of the seat of `from`.
    pub(crate) fn read(&mut self, seating: &Seating<'_>, from: u16, attachment: &Attachment) {
        let Some(ceremony) = self.ceremony.as_mut().filter(|_| self.up) else { return };
        // What it refuses changes nothing, or is what it disputes.
        let _ = match attachment {
            Attachment::Key(_) => Ok(()),
            Attachment::Parcel(parcel) if parcel.header.to == self.index => {
                let (era, attempt) = ceremony.attempt();
                ceremony.accept(&seating.receiving(self.index, CeremonyAttempt::root(era, attempt)), parcel)
            }
            Attachment::Parcel(_) => Ok(()),
            Attachment::Package(bytes) => ceremony.accept_package(from, bytes),
        };
    }

    pub(crate) fn seal(&mut self) {
        if let Some(ceremony) = &mut self.ceremony {
            self.disk.push((self.head, ceremony.to_secret_bytes().expose().clone()));
            ceremony.mark_sealed();
        }
    }

    /// INSECURE: in clear, everything that it sealed at any time, and what it has in memory.
    pub(crate) fn kept(&self) -> Vec<Vec<u8>> {
        let sealed = self.disk.iter().map(|(_, bytes)| bytes.clone());
        let in_memory = self.ceremony.iter().flat_map(|ceremony| {
            let seat = ceremony.seat().map(|seat| seat.to_secret_bytes().expose().clone());
            seat.into_iter().chain([ceremony.to_secret_bytes().expose().clone()])
        });
        sealed.chain(in_memory).collect()
    }

    pub(crate) fn crash(&mut self) {
        self.up = false;
        self.ceremony = None;
    }

    /// It does not come back.
    pub(crate) fn lose(&mut self) {
        self.crash();
        self.lost = true;
    }

    /// Starts from what was sealed `back` times before the last, or from nothing but its seed.
    pub(crate) fn start(&mut self, back: usize) {
        self.up = true;
        let state = self.disk.len().checked_sub(back + 1).and_then(|position| self.disk.get(position)).cloned();
        if back > 0 {
            self.behind = true;
            self.head = state.as_ref().map_or(0, |(head, _)| *head);
            self.transcript = Transcript::default();
        }
        self.ceremony = state.map(|(_, bytes)| Ceremony::from_secret_bytes(&Secret::new(bytes)).unwrap());
    }
}
