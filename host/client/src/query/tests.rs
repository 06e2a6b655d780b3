//! Queries against a worker made in the test.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use phala_attest::{Ban, ConfidenceLevel, Origin, Root, Subject, TcbStatus, Vendor};
use phala_crypto::{kdf, signature::ed25519::IdentityKey, xwing::DecapsulationKey};
use phala_protocol::{AccountId, ContractId};

const GENESIS: Hash = [7; 32];
const CLUSTER: ClusterId = ClusterId(2);

struct Worker {
    identity: IdentityKey,
    secret: DecapsulationKey,
}

impl Worker {
    fn new() -> Self {
        Self {
            identity: IdentityKey::from_seed(&Secret::new([1; 32])),
            secret: DecapsulationKey::from_seed(&Secret::new([2; 32])),
        }
    }

    fn id(&self) -> WorkerId {
        WorkerId(self.identity.public())
    }

    fn key(&self) -> QueryKey {
        let mut key = QueryKey {
            worker: self.id(),
            cluster: CLUSTER,
            epoch: 3,
            public_key: self.secret.public_key().to_vec(),
            signature: [0; 64],
        };
        key.signature = self.identity.sign(&key.signing_payload(&GENESIS));
        key
    }

    /// Opens a query as a worker does, and gives the key of its answer.
    fn open(&self, bytes: &[u8]) -> (SignedQuery, Exporter) {
        let sealed = SealedQuery::decode_exact(bytes).unwrap();
        let info = [domain::QUERY_INFO.as_bytes(), &GENESIS].concat();
        let encapsulated = sealed.encapsulated.as_slice().try_into().unwrap();
        let context = hpke::setup_receiver(&self.secret, encapsulated, &info);
        let (plain, exporter) = context.open(&sealed.header.encode(), &sealed.body).unwrap();
        let plain = unpad(plain.expose()).unwrap();
        (SignedQuery::decode_all(&mut plain.expose().as_slice()).unwrap(), exporter)
    }

    fn answer(&self, exporter: &Exporter, answer: &Answer) -> Vec<u8> {
        let plain = answer.encode();
        let padded = pad(&plain, SizeClass::holding(plain.len()).unwrap()).unwrap();
        let key = exporter.export::<32>(domain::QUERY_ANSWER_KEY.as_bytes());
        let nonce_key = exporter.export(domain::QUERY_ANSWER_NONCE_KEY.as_bytes());
        let nonce = *kdf::derive::<12>(&nonce_key, domain::QUERY_ANSWER_NONCE, padded.expose()).expose();
        let body = SivKey::new(&key).seal(&nonce, &[], padded.expose()).unwrap();
        SealedAnswer { nonce, body, signature: self.identity.sign(&answer_payload(&GENESIS, answer)) }.encode()
    }
}

fn signed(worker: &Worker) -> (SignedQuery, Hash) {
    let account = Account::development("bob").unwrap();
    let query = Query {
        worker: worker.id(),
        request: QueryRequest::Contract { contract: ContractId([4; 32]), payload: vec![5; 300] },
        nonce: [6; 16],
        valid_until: 100,
        min_height: 40,
    };
    let payload = signing_payload(&GENESIS, CLUSTER, &query);
    (SignedQuery { account: account.id(), query, signature: account.sign(&payload).unwrap() }, payload)
}

fn answer_of(query: Hash, height: BlockNumber) -> Answer {
    Answer { query, height, state: None, content: AnswerContent::Output(vec![1, 2, 3]) }
}

#[test]
fn a_worker_opens_what_was_sealed_and_its_answer_opens_here() {
    let worker = Worker::new();
    let (question, payload) = signed(&worker);
    let (sealed, exporter) = seal(&GENESIS, &worker.key(), &question, &[9; 64]).unwrap();
    assert_eq!(sealed.header.size, SizeClass::K1);
    let (opened, theirs) = worker.open(&sealed.to_bytes());
    assert_eq!(opened, question);
    assert!(phala_crypto::signature::sr25519::verify(&opened.account.0, &payload, &opened.signature).is_ok());
    let answer = answer_of(payload, 40);
    let bytes = worker.answer(&theirs, &answer);
    assert_eq!(open(&GENESIS, &worker.id(), &payload, 40, &exporter, &bytes), Ok(answer));
}

#[test]
fn every_refusal_of_a_query_says_what_to_do() {
    use QueryRefusal::*;
    for refusal in [NotFound, Replayed, Expired, Stale, NotReadOnly, Trapped, OutOfGas, Unauthorised, Crowded] {
        // One that is missing above does not compile here.
        match refusal {
            NotFound | Replayed | Expired | Stale | NotReadOnly | Trapped | OutOfGas | Unauthorised | Crowded => {}
        }
        let error = refusal_error(refusal);
        assert_eq!(error.message, refusal.to_string());
        assert!(error.hint.is_some_and(|hint| !hint.is_empty()), "{refusal:?}");
    }
}

