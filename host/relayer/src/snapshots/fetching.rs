//! Fetches snapshots into the folder: of the TEE that is served, when it can make one that is wanted, or of peers, when it lacks one.
//!
//! Guarantees: one of a cluster at a time, beside deliveries; each part in its turn, of the header that was promised, of the one length,
//! until the last, which is where it was promised; each in bounded time, and all together in bounded bytes and in time that grows with them:
//! a peer that gives less than a part in [`PACE`] is given up, and another asked. Whoever breaks that is given up, and nothing is left of
//! what he gave; so is what was begun for an epoch, or a TEE, that does not need it any more. What fails is tried again after a wait that
//! doubles to [`LONGEST_WAIT`], a disk that is full as well. Whoever gives it controls the contents, which only TEEs can judge.
//!
//! Does not: fetch from two peers at once. One that gives garbage at that pace has its turn, of up to 69 minutes.

use super::{
    folder::{Folder, Kept, Origin},
    Limits, Peer, Snapshots, LIAR_REST, MAX_PART_MESSAGE, OLD_BLOCKS, PART_BYTES,
};
use crate::operator::Operator;
use codec::DecodeAll as _;
use phala_client::ClientError;
use phala_protocol::{
    ids::{BlockNumber, Epoch},
    snapshot::{SnapshotHeader, SnapshotPart, SnapshotStand, MAX_SNAPSHOT_PARTS},
    ClusterId, Hash,
};
use reqwest::StatusCode;
use std::{
    cmp::Reverse,
    io,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// How long nothing is looked at while nothing changes.
const LOOK: Duration = Duration::from_secs(10);
/// After one was fetched, whatever is said next.
const AFTER_ONE: Duration = Duration::from_secs(5);
/// After nobody had what is lacking, or somebody else fetches it.
const ASK_AGAIN: Duration = Duration::from_secs(3);
/// The wait after the first failure.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// How often a peer is asked for one part that has no time, or breaks off.
const MOST_TRIES: u32 = 20;
/// How long a peer may take for a part, on average, beside the time that it has for one: 1 MiB in a second.
const PACE: Duration = Duration::from_millis(500);
/// Between two of those tries.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// Snapshots that a peer may list.
const MOST_LISTED: usize = 16;
/// Bytes of a list.
const MAX_LIST_BYTES: usize = 4 * 1024;
/// Snapshots of one peer that are tried in a round.
const MOST_OF_ONE: usize = 2;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("it does not answer: {0}")]
    Silent(String),
    #[error("it has no time for it")]
    Busy,
    #[error("it has not got it, or not any more")]
    NotThere,
    #[error("it refuses: {0}")]
    Refused(StatusCode),
    #[error("it takes too long")]
    Slow,
    #[error("what it gives is none: {0}")]
    Malformed(&'static str),
    #[error("{0}")]
    Tee(ClientError),
    #[error("it cannot be kept: {0}")]
    Disk(#[from] io::Error),
}

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// There is nothing to do.
    Idle,
    /// One was fetched.
    Kept,
    /// One is lacking, and nobody that is asked now has it.
    Nowhere,
}

