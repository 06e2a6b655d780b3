//! What a gatekeeper remembers of machines spares signatures, and decides nothing.
//!
//! `each_check_refuses_on_its_own`, beside this, asks a gatekeeper that has verified the machine before for each refusal too.

use super::*;
use crate::{verify_introduction, ReceivingKey, Verifications, MOST_COLLATERALS};
use phala_protocol::{
    ceremony::{CeremonyAttempt, Introduction},
    ids::BlockNumber,
};
use proptest::prelude::*;

/// Seconds.
const DAY: u64 = 86_400;

fn done(collaterals: u64, evidence: u64) -> Verifications {
    Verifications { collaterals, evidence }
}

/// A worker's inquiry with the collateral of `network`, and what the chain says of the worker.
fn inquiry_of(worker: &Worker, network: &Worker, epoch: Epoch) -> KeyInquiry {
    KeyInquiry { collateral: network.machine.collateral().encode(), ..worker.inquiry(worker.request(epoch)) }
}

/// The same inquiry, of another registration that the evidence binds.
fn of_another_block(worker: &Worker, inquiry: &KeyInquiry) -> KeyInquiry {
    let registration = Registration { block: 91, ..worker.registration() };
    KeyInquiry { registration, evidence: worker.evidence(&registration), ..inquiry.clone() }
}

/// Evidence of a machine whose module is out of date.
fn outdated(worker: &Worker) -> Vec<u8> {
    let mut fields = QuoteFields::of(b"the binary");
    fields.report.tee_tcb_svn[0] = 2;
    fields.report.report_data = worker.registration().report_data(&GENESIS);
    let signer = QuoteSigner::new(&InsecureVendor::new().unwrap(), &Processor::named("a machine")).unwrap();
    Evidence::TdxDcap(signer.sign(&fields).try_into().unwrap()).encode()
}

#[test]
fn the_same_bytes_are_verified_once_and_other_bytes_anew() {
    let seat = lone_seat();
    let (first, second) = (Worker::numbered(1), Worker::numbered(2));
    let asked = inquiry_of(&first, &first, 5);
    let seconds = inquiry_of(&second, &first, 5);
    let verifier = &mut Verifier::default();
    let mut ask = |worker: &Worker, inquiry: &KeyInquiry, expected: Verifications| {
        let answer = ask_again(&seat, inquiry, &worker.facts(&seat), verifier);
        assert_eq!(verifier.verifications(), expected);
        answer.err()
    };
    assert_eq!(ask(&first, &asked, done(1, 1)), None);
    // The same worker for another epoch, and for the same again.
    let earlier = KeyInquiry { request: first.sign(first.request(4)), ..asked.clone() };
    assert_eq!(ask(&first, &earlier, done(1, 1)), None);
    assert_eq!(ask(&first, &asked, done(1, 1)), None);
    // Another worker, of the same model.
    assert_eq!(ask(&second, &seconds, done(1, 2)), None);
    assert_eq!(ask(&second, &seconds, done(1, 2)), None);
    // What is refused is verified each time, and takes nothing of what is kept.
    let mut altered = asked.clone();
    altered.evidence[700] ^= 1;
    assert_eq!(ask(&first, &altered, done(1, 3)), Some(Refusal::Evidence));
    assert_eq!(ask(&first, &altered, done(1, 4)), Some(Refusal::Evidence));
    let mut altered = asked.clone();
    altered.collateral[100] ^= 1;
    assert_eq!(ask(&first, &altered, done(2, 4)), Some(Refusal::Collateral));
    let others = KeyInquiry { evidence: seconds.evidence, ..asked.clone() };
    assert_eq!(ask(&first, &others, done(2, 5)), Some(Refusal::WrongReportData));
    assert_eq!(ask(&first, &asked, done(2, 5)), None);
    // Of one identity there is one verdict.
    let renewed = of_another_block(&first, &asked);
    assert_eq!(ask(&first, &renewed, done(2, 6)), None);
    assert_eq!(ask(&first, &renewed, done(2, 6)), None);
    assert_eq!(ask(&first, &asked, done(2, 7)), None);
    // The verdict names the registration that the evidence binds, and is not taken for another's.
    let crossed = KeyInquiry { registration: renewed.registration, ..asked.clone() };
    assert_eq!(ask(&first, &crossed, done(2, 7)), Some(Refusal::WrongReportData));
    let collateral = second.machine.collateral().encode();
    if collateral != asked.collateral {
        assert_eq!(ask(&first, &KeyInquiry { collateral, ..asked.clone() }, done(3, 8)), None);
    }
}

