//! What happened, for the log.
//!
//! Guarantees: nothing secret is in a notice. Chain, host and peers cause them, some as often as they like. Does not log: whoever brings
//! deliveries does.

use crate::{cluster::Lack, gate::IdentityPart};
use phala_gatekeeper::{dkg::CeremonyError, identity, GrantError, Refusal};
use phala_protocol::{identities::Scheme, ids::BlockNumber, ClusterId, Epoch, Hash, WorkerId};

/// What happened, for the log. Nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The chain knows the TEE.
    Registered,
    /// The keys of an epoch are here.
    EpochKeys {
        /// The cluster.
        cluster: ClusterId,
        /// The epoch.
        epoch: Epoch,
    },
    /// An answer to a request for keys was refused, and is the first that was to this request: others are counted. The request waits on.
    AnswerRefused {
        /// The cluster.
        cluster: ClusterId,
        /// The gatekeeper that was asked. Who made the answer nobody knows.
        gatekeeper: WorkerId,
        /// The era of which it was asked.
        era: u32,
        /// The epoch.
        epoch: Epoch,
        /// What the worker signed: `phala_protocol::keys::KeyRequest::signing_payload`.
        request: Hash,
        /// What is wrong with the answer.
        error: GrantError,
    },
    /// A boundary was executed and committed.
    Executed {
        /// The cluster.
        cluster: ClusterId,
        /// The boundary's block.
        block: BlockNumber,
        /// Its items.
        items: usize,
    },
    /// A result became final.
    ResultFinal {
        /// The cluster.
        cluster: ClusterId,
        /// The boundary's block.
        block: BlockNumber,
        /// Items covered so far.
        count: u64,
    },
    /// The chain's final result is not this worker's.
    Diverged {
        /// The cluster.
        cluster: ClusterId,
        /// The boundary's block.
        block: BlockNumber,
    },
    /// A replica has the keys of the open epoch and not the state: it waits for a snapshot.
    StateLacked {
        /// The cluster.
        cluster: ClusterId,
        /// The open epoch, of which the snapshot has to be.
        epoch: Epoch,
        /// Why it cannot go on from what it has.
        why: Lack,
    },
    /// A replica took the state over from a snapshot, and goes on from there.
    StateTakenOver {
        /// The cluster.
        cluster: ClusterId,
        /// The block of the boundary whose state it is.
        block: BlockNumber,
        /// Items covered by it.
        count: u64,
    },
    /// Governance has closed a worker's cluster for good. Its keys leave memory, and its state once the chain has taken what final results
    /// sent; the sealed file stays on the disk.
    ClusterClosed {
        /// The cluster.
        cluster: ClusterId,
    },
    /// The gatekeeper gave a worker its keys.
    KeysGiven {
        /// Of this and of refusals together, from 1 since the process started: in a log, one that is missing is missed.
        number: u64,
        /// The worker.
        worker: WorkerId,
        /// The cluster.
        cluster: ClusterId,
        /// The era whose root gave them.
        era: u32,
        /// The epoch.
        epoch: Epoch,
        /// What the worker signed, nonce included: `phala_protocol::keys::KeyRequest::signing_payload`.
        request: Hash,
        /// For how many purposes it has keys now; of an epoch that is only taken over from, for one.
        purposes: usize,
        /// Requests of it for this epoch that were answered lately, this one included; at so many the next is refused.
        recent: usize,
    },
    /// The gatekeeper refused a request for keys. Whose it is, is the request's word where its signature is what is wrong.
    KeysRefused {
        /// As of keys that are given.
        number: u64,
        /// The worker.
        worker: WorkerId,
        /// The cluster.
        cluster: ClusterId,
        /// The era of which it asked.
        era: u32,
        /// The epoch.
        epoch: Epoch,
        /// As of keys that are given.
        request: Hash,
        /// Why.
        refusal: Refusal,
    },
    /// The gatekeeper takes part in an attempt of a key ceremony.
    CeremonyBegun {
        /// The era whose root is made.
        era: u32,
        /// The attempt.
        attempt: u32,
        /// The gatekeeper's index, from 1.
        index: u16,
    },
    /// The gatekeeper takes no part in an attempt, or no longer.
    CeremonyFailed {
        /// The era.
        era: u32,
        /// The attempt.
        attempt: u32,
        /// Why.
        error: CeremonyError,
    },
    /// Another seat's introduction was refused.
    PeerRefused {
        /// The gatekeeper that it names.
        peer: WorkerId,
        /// Why.
        refusal: Refusal,
    },
    /// The gatekeeper holds its share of the root of an attempt, sealed, and confirms it.
    CeremonyConfirmed {
        /// The era.
        era: u32,
        /// The attempt.
        attempt: u32,
    },
    /// The chain has recorded a root that a seat of this gatekeeper is of.
    RootRecorded {
        /// The era.
        era: u32,
    },
    /// Another root was recorded than the one that a seat of this gatekeeper is of; the seat is gone.
    SeatDropped {
        /// The era.
        era: u32,
        /// The attempt that made it, unless it was a development network's lone one.
        attempt: Option<u32>,
    },
    /// An era is over; the seat is gone, and answers nothing any more.
    SeatRetired {
        /// The era.
        era: u32,
    },
    /// The gatekeeper takes part in an attempt of a ceremony of identities.
    IdentitiesBegun {
        /// The era whose set receives the keys.
        era: u32,
        /// The attempt.
        attempt: u32,
        /// Its index among dealers, if it deals.
        dealer: Option<u16>,
        /// Its index among those who receive, if it does.
        holder: Option<u16>,
    },
    /// The gatekeeper takes no part in an attempt of a ceremony of identities as what it is named there, or no longer.
    IdentitiesFailed {
        /// The era.
        era: u32,
        /// The attempt.
        attempt: u32,
        /// As what.
        part: IdentityPart,
        /// Why.
        error: identity::ceremony::CeremonyError,
    },
    /// The gatekeeper has its shares of identities of an attempt, sealed, and confirms them.
    IdentitiesConfirmed {
        /// The era.
        era: u32,
        /// The attempt.
        attempt: u32,
    },
    /// The chain has recorded the set in which this gatekeeper holds shares of identities; former shares are dropped.
    IdentitiesReceived {
        /// The era of that set.
        era: u32,
    },
    /// Another set holds the identities: what this gatekeeper had of them is dropped.
    IdentitiesDropped {
        /// The era of that set.
        era: u32,
    },
    /// The head has this gatekeeper as a holder of identities of which it has no shares: they are lost, or were dropped since, where the
    /// head is of the past.
    IdentitiesLost {
        /// The era of that set.
        era: u32,
    },
    /// The gatekeeper put a signature of a contract together.
    MessageSigned {
        /// The cluster that sent the message.
        cluster: ClusterId,
        /// Its place among what the cluster sent.
        sequence: u64,
        /// Under which kind of key.
        scheme: Scheme,
    },
    /// What was being signed is not any more.
    SigningEnded {
        /// The cluster that sent the message.
        cluster: ClusterId,
        /// Its place among what the cluster sent.
        sequence: u64,
        /// Why.
        reason: identity::NotAuthorised,
    },
    /// Another holder of identities sends wrong parts of signatures: this gatekeeper leaves it out of those that it coordinates.
    SignatureSpoiled {
        /// Which.
        gatekeeper: WorkerId,
    },
}
