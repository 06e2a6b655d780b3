//! Snapshots of clusters' states: made by TEEs that are served here, kept, exchanged with other relayers, and brought to a TEE that lacks one.
//!
//! A TEE that is new in its cluster has the epoch's keys and not the state. Whoever had it may be gone for good: what relayers keep is then
//! all that there is. Guarantees: whatever is fetched is bounded in bytes, parts and time, and beside deliveries; what a TEE refuses, or
//! does not get on with, is not brought again for a while that doubles from [`SHORTEST_REST`] to [`LONGEST_REST`], and others are asked at
//! once, for the same one too: a snapshot's name is that of its header, beneath which a peer can put anything. The peer that gave it, or is
//! slow or malformed, is left alone for [`LIAR_REST`] at least; one that fails otherwise for a while that doubles to [`LONGEST_PEER_REST`].
//! What is in doubt is brought again only where there is nothing better, and until a TEE has got further in it than any before. A relayer
//! without a folder keeps and serves none.
//!
//! TEEs that are served here, and relayers, control what they give. Nobody here can open a part, or tell a good one from a bad one: TEEs
//! do. What hosts learn is how large a state is, in parts.

mod fetching;
mod folder;
pub(crate) mod serving;

pub(crate) use fetching::keep;
pub(crate) use folder::Kept;

use crate::peers::{peer_url, IDLE};
use codec::Encode;
use folder::{Folder, Origin};
use phala_client::{ClientError, ErrorCode};
use phala_protocol::{
    hash::blake2_256,
    ids::Epoch,
    limits::FINAL_RESULTS_KEPT,
    relay::{Delivery, MAX_DELIVERY_BYTES, MAX_MAIL_BYTES},
    snapshot::{SnapshotPart, SnapshotStand, MOST_SNAPSHOT_PARTS, SNAPSHOT_PART_BYTES, SNAPSHOT_TAG_BYTES},
    ClusterId, Hash,
};
use reqwest::Url;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Bytes of a sealed part.
pub(crate) const PART_BYTES: u64 = (SNAPSHOT_PART_BYTES + SNAPSHOT_TAG_BYTES) as u64;
/// Bytes of a part on its way: with its header, its place and its length.
pub(crate) const MAX_PART_MESSAGE: usize = SNAPSHOT_PART_BYTES + SNAPSHOT_TAG_BYTES + 256;
/// Bytes of all snapshots in the folder, with what is being fetched, and half of it at most for what peers give. Of a state of more than
/// half of it, no peer's is fetched, and a second one of an epoch has no room beside the first, until it is of [`FINAL_RESULTS_KEPT`]
/// blocks later and the first proves nothing any more; that of the next epoch has.
const MOST_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// Bytes of a delivery that nothing of a snapshot takes: for letters, and the lengths of lists.
const LEFT_BYTES: usize = MAX_MAIL_BYTES + 64 * 1024;
/// How old the newest snapshot of an epoch may be, in blocks, before another is made: as much as a newcomer has to execute after it. Chain
/// state keeps [`FINAL_RESULTS_KEPT`] results, of one block each when every block is busy, and without its own a snapshot proves nothing:
/// of the blocks for which that is there, less than half go by before the next is made, and more than half are left to make it, and to
/// bring the last one to a newcomer.
pub(crate) const OLD_BLOCKS: u32 = 100;
const _: () = assert!(OLD_BLOCKS * 2 < FINAL_RESULTS_KEPT, "half of the time is left for the transfer");
/// Rounds in a row in which a TEE may take a delivery with parts and stand where it stood.
const MOST_IDLE: u32 = 20;

/// How long a snapshot is not brought that a TEE has refused once.
const SHORTEST_REST: Duration = Duration::from_secs(30);
/// The longest such time.
const LONGEST_REST: Duration = Duration::from_secs(3_600);
/// How long a peer is left alone after its first failure.
const SHORTEST_PEER_REST: Duration = Duration::from_secs(2);
/// The longest such time.
const LONGEST_PEER_REST: Duration = Duration::from_secs(300);
/// How long a peer is left alone that gave what a TEE refused.
const LIAR_REST: Duration = LONGEST_PEER_REST;
/// What rests, of a kind; the time of one that is forgotten for the sake of others begins anew.
const MOST_RESTING: usize = 1_024;

/// What fetching is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of the folder.
    bytes: u64,
    /// How long a part may take, with repetitions, and anything else that is asked once.
    part: Duration,
    /// How long all parts of a TEE's may take; a peer has time that grows with them.
    whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: MOST_BYTES, part: Duration::from_secs(30), whole: Duration::from_secs(3_600) }
    }
}

