//! Whole ceremonies of identities before the referee that the chain is, with hosts that drop parcels, machines that restart, and liars.
//!
//! The evidence is INSECURE: genuine formats under the published development root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::{
    dkg::{
        package_bytes,
        tests::{id, identity, receiving, Case, GENESIS, NOW},
        SHARE_BYTES,
    },
    identity::{sharing::lagrange, verify_identities, Group, IdentityShare, IdentityShares, KeyRecord},
};
use curve25519_dalek::Scalar;
use phala_crypto::signature::ed25519;
use phala_protocol::{
    ceremony::{delivery_hash, tolerated, Circumstances, Complaint, ParcelHeader, ParcelKind, Phase},
    identities::{end_phase, is_complete, show, take, IdentityNext, IdentityRecord, IdentityStatement},
    Hash,
};

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

#[test]
fn a_dealer_answers_as_many_as_may_lie_whatever_forks_and_restarts_show_it() {
    let mut network = Network::with_keys(11);
    network.elect(&[5, 6, 7, 8, 9, 10, 11]);
    for dealer in 1..=3 {
        let package = network.machines[&dealer].dealer.as_ref().unwrap().package_hash();
        let position = usize::from(dealer) - 1;
        network.record.dealers[position].package = Some(package);
    }
    network.record.begin(Phase::Settle, 1, LENGTH);
    network.head = 1;
    let dispute = |accuser| Complaint { delivered: Some([9; 32]), disputed: true, ..Complaint::new(accuser, 1) };
    let answered = |network: &mut Network| -> Vec<u16> {
        let said = network.step(1).into_iter().flat_map(|turn| turn.statements).map(|(said, _)| said.statement);
        said.filter_map(|statement| match statement {
            IdentityStatement::Answer { accuser, .. } => Some(accuser),
            _ => None,
        })
        .collect()
    };
    assert_eq!(tolerated(7), 2);
    network.record.complaints = [1, 2, 3].map(dispute).to_vec();
    assert_eq!(answered(&mut network), [1, 2]);
    network.restarts = true;
    network.record.complaints = [3, 4, 2].map(dispute).to_vec();
    assert_eq!(answered(&mut network), [2], "of a fork");
    assert_eq!(answered(&mut network), [2]);
    // Nothing in the last call, nor of what is not disputed, nor to one that has confirmed.
    network.head = network.record.until;
    assert!(answered(&mut network).is_empty());
    network.head = 1;
    network.record.complaints[2].disputed = false;
    assert!(answered(&mut network).is_empty());
    network.record.complaints[2].disputed = true;
    network.record.holders[1].confirmed = Some([1; 32]);
    assert!(answered(&mut network).is_empty());
}

