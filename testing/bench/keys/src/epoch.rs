//! Workers' requests for an epoch's keys, answered by a seat: INSECURE, the workers' machines are simulated.
//!
//! Evidence and collateral have the genuine formats and take the genuine path; only their root is another.
//!
//! What an answer costs depends on what the gatekeeper remembers of the worker's machine, so that three are measured, by the code that
//! ships: of a worker that asked before, for another epoch (`epoch`); of one that never asked, whose model's collateral is known (`first`);
//! and by a gatekeeper that remembers nothing (`cold`). Each is the signature on the request, which a TEE verifies on arrival, and
//! `Seat::answer`. That the memory was used as the metric says is checked by what it counts, not assumed.

use crate::{
    ceremony::NOW,
    floor,
    measure::{median, print, seconds},
};
use anyhow::{ensure, Context, Result};
use codec::{DecodeAll, Encode};
use phala_attest::{verify_collateral, verify_evidence, Collateral, Evidence, Policy, TrustAnchor, VerifiedReport};
use phala_crypto::{
    signature::ed25519::IdentityKey,
    xwing::{DecapsulationKey, ENTROPY_BYTES},
    Secret,
};
use phala_gatekeeper::{open_grant, verify_request, Facts, Seat, Verifications, Verifier};
use phala_insecure_tee::InsecureMachine;
use phala_keys_sim::members::{facts, GENESIS};
use phala_protocol::{
    attestation::{encryption_key_hash, Registration, Role},
    chain_state::{ClusterRecord, RootRecord},
    ids::BlockNumber,
    keys::{answer_key_hash, KeyAnswer, KeyPurpose, KeyRequest, SignedKeyRequest},
    relay::KeyInquiry,
    AccountId, ClusterId, Epoch, WorkerId,
};
use std::hint::black_box;

/// Workers of the network whose cost is computed, in clusters of 100. Each asks each gatekeeper once an epoch.
const WORKERS: u32 = 100_000;
/// Workers that ask in turn while it is measured.
const ASKERS: u8 = 16;
/// The gatekeepers' finalised head.
pub const HEAD: BlockNumber = 100;
const EPOCH: Epoch = 5;
const ROUNDS: usize = 5;

/// A worker of the network.
pub struct Asker {
    identity: IdentityKey,
    answer_seed: [u8; 32],
    measurement: [u8; 32],
    /// Two registrations, of one block and of the next, each with evidence that binds it.
    shown: [(Registration, Vec<u8>); 2],
}

/// A request, with what the chain says of who asks.
pub struct Asked {
    /// The request, with the worker's evidence.
    pub inquiry: KeyInquiry,
    /// What the gatekeeper's chain says.
    pub facts: Facts,
}

/// What the chain says of roots and cluster when a request arrives.
pub struct Moment {
    /// The root that is asked.
    pub root: RootRecord,
    /// The era whose root gives the next epochs' keys.
    pub coming_era: u32,
    /// The cluster that is asked about.
    pub cluster: ClusterRecord,
}

impl Asker {
    /// Worker `number`, on `machine`.
    pub fn new(number: u8, machine: &InsecureMachine) -> Result<Self> {
        let identity = IdentityKey::from_seed(&Secret::new([number; 32]));
        let receiving = DecapsulationKey::from_seed(&Secret::new([!number; 32]));
        let shown = |block| -> Result<(Registration, Vec<u8>)> {
            let registration = Registration {
                role: Role::Worker,
                identity: WorkerId(identity.public()),
                encryption_key: encryption_key_hash(receiving.public_key()),
                operator: AccountId([0x0f; 32]),
                block,
                block_hash: [0x90; 32],
            };
            let quote = machine.quote(registration.report_data(&GENESIS));
            let evidence = Evidence::TdxDcap(quote.try_into().ok().context("the quote is too long")?).encode();
            Ok((registration, evidence))
        };
        let shown = [shown(90)?, shown(91)?];
        Ok(Self { identity, answer_seed: [number ^ 0x80; 32], measurement: machine.measurement(), shown })
    }

    /// Who it is.
    pub fn id(&self) -> WorkerId {
        WorkerId(self.identity.public())
    }

