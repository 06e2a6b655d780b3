//! One worker's request for an epoch's keys, answered by a seat: INSECURE, the worker's machine is simulated.
//!
//! Evidence and collateral have the genuine formats and take the genuine path; only their root is another.

use crate::{
    ceremony::NOW,
    floor,
    measure::{median, print, seconds},
};
use anyhow::{ensure, Context, Result};
use codec::{DecodeAll, Encode};
use phala_attest::{
    verify_collateral, verify_evidence, AcceptedStatuses, AdvisoryPolicy, Bans, Collateral, DevelopmentGenesis,
    Evidence, Policy, PolicyTerms, TrustAnchor, VerifiedReport,
};
use phala_crypto::{
    signature::ed25519::IdentityKey,
    xwing::{DecapsulationKey, ENTROPY_BYTES},
    Secret,
};
use phala_gatekeeper::{open_grant, Facts, Seat};
use phala_insecure_tee::InsecureMachine;
use phala_keys_sim::members::GENESIS;
use phala_protocol::{
    attestation::{encryption_key_hash, Assurance, Listing, Registration, Role, Version},
    chain_state::{AllowedMeasurement, ClusterRecord, WorkerRecord},
    ids::BlockNumber,
    keys::{KeyPurpose, KeyRequest, SignedKeyRequest},
    relay::KeyInquiry,
    AccountId, ClusterId, Epoch, WorkerId,
};
use std::hint::black_box;

/// Workers of the network whose cost is computed, in clusters of 100. Each asks each gatekeeper once an epoch.
const WORKERS: u32 = 100_000;
const HEAD: BlockNumber = 100;
const EPOCH: Epoch = 5;
const ROUNDS: usize = 5;

/// Measures `n` answers of `seat`, the first of `seats`.
pub fn measure(seat: &Seat, seats: &[WorkerId], n: usize) -> Result<()> {
    let receiving = DecapsulationKey::from_seed(&Secret::new([2; 32]));
    let gatekeeper = *seats.first().context("no seats")?;
    let (inquiry, facts) = ask(seat, seats, gatekeeper, &receiving)?;
    let (prf_entropy, seal_entropy) = ([11; 32], [12; ENTROPY_BYTES]);
    let answer = seat.answer(&inquiry, &facts, &prf_entropy, &seal_entropy)?;
    let root = facts.root.as_ref().context("no root")?;
    // What is measured is what a worker takes.
    open_grant(&receiving, &inquiry.request.request, root, &answer)?;
    judge(&inquiry, &facts)?;

    let multiplications = floor::answer();
    let each = n.div_ceil(ROUNDS);
    // Taken in turns, so that a disturbance of the machine meets all.
    let (mut answers, mut judgements, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        answers.push(seconds(each, || {
            assert!(black_box(seat.answer(black_box(&inquiry), &facts, &prf_entropy, &seal_entropy)).is_ok());
        }));
        judgements.push(seconds(each, || {
            assert!(black_box(judge(black_box(&inquiry), &facts)).is_ok());
        }));
        floors.push(seconds(each, &multiplications));
    }
    let (answered, judged, floor) = (median(answers), median(judgements), median(floors));
    let n = each * ROUNDS;
    print("keys.epoch_per_s", 1.0 / answered, "1/s", Some(1.0 / floor), n);
    print("keys.epoch_floor_ratio", floor / answered, "", None, n);
    print("keys.epoch_evidence_per_s", 1.0 / judged, "1/s", None, n);
    ensure!(answered > judged, "an answer took less than the judgement of evidence in it; measure again");
    print("keys.epoch_without_evidence_ratio", floor / (answered - judged), "", None, n);
    let workers = f64::from(WORKERS);
    print("keys.network_epoch_core_s", workers * answered, "s", Some(workers * floor), n);
    let bytes = inquiry.encoded_size() + answer.encoded_size();
    print("keys.network_epoch_bytes", workers * bytes as f64, "B", None, 1);
    Ok(())
}

