//! A cluster that goes from a root to the next one, of as many seats: INSECURE, all machines are simulated.
//!
//! By the code that ships, and by the chain's rule of which root gives which epoch: the next set makes its root in a ceremony; the cluster's
//! open epoch is of the former root, and the two that open after it are of the next, with which the cluster has gone over. Every replica asks
//! every seat of the root of each of the three epochs, as one that began anew in the first of them does, and opens answers until it has all
//! keys. The former root's seats answered the replicas before; the next one's have seen no evidence of theirs, as if all of them were other
//! machines. The former root is dealt, by code that knows all of it: how a root was made changes nothing of what its seats answer, and so
//! the next set's ceremony, by far the most of it, is run once. Not in it: what `ceremony.rs` and `epoch.rs` leave out, and re-sealing a
//! store, which grows with what the cluster keeps.

use crate::{
    ceremony::{self, Network, NOW},
    epoch::{answer, Asked, Asker, Moment, HEAD},
    floor,
    measure::{median, print, seconds, timed},
};
use anyhow::{ensure, Context, Result};
use codec::Encode;
use curve25519_dalek::scalar::Scalar;
use phala_crypto::{
    kdf,
    prf::KeyShare,
    xwing::{DecapsulationKey, ENTROPY_BYTES},
    Secret,
};
use phala_gatekeeper::{open_grant, verify_request, Grants, Refusal, Seat, Verifier};
use phala_insecure_tee::InsecureMachine;
use phala_protocol::{
    ceremony::threshold_of,
    chain_state::{next_epoch_era, ClusterRecord, RootRecord},
    domain,
    keys::KeyPurpose,
    Epoch, WorkerId,
};

/// Replicas of the cluster.
const REPLICAS: u8 = 3;
/// The cluster's open epoch when the next root is recorded.
const OPEN: Epoch = 7;
/// Epochs whose keys each replica fetches: the open one, and two of the next root.
const EPOCHS: usize = 3;

/// What a hand-over costs.
struct Cost {
    /// Processor seconds of all seats in the next root's ceremony.
    ceremony: f64,
    /// Of the seats of both roots, for all answers.
    answers: f64,
    /// Of one replica, on the average.
    worker: f64,
    /// Bytes of the ceremony's parcels, of requests and of answers.
    bytes: usize,
}

/// A root with all its seats.
struct Root<'a> {
    record: RootRecord,
    seats: &'a [Seat],
    /// What each seat's machine keeps of the evidence that it verified.
    verifiers: Vec<Verifier>,
}

impl<'a> Root<'a> {
    fn new(ids: &[WorkerId], seats: &'a [Seat]) -> Result<Self> {
        let record = seats.first().context("a root without seats")?.root_record(ids.to_vec());
        ensure!(record.seats.len() == seats.len(), "every seat answers");
        Ok(Self { record, seats, verifiers: seats.iter().map(|_| Verifier::default()).collect() })
    }
}

/// Hands over to each of the roots that the network's ceremonies made, from one of the era before.
pub fn measure(network: &Network, made: &[(ceremony::Cost, Vec<Seat>)]) -> Result<()> {
    let costs = made.iter().map(|(cost, next)| hand_over(network, cost, next)).collect::<Result<Vec<_>>>()?;
    let runs = costs.len();
    let seats = network.ids().len();
    let answers = f64::from(REPLICAS) * (EPOCHS * seats) as f64;
    let floor = seats as f64 * floor::seat(seats) + answers * seconds(20, floor::answer());
    let of = |what: fn(&Cost) -> f64| median(costs.iter().map(what).collect());
    let name = |metric: &str| format!("keys.{metric}.n{seats}");
    print(&name("handover_s"), of(|cost| cost.ceremony + cost.answers), "s", Some(floor), runs);
    print(&name("handover_answers_s"), of(|cost| cost.answers), "s", None, runs);
    print(&name("handover_worker_s"), of(|cost| cost.worker), "s", None, runs);
    print(&name("handover_bytes"), of(|cost| cost.bytes as f64), "B", None, runs);
    Ok(())
}

/// INSECURE: a root that a dealer knows, whose seats answer as those do that a ceremony made.
fn insecure_deal(era: u32, seats: u16) -> Result<Vec<Seat>> {
    let threshold = u16::try_from(threshold_of(seats.into()))?;
    let polynomial: Vec<Scalar> = (1..=threshold).map(|number| floor::scalar(number.into())).collect();
    let mut shares = Vec::new();
    for index in 1..=seats {
        let at = Scalar::from(index);
        let value = polynomial.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * at + coefficient);
        shares.push(KeyShare::from_bytes(index, &Secret::new(value.to_bytes()))?);
    }
    let public: Vec<[u8; 32]> = shares.iter().map(|share| share.public_share().to_bytes()).collect();
    let mut dealt = Vec::new();
    for share in &shares {
        // A seat as it is sealed, without a share of a beacon key.
        let (form, secret) = (*b"seat/v2\0", *share.to_bytes().expose());
        let stored = (form, era, threshold, share.index(), secret, public.clone(), None::<u8>).encode();
        dealt.push(Seat::from_secret_bytes(&Secret::new(stored))?);
    }
    Ok(dealt)
}