#[test]
fn a_flood_of_machines_pushes_out_and_never_lets_in() {
    let seat = lone_seat();
    let network = Worker::numbered(1);
    let workers: Vec<Worker> = (1..=20).map(Worker::numbered).collect();
    let inquiries: Vec<KeyInquiry> = workers.iter().map(|worker| inquiry_of(worker, &network, 5)).collect();
    let one = {
        let mut alone = Verifier::with_room(1, usize::MAX);
        ask_again(&seat, &inquiries[0], &workers[0].facts(&seat), &mut alone).unwrap();
        alone.verdict_bytes()
    };
    assert!((100..2_000).contains(&one), "{one}");
    for mut verifier in [Verifier::with_room(8, usize::MAX), Verifier::with_room(usize::MAX, 8 * one)] {
        for _ in 0..2 {
            for (worker, inquiry) in workers.iter().zip(&inquiries) {
                let facts = worker.facts(&seat);
                assert_eq!(ask_again(&seat, inquiry, &facts, &mut verifier), ask(&seat, inquiry, &facts));
                assert!(verifier.machines() <= 8 && verifier.verdict_bytes() <= 8 * one);
            }
        }
        assert_eq!((verifier.machines(), verifier.verifications()), (8, done(1, 40)));
        // Whoever is there is found; whoever is barred meanwhile is refused, there or not.
        for (number, (worker, inquiry)) in workers.iter().zip(&inquiries).enumerate() {
            let mut facts = worker.facts(&seat);
            facts.bans.put(Ban { subject: Subject::Vendor(Vendor::IntelTdx), from: 0, until: None }, 0).unwrap();
            assert_eq!(ask_again(&seat, inquiry, &facts, &mut verifier), Err(Refusal::Barred));
            let evidence = 40 + (number as u64 + 1).min(12);
            assert_eq!(verifier.verifications(), done(1, evidence));
        }
    }
    // No room at all is slow, and nothing else.
    let mut none = Verifier::with_room(0, 0);
    for _ in 0..2 {
        assert!(ask_again(&seat, &inquiries[0], &workers[0].facts(&seat), &mut none).is_ok());
    }
    assert_eq!((none.machines(), none.verifications()), (0, done(1, 2)));
}

#[test]
fn one_machine_with_many_collaterals_pushes_out_its_own() {
    let seat = lone_seat();
    let (hostile, honest, newcomer) = (Worker::numbered(1), Worker::numbered(2), Worker::numbered(3));
    let asked = inquiry_of(&honest, &honest, 5);
    let mut verifier = Verifier::default();
    ask_again(&seat, &asked, &honest.facts(&seat), &mut verifier).unwrap();
    // Collateral of other days, each good now.
    let days = MOST_COLLATERALS as u64 + 2;
    for day in 1..=days {
        let machine = InsecureMachine::new("collateral", b"", NOW - day * DAY).unwrap();
        let inquiry = KeyInquiry { collateral: machine.collateral().encode(), ..inquiry_of(&hostile, &honest, 5) };
        ask_again(&seat, &inquiry, &hostile.facts(&seat), &mut verifier).unwrap();
        assert_eq!(verifier.verifications().collaterals, 1 + day);
    }
    let before = verifier.verifications();
    let inquiry = inquiry_of(&newcomer, &honest, 5);
    ask_again(&seat, &inquiry, &newcomer.facts(&seat), &mut verifier).unwrap();
    assert_eq!(verifier.verifications(), done(before.collaterals, before.evidence + 1), "its collateral is there");
}

