//! What ends lead to, and a model of dealers and holders of which some lie, under hosts that drop what they like.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{
    attestation::encryption_key_hash,
    ceremony::{
        delivery_hash, AnnouncedKey, Attachment, CeremonyAttempt, Circumstances, Complaint, Parcel, ParcelHeader,
        ParcelKind,
    },
    identities::{dealing_hash, take, IdentityHolder, IdentityPoints, IdentityRecord, IdentityStatement},
    ids::WorkerId,
};

const HELD: Hash = [5; 32];
const OTHER: Hash = [6; 32];
const GENESIS: Hash = [7; 32];

fn id(byte: u8) -> WorkerId {
    WorkerId([byte; 32])
}

fn former(holders: u8, threshold: u16) -> IdentityRecord {
    let points = |byte: u8| IdentityPoints { ed25519: [byte; 32], sr25519: [byte; 32] };
    let holder = |index: u8| IdentityHolder { index: index.into(), gatekeeper: id(index), shares: points(index) };
    IdentityRecord { era: 1, threshold, keys: points(0), holders: (1..=holders).map(holder).collect() }
}

/// Four hand over to four others; all committed, in `Settle`.
fn settling() -> IdentityCeremonyRecord {
    let holders: Vec<WorkerId> = (101..=104).map(id).collect();
    let mut record = IdentityCeremonyRecord::new(2, 0, Some(&former(4, 3)), &holders, |_| true);
    record.dealers.iter_mut().for_each(|dealer| dealer.package = Some([1; 32]));
    record.begin(Phase::Settle, 1, 100);
    record
}

fn confirm(record: &mut IdentityCeremonyRecord, indices: impl IntoIterator<Item = u16>, hash: Hash) {
    indices.into_iter().for_each(|index| record.holder_mut(index).unwrap().confirmed = Some(hash));
}

#[test]
fn a_phase_leads_to_the_next_one_a_record_another_attempt_or_nothing() {
    let mut record = settling();
    record.phase = Phase::Commit;
    record.dealers[1].package = None;
    assert!(!is_complete(&record));
    let ended = end_phase(&mut record);
    assert_eq!((ended.next, record.phase), (IdentityNext::Begin(Phase::Share), Phase::Share));
    assert_eq!(ended.left_out, Faults::default(), "whoever did not commit is in nobody's way");
    assert!(record.deals(4) && !record.deals(2));
    assert_eq!(end_phase(&mut record).next, IdentityNext::Begin(Phase::Deliver));
    assert_eq!(end_phase(&mut record).next, IdentityNext::Begin(Phase::Settle));
    let mut agreeing = record.clone();
    confirm(&mut agreeing, 1..=4, HELD);
    assert!(is_complete(&agreeing));
    assert_eq!(end_phase(&mut agreeing).next, IdentityNext::Agreed(HELD));
    assert!(agreeing.agreed == Some(HELD) && !is_complete(&agreeing));

    // The fourth did not confirm, and is left out; then it is that three are enough.
    confirm(&mut record, 1..=3, HELD);
    let ended = end_phase(&mut record);
    assert_eq!(ended.left_out.holders, BTreeMap::from([(4, Reason::NotConfirmed)]));
    assert_eq!((ended.next, record.attempt), (IdentityNext::Begin(Phase::Commit), 1));
    assert!(record.dealers.iter().all(|dealer| dealer.package.is_none() && dealer.left_out.is_none()));
    record.dealers.iter_mut().for_each(|dealer| dealer.package = Some([2; 32]));
    record.begin(Phase::Share, 1, 100);
    confirm(&mut record, 1..=3, HELD);
    assert_eq!(end_phase(&mut record).next, IdentityNext::Agreed(HELD));
}