/// What is left alone for a while that doubles.
struct Rests<Key> {
    shortest: Duration,
    longest: Duration,
    until: BTreeMap<Key, (Duration, Instant)>,
}

impl<Key: Copy + Ord> Rests<Key> {
    fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, until: BTreeMap::new() }
    }

    fn is_resting(&self, of: &Key, now: Instant) -> bool {
        self.until.get(of).is_some_and(|(_, until)| now < *until)
    }

    /// Another failure; it rests for `least` at least.
    fn failed(&mut self, of: Key, least: Duration, now: Instant) {
        if self.until.len() >= MOST_RESTING && !self.until.contains_key(&of) {
            self.until.clear();
        }
        let next = |former: Duration| former.saturating_mul(2).min(self.longest);
        let length = self.until.get(&of).map_or(self.shortest, |(former, _)| next(*former));
        self.until.insert(of, (length, now + length.max(least)));
    }

    fn forgive(&mut self, of: &Key) {
        self.until.remove(of);
    }
}

/// What was found to be of no use.
struct Judged {
    /// By whoever gave them, and their ids.
    snapshots: Rests<(Origin, Option<Hash>, Hash)>,
    peers: Rests<Hash>,
}

struct Peer {
    url: Url,
    /// What it rests by.
    key: Hash,
}

/// Parts to bring, and of which snapshot.
#[derive(Debug)]
pub(crate) struct Due {
    pub of: Kept,
    pub parts: Vec<SnapshotPart>,
}

/// The snapshots of a relayer.
pub(crate) struct Snapshots {
    folder: Option<Folder>,
    peers: Vec<Peer>,
    http: reqwest::Client,
    limits: Limits,
    judged: Mutex<Judged>,
    /// Clusters of which one is being fetched.
    claimed: Mutex<BTreeSet<ClusterId>>,
    /// How often a TEE did not get on with one: whoever looks after them looks again.
    doubts: watch::Sender<u64>,
}

impl Snapshots {
    /// With what is in the folder, and the relayers that are asked for more. None are kept without a folder.
    ///
    /// # Errors
    /// `invalid` for a peer's address that is none.
    pub(crate) fn new(folder: Option<PathBuf>, peers: &[String]) -> Result<Self, ClientError> {
        Self::within(folder, peers, Limits::default())
    }

