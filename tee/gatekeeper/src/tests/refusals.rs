//! Who gets no keys, and why: each check of an inquiry refuses on its own.

use super::*;

/// Everything that an inquiry is judged by.
struct Case {
    worker: Worker,
    inquiry: KeyInquiry,
    facts: Facts,
}

impl Case {
    fn request(&mut self, change: impl FnOnce(&mut KeyRequest)) {
        let mut request = self.inquiry.request.request;
        change(&mut request);
        self.inquiry.request = self.worker.sign(request);
    }

    /// Changes the registration, and makes evidence that binds it as it is now.
    fn registration(&mut self, change: impl FnOnce(&mut Registration)) {
        change(&mut self.inquiry.registration);
        self.inquiry.evidence = self.worker.evidence(&self.inquiry.registration);
    }

    fn record(&mut self) -> &mut WorkerRecord {
        self.facts.worker.as_mut().unwrap()
    }

    fn cluster(&mut self) -> &mut ClusterRecord {
        self.facts.cluster.as_mut().unwrap()
    }

    fn listed(&mut self) -> &mut AllowedMeasurement {
        self.facts.measurement.as_mut().unwrap()
    }

    fn bar(&mut self, subject: Subject) {
        self.facts.bans.put(Ban { subject, from: 0, until: None }, 0).unwrap();
    }

    /// The machine's TDX module is out of date, which the terms accept.
    fn outdated(&mut self) {
        self.facts.terms.accepted = AcceptedStatuses::UP_TO_DATE.with(TcbStatus::OutOfDate);
        let mut fields = QuoteFields::of(b"the binary");
        fields.report.tee_tcb_svn[0] = 2;
        fields.report.report_data = self.inquiry.registration.report_data(&GENESIS);
        let signer = QuoteSigner::new(&InsecureVendor::new().unwrap(), &Processor::named("machine 1")).unwrap();
        self.inquiry.evidence = Evidence::TdxDcap(signer.sign(&fields).try_into().unwrap()).encode();
    }
}