#[test]
fn too_few_are_asked_again_a_bounded_number_of_times_and_then_it_is_given_up() {
    // Nobody commits; nobody confirms; nobody shows the record.
    let ends: [fn(&mut IdentityCeremonyRecord); 3] = [
        |record| record.dealers.iter_mut().for_each(|dealer| dealer.package = None),
        |record| record.phase = Phase::Settle,
        |record| record.agreed = Some(HELD),
    ];
    for (number, prepare) in ends.iter().enumerate() {
        let mut record = settling();
        for attempt in 1..=u32::from(MOST_READMISSIONS) {
            record.phase = Phase::Commit;
            prepare(&mut record);
            let ended = end_phase(&mut record);
            assert_eq!((ended.next, record.attempt), (IdentityNext::Begin(Phase::Commit), attempt), "{number}");
            assert_eq!(ended.readmitted, if number == 1 { 4 } else { 0 }, "all four holders are back");
            assert!(record.agreed.is_none());
        }
        record.phase = Phase::Commit;
        prepare(&mut record);
        assert_eq!(end_phase(&mut record).next, IdentityNext::GivenUp, "{number}");
    }
    // Those that are convicted are not asked again.
    let mut record = settling();
    record.dealers[0].left_out = Some(Fault::WrongShare);
    record.dealers[1].left_out = Some(Fault::WrongShare);
    assert_eq!(end_phase(&mut record).next, IdentityNext::GivenUp);
    let mut last = settling();
    last.attempt = u32::MAX;
    last.phase = Phase::Commit;
    last.dealers[2].package = None;
    last.dealers[3].package = None;
    assert_eq!(end_phase(&mut last).next, IdentityNext::GivenUp, "no number is left");
}

#[test]
fn whoever_is_convicted_when_all_agreed_deals_no_more_if_nobody_shows_the_record() {
    let mut record = settling();
    confirm(&mut record, 1..=4, HELD);
    for index in 1..=3 {
        record.holder_mut(index).unwrap().rejected.push(2);
    }
    let ended = end_phase(&mut record);
    assert_eq!((ended.next, ended.convicted), (IdentityNext::Agreed(HELD), Vec::from([2])));
    assert_eq!(ended.left_out, Faults::default());
    let ended = end_phase(&mut record);
    assert_eq!((ended.next, ended.convicted), (IdentityNext::Begin(Phase::Commit), Vec::from([2])));
    assert_eq!(ended.left_out.dealers, BTreeMap::from([(2, Reason::Rejected)]));
    assert_eq!(record.dealing().map(|dealer| dealer.index).collect::<Vec<_>>(), [1, 3, 4]);
}

#[test]
fn attempts_that_fail_and_show_nobody_at_fault_are_as_few() {
    // More lie than may: two confirm one record and two another, of which neither prevails.
    let mut record = settling();
    let split = |record: &mut IdentityCeremonyRecord| {
        record.dealers.iter_mut().for_each(|dealer| dealer.package = Some([1; 32]));
        record.begin(Phase::Share, 1, 100);
        confirm(record, 1..=2, HELD);
        confirm(record, 3..=4, OTHER);
        assert!(is_complete(record) && faults(record) == Faults::default());
        end_phase(record).next
    };
    for attempt in 1..=u32::from(MOST_READMISSIONS) {
        assert_eq!(split(&mut record), IdentityNext::Begin(Phase::Commit));
        assert_eq!(record.attempt, attempt);
    }
    assert_eq!(split(&mut record), IdentityNext::GivenUp);
}

