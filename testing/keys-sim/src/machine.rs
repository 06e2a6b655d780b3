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

/// What is on a disk of what was sealed once. INSECURE: in clear.
struct State {
    head: BlockNumber,
    attempt: u32,
    /// Whether what the seat confirmed in that attempt is in it, and so its share.
    confirmed: bool,
    bytes: Vec<u8>,
}

/// From what a machine started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// From another state than the newest.
    pub(crate) old: bool,
    /// From one without the confirmation that went out in the attempt under way, and without the share.
    pub(crate) forgot: bool,
}

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
    /// Attempts of which it started once, after that, from a state without the confirmation.
    pub(crate) forgot: BTreeSet<u32>,
    id: WorkerId,
    seed: [u8; 32],
    /// Whether a confirmation of the present attempt was in the state that it started from.
    had_confirmed: bool,
    /// Everything that it ever sealed, newest last.
    disk: Vec<State>,
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
            forgot: BTreeSet::new(),
            id,
            seed,
            had_confirmed: false,
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
            self.had_confirmed = false;
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
            self.disk.push(State {
                head: self.head,
                attempt: ceremony.attempt().1,
                // Whoever has its seat in the keys confirmed them in the same step.
                confirmed: self.had_confirmed || ceremony.seat().is_some(),
                bytes: ceremony.to_secret_bytes().expose().clone(),
            });
            ceremony.mark_sealed();
        }
    }

    /// INSECURE: in clear, everything that it sealed at any time, and what it has in memory.
    pub(crate) fn kept(&self) -> Vec<Vec<u8>> {
        let sealed = self.disk.iter().map(|state| state.bytes.clone());
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

    /// Starts from what was sealed `back` times before the last, or from nothing but its seed. Where its confirmation in `attempt` went out and
    /// is not in that, the share is lost: unless this `may_forget`, it starts from the newest state with the confirmation.
    pub(crate) fn start(&mut self, back: usize, attempt: u32, may_forget: bool) -> Start {
        let has_confirmed = |state: &State| state.attempt == attempt && state.confirmed;
        let mut from = self.disk.len().checked_sub(back + 1);
        let mut forgot = self.confirmed.contains(&attempt) && !from.is_some_and(|from| has_confirmed(&self.disk[from]));
        if forgot && !may_forget {
            // It was sealed before it went out.
            from = Some(self.disk.iter().rposition(has_confirmed).unwrap());
            forgot = false;
        }
        let state = from.map(|from| &self.disk[from]);
        let old = from.map_or(back > 0, |from| from + 1 < self.disk.len());
        self.up = true;
        if old {
            self.behind = true;
            self.head = state.map_or(0, |state| state.head);
            self.transcript = Transcript::default();
        }
        self.had_confirmed = state.is_some_and(|state| state.confirmed);
        self.ceremony = state.map(|state| Ceremony::from_secret_bytes(&Secret::new(state.bytes.clone())).unwrap());
        if forgot {
            self.forgot.insert(attempt);
        }
        Start { old, forgot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::Members;

    #[test]
    fn a_machine_starts_from_before_its_confirmation_only_where_its_share_may_be_lost() {
        let members = Members::new(4);
        let seating = Seating::new(&members, 4);
        let mut record = CeremonyRecord::new(1, 0, &seating.ids(0));
        record.begin(Phase::Commit, 1, 24);
        let mut machine = Machine::new(seating.ids(0)[0], 1, [7; 32]);
        let turn = machine.look(&seating, 1, &record, &BTreeSet::new(), [1; 32]).unwrap();
        assert_eq!(turn.statements.len(), 1);
        machine.confirmed.insert(0);
        for head in [2, 3] {
            machine.head = head;
            machine.had_confirmed = true;
            machine.seal();
        }
        assert_eq!(machine.disk.iter().map(|state| state.confirmed).collect::<Vec<_>>(), [false, true, true]);

        let start = |old, forgot| Start { old, forgot };
        assert_eq!(machine.start(1, 0, false), start(true, false));
        assert_eq!((machine.head, machine.had_confirmed), (2, true));
        // What is older, or nothing, is refused, and the newest with the confirmation taken.
        assert_eq!(
            (machine.start(2, 0, false), machine.start(9, 0, false)),
            (start(false, false), start(false, false))
        );
        assert!(machine.had_confirmed && machine.forgot.is_empty());
        // Of another attempt it confirmed nothing that could be lost.
        assert_eq!((machine.start(2, 1, false), machine.head), (start(true, false), 1));

        assert_eq!((machine.start(2, 0, true), machine.start(9, 0, true)), (start(true, true), start(true, true)));
        assert_eq!((machine.head, &machine.forgot, machine.ceremony.is_none()), (0, &BTreeSet::from([0]), true));
        // What it seals since is newer, and not with the confirmation.
        assert_eq!(machine.start(2, 0, true), start(true, true));
        machine.seal();
        assert_eq!(machine.disk.iter().filter(|state| state.confirmed).count(), 2);
        assert_eq!((machine.start(0, 0, true), machine.start(0, 0, false)), (start(false, true), start(true, false)));
    }
}