/// Who gives parts.
enum Source<'a> {
    Tee(&'a Operator),
    Peer(&'a Peer),
}

impl Limits {
    /// How long a peer may take for as many parts.
    pub(super) fn of_peer(&self, parts: u32) -> Duration {
        self.part + PACE.saturating_mul(parts)
    }
}

/// Looks after the snapshots that a TEE can make or lacks, for as long as somebody says how it stands.
pub(crate) async fn keep(
    snapshots: &Snapshots,
    operator: &Operator,
    mut stands: watch::Receiver<Option<SnapshotStand>>,
) {
    let (mut wait, mut doubts) = (FIRST_WAIT, snapshots.doubts.subscribe());
    loop {
        let stand = *stands.borrow_and_update();
        doubts.mark_unchanged();
        let looked = tokio::select! {
            biased;
            looked = snapshots.look(operator, stand) => looked,
            // What is under way goes on for nobody.
            () = another_aim(&mut stands, stand.as_ref()) => continue,
        };
        match looked {
            Ok(Looked::Kept) => {
                wait = FIRST_WAIT;
                // It may be refused before.
                let _ = timeout(AFTER_ONE, doubts.changed()).await;
            }
            Ok(Looked::Nowhere) => sleep(ASK_AGAIN).await,
            Ok(Looked::Idle) => {
                wait = FIRST_WAIT;
                let is_over = tokio::select! {
                    changed = stands.changed() => changed.is_err(),
                    _ = doubts.changed() => false,
                    () = sleep(LOOK) => false,
                };
                if is_over {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(tee = operator.url(), %error, "cannot fetch a snapshot; relaying goes on");
                // Whoever wants another one does not wait for what was in the way of this one.
                let has_waited = timeout(wait, another_aim(&mut stands, stand.as_ref())).await.is_err();
                wait = if has_waited { (wait * 2).min(LONGEST_WAIT) } else { FIRST_WAIT };
            }
        }
    }
}

/// What is to be fetched for a TEE: whether it lacks the state, of which cluster and epoch.
fn aim(stand: Option<&SnapshotStand>) -> Option<(bool, ClusterId, Epoch)> {
    match stand? {
        SnapshotStand::Has { cluster, epoch, .. } => Some((false, *cluster, *epoch)),
        SnapshotStand::Lacks { cluster, epoch, .. } => Some((true, *cluster, *epoch)),
    }
}

/// Waits until something else is to be fetched than by `stand`.
async fn another_aim(stands: &mut watch::Receiver<Option<SnapshotStand>>, stand: Option<&SnapshotStand>) {
    let is_gone = stands.wait_for(|now| aim(now.as_ref()) != aim(stand)).await.is_err();
    if is_gone {
        // Nobody says anything any more: what is under way may end.
        std::future::pending::<()>().await;
    }
}

impl Snapshots {
    /// One look at what a TEE says.
    pub(super) async fn look(&self, operator: &Operator, stand: Option<SnapshotStand>) -> Result<Looked, Fault> {
        let (Some(folder), Some(stand)) = (&self.folder, stand) else { return Ok(Looked::Idle) };
        match stand {
            SnapshotStand::Has { cluster, epoch, boundary } => {
                folder.name(cluster, epoch, Instant::now());
                if !self.is_wanted(folder, cluster, epoch, boundary.block) {
                    return Ok(Looked::Idle);
                }
                let Some(_claim) = self.claim(cluster) else { return Ok(Looked::Nowhere) };
                self.of_tee(folder, operator, cluster, epoch).await
            }
            SnapshotStand::Lacks { cluster, epoch, .. } => {
                folder.name(cluster, epoch, Instant::now());
                // A TEE that is behind learns of the epoch that is open before anything else.
                let is_behind = folder.of(cluster).iter().any(|kept| kept.header.epoch > epoch);
                let has_one = self.good(cluster, epoch, Instant::now()).iter().any(|kept| !folder.is_doubted(kept));
                if is_behind || has_one {
                    return Ok(Looked::Idle);
                }
                let Some(_claim) = self.claim(cluster) else { return Ok(Looked::Nowhere) };
                self.of_peers(folder, cluster, epoch).await
            }
        }
    }

    /// Whether a snapshot is to be made of what a TEE here has: none of the epoch was, or the one that was is old.
    fn is_wanted(&self, folder: &Folder, cluster: ClusterId, epoch: Epoch, block: BlockNumber) -> bool {
        let now = Instant::now();
        let own: Vec<Kept> = folder.of(cluster).into_iter().filter(|kept| kept.origin == Origin::Own).collect();
        // Of a TEE that is behind, nothing is made when another here was further.
        let is_behind = own.iter().any(|kept| kept.header.epoch > epoch);
        let judged = self.judged();
        let is_there = own.iter().any(|kept| {
            let is_new = block <= kept.header.boundary.block.saturating_add(OLD_BLOCKS);
            kept.header.epoch == epoch && is_new && !judged.snapshots.is_resting(&kept.by(), now)
        });
        !is_behind && !is_there
    }

    async fn of_tee(
        &self,
        folder: &Folder,
        operator: &Operator,
        cluster: ClusterId,
        epoch: Epoch,
    ) -> Result<Looked, Fault> {
        let made = timeout(self.limits.part, operator.make_snapshot()).await;
        let header = made.map_err(|_| Fault::Slow)?.map_err(Fault::Tee)?;
        if (header.cluster, header.epoch) != (cluster, epoch) {
            return Err(Fault::Malformed("it is of another cluster or epoch"));
        }
        let kept = self.whole(&Source::Tee(operator), &header, None, folder).await?;
        tracing::info!(%cluster, epoch, block = header.boundary.block, parts = kept.parts, "kept a snapshot");
        Ok(Looked::Kept)
    }

    async fn of_peers(&self, folder: &Folder, cluster: ClusterId, epoch: Epoch) -> Result<Looked, Fault> {
        for peer in &self.peers {
            if self.judged().peers.is_resting(&peer.key, Instant::now()) {
                continue;
            }
            match self.of_peer(folder, peer, cluster, epoch).await {
                Ok(true) => return Ok(Looked::Kept),
                Ok(false) | Err(Fault::NotThere | Fault::Busy) => {}
                Err(Fault::Disk(error)) => return Err(Fault::Disk(error)),
                Err(error) => {
                    tracing::warn!(peer = %peer.url, %error, "a peer gives no snapshot; it is left alone for a while");
                    let least = match error {
                        // It had its time, and others wait for theirs.
                        Fault::Slow | Fault::Malformed(_) => LIAR_REST,
                        _ => Duration::ZERO,
                    };
                    self.judged().peers.failed(peer.key, least, Instant::now());
                }
            }
        }
        Ok(Looked::Nowhere)
    }

    /// Fetches the newest that a peer has and nothing is known against; false if there is none.
    async fn of_peer(&self, folder: &Folder, peer: &Peer, cluster: ClusterId, epoch: Epoch) -> Result<bool, Fault> {
        let bytes = self.get(peer, &format!("/v1/snapshots/{cluster}/{epoch}"), MAX_LIST_BYTES).await?;
        let listed = Vec::<(SnapshotHeader, u32)>::decode_all(&mut bytes.as_slice());
        let mut listed = listed.map_err(|_| Fault::Malformed("the list is malformed"))?;
        if listed.len() > MOST_LISTED {
            return Err(Fault::Malformed("the list is too long"));
        }
        let now = Instant::now();
        listed.retain(|(header, parts)| {
            let is_of_it = header.cluster == cluster && header.epoch == epoch;
            let is_held = (1..=MAX_SNAPSHOT_PARTS).contains(parts)
                && u64::from(*parts).saturating_mul(PART_BYTES) <= folder.most_of_peers();
            let by = (Origin::Peer, Some(peer.key), header.id());
            is_of_it && is_held && !self.judged().snapshots.is_resting(&by, now)
        });
        listed.sort_by_key(|(header, _)| Reverse(header.boundary.block));
        let mut fault = None;
        for (header, parts) in listed.into_iter().take(MOST_OF_ONE) {
            match self.whole(&Source::Peer(peer), &header, Some(parts), folder).await {
                Ok(_) => {
                    tracing::info!(peer = %peer.url, %cluster, epoch, parts, "kept a snapshot of a peer");
                    return Ok(true);
                }
                // It has made another meanwhile.
                Err(Fault::NotThere) => fault = Some(Fault::NotThere),
                Err(error) => return Err(error),
            }
        }
        fault.map_or(Ok(false), Err)
    }

    /// Fetches all parts of a snapshot, of which there are `promised` if somebody said how many.
    async fn whole(
        &self,
        source: &Source<'_>,
        header: &SnapshotHeader,
        promised: Option<u32>,
        folder: &Folder,
    ) -> Result<Kept, Fault> {
        let (giver, most) = match source {
            Source::Tee(_) => (None, self.limits.whole),
            Source::Peer(peer) => (Some(peer.key), self.limits.of_peer(promised.unwrap_or(MAX_SNAPSHOT_PARTS))),
        };
        let fetched = async {
            let mut writer = folder.begin(header, giver).await?;
            let (id, started) = (header.id(), Instant::now());
            for index in 0..promised.unwrap_or(MAX_SNAPSHOT_PARTS) {
                let left = match source {
                    Source::Tee(_) => self.limits.part,
                    Source::Peer(_) => self.limits.of_peer(index).saturating_sub(started.elapsed()),
                };
                let asked = self.part(source, header.cluster, &id, index);
                let part = timeout(left.min(self.limits.part), asked).await;
                let part = part.map_err(|_| Fault::Slow)??;
                if part.header != *header || part.index != index {
                    return Err(Fault::Malformed("a part of another snapshot, or out of its turn"));
                }
                if u64::try_from(part.sealed.len()) != Ok(PART_BYTES) {
                    return Err(Fault::Malformed("a part of another length"));
                }
                if promised.is_some_and(|parts| part.last != (index + 1 == parts)) {
                    return Err(Fault::Malformed("it has another number of parts than was promised"));
                }
                writer.add(&part.sealed).await?;
                if part.last {
                    return Ok(writer.finish().await?);
                }
            }
            Err(Fault::Malformed("it has no end"))
        };
        timeout(most, fetched).await.map_err(|_| Fault::Slow)?
    }

    async fn part(
        &self,
        source: &Source<'_>,
        cluster: ClusterId,
        id: &Hash,
        index: u32,
    ) -> Result<SnapshotPart, Fault> {
        let peer = match source {
            Source::Tee(operator) => return operator.snapshot_part(id, index).await.map_err(Fault::Tee),
            Source::Peer(peer) => peer,
        };
        let path = format!("/v1/snapshots/{cluster}/{}/{index}", hex::encode(id));
        let mut tries = 0;
        let bytes = loop {
            match self.get(peer, &path, MAX_PART_MESSAGE).await {
                Err(Fault::Busy | Fault::Silent(_)) if tries < MOST_TRIES => {
                    tries += 1;
                    sleep(TRY_AGAIN).await;
                }
                answer => break answer?,
            }
        };
        SnapshotPart::decode_all(&mut bytes.as_slice()).map_err(|_| Fault::Malformed("a part is malformed"))
    }

    /// Asks a peer, and takes no more than `most` bytes.
    async fn get(&self, peer: &Peer, path: &str, most: usize) -> Result<Vec<u8>, Fault> {
        let silent = |error: reqwest::Error| Fault::Silent(error.to_string());
        let mut url = peer.url.clone();
        url.set_path(path);
        let mut answer = self.http.get(url).send().await.map_err(silent)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Fault::NotThere),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => return Err(Fault::Busy),
            status => return Err(Fault::Refused(status)),
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(silent)? {
            if body.len() + chunk.len() > most {
                return Err(Fault::Malformed("it is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