#[test]
fn a_dealer_at_fault_is_named_and_excuses_whom_it_owes() {
    let mut record = settling();
    // The first answered nobody; the third answered wrongly, which three saw.
    for (accuser, dealer, answer) in [(1, 1, None), (2, 3, Some([[1; 32]; 2]))] {
        let complaint = Complaint::new(accuser, dealer);
        record.complaints.push(Complaint { delivered: Some([3; 32]), disputed: true, answer, ..complaint });
    }
    for index in 2..=4 {
        record.holder_mut(index).unwrap().rejected.push(3);
    }
    confirm(&mut record, [4], OTHER);
    let found = faults(&record);
    assert_eq!(found.dealers, BTreeMap::from([(1, Reason::NotAnswered), (3, Reason::Rejected)]));
    assert_eq!(found.holders, BTreeMap::new(), "the fourth's hash is proved wrong by nothing");
    let ended = end_phase(&mut record);
    assert_eq!((ended.convicted, ended.left_out), (Vec::from([3]), found));
    // Two are left where it takes three: the absent is back, and the convicted is not.
    assert_eq!((ended.next, ended.readmitted), (IdentityNext::Begin(Phase::Commit), 1));
    assert_eq!(record.dealing().map(|dealer| dealer.index).collect::<Vec<_>>(), [1, 2, 4]);

    let mut split = settling();
    confirm(&mut split, 1..=2, HELD);
    confirm(&mut split, [3], OTHER);
    let lists = BTreeMap::from([(3, Reason::OtherList), (4, Reason::NotConfirmed)]);
    assert_eq!(faults(&split), Faults { dealers: BTreeMap::new(), holders: lists });
    split.phase = Phase::Commit;
    assert_eq!(faults(&split), Faults::default());
}

/// Xorshift (Marsaglia 2003): the same for one seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What a dealer's shares for a holder are to it.
#[derive(Clone, Copy, PartialEq)]
enum Has {
    Nothing,
    Useless,
    Good,
}

