//! Contracts: clusters of 15 replicas, each a registered worker of its own, under the largest roots, with all that may wait there.

use super::inbox;
use crate::{
    case::{number, Case, Scene, Work},
    world::{self, BLOCK, ERA, GENESIS},
};
use anyhow::{anyhow, Result};
use frame_support::{traits::Hooks, weights::Weight};
use phala_pallet_attestation::{Listings, Workers};
use phala_pallet_beacon::{Latest, Values};
use phala_pallet_contracts::{
    Announcement, Announcements, Bindings, Call, Clusters, ClustersOfEra, CodeOwner, CodeOwners, Commitments, Decided,
    FinalOrder, FinalRange, FinalResults, LapsedReplica, LapsedReplicas, NextCluster, Opening, RekeyVotes, Roll, Rolls,
    Search, SearchPlace, Standing, Standings, Votes, WeightInfo,
};
use phala_pallet_heartbeats::Standings as Heartbeats;
use phala_pallet_inbox::{Boundaries, ChainItems, ChainOrder, ChainQueue, ChainQueues, Heads, Queues};
use phala_protocol::{
    attestation::{Listing, Role},
    beacon::{BeaconValue, MadeBeacon},
    chain_state::{BoundaryRecord, ClusterRecord, FinalRecord},
    envelope::{announcement_payload, SizeClass, PUBLIC_KEY_BYTES},
    gas::GasClass,
    heartbeat::HeartbeatStanding,
    inbox::Head,
    limits::{FINAL_RESULTS_KEPT, MAX_REPLICAS},
    result::{Boundary, ClusterResult, Rekey, SignedRekey, SignedResult},
    ClusterId, CodeHash, Epoch, WorkerId,
};
use phala_runtime::{Contracts, Runtime, RuntimeCall};

const CLUSTER: ClusterId = ClusterId(0);
/// Blocks with items that have no final result.
const PENDING: [u32; 3] = [900, 901, 902];
/// Clusters that a block looks at for replicas that have lapsed.
const WATCHED_PER_BLOCK: u32 = 4;
/// Boundaries whose final results are kept: more than those that nobody needs.
const FINAL: u64 = FINAL_RESULTS_KEPT as u64 + 20;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("contracts", "assign", |at| <() as WeightInfo>::assign(number(at, 0)))
            .at("set_epoch_length", &[], set_epoch_length)
            .at("create_cluster of 15", &[15], create_cluster)
            .at("create_cluster of 1", &[1], create_cluster)
            .at("assign_replicas, 15", &[15], assign_replicas),
        Case::new("contracts", "announce_key", |_| <() as WeightInfo>::announce_key()).at(
            "the last of 15",
            &[],
            announce_key,
        ),
        Case::new("contracts", "open_epochs", |at| hooks(number(at, 0), 0, number(at, 0)))
            .at("one", &[1], open_epochs)
            .at("16", &[16], open_epochs),
        Case::new("contracts", "upload_code", |at| <() as WeightInfo>::upload_code(number(at, 0)))
            .at("8 bytes", &[8], upload_code)
            .at("512 KiB", &[524_288], upload_code),
        Case::new("contracts", "instantiate", |at| <() as WeightInfo>::instantiate(number(at, 0)))
            .at("a small envelope", &[0], instantiate)
            .at("a large envelope", &[3], instantiate),
        Case::new("contracts", "submit_results", |at| <() as WeightInfo>::submit_results(number(at, 0), number(at, 1)))
            .at("one that decides nothing", &[1, 0], submit_results)
            .at("16 that decide nothing", &[16, 0], submit_results)
            .at("one that makes two final", &[1, 2], submit_results)
            .at("16 that make 32 final", &[16, 32], submit_results),
        Case::new("contracts", "submit_rekey", |at| <() as WeightInfo>::submit_rekey(number(at, 0)))
            .at("one that makes nothing final, with seven that are shut out", &[0], submit_rekey)
            .at("one that makes two final", &[2], submit_rekey)
            .at("one that makes two final, the second against seven", &[2, 1], submit_rekey),
        Case::new("contracts", "drop_replica", |_| <() as WeightInfo>::drop_replica()).at(
            "one of 15",
            &[],
            drop_replica,
        ),
        Case::new("contracts", "draw_cluster", |at| {
            <() as WeightInfo>::draw_cluster(number(at, 0), number(at, 1), number(at, 2))
        })
        .at("3 of 50", &[3, 50, 1], draw_cluster)
        .at("15 of 50", &[15, 50, 1], draw_cluster)
        .at("3 of 800", &[3, 800, 1], draw_cluster)
        .at("beside 200 clusters", &[3, 50, 200], draw_cluster),
        Case::new("contracts", "close_cluster", |_| <() as WeightInfo>::close_cluster()).at(
            "of 15 replicas",
            &[],
            close_cluster,
        ),
        Case::new("contracts", "look_at_clusters", |at| hooks(0, number(at, 0), number(at, 0)))
            .at("one", &[1], look_at_clusters)
            .at("16", &[16], look_at_clusters),
        Case::new("contracts", "watch_replicas", |at| hooks(0, 0, number(at, 0))).at("one", &[1], watch_replicas).at(
            "4",
            &[4],
            watch_replicas,
        ),
    ]
}