#[test]
fn a_request_counts_for_whom_it_is_signed_and_no_other() {
    let (worker, seat) = (Worker::new(), lone_seat());
    let inquiry = worker.inquiry(worker.request(5));
    let signed = verify_request(inquiry.clone(), &GENESIS, &GATEKEEPER).unwrap();
    assert_eq!((signed.inquiry(), signed.payload()), (&inquiry, inquiry.request.request.signing_payload()));
    let answer = |facts: &Facts| seat.answer(&signed, facts, &mut Verifier::default(), &[11; 32], &[12; 64]).err();
    let facts = worker.facts(&seat);
    assert_eq!(answer(&facts), None);
    assert_eq!(answer(&Facts { genesis: [8; 32], ..facts.clone() }), Some(Refusal::WrongAddressee));
    assert_eq!(answer(&Facts { gatekeeper: WorkerId([1; 32]), ..facts }), Some(Refusal::WrongAddressee));
}

#[test]
fn an_introduction_is_judged_anew_and_its_signatures_are_verified_once() {
    let worker = Worker::new();
    let registration = Registration { role: Role::Gatekeeper, ..worker.registration() };
    let introduction = Introduction {
        registration,
        announced: ReceivingKey::derive(&Secret::new([1; 32]), &GENESIS, CeremonyAttempt::root(1, 0))
            .announce(&worker.signing),
        evidence: worker.evidence(&registration),
        collateral: worker.machine.collateral().encode(),
    };
    let mut facts = worker.facts(&lone_seat());
    facts.worker.as_mut().unwrap().role = Role::Gatekeeper;
    let mut verifier = Verifier::default();
    let mut verify = |facts: &Facts, identity: &WorkerId| {
        let verified = verify_introduction(identity, &introduction, facts, &mut verifier);
        (verified.err(), verifier.verifications())
    };
    assert_eq!(verify(&facts, &worker.id()), (None, done(1, 1)));
    facts.head.0 += 1;
    assert_eq!(verify(&facts, &worker.id()), (None, done(1, 1)));
    facts.listing.as_mut().unwrap().role = Some(Role::Worker);
    assert_eq!(verify(&facts, &worker.id()), (Some(Refusal::RoleNotAllowed), done(1, 1)));
    facts.listing = None;
    assert_eq!(verify(&facts, &worker.id()), (Some(Refusal::RoleNotAllowed), done(1, 1)));
    // In another's name nothing is verified but who announced the key.
    assert_eq!(verify(&facts, &WorkerId([9; 32])), (Some(Refusal::BadAnnouncement), done(1, 1)));
}

/// One inquiry of a sequence, and one thing that is otherwise than at first.
type Step = (usize, u8, u8, u8, i64, u8);

/// Workers, and what they may show.
struct World {
    seat: Seat,
    workers: Vec<Worker>,
    /// Of each worker: honest evidence, of another block, and of a machine that is out of date.
    shown: Vec<[KeyInquiry; 3]>,
    /// Collateral of now, and of twenty days later.
    collaterals: [Vec<u8>; 2],
}

impl World {
    fn new() -> Self {
        let workers: Vec<Worker> = (1..=2).map(Worker::numbered).collect();
        let shown = workers.iter().map(|worker| {
            let honest = worker.inquiry(worker.request(5));
            let old = KeyInquiry { evidence: outdated(worker), ..honest.clone() };
            [honest.clone(), of_another_block(worker, &honest), old]
        });
        let shown = shown.collect();
        let at = |now| InsecureMachine::new("collateral", b"", now).unwrap().collateral().encode();
        Self { seat: lone_seat(), shown, workers, collaterals: [at(NOW), at(NOW + 20 * DAY)] }
    }