/// Dealers and holders, of which as many lie as may, in a network that drops parcels.
struct World {
    record: IdentityCeremonyRecord,
    /// Gatekeepers that lie.
    liars: BTreeSet<WorkerId>,
    random: Random,
    has: BTreeMap<(u16, u16), Has>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let seats = 4 + random.below(7) as u8;
        let made = random.chance(40);
        let old = 4 + random.below(7) as u8;
        let former = former(old, crate::ceremony::threshold_of(old.into()) as u16);
        // Some machines sit in both sets, at other indices.
        let holders: Vec<WorkerId> = (0..seats)
            .map(|number| id(if number.is_multiple_of(3) { old - number / 3 } else { 100 + number }))
            .collect();
        let record = IdentityCeremonyRecord::new(2, 0, (!made).then_some(&former), &holders, |_| true);
        let mut liars = BTreeSet::new();
        for _ in 0..20 {
            let everyone = record.dealers.len() as u64 + record.holders.len() as u64;
            let position = random.below(everyone) as usize;
            let gatekeepers = record.dealers.iter().map(|dealer| dealer.gatekeeper);
            let gatekeepers = gatekeepers.chain(record.holders.iter().map(|holder| holder.gatekeeper));
            let mut more = liars.clone();
            more.extend(gatekeepers.skip(position).take(1));
            let dealers = record.dealers.iter().filter(|dealer| more.contains(&dealer.gatekeeper)).count();
            let holders = record.holders.iter().filter(|holder| more.contains(&holder.gatekeeper)).count();
            let of_dealers = record.dealers.len() - usize::from(record.deals);
            if dealers <= of_dealers && holders <= tolerated(record.holders.len()) {
                liars = more;
            }
        }
        Self { record, liars, random, has: BTreeMap::new() }
    }

    fn say(&mut self, index: u16, statement: IdentityStatement, beside: Option<Attachment>) {
        let circumstances = Circumstances { genesis: GENESIS, now: 1, announced: true };
        // What is refused was a lie, or said by a liar.
        let _ = take(&mut self.record, index, &statement, beside.as_ref(), &circumstances);
    }

    fn package(dealer: u16) -> Vec<u8> {
        dealer.to_le_bytes().to_vec()
    }

    fn announced(&self, holder: u16) -> AnnouncedKey {
        let mut key = Vec::from([0; 1_216]);
        key[1_184..1_186].copy_from_slice(&holder.to_le_bytes());
        AnnouncedKey { of: CeremonyAttempt::identities(2, self.record.attempt), key, signature: [0; 64] }
    }

    fn dealing(&self) -> Vec<(u16, bool)> {
        self.record.dealing().map(|dealer| (dealer.index, self.liars.contains(&dealer.gatekeeper))).collect()
    }

    fn receiving(&self) -> Vec<(u16, bool)> {
        self.record.receiving().map(|(index, holder)| (index, self.liars.contains(&holder.gatekeeper))).collect()
    }

    /// Whether the holder is the dealer, which needs nothing of itself.
    fn is_own(&self, holder: u16, dealer: u16) -> bool {
        let holder = self.record.holder(holder).map(|holder| holder.gatekeeper);
        holder == self.record.dealer(dealer).map(|dealer| dealer.gatekeeper)
    }

    fn commit(&mut self) {
        for (dealer, lies) in self.dealing() {
            if !lies || self.random.chance(80) {
                let package = dealing_hash(&GENESIS, 2, self.record.attempt, dealer, &Self::package(dealer));
                self.say(dealer, IdentityStatement::Commit { package }, None);
            }
        }
    }

    /// Parcels are lost however often, whoever sends them.
    fn share(&mut self) {
        self.has.clear();
        let lost = self.random.below(100);
        for (dealer, lies) in self.dealing() {
            for (holder, _) in self.receiving() {
                let comes =
                    self.is_own(holder, dealer) || !(self.random.chance(lost) || lies && self.random.chance(50));
                self.has.insert((holder, dealer), if comes { Has::Good } else { Has::Nothing });
            }
        }
        self.confirm();
        for (holder, lies) in self.receiving() {
            for (dealer, _) in self.dealing() {
                let lacks = self.has.get(&(holder, dealer)) == Some(&Has::Nothing);
                let complains = if lies { self.random.chance(50) } else { lacks };
                if complains {
                    let key = Attachment::Key(self.announced(holder));
                    self.say(holder, IdentityStatement::Complain { dealer }, Some(key));
                }
            }
        }
    }

    fn confirm(&mut self) {
        let dealers: Vec<u16> = self.dealing().into_iter().map(|(dealer, _)| dealer).collect();
        for (holder, lies) in self.receiving() {
            let all = dealers.iter().all(|dealer| self.has.get(&(holder, *dealer)) == Some(&Has::Good));
            if lies && self.random.chance(30) {
                self.say(holder, IdentityStatement::Confirm { record: OTHER }, None);
            } else if all && !(lies && self.random.chance(50)) {
                self.say(holder, IdentityStatement::Confirm { record: HELD }, None);
            }
        }
    }

    fn deliver(&mut self) {
        let dealers: BTreeMap<u16, bool> = self.dealing().into_iter().collect();
        for complaint in self.record.complaints.clone() {
            let Complaint { accuser, dealer, .. } = complaint;
            let lies = dealers[&dealer];
            if lies && self.random.chance(40) {
                continue;
            }
            let good = !(lies && self.random.chance(50));
            let header = ParcelHeader {
                era: 2,
                attempt: self.record.attempt,
                from: dealer,
                to: accuser,
                kind: ParcelKind::Identities,
            };
            let parcel =
                Parcel { header, encapsulated: Vec::new(), body: Vec::from([good.into()]), signature: [0; 64] };
            let hash = delivery_hash(&encryption_key_hash(&self.announced(accuser).key), &parcel);
            let deliver = IdentityStatement::Deliver { accuser, parcel: hash };
            self.say(dealer, deliver, Some(Attachment::Parcel(parcel)));
            let had = self.has.insert((accuser, dealer), if good { Has::Good } else { Has::Useless });
            if had == Some(Has::Good) {
                self.has.insert((accuser, dealer), Has::Good);
            }
            let accuser_lies = self.receiving().contains(&(accuser, true));
            let useless = self.has.get(&(accuser, dealer)) == Some(&Has::Useless);
            let disputes = if accuser_lies { self.random.chance(60) } else { useless };
            if disputes {
                self.say(accuser, IdentityStatement::Dispute { dealer, parcel: hash }, None);
            }
        }
        self.confirm();
    }

    fn settle(&mut self) {
        let dealers: BTreeMap<u16, bool> = self.dealing().into_iter().collect();
        let holders = self.receiving();
        let disputed: Vec<Complaint> =
            self.record.complaints.iter().filter(|complaint| complaint.disputed).copied().collect();
        for Complaint { accuser, dealer, .. } in disputed {
            let lies = dealers[&dealer];
            if lies && self.random.chance(40) {
                continue;
            }
            let good = !(lies && self.random.chance(50));
            let answer = IdentityStatement::Answer { accuser, shares: [[good.into(); 32]; 2] };
            self.say(dealer, answer, Some(Attachment::Package(Self::package(dealer))));
            let stands = self.record.complaints.iter().any(|complaint| {
                (complaint.accuser, complaint.dealer) == (accuser, dealer) && complaint.answer.is_some()
            });
            if !lies {
                assert!(stands, "an honest dealer is disputed by no more than may lie");
            }
            if stands && good {
                self.has.insert((accuser, dealer), Has::Good);
            }
            for (holder, holder_lies) in &holders {
                if !stands || good || self.is_own(*holder, dealer) {
                    continue;
                }
                let keeps_silent = *holder_lies && self.random.chance(50);
                if !keeps_silent {
                    self.say(*holder, IdentityStatement::Reject { dealer }, None);
                }
            }
        }
        for (holder, _) in holders.iter().filter(|(_, lies)| *lies) {
            let dealer = self.random.below(dealers.len() as u64) as usize;
            if let Some(dealer) = dealers.keys().nth(dealer).copied() {
                self.say(*holder, IdentityStatement::Reject { dealer }, None);
            }
        }
        self.confirm();
    }

    /// Ends the phase. Nobody honest is at fault, and no attempt fails without somebody who is.
    fn end(&mut self) -> IdentityNext {
        let (attempt, phase) = (self.record.attempt, self.record.phase);
        let before = self.record.clone();
        let ended = end_phase(&mut self.record);
        let dealer = |index: &u16| self.liars.contains(&before.dealer(*index).unwrap().gatekeeper);
        let holder = |index: &u16| self.liars.contains(&before.holder(*index).unwrap().gatekeeper);
        let Faults { dealers, holders } = &ended.left_out;
        assert!(dealers.keys().all(dealer) && holders.keys().all(holder), "{:?} of {before:?}", ended.left_out);
        assert!(ended.convicted.iter().all(dealer));
        if self.record.attempt != attempt {
            assert!(phase != Phase::Commit, "honest dealers are enough");
            assert!(!(dealers.is_empty() && holders.is_empty()), "{before:?}");
        }
        ended.next
    }
}

#[test]
fn nobody_honest_is_at_fault_and_the_keys_change_hands_whatever_is_dropped() {
    for seed in 1..=600 {
        let mut world = World::new(seed);
        let most = world.liars.len() * 2 + 1;
        let mut next = IdentityNext::Begin(Phase::Commit);
        let mut phases = 0;
        while let IdentityNext::Begin(phase) = next {
            assert!(phases <= 4 * most, "seed {seed}");
            phases += 1;
            world.record.begin(phase, 1, 100);
            match phase {
                Phase::Commit => world.commit(),
                Phase::Share => world.share(),
                Phase::Deliver => world.deliver(),
                Phase::Settle => world.settle(),
            }
            next = world.end();
        }
        assert_eq!(next, IdentityNext::Agreed(HELD), "seed {seed}");
        let answered = world.record.complaints.iter().filter(|complaint| complaint.answer.is_some());
        let mut of_dealer = BTreeMap::<u16, usize>::new();
        answered.for_each(|complaint| *of_dealer.entry(complaint.dealer).or_default() += 1);
        assert!(of_dealer.values().all(|count| *count <= tolerated(world.record.holders.len())), "seed {seed}");
    }
}