/// What the pallet's hook charges where there are `clusters` clusters.
fn hooks(epochs: u32, looked_at: u32, clusters: u32) -> Weight {
    <() as WeightInfo>::open_epochs(epochs)
        .saturating_add(<() as WeightInfo>::look_at_clusters(looked_at))
        .saturating_add(<() as WeightInfo>::watch_replicas(clusters.min(WATCHED_PER_BLOCK)))
}

fn transaction(at: Vec<u32>, call: Call<Runtime>) -> Scene {
    Scene { at, work: Work::Call(RuntimeCall::Contracts(call)) }
}

fn root(at: Vec<u32>, call: Call<Runtime>) -> Scene {
    Scene { at, work: Work::Root(RuntimeCall::Contracts(call)) }
}

/// The number of a cluster's replica.
fn replica(cluster: u32, place: u32) -> u32 {
    cluster * MAX_REPLICAS + place
}

/// Registers the replicas of a cluster; those from `shut_out_from` on are shut out, after all that is read of the others was read of them.
fn replicas(cluster: u32, shut_out_from: u32) -> Result<Vec<WorkerId>> {
    let register = |place| -> Result<WorkerId> {
        let number = replica(cluster, place);
        let worker = world::register(number, Role::Worker)?;
        if place >= shut_out_from {
            let listing = Listing { role: Some(Role::Gatekeeper), ..world::listing() };
            Listings::<Runtime>::insert(world::measurement_of(number), listing);
        }
        Ok(worker)
    };
    (0..MAX_REPLICAS).map(register).collect()
}

/// A cluster in its first epoch, whose next one is due, with what may wait there. Its replicas from `shut_out_from` on are shut out.
fn cluster(number: u32, shut_out_from: u32) -> Result<ClusterRecord> {
    let (cluster, replicas) = (ClusterId(number), replicas(number, shut_out_from)?);
    let record = world::cluster(replicas);
    let announced = record.replicas.iter().take(14).map(|worker| Announcement {
        worker: *worker,
        era: ERA + 1,
        public_key: vec![5; PUBLIC_KEY_BYTES],
    });
    Announcements::<Runtime>::insert(cluster, announced.collect::<Vec<_>>());
    let rekey = Rekey { cluster, epoch: 1, boundary: None, old: [1; 32], new: [2; 32] };
    let bound = record.replicas.iter().take(14).map(|worker| (*worker, rekey));
    RekeyVotes::<Runtime>::insert(cluster, bound.collect::<Vec<_>>());
    let stands = |worker: &WorkerId| Standing { worker: *worker, confirmed: 5, dissent: None, lost: false };
    Standings::<Runtime>::insert(cluster, record.replicas.iter().map(stands).collect::<Vec<_>>());
    Clusters::<Runtime>::insert(cluster, &record);
    ClustersOfEra::<Runtime>::mutate(ERA, |clusters| *clusters += 1);
    NextCluster::<Runtime>::mutate(|next| *next = (*next).max(number + 1));
    Heads::<Runtime>::insert(cluster, Head { count: 12, link: [12; 32] });
    Ok(record)
}

fn set_epoch_length(_: &[u32]) -> Result<Scene> {
    world::roots()?;
    cluster(0, 15)?;
    Rolls::<Runtime>::insert(CLUSTER, Roll { length: 100, left: 2 });
    Ok(root(vec![0], Call::set_epoch_length { cluster: CLUSTER, blocks: 100 }))
}