    /// The inquiry of a step and its facts. Most steps are answered, so that much is kept when something is changed.
    fn play(&self, (worker, evidence, collateral, twist, days, edge): Step) -> (KeyInquiry, Facts) {
        let (asker, other) = (&self.workers[worker % 2], &self.workers[(worker + 1) % 2]);
        let [honest, renewed, old] = &self.shown[worker % 2];
        let mut inquiry = match evidence % 8 {
            0..=4 => honest.clone(),
            5 => renewed.clone(),
            6 => old.clone(),
            _ => KeyInquiry { evidence: self.shown[(worker + 1) % 2][0].evidence.clone(), ..honest.clone() },
        };
        inquiry.collateral = self.collaterals[usize::from(collateral % 4 == 3)].clone();
        let mut facts = asker.facts(&self.seat);
        // Around the first day, and around both ends of both collaterals: a day before their time, 29 days after it.
        facts.now = match edge % 8 {
            0..=4 => NOW,
            5 => (NOW - DAY).saturating_add_signed(days),
            6 => (NOW + 29 * DAY).saturating_add_signed(days),
            _ => (NOW + 19 * DAY).saturating_add_signed(days),
        };
        facts.worker.as_mut().unwrap().valid_until = u64::MAX;
        if evidence % 8 == 6 || twist % 2 == 0 {
            facts.terms.accepted = AcceptedStatuses::UP_TO_DATE.with(TcbStatus::OutOfDate);
        }
        let bar = |facts: &mut Facts, subject, from: BlockNumber, until| {
            facts.bans.put(Ban { subject, from, until }, 0).unwrap();
        };
        let vendor = Vendor::IntelTdx;
        match twist {
            0 => facts.terms.minimum_tcb_evaluation_number = 2,
            1 => facts.development = None,
            2 => bar(&mut facts, Subject::Vendor(vendor), 0, None),
            3 => bar(&mut facts, Subject::Vendor(vendor), 50, Some(99)),
            4 => bar(&mut facts, Subject::Root(Root::InsecureDevelopment), 100, Some(100)),
            5 => bar(&mut facts, Subject::Evaluation { vendor, below: 2 }, 0, None),
            6 => bar(&mut facts, Subject::Measurement(asker.machine.measurement()), 101, None),
            7 => facts.advisories.forbidden = vec![advisory("INSECURE-SA-00001")].try_into().unwrap(),
            8 => facts.evaluation_cap = Some(0),
            9 => facts.evaluation_cap = Some(1),
            10 => facts.measurement = None,
            11 => facts.listing = None,
            12 => facts.listing.as_mut().unwrap().role = Some(Role::Gatekeeper),
            13 => facts.worker = other.facts(&self.seat).worker,
            14 => facts.worker.as_mut().unwrap().measurement = [1; 32],
            15 => facts.worker.as_mut().unwrap().operator = AccountId([1; 32]),
            16 => facts.worker.as_mut().unwrap().valid_until = NOW,
            17 => facts.cluster.as_mut().unwrap().replicas.clear(),
            18 => inquiry.request = asker.sign(asker.request(4)),
            19 => inquiry.request = asker.sign(asker.request(7)),
            20 => inquiry.registration.block = 91,
            21 => inquiry.evidence.push(0),
            22 => inquiry.collateral.push(0),
            23 => facts.terms.accepted = AcceptedStatuses::UP_TO_DATE,
            // Nothing else: as it was.
            _ => {}
        }
        (inquiry, facts)
    }
}

fn step() -> impl Strategy<Value = Step> {
    (0usize..2, 0u8..8, 0u8..4, 0u8..40, -2i64..=2, 0u8..8)
}

#[test]
fn what_is_kept_judges_as_what_is_verified_anew() {
    let world = World::new();
    let spared = core::cell::Cell::new(0u64);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(40));
    // A memory that is too small for both workers too.
    let steps = (1usize..=2, proptest::collection::vec(step(), 2..12));
    runner
        .run(&steps, |(room, steps)| {
            let mut remembers = Verifier::with_room(room, usize::MAX);
            let mut anew = 0;
            for step in steps {
                let (inquiry, facts) = world.play(step);
                let mut knows_nothing = Verifier::default();
                let fresh = ask_again(&world.seat, &inquiry, &facts, &mut knows_nothing);
                let kept = ask_again(&world.seat, &inquiry, &facts, &mut remembers);
                prop_assert_eq!(&kept, &fresh, "{:?}", step);
                // What was refused is not kept.
                prop_assert_eq!(knows_nothing.machines(), usize::from(fresh.is_ok()));
                prop_assert!(remembers.machines() <= room);
                anew += knows_nothing.verifications().evidence;
            }
            let verified = remembers.verifications().evidence;
            prop_assert!(verified <= anew);
            spared.set(spared.get() + anew - verified);
            Ok(())
        })
        .unwrap();
    assert!(spared.get() > 5, "a memory that is never used would pass too: {}", spared.get());
}