#[test]
fn what_is_of_another_attempt_set_or_seed_is_refused() {
    let mut network = Network::with_keys(8);
    network.elect(&[5, 6, 7, 1]);
    let (record, former) = (network.record.clone(), network.former.clone());
    let shares = network.machines[&1].shares.as_ref();
    let deal = |record: &IdentityCeremonyRecord, seed_of: u16| {
        Dealer::begin(&GENESIS, &id(1), &seed(seed_of), record, former.as_ref(), shares)
    };
    let dealer = deal(&record, 1).unwrap();
    let other = |change: fn(&mut IdentityCeremonyRecord)| {
        let mut record = record.clone();
        change(&mut record);
        record
    };
    let next = other(|record| record.attempt = 1);
    assert_ne!(deal(&next, 1).unwrap().package_hash(), dealer.package_hash());
    let set = other(|record| record.holders[2].gatekeeper = id(8));
    assert_ne!(deal(&set, 1).unwrap().dealt.package, dealer.dealt.package, "a fork elects others");
    assert_ne!(deal(&record, 2).unwrap().dealt.package, dealer.dealt.package);
    for unsound in [
        other(|record| record.threshold = 2),
        other(|record| record.deals = 2),
        other(|record| record.dealers.truncate(record.dealers.len() - 1)),
        other(|record| record.dealers[1].index = 9),
        other(|record| record.holders[1].gatekeeper = id(5)),
        other(|record| record.holders.clear()),
    ] {
        assert_eq!(deal(&unsound, 1).err(), Some(CeremonyError::Unsound));
    }
    let unknown = other(|record| record.former = None);
    assert_eq!(deal(&unknown, 1).err(), Some(CeremonyError::OtherFormer));
    assert_eq!(Holder::begin(&GENESIS, &id(1), &record, None).err(), Some(CeremonyError::OtherFormer));
    let none = Dealer::begin(&GENESIS, &id(1), &seed(1), &record, former.as_ref(), None).err();
    assert_eq!(none, Some(CeremonyError::NoShares));
    let anothers = network.machines[&2].shares.as_ref();
    let wrong = Dealer::begin(&GENESIS, &id(1), &seed(1), &record, former.as_ref(), anothers).err();
    assert_eq!(wrong, Some(CeremonyError::NoShares));
    let stranger = Dealer::begin(&GENESIS, &id(8), &seed(8), &record, former.as_ref(), None).err();
    assert_eq!(stranger, Some(CeremonyError::NoSeat));

    // What was sealed is restored into its own attempt alone, and as what it was.
    let bytes = dealer.to_secret_bytes();
    let restore = |bytes: &Secret<Vec<u8>>, record: &IdentityCeremonyRecord| {
        Dealer::from_secret_bytes(bytes, &GENESIS, &id(1), record, former.as_ref(), shares)
    };
    assert_eq!(restore(&bytes, &record).unwrap().package_hash(), dealer.package_hash());
    assert_eq!(restore(&bytes, &next).err(), Some(CeremonyError::Malformed));
    let holder = Holder::begin(&GENESIS, &id(1), &record, former.as_ref()).unwrap();
    let held = holder.to_secret_bytes();
    assert_eq!(restore(&held, &record).err(), Some(CeremonyError::Malformed));
    let restored = Holder::from_secret_bytes(&held, &GENESIS, &id(1), &next, former.as_ref()).err();
    assert_eq!(restored, Some(CeremonyError::Malformed));
    let cut = Secret::new(bytes.expose()[1..].to_vec());
    assert_eq!(restore(&cut, &record).err(), Some(CeremonyError::Malformed));
    assert_eq!(bytes.expose().capacity(), bytes.expose().len(), "it outgrew no buffer");

    // The chain holds a package that this machine did not make: its seed is another one.
    network.record.dealers[0].package = Some([1; 32]);
    let (identity, receiving, entropy) = (identity(1), receiving(1, of(&network.record)), Secret::new([9; 32]));
    let mut dealer = dealer;
    let view = View {
        record: &network.record,
        head: 1,
        now: NOW,
        since: 0,
        identity: &identity,
        receiving: &receiving,
        peers: &network.peers,
        entropy: &entropy,
    };
    assert_eq!(dealer.step(&view).err(), Some(CeremonyError::Foreign));
    assert_eq!(dealer.step(&View { record: &next, ..view }).err(), Some(CeremonyError::OtherAttempt));
}