/// `[replicas]`.
fn create_cluster(size: &[u32]) -> Result<Scene> {
    world::strict()?;
    world::roots()?;
    let replicas: Vec<_> = replicas(0, 15)?.into_iter().take(number(size, 0) as usize).collect();
    let replicas = replicas.try_into().map_err(|_| anyhow!("too many replicas"))?;
    Ok(root(size.to_vec(), Call::create_cluster { replicas }))
}

fn assign_replicas(size: &[u32]) -> Result<Scene> {
    world::strict()?;
    world::roots()?;
    cluster(0, 15)?;
    let replicas = replicas(1, 15)?.try_into().map_err(|_| anyhow!("too many replicas"))?;
    Ok(root(size.to_vec(), Call::assign_replicas { cluster: CLUSTER, replicas }))
}

fn announce_key(_: &[u32]) -> Result<Scene> {
    world::strict()?;
    let era = world::roots()?;
    cluster(0, 15)?;
    let key = vec![5; PUBLIC_KEY_BYTES];
    let signature = world::sign(replica(0, 14), &announcement_payload(&GENESIS, CLUSTER, era, 2, &key));
    let public_key = key.try_into().map_err(|_| anyhow!("the key is too long"))?;
    let worker = world::id(replica(0, 14));
    Ok(transaction(vec![], Call::announce_key { cluster: CLUSTER, era, epoch: 2, public_key, worker, signature }))
}

/// `[epochs]`.
fn open_epochs(size: &[u32]) -> Result<Scene> {
    let era = world::roots()?;
    for number in 0..number(size, 0) {
        cluster(number, 15)?;
        let cluster = ClusterId(number);
        Rolls::<Runtime>::insert(cluster, Roll { length: 100, left: 2 });
        Opening::<Runtime>::append(Decided { cluster, era, epoch: 2, public_key: vec![5; PUBLIC_KEY_BYTES] });
    }
    let hook = <Contracts as Hooks<u32>>::on_initialize;
    let done = || Clusters::<Runtime>::get(CLUSTER).is_some_and(|record| record.epoch == 2);
    Ok(Scene { at: size.to_vec(), work: Work::Block { hook, done } })
}

/// `[bytes]`.
fn upload_code(size: &[u32]) -> Result<Scene> {
    let mut code = b"\0asm\x01\0\0\0".to_vec();
    code.resize(number(size, 0) as usize, 1);
    let code = code.try_into().map_err(|_| anyhow!("the code is too long"))?;
    Ok(transaction(size.to_vec(), Call::upload_code { code }))
}

/// `[size class]`.
fn instantiate(size: &[u32]) -> Result<Scene> {
    inbox::dear_queue(CLUSTER);
    chain_messages(CLUSTER, 7);
    let (code, owner) = (CodeHash([3; 32]), world::account(1));
    CodeOwners::<Runtime>::insert(code, CodeOwner { owner, deposit: 1, bytes: 1 });
    let class = SizeClass::ALL.into_iter().nth(number(size, 0) as usize).unwrap_or(SizeClass::K16);
    let init = world::envelope(CLUSTER, class);
    let at = vec![u32::try_from(init.len())?];
    let init = init.try_into().map_err(|_| anyhow!("the envelope is too long"))?;
    let (salt, gas_class, max_fee) = ([1; 32], GasClass::Small, u128::MAX);
    Ok(transaction(at, Call::instantiate { cluster: CLUSTER, code, salt, gas_class, init, max_fee }))
}

/// Messages of the chain that are covered by final results, and not forgotten yet.
fn chain_messages(cluster: ClusterId, covered: u64) {
    for place in 0..4u64 {
        ChainItems::<Runtime>::insert(cluster, place, vec![1u8; 512]);
        ChainOrder::<Runtime>::insert(cluster, place, place);
    }
    ChainQueues::<Runtime>::insert(cluster, ChainQueue { first: 0, next: 4, covered });
}

/// What the replicas say of a pending boundary, in an epoch. The first continues `[1; 32]`.
fn result(cluster: ClusterId, place: u8, epoch: Epoch) -> ClusterResult {
    let block = PENDING.get(usize::from(place)).copied().unwrap_or(0);
    let count = 10 + u64::from(place);
    ClusterResult {
        cluster,
        epoch,
        boundary: Boundary { block, count, link: [place; 32] },
        prev: [place + 1; 32],
        next: [place + 2; 32],
        replies_root: [1; 32],
        egress_root: [2; 32],
    }
}