    /// What answers are sealed to. INSECURE: the same for all of its requests; made anew each time, as a worker makes one to ask, and once
    /// more to open.
    pub fn answers(&self) -> DecapsulationKey {
        DecapsulationKey::from_seed(&Secret::new(self.answer_seed))
    }

    /// A request to a gatekeeper for the keys of an epoch of an era.
    pub fn sign(&self, gatekeeper: WorkerId, era: u32, epoch: Epoch) -> SignedKeyRequest {
        let answers = self.answers();
        let request = KeyRequest {
            genesis: GENESIS,
            worker: self.id(),
            gatekeeper,
            cluster: ClusterId(3),
            era,
            epoch,
            nonce: [5; 32],
            answer_key: answer_key_hash(answers.public_key()),
            at: HEAD,
        };
        SignedKeyRequest {
            request,
            public_key: answers.public_key().to_vec(),
            signature: self.identity.sign(&request.signing_payload()),
        }
    }

    /// The request with the first of the two pieces of evidence, and what the chain says meanwhile.
    pub fn inquire(&self, signed: SignedKeyRequest, moment: Moment, collateral: &[u8]) -> Asked {
        let [shown, _] = &self.shown;
        self.inquire_by(signed, moment, shown, collateral)
    }

    fn inquire_by(
        &self,
        signed: SignedKeyRequest,
        moment: Moment,
        shown: &(Registration, Vec<u8>),
        collateral: &[u8],
    ) -> Asked {
        let (registration, evidence) = shown;
        let gatekeeper = signed.request.gatekeeper;
        let inquiry = KeyInquiry {
            request: signed,
            registration: *registration,
            evidence: evidence.clone(),
            collateral: collateral.to_vec(),
        };
        let facts = Facts {
            gatekeeper,
            head: (HEAD, [0x64; 32]),
            coming_era: Some(moment.coming_era),
            root: Some(moment.root),
            cluster: Some(moment.cluster),
            ..facts(registration, self.measurement)
        };
        Asked { inquiry, facts }
    }

    /// A request that is to be answered with all four keys of `epoch`, with one of the two pieces of evidence.
    fn ask(
        &self,
        seat: &Seat,
        seats: &[WorkerId],
        epoch: Epoch,
        shown: &(Registration, Vec<u8>),
        collateral: &[u8],
    ) -> Result<Asked> {
        let gatekeeper = *seats.first().context("no seats")?;
        let root = seat.root_record(seats.to_vec());
        let cluster = ClusterRecord {
            era: root.era,
            era_before: root.era,
            epoch,
            opened_at: 80,
            opened_count: 4,
            final_count: 4,
            bound_epoch: epoch,
            epoch_length: 600,
            envelope_key: Vec::new(),
            replicas: vec![self.id()],
        };
        ensure!(
            KeyPurpose::ALL.into_iter().all(|purpose| cluster.may_have(epoch, purpose, HEAD)),
            "the rules give no key for every purpose; the floor counts all"
        );
        let signed = self.sign(gatekeeper, seat.era(), epoch);
        let moment = Moment { coming_era: root.era, root, cluster };
        Ok(self.inquire_by(signed, moment, shown, collateral))
    }
}

/// One answer, from the request's arrival on.
pub fn answer(seat: &Seat, asked: &Asked, verifier: &mut Verifier) -> Result<KeyAnswer> {
    let Asked { inquiry, facts } = asked;
    let signed = verify_request(inquiry.clone(), &facts.genesis, &facts.gatekeeper)?;
    Ok(seat.answer(&signed, facts, verifier, &[11; 32], &[12; ENTROPY_BYTES])?)
}

/// The calls by which a gatekeeper that remembers nothing judges evidence, in `phala_gatekeeper`'s order.
fn judge(asked: &Asked) -> Result<VerifiedReport> {
    let Asked { inquiry, facts } = asked;
    let anchor = facts.development.map_or(TrustAnchor::Intel, TrustAnchor::InsecureDevelopment);
    let raw = Collateral::decode_all(&mut inquiry.collateral.as_slice())?;
    let collateral = verify_collateral(&raw, &anchor, facts.now)?;
    let evidence = Evidence::decode_all(&mut inquiry.evidence.as_slice())?;
    Ok(verify_evidence(&evidence, &collateral, &Policy { anchor, terms: facts.terms }, facts.now)?)
}

