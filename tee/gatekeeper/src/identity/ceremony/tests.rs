//! Whole ceremonies of identities before the referee that the chain is, with hosts that drop parcels, machines that restart, and liars.
//!
//! The evidence is INSECURE: genuine formats under the published development root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod refused;

use super::*;
use crate::{
    dkg::{
        package_bytes,
        tests::{id, identity, receiving, Case, GENESIS, NOW},
        SHARE_BYTES,
    },
    identity::{sharing::lagrange, verify_identities, Group, IdentityShare, IdentityShares, KeyRecord},
    peer::VerifiedPeer,
};
use curve25519_dalek::Scalar;
use phala_crypto::{signature::ed25519, Secret};
use phala_protocol::{
    ceremony::{delivery_hash, tolerated, CeremonyAttempt, Circumstances, Complaint, ParcelHeader, ParcelKind, Phase},
    identities::{end_phase, is_complete, show, take, IdentityNext, IdentityRecord, IdentityStatement},
    Hash,
};
use std::collections::BTreeMap;

/// Blocks of a phase.
const LENGTH: u32 = 100;

/// How a machine lies.
#[derive(Clone, Copy, PartialEq)]
enum Lie {
    /// It sends and delivers nothing.
    Withhold,
    /// What it sends and delivers to the first holder does not open; its answer is right.
    Garble,
    /// The same, and its answer is wrong.
    Deny,
    /// It disputes what is delivered to it.
    Accuse,
    /// It says and sends nothing.
    Silent,
}

#[derive(Default)]
struct Machine {
    shares: Option<IdentityShares>,
    dealer: Option<Dealer>,
    holder: Option<Holder>,
}

struct Network {
    peers: BTreeMap<WorkerId, VerifiedPeer>,
    machines: BTreeMap<u16, Machine>,
    former: Option<IdentityRecord>,
    record: IdentityCeremonyRecord,
    head: u32,
    /// What stands on chain beside statements of this attempt, with the speaker's index.
    beside: Vec<(u16, Attachment)>,
    lies: BTreeMap<u16, Lie>,
    /// Whether machines restart after whatever they do.
    restarts: bool,
}

fn of(record: &IdentityCeremonyRecord) -> CeremonyAttempt {
    CeremonyAttempt::identities(record.era, record.attempt)
}

fn seed(number: u16) -> Secret<[u8; 32]> {
    Secret::new([number as u8 + 50; 32])
}

fn lost_everywhere(_: &ParcelHeader) -> bool {
    true
}

fn lost_nowhere(_: &ParcelHeader) -> bool {
    false
}

fn is_own_part<T>(begun: Result<T, CeremonyError>) -> Option<T> {
    match begun {
        Ok(part) => Some(part),
        Err(CeremonyError::NoSeat) => None,
        Err(error) => panic!("{error}"),
    }
}

impl Network {
    /// So many machines, and no keys yet.
    fn new(machines: u16) -> Self {
        let numbers = 1..=machines;
        Self {
            peers: BTreeMap::new(),
            machines: numbers.map(|number| (number, Machine::default())).collect(),
            former: None,
            record: IdentityCeremonyRecord::new(0, 0, None, &[], |_| true),
            head: 1,
            beside: Vec::new(),
            lies: BTreeMap::new(),
            restarts: false,
        }
    }

    /// A set is elected, whose ceremony begins.
    fn elect(&mut self, numbers: &[u16]) {
        let seats: Vec<WorkerId> = numbers.iter().map(|number| id(*number)).collect();
        let era = self.record.era + 1;
        self.record = IdentityCeremonyRecord::new(era, 0, self.former.as_ref(), &seats, |_| true);
        self.record.begin(Phase::Commit, self.head, LENGTH);
        self.begin();
    }