/// The boundaries of a cluster that wait for results, its commitment, and final results of which the two oldest may go.
fn history(cluster: ClusterId, epoch: Epoch) {
    for (place, block) in (0u8..).zip(PENDING) {
        let head = Head { count: 10 + u64::from(place), link: [place; 32] };
        let next = PENDING.get(usize::from(place) + 1).copied();
        Boundaries::<Runtime>::insert((cluster, block), BoundaryRecord { head, gas: 1, next });
    }
    Queues::<Runtime>::mutate(cluster, |queue| queue.waiting = Some((PENDING[0], PENDING[2])));
    Commitments::<Runtime>::insert(cluster, [1u8; 32]);
    chain_messages(cluster, 0);
    for place in 0..FINAL {
        FinalOrder::<Runtime>::insert(cluster, place, (place as u32 + 1, 1u64));
    }
    FinalRange::<Runtime>::insert(cluster, (0u64, FINAL));
    for block in 1..=4u32 {
        let record =
            FinalRecord { result: result(cluster, 0, epoch), votes: Vec::new(), replicas: 15, finalised_at: 1 };
        FinalResults::<Runtime>::insert((cluster, block), record);
    }
}

/// Votes of the replicas at these places.
fn vote(record: &ClusterRecord, places: std::ops::Range<usize>, result: ClusterResult) -> Vec<SignedResult> {
    let voters = record.replicas.get(places).unwrap_or_default();
    voters.iter().map(|worker| SignedResult { result, worker: *worker, signature: [1; 64] }).collect()
}

/// `[results, boundaries that become final]`: each of a cluster of its own, by its first replica.
fn submit_results(size: &[u32]) -> Result<Scene> {
    world::strict()?;
    let mut results = Vec::new();
    for number in 0..number(size, 0) {
        // Where nothing is decided, all agree, and too few of them count.
        let decides = size.get(1).is_some_and(|finalised| *finalised > 0);
        let record = cluster(number, if decides { 15 } else { 7 })?;
        let cluster = ClusterId(number);
        history(cluster, 1);
        let [first, second] = [0, 1].map(|place| result(cluster, place, 1));
        let mut votes = vote(&record, 1..15, first);
        if decides {
            // Half of them for another result.
            votes.truncate(7);
            votes.extend(vote(&record, 8..15, ClusterResult { next: [99; 32], ..first }));
            Votes::<Runtime>::insert((cluster, PENDING[1]), vote(&record, 0..15, second));
        }
        Votes::<Runtime>::insert((cluster, PENDING[0]), votes);
        let signature = world::sign(replica(number, 0), &first.signing_payload(&GENESIS));
        results.push(SignedResult { result: first, worker: world::id(replica(number, 0)), signature });
    }
    let results = results.try_into().map_err(|_| anyhow!("too many results"))?;
    Ok(transaction(size.to_vec(), Call::submit_results { results }))
}

/// `[boundaries that become final, whether seven signed another result of the second]`. A former binding is replaced.
fn submit_rekey(size: &[u32]) -> Result<Scene> {
    world::strict()?;
    let (finalised, contested) = (number(size, 0), number(size, 1) > 0);
    // Where nothing becomes final, all have signed, the binding counts by just enough of them, and the result by one too few.
    let record = cluster(0, if finalised > 0 { 15 } else { 8 })?;
    history(CLUSTER, 2);
    let record = ClusterRecord { epoch: 2, bound_epoch: 1, opened_count: 9, final_count: 9, ..record };
    Clusters::<Runtime>::insert(CLUSTER, &record);
    let rekey = Rekey { cluster: CLUSTER, epoch: 2, boundary: None, old: [1; 32], new: [1; 32] };
    let bound = record.replicas.iter().skip(1).map(|worker| (*worker, rekey));
    RekeyVotes::<Runtime>::insert(CLUSTER, bound.collect::<Vec<_>>());
    Bindings::<Runtime>::insert(CLUSTER, Rekey { epoch: 1, new: [1; 32], old: [3; 32], ..rekey });
    let [first, second] = [0, 1].map(|place| result(CLUSTER, place, 2));
    if finalised > 0 {
        let mut votes = vote(&record, 0..15, second);
        if contested {
            votes.truncate(8);
            votes.extend(vote(&record, 8..15, ClusterResult { next: [99; 32], ..second }));
        }
        Votes::<Runtime>::insert((CLUSTER, PENDING[0]), vote(&record, 0..15, first));
        Votes::<Runtime>::insert((CLUSTER, PENDING[1]), votes);
    } else {
        Votes::<Runtime>::insert((CLUSTER, PENDING[0]), vote(&record, 1..15, first));
    }
    let signature = world::sign(replica(0, 0), &rekey.signing_payload(&GENESIS));
    let rekey = SignedRekey { rekey, worker: world::id(replica(0, 0)), signature };
    Ok(transaction(vec![finalised], Call::submit_rekey { rekey }))
}