/// Measures `n` answers of each kind by `seat`, the first of `seats`.
pub fn measure(seat: &Seat, seats: &[WorkerId], n: usize) -> Result<()> {
    let machine = InsecureMachine::new("a worker", b"the binary", NOW)?;
    let collateral = machine.collateral().encode();
    let askers = (1..=ASKERS).map(|number| Asker::new(number, &machine)).collect::<Result<Vec<_>>>()?;
    let (mut asked, mut asked_again, mut renewed) = (Vec::new(), Vec::new(), Vec::new());
    for asker in &askers {
        let [shown, other] = &asker.shown;
        asked.push(asker.ask(seat, seats, EPOCH, shown, &collateral)?);
        asked_again.push(asker.ask(seat, seats, EPOCH + 1, shown, &collateral)?);
        renewed.push(asker.ask(seat, seats, EPOCH, other, &collateral)?);
    }
    let (asker, one) = askers.first().zip(asked.first()).context("nobody asks")?;
    let given = answer(seat, one, &mut Verifier::default())?;
    // What is measured is what a worker takes.
    let root = one.facts.root.as_ref().context("no root")?;
    open_grant(&asker.answers(), &one.inquiry.request.request, root, &given)?;
    judge(one)?;

    // One that has answered all for the epoch before.
    let mut knows_all = Verifier::default();
    for asked in &asked {
        answer(seat, asked, &mut knows_all)?;
    }
    let known = Verifications { collaterals: 1, evidence: ASKERS.into() };
    ensure!(knows_all.verifications() == known, "the workers' collateral is one, and their evidence is not");
    let mut next = asked_again.iter().cycle();
    // One that keeps no verdict of the evidence that comes next: of each worker it keeps one, and two take turns.
    let mut knows_collateral = Verifier::default();
    answer(seat, renewed.last().context("nobody asks")?, &mut knows_collateral)?;
    let mut strangers = asked.iter().chain(&renewed).cycle();

    let multiplications = floor::answer();
    let each = n.div_ceil(ROUNDS);
    // Taken in turns, so that a disturbance of the machine meets all.
    let (mut steady, mut first, mut cold) = (Vec::new(), Vec::new(), Vec::new());
    let (mut judgements, mut floors, mut met) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        steady.push(seconds(each, || {
            assert!(next.next().is_some_and(|asked| black_box(answer(seat, asked, &mut knows_all)).is_ok()));
        }));
        first.push(seconds(each, || {
            met += 1;
            assert!(strangers
                .next()
                .is_some_and(|asked| black_box(answer(seat, asked, &mut knows_collateral)).is_ok()));
        }));
        cold.push(seconds(each, || {
            assert!(black_box(answer(seat, black_box(one), &mut Verifier::default())).is_ok());
        }));
        judgements.push(seconds(each, || {
            assert!(black_box(judge(black_box(one))).is_ok());
        }));
        floors.push(seconds(each, &multiplications));
    }
    ensure!(knows_all.verifications() == known, "a worker that asked before was verified again");
    let expected = Verifications { collaterals: 1, evidence: 1 + met };
    ensure!(
        knows_collateral.verifications() == expected,
        "not every stranger was verified, by collateral that was known"
    );

    let (steady, first, cold) = (median(steady), median(first), median(cold));
    let (judged, floor) = (median(judgements), median(floors));
    let n = each * ROUNDS;
    for (name, taken) in [("epoch", steady), ("first_answer", first), ("cold_answer", cold)] {
        print(&format!("keys.{name}_per_s"), 1.0 / taken, "1/s", Some(1.0 / floor), n);
    }
    print("keys.epoch_floor_ratio", floor / steady, "", None, n);
    print("keys.first_answer_ratio", floor / first, "", None, n);
    print("keys.cold_answer_ratio", floor / cold, "", None, n);
    print("keys.cold_evidence_per_s", 1.0 / judged, "1/s", None, n);
    let workers = f64::from(WORKERS);
    print("keys.network_epoch_core_s", workers * steady, "s", Some(workers * floor), n);
    print("keys.network_first_core_s", workers * first, "s", Some(workers * floor), n);
    let bytes = one.inquiry.encoded_size() + given.encoded_size();
    print("keys.network_epoch_bytes", workers * bytes as f64, "B", None, 1);
    Ok(())
}
