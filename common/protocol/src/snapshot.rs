//! Snapshots: a cluster's whole state at one final boundary, sealed in parts of one size, for a replica that has not got it.
//!
//! A replica of the open epoch makes one when its relayer asks; relayers keep it and hand it on to each other and to a replica that says
//! that it lacks the state. What seals it is derived of the epoch's storage key, which gatekeepers give to replicas of that epoch alone;
//! what it holds is compared with the result that the chain made final.
//!
//! Guarantees: bounded decoding. Hosts and relayers control what arrives; they can withhold, and nothing else. Does not: seal or open
//! (`phala-core`), nor hide how large a state is, but for what is less than a part.

use crate::{
    domain,
    hash::hash_value,
    ids::{ClusterId, Epoch},
    result::Boundary,
    Hash,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode};

/// Bytes of a part's plaintext, padding included.
pub const SNAPSHOT_PART_BYTES: usize = 512 * 1024;
/// Bytes that sealing adds to a part: the tag of AES-256-GCM-SIV.
pub const SNAPSHOT_TAG_BYTES: usize = 16;
/// Parts of one snapshot: 32 GiB.
pub const MAX_SNAPSHOT_PARTS: u32 = 65_536;
/// Parts in one delivery.
pub const MOST_SNAPSHOT_PARTS: usize = 8;

/// What a snapshot is of. Bound into the key that its parts are sealed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct SnapshotHeader {
    /// The cluster.
    pub cluster: ClusterId,
    /// The era of the root that gives the epoch's keys.
    pub era: u32,
    /// The epoch whose storage key seals it, and under whose commit key the chain has the boundary's state.
    pub epoch: Epoch,
    /// The boundary whose state it is. Its result is final: of this epoch, or the last one before it, which the epoch's binding says again.
    pub boundary: Boundary,
    /// Drawn by whoever made it, so that no two snapshots are ever sealed under one key.
    pub salt: [u8; 32],
}

impl SnapshotHeader {
    /// The snapshot's name: the hash of this header.
    pub fn id(&self) -> Hash {
        hash_value(domain::SNAPSHOT_ID, self)
    }
}

/// One part, as relayers carry it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct SnapshotPart {
    /// Which snapshot it is of.
    pub header: SnapshotHeader,
    /// Its place, from 0.
    pub index: u32,
    /// Whether it is the last.
    pub last: bool,
    /// [`SNAPSHOT_PART_BYTES`] + [`SNAPSHOT_TAG_BYTES`] bytes.
    pub sealed: Vec<u8>,
}

/// How a worker stands to snapshots of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SnapshotStand {
    /// It can make one: `boundary` is the newest that is final, of this epoch or, once that is bound to it, of one before.
    #[codec(index = 0)]
    Has {
        /// The cluster.
        cluster: ClusterId,
        /// The open epoch.
        epoch: Epoch,
        /// The newest final boundary.
        boundary: Boundary,
    },
    /// It has the epoch's keys and not the state.
    #[codec(index = 1)]
    Lacks {
        /// The cluster.
        cluster: ClusterId,
        /// The open epoch: only a snapshot of this one opens.
        epoch: Epoch,
        /// The snapshot that it has begun to take, and the index of the part that it needs next. None: any one, from part 0.
        taking: Option<(Hash, u32)>,
    },
}
