//! The logic of a TEE, without I/O: what it believes of the chain, and what it does about it, as a worker or as a gatekeeper.
//!
//! ```text
//! Delivery --> Tee::deliver --> chain facts --> keys --> boundaries executed, one storage transaction each --> Tee::status
//! Query    --> Serving::answer --> a sealed answer from the last vote-final state
//! ```
//!
//! Guarantees: nothing of a delivery is used before finality, a storage proof, an AEAD or a signature vouches for it; an item that
//! is poisoned becomes an error reply; a delivery that is wrong is refused whole, typed, and leaves what was verified before it.
//! The host controls every input, including time: there is no clock here, only chain time out of proofs.
//! Does not: log (it returns [`Notice`]s), read files, or talk to anyone; [`Machine`] is all it asks of the outside.
#![forbid(unsafe_code)]

mod ahead;
mod boundary;
mod chain;
mod cluster;
mod codes;
mod command;
mod egress;
mod epochs;
#[cfg(test)]
mod fixture;
mod gate;
mod heartbeats;
mod identity;
mod listed;
mod machine;
mod nonces;
mod notice;
mod random;
mod replies;
mod roots;
mod rules;
mod seen;
mod serving;
mod sessions;
mod snapshot;
mod tee;
#[cfg(feature = "testing")]
pub mod testing;
mod world;

pub use boundary::BoundaryError;
pub use chain::{Chain, ChainError};
pub use cluster::{AnswersHealth, ClusterError, ClusterHealth, Lack};
pub use command::ExecutionFault;
pub use gate::{
    AttemptHealth, CustodyHealth, GateHealth, IdentityAttemptHealth, IdentityPart, KeysHealth, SeatHealth,
    SuspensionRefusal,
};
pub use identity::Identity;
pub use machine::{Machine, MachineFault};
pub use seen::Seen;
pub use serving::{QueryFault, Serving};
pub use snapshot::{SnapshotFault, SnapshotRefusal, SnapshotSource};
pub use tee::{DeliveryError, Notice, Settings, StartError, Tee};
pub use world::StateFault;
// Where whoever has many queries answers them, how many of them execute at once, and what a machine says of its address space.
pub use phala_vm::{Executors, Layout, MAX_QUERIES_AT_ONCE};