fn drop_replica(_: &[u32]) -> Result<Scene> {
    world::strict()?;
    cluster(0, 14)?;
    Ok(transaction(vec![], Call::drop_replica { cluster: CLUSTER, worker: world::id(replica(0, 14)) }))
}

/// `[replicas, registrations, clusters]`: each candidate of an operator of its own, with heartbeats of its own, and no cluster's replicas
/// registered.
fn draw_cluster(size: &[u32]) -> Result<Scene> {
    world::strict()?;
    world::roots()?;
    let (number, registrations, clusters) = (number(size, 0), number(size, 1), number(size, 2));
    for candidate in 0..registrations {
        let worker = world::register(candidate, Role::Worker)?;
        let standing = HeartbeatStanding { answered: Some((ERA, 4)), misses: 1, unresponsive: false };
        Heartbeats::<Runtime>::insert(worker, standing);
    }
    for cluster in 0..clusters {
        let replicas = (0..MAX_REPLICAS).map(|place| WorkerId(world::bytes(0x30, replica(cluster, place)))).collect();
        Clusters::<Runtime>::insert(ClusterId(cluster), world::cluster(replicas));
    }
    NextCluster::<Runtime>::put(clusters);
    let proof = BeaconValue { era: ERA, period: 5, partials: Vec::new() };
    Values::<Runtime>::insert((ERA, 5u32), MadeBeacon { opened: BLOCK - 5, made: BLOCK - 4, value: [6; 32], proof });
    Latest::<Runtime>::put((ERA, 5u32));
    Ok(root(size.to_vec(), Call::draw_cluster { number, registrations, clusters }))
}

fn close_cluster(_: &[u32]) -> Result<Scene> {
    world::strict()?;
    cluster(0, 15)?;
    Rolls::<Runtime>::insert(CLUSTER, Roll { length: 100, left: 2 });
    Ok(root(vec![], Call::close_cluster { cluster: CLUSTER }))
}

/// `[clusters]`: the last replica of each is shut out, and they go over to another root.
fn look_at_clusters(size: &[u32]) -> Result<Scene> {
    world::strict()?;
    world::roots()?;
    for number in 0..number(size, 0) {
        cluster(number, 14)?;
    }
    Search::<Runtime>::put(SearchPlace { next: 0, left: number(size, 0) });
    let hook = <Contracts as Hooks<u32>>::on_initialize;
    let done = || Rolls::<Runtime>::contains_key(CLUSTER) && Search::<Runtime>::get().left == 0;
    Ok(Scene { at: size.to_vec(), work: Work::Block { hook, done } })
}

/// `[clusters]`: nearly half of the replicas of each have lapsed, and the first of them is dropped.
fn watch_replicas(size: &[u32]) -> Result<Scene> {
    world::roots()?;
    for number in 0..number(size, 0) {
        let record = cluster(number, 15)?;
        let lapsed: Vec<WorkerId> = record.replicas.iter().skip(8).copied().collect();
        for worker in &lapsed {
            Workers::<Runtime>::mutate(worker, |known| {
                if let Some(known) = known {
                    known.valid_until = 0;
                }
            });
        }
        let known = lapsed.into_iter().map(|worker| LapsedReplica { worker, since: Some(1) });
        LapsedReplicas::<Runtime>::insert(ClusterId(number), known.collect::<Vec<_>>());
    }
    let hook = <Contracts as Hooks<u32>>::on_initialize;
    let done = || Clusters::<Runtime>::get(CLUSTER).is_some_and(|record| record.replicas.len() == 14);
    Ok(Scene { at: size.to_vec(), work: Work::Block { hook, done } })
}