    /// Each has another key in each attempt, under which the others know it.
    fn begin(&mut self) {
        self.beside.clear();
        let of = of(&self.record);
        let verified = |number: u16| Case::new(number).announcing(number, of).verified(number);
        self.peers = self.machines.keys().map(|number| (id(*number), verified(*number))).collect();
        let (record, former) = (&self.record, self.former.as_ref());
        for (number, machine) in &mut self.machines {
            let (own, shares) = (id(*number), machine.shares.as_ref());
            machine.dealer = is_own_part(Dealer::begin(&GENESIS, &own, &seed(*number), record, former, shares));
            machine.holder = is_own_part(Holder::begin(&GENESIS, &own, record, former));
        }
    }

    /// All machines look at the chain, one after the other; what the chain took is seen by the next.
    fn round(&mut self, lost: fn(&ParcelHeader) -> bool) {
        let numbers: Vec<u16> = self.machines.keys().copied().collect();
        for number in numbers {
            for mut turn in self.step(number) {
                self.lie(number, &mut turn);
                assert!(turn.strangers.is_empty());
                for (said, beside) in turn.statements {
                    self.submit(number, said, beside);
                }
                turn.parcels.iter().filter(|parcel| !lost(&parcel.header)).for_each(|parcel| self.carry(parcel));
            }
        }
    }

