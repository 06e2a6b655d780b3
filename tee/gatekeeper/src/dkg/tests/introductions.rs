//! Whom a seat takes for a gatekeeper: an introduction is judged by each check on its own.

use super::*;
use crate::Refusal;
use phala_attest::{Ban, Subject};
use phala_protocol::ceremony::AnnouncedKey;

impl Case {
    fn registration(&mut self, change: impl FnOnce(&mut Registration)) {
        change(&mut self.introduction.registration);
        self.introduction.evidence = evidence(&self.machine, &self.introduction.registration);
    }

    fn record(&mut self) -> &mut WorkerRecord {
        self.facts.worker.as_mut().unwrap()
    }

    fn verify(&self) -> Result<VerifiedPeer, Refusal> {
        verify_introduction(&id(1), &self.introduction, &self.facts, &mut Verifier::default())
    }
}

#[test]
fn an_introduced_gatekeeper_is_verified_by_each_check_on_its_own() {
    type Mutation = fn(&mut Case);
    let cases: &[(&str, Refusal, Mutation)] = &[
        ("not registered", Refusal::NotRegistered, |c| c.facts.worker = None),
        ("registered as a worker", Refusal::NotRegistered, |c| c.record().role = Role::Worker),
        ("lapsed", Refusal::Lapsed, |c| c.record().valid_until = NOW),
        ("a key that another announced", Refusal::BadAnnouncement, |c| {
            c.introduction.announced = receiving(1, OF).announce(&identity(2));
        }),
        ("a key that nobody announced", Refusal::BadAnnouncement, |c| {
            c.introduction.announced.key = receiving(2, OF).public_key().to_vec();
        }),
        ("a key of another attempt", Refusal::BadAnnouncement, |c| {
            let other = receiving(1, CeremonyAttempt::root(1, 1)).announce(&identity(1));
            c.introduction.announced = AnnouncedKey { of: OF, ..other };
        }),
        ("a key of the other ceremony", Refusal::BadAnnouncement, |c| {
            let other = receiving(1, CeremonyAttempt::identities(1, 0)).announce(&identity(1));
            c.introduction.announced = AnnouncedKey { of: OF, ..other };
        }),
        ("a key of another chain", Refusal::BadAnnouncement, |c| {
            c.introduction.announced = ReceivingKey::derive(&seed(1), &[8; 32], OF).announce(&identity(1));
        }),
        ("a key that is none", Refusal::BadEncryptionKey, |c| c.introduction.announced.key = vec![1, 2, 3]),
        ("evidence of another registration", Refusal::WrongReportData, |c| {
            c.introduction.registration.encryption_key = [1; 32];
        }),
        ("no collateral", Refusal::Collateral, |c| c.introduction.collateral.clear()),
        ("simulated elsewhere", Refusal::Collateral, |c| c.facts.development = None),
        ("no evidence", Refusal::Evidence, |c| c.introduction.evidence.clear()),
        ("evidence as a worker", Refusal::WrongReportData, |c| c.registration(|r| r.role = Role::Worker)),
        ("evidence of another", Refusal::WrongReportData, |c| c.registration(|r| r.identity = id(2))),
        ("evidence of another operator", Refusal::WrongReportData, |c| {
            c.registration(|r| r.operator = AccountId([1; 32]));
        }),
        ("evidence of another chain", Refusal::WrongReportData, |c| {
            let other = c.introduction.registration.report_data(&[8; 32]);
            c.introduction.evidence = Evidence::TdxDcap(c.machine.quote(other).try_into().unwrap()).encode();
        }),
        ("another measurement", Refusal::WrongMeasurement, |c| c.record().measurement = [1; 32]),
        ("shut out", Refusal::Barred, |c| {
            let subject = Subject::Measurement(c.record().measurement);
            c.facts.bans.put(Ban { subject, from: 0, until: None }, 0).unwrap();
        }),
        ("not listed", Refusal::MeasurementNotAllowed, |c| c.facts.measurement = None),
        ("listed for workers", Refusal::RoleNotAllowed, |c| {
            c.facts.listing.as_mut().unwrap().role = Some(Role::Worker);
        }),
        ("collateral over the cap", Refusal::EvaluationTooEarly, |c| c.facts.evaluation_cap = Some(0)),
    ];
    let peer = Case::new(1).verify().ok().unwrap();
    assert_eq!((peer.identity(), peer.key_hash()), (id(1), receiving(1, OF).hash()));
    // It has registered another long-lived key since: nothing is sealed to that one, and whose identity it is, is shown all the same.
    let mut registered_anew = Case::new(1);
    registered_anew.record().encryption_key = [9; 32];
    assert_eq!(registered_anew.verify().ok().unwrap().key_hash(), receiving(1, OF).hash());
    for (name, refusal, mutate) in cases {
        let mut case = Case::new(1);
        mutate(&mut case);
        assert_eq!(case.verify().err(), Some(*refusal), "{name}");
    }
}