/// An inquiry that is to be answered with all four keys, and what the chain says of it.
fn ask(
    seat: &Seat,
    seats: &[WorkerId],
    gatekeeper: WorkerId,
    receiving: &DecapsulationKey,
) -> Result<(KeyInquiry, Facts)> {
    let machine = InsecureMachine::new("a worker", b"the binary", NOW)?;
    let identity = IdentityKey::from_seed(&Secret::new([1; 32]));
    let worker = WorkerId(identity.public());
    let registration = Registration {
        role: Role::Worker,
        identity: worker,
        encryption_key: encryption_key_hash(receiving.public_key()),
        operator: AccountId([0x0f; 32]),
        block: 90,
        block_hash: [0x90; 32],
    };
    let quote = machine.quote(registration.report_data(&GENESIS));
    let request = KeyRequest {
        genesis: GENESIS,
        worker,
        gatekeeper,
        cluster: ClusterId(3),
        era: seat.era(),
        epoch: EPOCH,
        nonce: [5; 32],
    };
    let inquiry = KeyInquiry {
        request: SignedKeyRequest {
            request,
            encryption_key: receiving.public_key().to_vec(),
            signature: identity.sign(&request.signing_payload()),
        },
        registration,
        evidence: Evidence::TdxDcap(quote.try_into().ok().context("the quote is too long")?).encode(),
        collateral: machine.collateral().encode(),
    };
    let root = seat.root_record(seats.to_vec());
    let cluster = ClusterRecord {
        era: root.era,
        era_before: root.era,
        epoch: EPOCH,
        opened_at: 80,
        opened_count: 4,
        final_count: 4,
        bound_epoch: EPOCH,
        epoch_length: 600,
        envelope_key: Vec::new(),
        replicas: vec![worker],
    };
    ensure!(
        KeyPurpose::ALL.into_iter().all(|purpose| cluster.may_have(EPOCH, purpose, HEAD)),
        "the rules give no key for every purpose; the floor counts all"
    );
    let facts = Facts {
        genesis: GENESIS,
        gatekeeper,
        head: (HEAD, [0x64; 32]),
        now: NOW,
        development: DevelopmentGenesis::for_genesis(GENESIS, &[GENESIS]),
        terms: PolicyTerms { accepted: AcceptedStatuses::UP_TO_DATE, minimum_tcb_evaluation_number: 0 },
        advisories: AdvisoryPolicy::default(),
        bans: Bans::default(),
        coming_era: Some(root.era),
        root: Some(root),
        cluster: Some(cluster),
        worker: Some(WorkerRecord {
            role: Role::Worker,
            operator: registration.operator,
            encryption_key: registration.encryption_key,
            measurement: machine.measurement(),
            hardware: [3; 32],
            assurance: Assurance::Simulated,
            registered_at: 91,
            valid_until: NOW + 1,
        }),
        measurement: Some(AllowedMeasurement { source: [0; 32], listed_at: 0, not_before: 0, sunset: None }),
        listing: Some(Listing { source: [0; 32], version: Version(0, 1, 0), role: None, not_before: 0, sunset: None }),
        evaluation_cap: None,
        seen_since: None,
    };
    Ok((inquiry, facts))
}

/// The calls by which an answer judges evidence, in `phala_gatekeeper`'s order: collateral is decoded and verified for every inquiry.
fn judge(inquiry: &KeyInquiry, facts: &Facts) -> Result<VerifiedReport> {
    let anchor = facts.development.map_or(TrustAnchor::Intel, TrustAnchor::InsecureDevelopment);
    let raw = Collateral::decode_all(&mut inquiry.collateral.as_slice())?;
    let collateral = verify_collateral(&raw, &anchor, facts.now)?;
    let evidence = Evidence::decode_all(&mut inquiry.evidence.as_slice())?;
    Ok(verify_evidence(&evidence, &collateral, &Policy { anchor, terms: facts.terms }, facts.now)?)
}