    fn step(&mut self, number: u16) -> Vec<Turn> {
        let receiving = receiving(number, of(&self.record));
        let (identity, entropy) = (identity(number), Secret::new([9; 32]));
        let view = View {
            record: &self.record,
            head: self.head,
            now: NOW,
            since: 0,
            identity: &identity,
            receiving: &receiving,
            peers: &self.peers,
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
            if self.restarts {
                let bytes = dealer.to_secret_bytes();
                let (former, shares) = (self.former.as_ref(), machine.shares.as_ref());
                *dealer =
                    Dealer::from_secret_bytes(&bytes, &GENESIS, &id(number), &self.record, former, shares).unwrap();
            }
            dealer.mark_sealed();
        }
        if let Some(holder) = &mut machine.holder {
            note(holder.step(&view, machine.dealer.as_ref()));
            if self.restarts {
                let bytes = holder.to_secret_bytes();
                let former = self.former.as_ref();
                *holder = Holder::from_secret_bytes(&bytes, &GENESIS, &id(number), &self.record, former).unwrap();
                // It sees the chain before anything else.
                note(holder.step(&view, machine.dealer.as_ref()).map(|_| Turn::default()));
            }
            holder.mark_sealed();
            for (speaker, beside) in &self.beside {
                // What is not for this holder, or useless, it says so itself.
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
        let signed = ed25519::verify(&id(number).0, &said.signing_payload(&GENESIS), &said.signature);
        assert_eq!(signed, Ok(()));
        let announced = match &beside {
            Some(Attachment::Key(key)) => {
                ed25519::verify(&id(number).0, &key.signing_payload(&GENESIS), &key.signature).is_ok()
            }
            _ => false,
        };
        let circumstances = Circumstances { genesis: GENESIS, now: self.head, announced };
        let taken = take(&mut self.record, said.index, &said.statement, beside.as_ref(), &circumstances);
        assert!(taken.is_ok() || self.lies.contains_key(&number), "{number} says {:?}: {taken:?}", said.statement);
        if let (Ok(()), Some(beside)) = (taken, beside) {
            self.beside.push((said.index, beside));
        }
    }

    fn carry(&mut self, parcel: &Parcel) {
        let to = self.record.holder(parcel.header.to).unwrap().gatekeeper;
        let (number, machine) = self.machines.iter_mut().find(|(number, _)| id(**number) == to).unwrap();
        // Before its host has seen the hashes, or of a liar.
        let _ = machine.holder.as_mut().unwrap().accept(&receiving(*number, of(&self.record)), parcel);
    }

    /// What a liar makes of an honest turn.
    fn lie(&self, number: u16, turn: &mut Turn) {
        let Some(lie) = self.lies.get(&number).copied() else { return };
        let sign = |said: SignedIdentityStatement, statement: IdentityStatement| {
            let unsigned = SignedIdentityStatement { statement, ..said };
            SignedIdentityStatement {
                signature: identity(number).sign(&unsigned.signing_payload(&GENESIS)),
                ..unsigned
            }
        };
        let garble = |parcel: &mut Parcel| {
            parcel.body[0] ^= 1;
            parcel.signature = identity(number).sign(&parcel.signing_payload(&GENESIS));
        };
        match lie {
            Lie::Silent => *turn = Turn::default(),
            Lie::Withhold => {
                turn.parcels.clear();
                turn.statements.retain(|(said, _)| !matches!(said.statement, IdentityStatement::Deliver { .. }));
            }
            Lie::Garble | Lie::Deny => {
                turn.parcels.iter_mut().filter(|parcel| parcel.header.to == 1).for_each(garble);
                for (said, beside) in &mut turn.statements {
                    match (said.statement, beside) {
                        (IdentityStatement::Deliver { accuser: 1, .. }, Some(Attachment::Parcel(parcel))) => {
                            garble(parcel);
                            let key = self.record.holder(1).unwrap().key.unwrap();
                            let parcel = delivery_hash(&key, parcel);
                            *said = sign(*said, IdentityStatement::Deliver { accuser: 1, parcel });
                        }
                        (IdentityStatement::Answer { accuser: 1, .. }, _) if lie == Lie::Deny => {
                            *said = sign(*said, IdentityStatement::Answer { accuser: 1, shares: [[1; 32]; 2] });
                        }
                        _ => {}
                    }
                }
            }
            Lie::Accuse => {
                let Some(index) = self.record.holder_index(&id(number)) else { return };
                if self.record.phase != Phase::Deliver {
                    return;
                }
                turn.statements.retain(|(said, _)| said.statement.is_of_dealer());
                let of_own = self.record.complaints.iter().filter(|complaint| complaint.accuser == index);
                for Complaint { dealer, delivered, disputed, .. } in of_own.copied() {
                    if let (Some(parcel), false) = (delivered, disputed) {
                        let statement = IdentityStatement::Dispute { dealer, parcel };
                        let (era, attempt) = (self.record.era, self.record.attempt);
                        let said = SignedIdentityStatement { era, attempt, index, statement, signature: [0; 64] };
                        turn.statements.push((sign(said, statement), None));
                    }
                }
            }
        }
    }

    /// Runs phases until the ceremony ends, or the attempt does if it is asked for; what the chain has then is what the machines have.
    fn run(&mut self, lost: fn(&ParcelHeader) -> bool) -> IdentityNext {
        loop {
            let (from, until) = (self.head, self.record.until);
            for head in [from, from + 1, from + 2, from + 3, until - 5, until - 4, until - 3] {
                self.head = head;
                if !is_complete(&self.record) {
                    self.round(lost);
                }
            }
            self.head = until + 1;
            let attempt = self.record.attempt;
            let next = end_phase(&mut self.record).next;
            match next {
                IdentityNext::Begin(phase) => {
                    self.record.begin(phase, self.head, LENGTH);
                    if self.record.attempt != attempt {
                        self.begin();
                    }
                }
                IdentityNext::Agreed(hash) => {
                    self.adopt(hash);
                    return next;
                }
                IdentityNext::GivenUp => return next,
            }
        }
    }

    /// Anyone shows the record; whoever has no part in it drops what it has.
    fn adopt(&mut self, hash: Hash) {
        let outcomes = self.machines.values().filter_map(|machine| machine.holder.as_ref()?.outcome());
        let shown = outcomes.map(|outcome| &outcome.record).find(|record| record.hash() == hash).unwrap().clone();
        assert_eq!(show(&self.record, &shown, self.former.as_ref()), Ok(()));
        for (number, machine) in &mut self.machines {
            let outcome = machine.holder.take().and_then(Holder::into_outcome);
            let outcome =
                outcome.filter(|outcome| outcome.record.hash() == hash && shown.holder(&id(*number)).is_some());
            machine.shares = outcome.map(|outcome| outcome.shares);
            machine.dealer = None;
        }
        self.former = Some(shown);
    }

    /// Whether all that the chain has as holders hold shares of the keys that it has, and any threshold has the keys.
    fn check(&self) {
        let record = self.former.as_ref().unwrap();
        let keys = verify_identities(record).unwrap();
        let shares: Vec<&IdentityShares> = record
            .holders
            .iter()
            .map(|holder| {
                let (_, machine) = self.machines.iter().find(|(number, _)| id(**number) == holder.gatekeeper).unwrap();
                let shares = machine.shares.as_ref().unwrap();
                assert_eq!(shares.index(), holder.index);
                assert!(IdentityShares::open(&keys, holder.index, &shares.to_bytes()).is_ok());
                shares
            })
            .collect();
        let threshold = usize::from(record.threshold);
        for first in 0..=shares.len() - threshold {
            let some = &shares[first..first + threshold];
            let (ed25519, sr25519): (Vec<_>, Vec<_>) = some.iter().map(|one| (&one.ed25519, &one.sr25519)).unzip();
            assert_is_key(&keys.ed25519, &ed25519);
            assert_is_key(&keys.sr25519, &sr25519);
        }
    }

    fn keys(&self) -> phala_protocol::identities::IdentityPoints {
        self.former.as_ref().unwrap().keys
    }

    /// Machines 1 to 4 have made keys.
    fn with_keys(machines: u16) -> Self {
        let mut network = Self::new(machines);
        network.elect(&[1, 2, 3, 4]);
        assert!(matches!(network.run(lost_nowhere), IdentityNext::Agreed(_)));
        network
    }
}

fn assert_is_key<G: Group>(keys: &KeyRecord<G>, shares: &[&IdentityShare<G>]) {
    let indices: Vec<u16> = shares.iter().map(|share| share.index()).collect();
    let values = shares.iter().zip(lagrange(&indices, 0));
    let sum = values.fold(Scalar::ZERO, |sum, (share, weight)| sum + share.scalar().expose() * weight);
    assert_eq!(G::base_times(&sum).to_encoding(), keys.key());
}

#[test]
fn keys_are_made_without_a_dealer_and_stay_through_sets_of_four_seven_and_four() {
    let mut network = Network::with_keys(12);
    network.check();
    let keys = network.keys();
    assert_eq!(network.record.attempt, 0);
    // Others, more of them; then fewer, of whom two were there before, and one of them sits in both sets.
    for (set, threshold) in [(&[5, 6, 7, 8, 9, 10, 11][..], 5), (&[1, 12, 6, 9][..], 3), (&[9, 1, 12, 6, 2][..], 4)] {
        network.elect(set);
        assert!(matches!(network.run(lost_nowhere), IdentityNext::Agreed(_)));
        network.check();
        let record = network.former.as_ref().unwrap();
        assert_eq!((record.keys, record.threshold, record.holders.len()), (keys, threshold, set.len()));
        let hold = network.machines.values().filter(|machine| machine.shares.is_some()).count();
        assert_eq!(hold, set.len(), "whoever is not in the set has nothing left");
        assert_eq!((network.record.attempt, network.record.complaints.len()), (0, 0));
    }
}

#[test]
fn hosts_that_drop_every_parcel_force_no_share_into_the_open_and_cost_no_attempt() {
    let mut network = Network::new(9);
    network.elect(&[1, 2, 3, 4]);
    assert!(matches!(network.run(lost_everywhere), IdentityNext::Agreed(_)));
    network.check();
    let keys = network.keys();
    network.elect(&[3, 5, 6, 7, 8, 9]);
    assert!(matches!(network.run(lost_everywhere), IdentityNext::Agreed(_)));
    network.check();
    assert_eq!((network.keys(), network.record.attempt), (keys, 0));
    let complaints = &network.record.complaints;
    // Three deal to six, one of whom is the third dealer.
    assert_eq!(complaints.len(), 3 * 6 - 1);
    assert!(complaints.iter().all(|complaint| complaint.delivered.is_some() && complaint.answer.is_none()));
}

#[test]
fn liars_are_named_and_left_out_and_the_keys_change_hands_without_them() {
    for (lie, attempts, left_out) in [
        (Lie::Withhold, 1, Some(Fault::Absent)),
        (Lie::Garble, 0, None),
        (Lie::Deny, 1, Some(Fault::WrongShare)),
        (Lie::Silent, 0, None),
    ] {
        let mut network = Network::with_keys(8);
        let keys = network.keys();
        network.lies.insert(2, lie);
        network.elect(&[5, 6, 7, 8]);
        assert!(matches!(network.run(lost_nowhere), IdentityNext::Agreed(_)));
        network.check();
        assert_eq!((network.keys(), network.record.attempt), (keys, attempts));
        assert_eq!(network.record.dealer(2).unwrap().left_out, left_out);
        let mut innocent = network.record.dealers.iter().filter(|dealer| dealer.index != 2);
        assert!(innocent.all(|dealer| dealer.left_out.is_none()));
        assert!(network.record.holders.iter().all(|holder| holder.left_out.is_none()));
    }
}

#[test]
fn whoever_accuses_falsely_gets_an_answer_and_hurts_nobody() {
    fn lost_to_the_second(header: &ParcelHeader) -> bool {
        header.to == 2
    }
    let mut network = Network::with_keys(8);
    let keys = network.keys();
    network.lies.insert(6, Lie::Accuse);
    network.elect(&[5, 6, 7, 8]);
    assert!(matches!(network.run(lost_to_the_second), IdentityNext::Agreed(_)));
    network.check();
    assert_eq!((network.keys(), network.record.attempt), (keys, 0));
    let complaints = &network.record.complaints;
    assert_eq!(complaints.len(), 3);
    assert!(complaints.iter().all(|complaint| complaint.accuser == 2 && complaint.answer.is_some()));
    assert!(network.record.dealers.iter().all(|dealer| dealer.left_out.is_none()));
}

#[test]
fn a_holder_that_is_never_there_is_left_out_of_the_record() {
    let mut network = Network::with_keys(9);
    network.lies.insert(7, Lie::Silent);
    network.elect(&[5, 6, 7, 8, 9]);
    assert!(matches!(network.run(lost_nowhere), IdentityNext::Agreed(_)));
    network.check();
    let indices: Vec<u16> = network.former.as_ref().unwrap().holders.iter().map(|holder| holder.index).collect();
    assert_eq!((network.record.attempt, indices), (1, vec![1, 2, 4, 5]));
    // And they hand over, under the indices that they have.
    let keys = network.keys();
    network.lies.clear();
    network.elect(&[1, 2, 3, 4]);
    assert!(matches!(network.run(lost_nowhere), IdentityNext::Agreed(_)));
    network.check();
    assert_eq!(network.keys(), keys);
}

#[test]
fn with_fewer_than_a_threshold_of_dealers_it_is_given_up_and_they_keep_the_keys() {
    let mut network = Network::with_keys(8);
    let before = network.former.clone();
    network.lies.insert(1, Lie::Silent);
    network.lies.insert(2, Lie::Silent);
    network.elect(&[5, 6, 7, 8]);
    assert_eq!(network.run(lost_nowhere), IdentityNext::GivenUp);
    assert!(network.former == before && network.record.attempt > 1);
    network.check();
    // Nothing is lost: when they are back, another ceremony hands over.
    network.lies.clear();
    network.elect(&[5, 6, 7, 8]);
    assert!(matches!(network.run(lost_nowhere), IdentityNext::Agreed(_)));
    network.check();
    assert_eq!(network.keys(), before.unwrap().keys);
}

#[test]
fn machines_that_restart_after_every_step_end_with_the_same_record() {
    let run = |restarts| {
        let mut network = Network::new(8);
        network.restarts = restarts;
        network.lies.insert(2, Lie::Garble);
        let mut hashes = Vec::new();
        for set in [[1, 2, 3, 4], [5, 1, 7, 8]] {
            network.elect(&set);
            assert!(matches!(network.run(lost_everywhere), IdentityNext::Agreed(_)));
            network.check();
            hashes.push((network.record.attempt, network.former.as_ref().unwrap().hash()));
        }
        hashes
    };
    assert_eq!(run(true), run(false));
}