#[test]
fn each_check_refuses_on_its_own() {
    type Mutation = fn(&mut Case);
    let cases: &[(&str, Refusal, Mutation)] = &[
        ("request of another chain", Refusal::WrongAddressee, |c| c.request(|r| r.genesis = [8; 32])),
        ("facts of another chain", Refusal::WrongAddressee, |c| c.facts.genesis = [8; 32]),
        ("request to another gatekeeper", Refusal::WrongAddressee, |c| c.request(|r| r.gatekeeper = WorkerId([1; 32]))),
        ("altered signature", Refusal::BadSignature, |c| c.inquiry.request.signature[0] ^= 1),
        ("signed before it was altered", Refusal::BadSignature, |c| c.inquiry.request.request.nonce = [1; 32]),
        ("in the name of another worker", Refusal::BadSignature, |c| {
            c.request(|r| r.worker = WorkerId(IdentityKey::from_seed(&Secret::new([77; 32])).public()));
        }),
        ("another block than was signed", Refusal::BadSignature, |c| c.inquiry.request.request.at += 1),
        ("request of long ago", Refusal::Stale { at: 39, head: 100 }, |c| c.request(|r| r.at = 39)),
        ("request that was recorded", Refusal::Stale { at: 98, head: 159 }, |c| c.facts.head.0 = 159),
        ("not registered", Refusal::NotRegistered, |c| c.facts.worker = None),
        ("registered as a gatekeeper", Refusal::NotRegistered, |c| c.record().role = Role::Gatekeeper),
        ("lapsed", Refusal::Lapsed, |c| c.record().valid_until = NOW),
        ("another's key to answer to", Refusal::BadEncryptionKey, |c| {
            let other = DecapsulationKey::from_seed(&Secret::new([3; 32]));
            c.inquiry.request.public_key = other.public_key().to_vec();
        }),
        ("another's key to answer to, with its hash", Refusal::BadSignature, |c| {
            let other = DecapsulationKey::from_seed(&Secret::new([3; 32]));
            c.inquiry.request.public_key = other.public_key().to_vec();
            c.inquiry.request.request.answer_key = answer_key_hash(other.public_key());
        }),
        ("long-lived key to answer to", Refusal::BadEncryptionKey, |c| {
            c.inquiry.request.public_key = c.worker.receiving.public_key().to_vec();
        }),
        ("signed key that is none", Refusal::BadEncryptionKey, |c| {
            c.request(|r| r.answer_key = answer_key_hash(&[1, 2, 3]));
            c.inquiry.request.public_key = vec![1, 2, 3];
        }),
        ("signed key that nobody can seal to", Refusal::BadEncryptionKey, |c| {
            c.request(|r| r.answer_key = answer_key_hash(&[0xff; 1_216]));
            c.inquiry.request.public_key = vec![0xff; 1_216];
        }),
        ("no such cluster", Refusal::NotAssigned, |c| c.facts.cluster = None),
        ("cluster of others", Refusal::NotAssigned, |c| c.cluster().replicas = vec![WorkerId([0xaa; 32])]),
        ("cluster of nobody", Refusal::NotAssigned, |c| c.cluster().replicas.clear()),
        ("no collateral", Refusal::Collateral, |c| c.inquiry.collateral.clear()),
        ("garbage for collateral", Refusal::Collateral, |c| c.inquiry.collateral = vec![0xff; 100]),
        ("bytes after the collateral", Refusal::Collateral, |c| c.inquiry.collateral.push(0)),
        ("altered collateral", Refusal::Collateral, |c| c.inquiry.collateral[100] ^= 1),
        ("expired collateral", Refusal::Collateral, |c| {
            c.facts.now = NOW + 31 * 86_400;
            let until = c.facts.now + 1;
            c.record().valid_until = until;
        }),
        ("simulated on a network that is no development one", Refusal::Collateral, |c| c.facts.development = None),
        ("no evidence", Refusal::Evidence, |c| c.inquiry.evidence.clear()),
        ("bytes after the evidence", Refusal::Evidence, |c| c.inquiry.evidence.push(0)),
        ("altered evidence", Refusal::Evidence, |c| c.inquiry.evidence[700] ^= 1),
        ("a level that governance does not accept", Refusal::Evidence, |c| {
            c.facts.terms.minimum_tcb_evaluation_number = u32::MAX;
        }),
        ("evidence of another block than it says", Refusal::WrongReportData, |c| c.inquiry.registration.block = 91),
        ("registration of another identity", Refusal::WrongReportData, |c| {
            c.registration(|r| r.identity = WorkerId([1; 32]));
        }),
        ("registration of another operator", Refusal::WrongReportData, |c| {
            c.registration(|r| r.operator = AccountId([1; 32]));
        }),
        ("registration of another key", Refusal::WrongReportData, |c| c.registration(|r| r.encryption_key = [1; 32])),
        ("registered with another key", Refusal::WrongReportData, |c| c.record().encryption_key = [1; 32]),
        ("registration as a gatekeeper", Refusal::WrongReportData, |c| c.registration(|r| r.role = Role::Gatekeeper)),
        ("another program", Refusal::WrongMeasurement, |c| {
            let other = InsecureMachine::new("a machine", b"another binary", NOW).unwrap();
            let quote = other.quote(c.inquiry.registration.report_data(&GENESIS));
            c.inquiry.evidence = Evidence::TdxDcap(quote.try_into().unwrap()).encode();
        }),
        ("vendor is revoked", Refusal::Barred, |c| c.bar(Subject::Vendor(Vendor::IntelTdx))),
        ("root is ended", Refusal::Barred, |c| c.bar(Subject::Root(Root::InsecureDevelopment))),
        ("measurement is suspended", Refusal::Barred, |c| {
            let subject = Subject::Measurement(c.record().measurement);
            let ban = Ban { subject, from: 100, until: Some(100) };
            c.facts.bans.put(ban, 100).unwrap();
        }),
        ("collateral of a generation that is shut out", Refusal::Barred, |c| {
            c.bar(Subject::Evaluation { vendor: Vendor::IntelTdx, below: 2 });
        }),
        ("forbidden advisory", Refusal::Advisory, |c| {
            c.outdated();
            c.facts.advisories.forbidden = vec![advisory("INSECURE-SA-00001")].try_into().unwrap();
        }),
        ("measurement not listed", Refusal::MeasurementNotAllowed, |c| c.facts.measurement = None),
        ("measurement not yet accepted", Refusal::MeasurementNotAllowed, |c| c.listed().not_before = 101),
        ("measurement after its sunset", Refusal::MeasurementNotAllowed, |c| c.listed().sunset = Some(99)),
        ("measurement listed for gatekeepers", Refusal::RoleNotAllowed, |c| {
            c.facts.listing.as_mut().unwrap().role = Some(Role::Gatekeeper);
        }),
        ("measurement of whose listing nothing is known", Refusal::RoleNotAllowed, |c| c.facts.listing = None),
        // The simulator's documents are of evaluation 1.
        ("collateral over the cap", Refusal::EvaluationTooEarly, |c| c.facts.evaluation_cap = Some(0)),
        ("epoch that was", Refusal::EpochNotOpen, |c| c.request(|r| r.epoch = 3)),
        ("epoch before the first", Refusal::EpochNotOpen, |c| c.request(|r| r.epoch = 0)),
        ("epoch after the next", Refusal::EpochNotOpen, |c| c.request(|r| r.epoch = 7)),
        ("next epoch before its lead", Refusal::EpochNotOpen, |c| {
            c.request(|r| (r.epoch, r.at) = (6, 1_049));
            c.facts.head.0 = 1_049;
        }),
        ("request of another era", Refusal::WrongEra, |c| c.request(|r| r.era = 1)),
        ("open epoch of another era", Refusal::WrongEra, |c| c.cluster().era = 1),
        ("next epoch of the era that comes", Refusal::WrongEra, |c| {
            c.request(|r| (r.epoch, r.at) = (6, 1_050));
            c.facts.head.0 = 1_050;
            c.facts.coming_era = Some(1);
        }),
        ("epoch before, of another era", Refusal::WrongEra, |c| {
            c.request(|r| r.epoch = 4);
            c.cluster().era_before = 1;
        }),
        ("no era known to come", Refusal::WrongEra, |c| c.facts.coming_era = None),
        ("no root", Refusal::RootNotRecorded, |c| c.facts.root = None),
        ("another root", Refusal::RootNotRecorded, |c| {
            let other = Seat::lone(token(GENESIS), 0, &Secret::new([1; 32])).unwrap();
            c.facts.root = Some(other.root_record(vec![GATEKEEPER]));
        }),
    ];
    let seat = lone_seat();
    for (name, refusal, mutate) in cases {
        let worker = Worker::new();
        let mut case = Case { inquiry: worker.inquiry(worker.request(5)), facts: worker.facts(&seat), worker };
        let mut remembers = Verifier::default();
        assert!(ask_again(&seat, &case.inquiry, &case.facts, &mut remembers).is_ok(), "{name}: unaltered");
        assert_eq!(remembers.machines(), 1);
        mutate(&mut case);
        let mut knows_nothing = Verifier::default();
        let refused = ask_again(&seat, &case.inquiry, &case.facts, &mut knows_nothing);
        assert_eq!((refused.err(), knows_nothing.machines()), (Some(*refusal), 0), "{name}");
        let refused = ask_again(&seat, &case.inquiry, &case.facts, &mut remembers);
        assert_eq!(refused.err(), Some(*refusal), "{name}: of a machine that was verified before");
    }
}
