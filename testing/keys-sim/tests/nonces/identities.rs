//! Ceremonies of identities on the simulated machines: keys are made, handed to a set with another gatekeeper, and to the same set again.
//!
//! Dealers are the code that ships. The network drops parcels and statements in each ceremony's first attempt, and a dealer comes back from any
//! disk that it ever had, with fresh entropy. Holders seal nothing, and stay up.

use phala_crypto::{signature::ed25519, Secret};
use phala_gatekeeper::identity::{
    ceremony::{CeremonyError, Dealer, Holder, Turn, View},
    IdentityShares,
};
use phala_keys_sim::{
    members::{GENESIS, NOW},
    random::Random,
    Members,
};
use phala_protocol::{
    ceremony::{Attachment, CeremonyAttempt, Circumstances, Parcel, Phase},
    identities::{
        end_phase, is_complete, show, take, IdentityCeremonyRecord, IdentityNext, IdentityRecord,
        SignedIdentityStatement,
    },
    WorkerId,
};
use std::collections::BTreeMap;

/// Blocks of a phase, and from one look of the machines to the next.
const LENGTH: u32 = 40;
const STEP: usize = 3;

/// What happened.
#[derive(Default)]
pub struct Told {
    /// Parcels that dealers sent or delivered, with those that they repeated.
    pub parcels: usize,
    /// Deliveries on chain.
    pub delivered: usize,
    /// Starts of a dealer from what it had sealed some time.
    pub restored: usize,
    /// Ceremonies after which all that the chain has as holders have shares.
    pub ended: usize,
}

#[derive(Default)]
struct Machine {
    shares: Option<IdentityShares>,
    /// INSECURE: in clear. Of the ceremony under way.
    seed: [u8; 32],
    dealer: Option<Dealer>,
    holder: Option<Holder>,
    /// INSECURE: in clear. Everything that the dealer sealed in this attempt.
    disk: Vec<Secret<Vec<u8>>>,
}

struct Network<'a> {
    members: &'a Members,
    random: Random,
    machines: BTreeMap<u16, Machine>,
    former: Option<IdentityRecord>,
    record: IdentityCeremonyRecord,
    head: u32,
    /// What stands on chain beside statements of this attempt, with the speaker's index.
    beside: Vec<(u16, Attachment)>,
    told: Told,
}

/// Makes the keys among the first gatekeepers of four seats, and hands them over twice.
pub fn ceremonies(members: &Members, seed: u64) -> Told {
    let spare = members.spare(1);
    let mut network = Network {
        members,
        random: Random::new(seed),
        machines: [1, 2, 3, 4, spare].into_iter().map(|number| (number, Machine::default())).collect(),
        former: None,
        record: IdentityCeremonyRecord::new(0, 0, None, &[], |_| true),
        head: 1,
        beside: Vec::new(),
        told: Told::default(),
    };
    for set in [[1, 2, 3, 4], [spare, 2, 3, 4], [spare, 2, 3, 4]] {
        network.elect(&set);
        network.run();
    }
    network.told
}

fn part<T>(begun: Result<T, CeremonyError>) -> Option<T> {
    match begun {
        Ok(part) => Some(part),
        Err(CeremonyError::NoSeat) => None,
        Err(error) => panic!("{error}"),
    }
}

