//! The targets, one module a group.

pub mod accounts;
pub mod beacon;
pub mod beacon_proofs;
pub mod ceremony;
pub mod certificates;
pub mod chain;
pub mod crypto;
pub mod disk;
pub mod documents;
pub mod drivers;
pub mod event_logs;
pub mod files;
pub mod identities;
pub mod identity;
pub mod keys;
pub mod launch;
pub mod letters;
pub mod protocol;
pub mod provisioning;
pub mod quotes;
pub mod receipts;
pub mod scale;
pub mod sdk;
pub mod signing;
pub mod snapshots;
pub mod tee;
pub mod values;
pub mod wasm;

use crate::Target;

/// All of them.
pub static TARGETS: [&Target; 57] = [
    &scale::RECORDS,
    &protocol::CALLS,
    &protocol::ENVELOPES,
    &protocol::QUERIES,
    &protocol::ITEMS,
    &protocol::FINALITY_PROOFS,
    &protocol::DELIVERIES,
    &protocol::EGRESS_ACTIONS,
    &chain::FINALITY,
    &chain::STORAGE,
    &chain::ANCESTORS,
    &chain::ANCHORS,
    &chain::CHECKPOINTS,
    &quotes::QUOTES,
    &quotes::SIGNED_QUOTES,
    &quotes::SIGNED_BYTES,
    &drivers::DRIVER_FRAMES,
    &event_logs::EVENT_LOGS,
    &launch::LAUNCH_FILES,
    &files::EVIDENCE_FILES,
    &files::SUSPENSIONS,
    &certificates::COLLATERAL,
    &certificates::VERIFIED_COLLATERAL,
    &certificates::EXTENSIONS,
    &documents::DOCUMENTS,
    &documents::DATES,
    &provisioning::ANSWERS,
    &crypto::SIGNATURES,
    &crypto::POINTS,
    &crypto::MERKLE,
    &crypto::SEALED,
    &keys::GRANTS,
    &keys::INQUIRIES,
    &keys::SEATS,
    &keys::SIGHTINGS,
    &ceremony::PARCELS,
    &ceremony::INTRODUCTIONS,
    &ceremony::TRANSCRIPTS,
    &ceremony::CEREMONIES,
    &beacon::BEACON,
    &beacon_proofs::BEACON_PROOFS,
    &identity::IDENTITY,
    &identities::IDENTITIES,
    &signing::SIGNING,
    &letters::LETTERS,
    &wasm::MODULES,
    &wasm::PROGRAMS,
    &disk::STORES,
    &disk::SEALED_BLOBS,
    &snapshots::SNAPSHOTS,
    &tee::DELIVERED,
    &values::METADATA,
    &values::VALUES,
    &receipts::RECEIPTS,
    &accounts::TEXTS,
    &accounts::FILES,
    &sdk::VALUES_OF_CONTRACTS,
];