fn hand_over(network: &Network, made: &ceremony::Cost, next: &[Seat]) -> Result<Cost> {
    let ids = network.ids();
    let former = next.first().and_then(|seat| seat.era().checked_sub(1)).context("a root without one before")?;
    let former = insecure_deal(former, u16::try_from(ids.len())?)?;
    let (mut former, mut next) = (Root::new(&ids, &former)?, Root::new(&ids, next)?);
    let machine = InsecureMachine::new("a worker", b"the binary", NOW)?;
    let collateral = machine.collateral().encode();
    let replicas = (1..=REPLICAS).map(|number| Asker::new(number, &machine)).collect::<Result<Vec<_>>>()?;
    let names: Vec<WorkerId> = replicas.iter().map(Asker::id).collect();
    let coming = next_epoch_era(Some(&former.record), Some(&next.record)).context("no era comes")?;
    let old = former.record.era;
    let cluster = |era, epoch| ClusterRecord {
        era,
        era_before: old,
        epoch,
        opened_at: HEAD - 20,
        opened_count: 4,
        final_count: 4,
        bound_epoch: epoch,
        // The next epoch is due: nothing waits while clusters go over.
        epoch_length: 20,
        envelope_key: Vec::new(),
        replicas: names.clone(),
    };
    let earlier = cluster(old, OPEN - 1);
    let before = cluster(old, OPEN);
    let between = cluster(coming, OPEN + 1);

    let mut unmeasured = Cost { ceremony: 0.0, answers: 0.0, worker: 0.0, bytes: 0 };
    for replica in &replicas {
        fetch(replica, &mut former, (old, &earlier, OPEN - 1), &collateral, &mut unmeasured)?;
    }
    let mut cost = Cost { ceremony: made.seconds, answers: 0.0, worker: 0.0, bytes: made.parcel_bytes };
    // An epoch, and the cluster's record in which it is asked for: each is the open one or the next.
    let (mut by_former, mut by_next) = (Vec::new(), Vec::new());
    for replica in &replicas {
        let mut fetch = |root: &mut Root<'_>, cluster: &ClusterRecord, epoch| {
            fetch(replica, root, (coming, cluster, epoch), &collateral, &mut cost)
        };
        by_former.push(fetch(&mut former, &before, OPEN)?);
        by_next.push([fetch(&mut next, &before, OPEN + 1)?, fetch(&mut next, &between, OPEN + 2)?]);
    }
    cost.worker /= f64::from(REPLICAS);
    ensure!(by_former.windows(2).all(|pair| pair[0] == pair[1]), "replicas have other keys of the open epoch");
    ensure!(by_next.windows(2).all(|pair| pair[0] == pair[1]), "replicas have other keys of the next root's epochs");

    // It is a hand-over: the former root gives nothing of what the next one gave.
    let (replica, seat) = replicas.first().zip(former.seats.first()).context("nobody is there")?;
    let gatekeeper = *ids.first().context("nobody is there")?;
    let signed = replica.sign(gatekeeper, old, OPEN + 1);
    let moment = Moment { root: former.record.clone(), coming_era: coming, cluster: before };
    let Asked { inquiry, facts } = replica.inquire(signed, moment, &collateral);
    let signed = verify_request(inquiry, &facts.genesis, &facts.gatekeeper)?;
    let refused = seat.answer(&signed, &facts, &mut Verifier::default(), &[11; 32], &[12; ENTROPY_BYTES]).err();
    ensure!(refused == Some(Refusal::WrongEra), "the former root answers for the next one's epochs: {refused:?}");
    Ok(cost)
}

/// One replica asks every seat of a root for the keys of an epoch, opens answers until it has all of them, and makes the epoch's public key
/// of them, as a worker does.
fn fetch(
    replica: &Asker,
    root: &mut Root<'_>,
    (coming_era, cluster, epoch): (u32, &ClusterRecord, Epoch),
    collateral: &[u8],
    cost: &mut Cost,
) -> Result<Vec<u8>> {
    let record = root.record.clone();
    let mut answered = Vec::new();
    for ((seat, gatekeeper), verifier) in root.seats.iter().zip(&record.seats).zip(&mut root.verifiers) {
        let signed = timed(&mut cost.worker, || replica.sign(*gatekeeper, record.era, epoch));
        let request = signed.request;
        let moment = Moment { root: record.clone(), coming_era, cluster: cluster.clone() };
        let asked = replica.inquire(signed, moment, collateral);
        let given = timed(&mut cost.answers, || answer(seat, &asked, verifier))?;
        cost.bytes += asked.inquiry.encoded_size() + given.encoded_size();
        answered.push((request, given));
    }
    timed(&mut cost.worker, || -> Result<Vec<u8>> {
        let mut grants = Grants::default();
        for (request, given) in answered.iter().take(record.threshold.into()) {
            grants.add(open_grant(&replica.answers(), request, &record, given)?);
        }
        let mut envelope = None;
        for purpose in KeyPurpose::ALL {
            let key = grants.key(record.threshold, purpose).context("too few answers for a key")?;
            if purpose == KeyPurpose::Envelope {
                envelope = Some(DecapsulationKey::from_seed(&kdf::derive(&key, domain::EPOCH_ENVELOPE, &[])));
            }
        }
        Ok(envelope.context("no key for envelopes")?.public_key().to_vec())
    })
}