    fn within(folder: Option<PathBuf>, peers: &[String], limits: Limits) -> Result<Self, ClientError> {
        let urls: BTreeSet<Url> = peers.iter().map(|text| peer_url(text)).collect::<Result<_, _>>()?;
        let peers = urls.into_iter().map(|url| Peer { key: blake2_256(url.as_str().as_bytes()), url }).collect();
        let http = reqwest::Client::builder()
            .connect_timeout(limits.part.min(Duration::from_secs(2)))
            .timeout(limits.part)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| ClientError::new(ErrorCode::Internal, format!("cannot make an HTTP client: {error}")))?;
        let judged = Judged {
            snapshots: Rests::new(SHORTEST_REST, LONGEST_REST),
            peers: Rests::new(SHORTEST_PEER_REST, LONGEST_PEER_REST),
        };
        let folder = folder.map(|path| Folder::open(path, limits.bytes));
        let (judged, claimed, doubts) = (Mutex::new(judged), Mutex::default(), watch::Sender::new(0));
        Ok(Self { folder, peers, http, limits, judged, claimed, doubts })
    }

    /// Whether any are kept.
    pub(crate) fn are_kept(&self) -> bool {
        self.folder.is_some()
    }

    /// A panic elsewhere cannot leave it half changed.
    fn judged(&self) -> MutexGuard<'_, Judged> {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of a cluster and epoch that do not rest.
    fn good(&self, cluster: ClusterId, epoch: Epoch, now: Instant) -> Vec<Kept> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let mut found = folder.of(cluster);
        let judged = self.judged();
        found.retain(|kept| kept.header.epoch == epoch && !judged.snapshots.is_resting(&kept.by(), now));
        found
    }

    /// Whether a TEE here did not get on with it.
    fn is_doubted(&self, kept: &Kept) -> bool {
        self.folder.as_ref().is_some_and(|folder| folder.is_doubted(kept))
    }

    /// Which snapshot is brought to a TEE that lacks one, and from which part on: the one that it has begun, or the best that is here.
    /// What is in doubt comes last; what a TEE here made comes before what a peer gave, whatever that says that it is of.
    fn choose(&self, cluster: ClusterId, epoch: Epoch, taking: Option<(Hash, u32)>) -> Option<(Kept, u32)> {
        let (folder, now) = (self.folder.as_ref()?, Instant::now());
        if let Some((id, index)) = taking {
            let begun = folder.all(&id).into_iter().find(|kept| {
                let is_of_it = kept.header.cluster == cluster && kept.header.epoch == epoch;
                is_of_it && index < kept.parts && !self.judged().snapshots.is_resting(&kept.by(), now)
            });
            if let Some(begun) = begun {
                return Some((begun, index));
            }
        }
        let place = |kept: &Kept| (!self.is_doubted(kept), kept.origin == Origin::Own, kept.header.boundary.block);
        self.good(cluster, epoch, now).into_iter().max_by_key(place).map(|best| (best, 0))
    }

    /// The next parts for a TEE that lacks the state, as many as there is room for beside what is in the delivery.
    pub(crate) async fn due(&self, stand: Option<&SnapshotStand>, delivery: &Delivery) -> Option<Due> {
        let Some(SnapshotStand::Lacks { cluster, epoch, taking }) = stand else { return None };
        let folder = self.folder.as_ref()?;
        let (of, from) = self.choose(*cluster, *epoch, *taking)?;
        let room = MAX_DELIVERY_BYTES.saturating_sub(delivery.encoded_size() + LEFT_BYTES);
        let mut parts = Vec::new();
        while parts.len() < MOST_SNAPSHOT_PARTS && (parts.len() + 1) * MAX_PART_MESSAGE <= room {
            let index = from.saturating_add(u32::try_from(parts.len()).unwrap_or(u32::MAX));
            match folder.part(&of, index).await {
                Ok(Some(part)) => parts.push(part),
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(id = hex::encode(of.id), %error, "cannot read a snapshot");
                    self.judged().snapshots.failed(of.by(), Duration::ZERO, Instant::now());
                    break;
                }
            }
        }
        (!parts.is_empty()).then_some(Due { of, parts })
    }

    /// A TEE took a delivery with parts of a snapshot; `idle` counts its rounds in a row in which it then stood where it had stood.
    pub(crate) fn took(
        &self,
        of: &Kept,
        before: Option<&SnapshotStand>,
        after: Option<&SnapshotStand>,
        idle: &mut u32,
    ) {
        if before == after {
            *idle += 1;
            if *idle >= MOST_IDLE {
                *idle = 0;
                self.doubt(of, false);
            }
            return;
        }
        *idle = 0;
        let parts = taken(after, &of.id);
        let is_further = |folder: &Folder| parts > taken(before, &of.id) && folder.reach(of, parts);
        if self.folder.as_ref().is_some_and(is_further) {
            self.judged().snapshots.forgive(&of.by());
        }
        if !matches!(after, Some(SnapshotStand::Lacks { .. })) {
            tracing::info!(id = hex::encode(of.id), "a TEE has taken a cluster's state over from a snapshot");
            let mut judged = self.judged();
            judged.snapshots.forgive(&of.by());
            if let Some(giver) = &of.giver {
                judged.peers.forgive(giver);
            }
            drop(judged);
            if let Some(folder) = &self.folder {
                folder.trust(of);
            }
        }
    }

    /// A TEE refused a delivery with parts of a snapshot.
    pub(crate) fn refused(&self, of: &Kept) {
        self.doubt(of, true);
    }

    /// A TEE does not get on with a snapshot: it is left alone, and whoever gave it, and others are asked.
    fn doubt(&self, of: &Kept, is_refused: bool) {
        tracing::warn!(id = hex::encode(of.id), is_refused, "a TEE does not take this snapshot; another is looked for");
        let now = Instant::now();
        let mut judged = self.judged();
        judged.snapshots.failed(of.by(), Duration::ZERO, now);
        if let Some(giver) = of.giver {
            judged.peers.failed(giver, LIAR_REST, now);
        }
        drop(judged);
        if let Some(folder) = &self.folder {
            folder.doubt(of, is_refused);
        }
        self.doubts.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The right to fetch one of a cluster; none while somebody has it.
    fn claim(&self, cluster: ClusterId) -> Option<Claim<'_>> {
        let is_new = self.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(cluster);
        is_new.then_some(Claim { of: self, cluster })
    }
}

/// How many parts of a snapshot a TEE that lacks the state has taken.
fn taken(stand: Option<&SnapshotStand>, id: &Hash) -> u32 {
    match stand {
        Some(SnapshotStand::Lacks { taking: Some((of, parts)), .. }) if of == id => *parts,
        _ => 0,
    }
}

struct Claim<'a> {
    of: &'a Snapshots,
    cluster: ClusterId,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.of.claimed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.cluster);
    }
}

#[cfg(test)]
mod tests;