impl Network<'_> {
    fn id(&self, number: u16) -> WorkerId {
        WorkerId(self.members.identity(number).public())
    }

    fn of(&self) -> CeremonyAttempt {
        CeremonyAttempt::identities(self.record.era, self.record.attempt)
    }

    fn calm(&self) -> bool {
        self.record.attempt > 0
    }

    fn elect(&mut self, set: &[u16]) {
        let holders: Vec<WorkerId> = set.iter().map(|number| self.id(*number)).collect();
        let era = self.record.era + 1;
        self.record = IdentityCeremonyRecord::new(era, 0, self.former.as_ref(), &holders, |_| true);
        self.record.begin(Phase::Commit, self.head, LENGTH);
        for machine in self.machines.values_mut() {
            machine.seed = self.random.bytes();
        }
        self.begin();
    }

    /// The attempt of the record begins.
    fn begin(&mut self) {
        self.beside.clear();
        let (members, record, former) = (self.members, &self.record, self.former.as_ref());
        for (number, machine) in &mut self.machines {
            let (own, seed) = (WorkerId(members.identity(*number).public()), Secret::new(machine.seed));
            machine.dealer = part(Dealer::begin(&GENESIS, &own, &seed, record, former, machine.shares.as_ref()));
            machine.holder = part(Holder::begin(&GENESIS, &own, record, former));
            machine.disk = machine.dealer.iter().map(Dealer::to_secret_bytes).collect();
        }
    }

    /// Runs attempts until all agree, and shows the record.
    fn run(&mut self) {
        loop {
            for head in (self.head..=self.record.until).step_by(STEP) {
                self.head = head;
                if is_complete(&self.record) {
                    break;
                }
                self.round();
            }
            self.head = self.record.until + 1;
            let attempt = self.record.attempt;
            match end_phase(&mut self.record).next {
                IdentityNext::Begin(phase) => {
                    self.record.begin(phase, self.head, LENGTH);
                    if self.record.attempt != attempt {
                        self.begin();
                    }
                }
                IdentityNext::Agreed(_) => return self.adopt(),
                IdentityNext::GivenUp => panic!("given up in attempt {attempt}"),
            }
        }
    }

    fn round(&mut self) {
        let numbers: Vec<u16> = self.machines.keys().copied().collect();
        for number in numbers {
            self.restore(number);
            for turn in self.step(number) {
                for (said, beside) in turn.statements {
                    self.submit(number, said, beside);
                }
                for parcel in turn.parcels {
                    self.told.parcels += 1;
                    if self.calm() || self.random.percent(30) {
                        self.carry(&parcel);
                    }
                }
            }
        }
    }

    /// Sometimes the host restores any disk of a dealer.
    fn restore(&mut self, number: u16) {
        let own = self.id(number);
        let (record, former) = (&self.record, self.former.as_ref());
        let Machine { shares, dealer, disk, .. } = self.machines.get_mut(&number).unwrap();
        if dealer.is_some() && self.random.percent(15) {
            let bytes = &disk[self.random.below(disk.len() as u32) as usize];
            let restored = Dealer::from_secret_bytes(bytes, &GENESIS, &own, record, former, shares.as_ref());
            *dealer = Some(restored.unwrap());
            self.told.restored += 1;
        }
    }

    fn step(&mut self, number: u16) -> Vec<Turn> {
        let (of, members) = (self.of(), self.members);
        let (receiving, peers) =
            (members.receiving(number, of), members.peers_among(of, self.machines.keys().copied().collect()));
        let entropy = Secret::new(self.random.bytes());
        let view = View {
            record: &self.record,
            head: self.head,
            now: NOW,
            since: 0,
            identity: members.identity(number),
            receiving: &receiving,
            peers: &peers,
            entropy: &entropy,
        };
        let machine = self.machines.get_mut(&number).unwrap();
        let mut turns = Vec::new();
        let mut note = |turn: Result<Turn, CeremonyError>| match turn {
            Ok(turn) => turns.push(turn),
            Err(CeremonyError::LeftOut(_)) => {}
            Err(error) => panic!("machine {number}: {error}"),
        };
        if let Some(dealer) = &mut machine.dealer {
            note(dealer.step(&view));
            machine.disk.push(dealer.to_secret_bytes());
            dealer.mark_sealed();
        }
        if let Some(holder) = &mut machine.holder {
            note(holder.step(&view, machine.dealer.as_ref()));
            holder.mark_sealed();
            for (speaker, beside) in &self.beside {
                // What is not for this holder changes nothing.
                let _ = match beside {
                    Attachment::Parcel(parcel) => holder.accept(&receiving, parcel),
                    Attachment::Package(bytes) => holder.accept_package(*speaker, bytes),
                    Attachment::Key(_) => Ok(()),
                };
            }
        }
        turns
    }

    fn submit(&mut self, number: u16, said: SignedIdentityStatement, beside: Option<Attachment>) {
        if !self.calm() && self.random.percent(20) {
            return;
        }
        let own = self.id(number);
        let is_signed = |payload: &[u8], signature: &[u8; 64]| ed25519::verify(&own.0, payload, signature).is_ok();
        assert!(is_signed(&said.signing_payload(&GENESIS), &said.signature));
        let announced = match &beside {
            Some(Attachment::Key(key)) => is_signed(&key.signing_payload(&GENESIS), &key.signature),
            _ => false,
        };
        let circumstances = Circumstances { genesis: GENESIS, now: self.head, announced };
        take(&mut self.record, said.index, &said.statement, beside.as_ref(), &circumstances).unwrap();
        if let Some(beside) = beside {
            self.told.delivered += usize::from(matches!(beside, Attachment::Parcel(_)));
            self.beside.push((said.index, beside));
        }
    }

    fn carry(&mut self, parcel: &Parcel) {
        let (of, to) = (self.of(), self.record.holder(parcel.header.to).unwrap().gatekeeper);
        let number = self.machines.keys().copied().find(|number| self.id(*number) == to).unwrap();
        let receiving = self.members.receiving(number, of);
        // One that its holder does not expect yet is sent again.
        let _ = self.machines.get_mut(&number).unwrap().holder.as_mut().unwrap().accept(&receiving, parcel);
    }

    /// Anyone shows the record; whoever has no part in it drops what it has.
    fn adopt(&mut self) {
        let outcomes = self.machines.values().filter_map(|machine| machine.holder.as_ref()?.outcome());
        let agreed = self.record.agreed.unwrap();
        let shown = outcomes.map(|outcome| &outcome.record).find(|record| record.hash() == agreed).unwrap().clone();
        assert_eq!(show(&self.record, &shown, self.former.as_ref()), Ok(()));
        for machine in self.machines.values_mut() {
            let outcome = machine.holder.take().and_then(Holder::into_outcome);
            machine.shares = outcome.filter(|outcome| outcome.record == shown).map(|outcome| outcome.shares);
            machine.dealer = None;
        }
        let holding = self.machines.values().filter(|machine| machine.shares.is_some()).count();
        assert_eq!(holding, shown.holders.len());
        self.former = Some(shown);
        self.told.ended += 1;
    }
}