#[test]
fn refuses_answers_to_other_questions_old_ones_and_others_signatures() {
    let worker = Worker::new();
    let (question, payload) = signed(&worker);
    let (_, exporter) = seal(&GENESIS, &worker.key(), &question, &[9; 64]).unwrap();
    let check = |bytes: &[u8], who: &WorkerId| open(&GENESIS, who, &payload, 40, &exporter, bytes);
    let other = worker.answer(&exporter, &answer_of([0; 32], 40));
    assert_eq!(check(&other, &worker.id()), Err("the answer is to another question"));
    let old = worker.answer(&exporter, &answer_of(payload, 39));
    assert_eq!(check(&old, &worker.id()), Err("the answer is older than was asked for"));
    let refused = |refusal| Answer { content: AnswerContent::Refused(refusal), ..answer_of(payload, 39) };
    let absent = worker.answer(&exporter, &refused(QueryRefusal::NotFound));
    assert_eq!(
        check(&absent, &worker.id()),
        Err("the answer is older than was asked for"),
        "nothing there, by an old state"
    );
    let behind = worker.answer(&exporter, &refused(QueryRefusal::Stale));
    assert!(check(&behind, &worker.id()).is_ok(), "a worker that is behind says so");
    let good = worker.answer(&exporter, &answer_of(payload, 40));
    assert_eq!(check(&good, &WorkerId([3; 32])), Err("the answer is not signed by the worker"));
    assert!(check(&good[..good.len() - 1], &worker.id()).is_err());
    for altered in 0..12 {
        let mut other = good.clone();
        other[altered] ^= 1;
        assert_eq!(check(&other, &worker.id()), Err("the answer does not open"), "under another nonce");
    }
    let (_, another) = seal(&GENESIS, &worker.key(), &question, &[8; 64]).unwrap();
    assert_eq!(open(&GENESIS, &worker.id(), &payload, 40, &another, &good), Err("the answer does not open"));
}

#[test]
fn trusts_only_a_registered_replica_with_a_listed_measurement() {
    let worker = Worker::new();
    let record = WorkerRecord {
        role: Role::Worker,
        operator: AccountId([0; 32]),
        encryption_key: [0; 32],
        measurement: [5; 32],
        hardware: [0; 32],
        assurance: Assurance::Simulated,
        registered_at: 1,
        valid_until: 1_000,
    };
    let cluster = ClusterRecord {
        era: 0,
        era_before: 0,
        epoch: 3,
        opened_at: 0,
        opened_count: 0,
        final_count: 0,
        bound_epoch: 0,
        epoch_length: 10,
        envelope_key: Vec::new(),
        replicas: vec![worker.id()],
    };
    let allowed = AllowedMeasurement { source: [0; 32], listed_at: 1, not_before: 2, sunset: Some(50) };
    let verdict = |key: &QueryKey, record: &WorkerRecord, cluster: &ClusterRecord, allowed, now_ms, height| {
        let registered = Registered { record, appraisal: None };
        judge(&GENESIS, CLUSTER, key, &registered, cluster, allowed, &Bans::default(), now_ms, height)
    };
    let key = worker.key();
    assert_eq!(verdict(&key, &record, &cluster, Some(allowed), 999_000, 50), Ok(()));
    assert_eq!(verdict(&key, &record, &cluster, Some(allowed), 1_000_000, 50), Err("its attestation has lapsed"));
    for (allowed, height) in [(None, 50), (Some(allowed), 51), (Some(allowed), 1)] {
        let expected = Err("its measurement is not on the allow-list");
        assert_eq!(verdict(&key, &record, &cluster, allowed, 0, height), expected);
    }
    let gatekeeper = WorkerRecord { role: Role::Gatekeeper, ..record };
    assert!(verdict(&key, &gatekeeper, &cluster, Some(allowed), 0, 50).is_err());
    let others = ClusterRecord { replicas: vec![WorkerId([0; 32])], ..cluster.clone() };
    assert_eq!(verdict(&key, &record, &others, Some(allowed), 0, 50), Err("it is no replica of the cluster"));
    let later = ClusterRecord { epoch: 5, ..cluster.clone() };
    assert_eq!(verdict(&key, &record, &later, Some(allowed), 0, 50), Err("its query key is of an old epoch"));

    // A ban shuts it out from its first block on; and so does any, when the chain does not say where the worker comes from.
    let vendor = Vendor::IntelTdx;
    let origin = Origin { root: Root::InsecureDevelopment, vendor, fmspc: [1; 6], evaluation: 1, measurement: [5; 32] };
    let appraisal = Appraisal { origin, status: TcbStatus::UpToDate, confidence: ConfidenceLevel::One };
    let barred = |subject, from, appraisal| {
        let mut bans = Bans::default();
        bans.put(Ban { subject, from, until: None }, 0).unwrap();
        let registered = Registered { record: &record, appraisal };
        judge(&GENESIS, CLUSTER, &key, &registered, &cluster, Some(allowed), &bans, 0, 50)
    };
    let shut_out = Err("its vendor, model, generation or measurement is revoked or suspended");
    assert_eq!(barred(Subject::Vendor(vendor), 50, Some(&appraisal)), shut_out);
    assert_eq!(barred(Subject::Measurement([5; 32]), 50, Some(&appraisal)), shut_out);
    assert_eq!(barred(Subject::Vendor(Vendor::IntelSgx), 50, None), shut_out);
    assert_eq!(barred(Subject::Vendor(Vendor::IntelSgx), 50, Some(&appraisal)), Ok(()));
    assert_eq!(barred(Subject::Vendor(vendor), 51, Some(&appraisal)), Ok(()));

    let mut forged = key;
    forged.public_key[0] ^= 1;
    assert!(verdict(&forged, &record, &cluster, Some(allowed), 0, 50).is_err());
}
