//! Bounds of what a host may hand to the light client, beside those of [`phala_protocol::limits`].
//!
//! They are no part of the protocol's meaning: raising one admits larger honest chains and costs memory, nothing else.
//! No inputs.

/// Bytes of one encoded header. The last header of a set names the next GRANDPA and BABE authorities, 40 bytes each,
/// twice.
pub const MAX_HEADER_BYTES: usize = 128 * 1024;
/// Authorities of one set: what a header of that size can name, and far above what GRANDPA is run with.
pub const MAX_AUTHORITIES: usize = 1024;
/// Bytes of one justification: 1,024 votes of 132 bytes, and the headers between differing votes.
pub const MAX_JUSTIFICATION_BYTES: usize = 512 * 1024;
/// Headers between a verified header and the ancestor that is asked for.
pub const MAX_ANCESTORS: usize = 256;
/// Nodes of one storage proof. A proof of 64 keys in a state of millions of entries has about 600.
pub const MAX_PROOF_NODES: usize = 8192;
/// Bytes of a storage proof once every node stands in every place that refers to it.
pub const MAX_EXPANDED_PROOF_BYTES: u64 = phala_protocol::limits::MAX_STORAGE_PROOF_BYTES as u64;