#[test]
fn parcels_change_nothing_unless_they_are_their_dealers_and_of_this_attempt() {
    let mut network = Network::with_keys(8);
    network.elect(&[5, 6, 7, 8]);
    network.round(lost_everywhere);
    assert!(is_complete(&network.record));
    network.record.begin(Phase::Share, network.head, LENGTH);
    // Before the holder has seen the hashes, and then.
    let parcels: Vec<Parcel> = network.step(1).into_iter().flat_map(|turn| turn.parcels).collect();
    assert_eq!(parcels.len(), 4);
    let own = receiving(5, of(&network.record));
    // With the key of another attempt, or of the root's ceremony, nothing opens.
    let others = [CeremonyAttempt::identities(2, 1), CeremonyAttempt::root(2, 0)].map(|of| receiving(5, of));
    let accept = |network: &mut Network, parcel: &Parcel| {
        network.machines.get_mut(&5).unwrap().holder.as_mut().unwrap().accept(&own, parcel)
    };
    assert_eq!(accept(&mut network, &parcels[0]), Err(ParcelRefusal::TooEarly));
    network.step(5);
    for other in &others {
        let holder = network.machines.get_mut(&5).unwrap().holder.as_mut().unwrap();
        assert_eq!(holder.accept(other, &parcels[0]), Err(ParcelRefusal::Parcel(ParcelError::Unauthentic)));
    }
    for parcel in &parcels[1..] {
        assert_eq!(accept(&mut network, parcel), Err(ParcelRefusal::WrongAddressee));
    }
    let signed_by = |number: u16, change: fn(&mut Parcel)| {
        let mut parcel = parcels[0].clone();
        change(&mut parcel);
        let signature = identity(number).sign(&parcel.signing_payload(&GENESIS));
        Parcel { signature, ..parcel }
    };
    for kind in [ParcelKind::Package, ParcelKind::Share, ParcelKind::Delivery] {
        let mut parcel = parcels[0].clone();
        parcel.header.kind = kind;
        assert_eq!(accept(&mut network, &parcel), Err(ParcelRefusal::WrongAddressee));
    }
    let later = signed_by(1, |parcel| parcel.header.attempt = 1);
    assert_eq!(accept(&mut network, &later), Err(ParcelRefusal::WrongAddressee));
    let unknown = signed_by(4, |parcel| parcel.header.from = 4);
    assert_eq!(accept(&mut network, &unknown), Err(ParcelRefusal::NoDealer), "it committed, and does not deal");
    let forged = signed_by(2, |_| {});
    assert_eq!(accept(&mut network, &forged), Err(ParcelRefusal::Parcel(ParcelError::NotSender)));
    let useless = signed_by(1, |parcel| parcel.body[0] ^= 1);
    // With the two above.
    for _ in 0..6 {
        assert_eq!(accept(&mut network, &useless), Err(ParcelRefusal::Parcel(ParcelError::Unauthentic)));
    }
    assert_eq!(accept(&mut network, &useless), Err(ParcelRefusal::TooManyWrong));
    // It is delivered on chain then, and taken from there whoever brings it.
    assert_eq!(accept(&mut network, &parcels[0]), Err(ParcelRefusal::TooManyWrong));
    let delivered = Some(delivery_hash(&own.hash(), &parcels[0]));
    network.record.complaints.push(Complaint { delivered, ..Complaint::new(1, 1) });
    network.step(5);
    assert_eq!(accept(&mut network, &parcels[0]), Ok(()));
    assert_eq!(accept(&mut network, &useless), Ok(()), "there is nothing more to take");
}

#[test]
fn the_longest_parcel_is_not_too_long_for_the_chain() {
    use phala_crypto::{aead::TAG_BYTES, xwing::CIPHERTEXT_BYTES};
    use phala_protocol::ceremony::{threshold_of, MAX_ATTACHMENT_BYTES, MAX_SEATS};
    let mut network = Network::new(4);
    network.elect(&[1, 2, 3, 4]);
    let package = network.machines[&1].dealer.as_ref().unwrap().dealt.package.len();
    // Two keys of a threshold of points and a proof each.
    let bytes = |threshold: usize| 2 * (threshold * 32 + 64);
    assert_eq!(package, bytes(3));
    let longest = 64 + bytes(threshold_of(MAX_SEATS)) + TAG_BYTES + CIPHERTEXT_BYTES;
    assert_eq!(longest, 5_616);
    // With header, lengths and signature too; and no longer than a delivery of the root, above which none is opened.
    assert!(longest + 32 + 64 <= MAX_ATTACHMENT_BYTES);
    assert!(64 + bytes(67) <= SHARE_BYTES + package_bytes(67));
}

#[test]
fn nothing_is_dealt_under_a_key_of_another_attempt_or_ceremony() {
    let mut network = Network::with_keys(8);
    network.elect(&[5, 6, 7, 8]);
    network.round(lost_everywhere);
    network.record.begin(Phase::Share, network.head, LENGTH);
    let dealt = |network: &mut Network| {
        let turns = network.step(1);
        let strangers = turns.iter().flat_map(|turn| turn.strangers.clone()).collect::<Vec<_>>();
        (strangers, turns.iter().map(|turn| turn.parcels.len()).sum::<usize>())
    };
    assert_eq!(dealt(&mut network), (Vec::new(), 4));
    for of in [CeremonyAttempt::identities(2, 1), CeremonyAttempt::identities(1, 0), CeremonyAttempt::root(2, 0)] {
        network.peers.insert(id(5), Case::new(5).announcing(5, of).verified(5));
        assert_eq!(dealt(&mut network), (vec![id(5)], 3), "{of:?}");
    }
}
