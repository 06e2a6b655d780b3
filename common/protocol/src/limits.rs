//! Bounds of everything that is decoded or stored. Each is a constant of the protocol: replicas that disagreed on one would fork.

/// Envelopes in one `push`.
pub const MAX_ENVELOPES_PER_PUSH: u32 = 64;
/// Bytes of one inbox message: the largest envelope, or a chain-origin message that carries one.
pub const MAX_MESSAGE_BYTES: u32 = 20 * 1024;
/// Items that one answer of `phala_inboxItems` carries.
pub const MAX_INBOX_ITEMS_PER_ANSWER: u32 = 256;
/// Bytes of messages that one answer of `phala_inboxItems` carries.
pub const MAX_INBOX_BYTES_PER_ANSWER: usize = 1024 * 1024;
/// Bytes of a contract's code.
pub const MAX_CODE_BYTES: u32 = 512 * 1024;
/// Replicas of one cluster.
pub const MAX_REPLICAS: u32 = 15;
/// Bytes of attestation evidence (a TDX v4 quote is about 5,000).
pub const MAX_EVIDENCE_BYTES: u32 = 16 * 1024;
/// Bytes of attestation collateral.
pub const MAX_COLLATERAL_BYTES: u32 = 96 * 1024;
/// Results in one `submit_results`.
pub const MAX_RESULTS_PER_SUBMIT: u32 = 16;
/// Final results that chain state keeps per cluster at least, and more while a replica that is behind may need them; older ones
/// are proved against an archived block.
pub const FINAL_RESULTS_KEPT: u32 = 256;
/// Width of the window of an account's nonces in a cluster: any nonce above the highest used one, or at most 63 below it, is
/// accepted once.
pub const NONCE_WINDOW: u64 = 64;
/// Sessions that an account may have open in a cluster; one more ends the oldest.
pub const MAX_SESSIONS_PER_ACCOUNT: usize = 4;
/// Width of the window of a session's numbers: a command's number is at most this much above the highest used one, and at most this
/// much below it.
pub const SESSION_WINDOW: u64 = 32;
/// Blocks that a query may name as its lifetime: a nonce is remembered that long.
pub const MAX_QUERY_LIFETIME_BLOCKS: u32 = 600;
/// Seconds for which a worker keeps a connection that is idle, for everybody as for its relayer. Its clients let go of one sooner, lest they
/// send a request into its end; no replica depends on it.
pub const IDLE_CONNECTION_SECONDS: u64 = 10;
/// Bytes of a sealed query.
pub const MAX_QUERY_BYTES: usize = 24 * 1024;
/// Blocks for which a worker keeps a reply for its account, after the block of its command; a day of 6 s blocks. Asked for later, it looks
/// like one that never was.
pub const REPLY_BLOCKS: u32 = 14_400;
/// Bytes of a reply's output, events and egress items together, so that an answer with its proof fits the largest size class.
pub const MAX_REPLY_BYTES: usize = 12 * 1024;
/// Bytes of all that one command sends out of its cluster, in the encoding of [`crate::egress::EgressAction`].
pub const MAX_EGRESS_BYTES: usize = 4 * 1024;
/// Egress items of one command, nested calls included.
pub const MAX_EGRESS_ITEMS: usize = 8;
/// Egress items that one transaction brings to the chain.
pub const MAX_EGRESS_PER_TAKE: u32 = 16;
/// Of each cluster, the newest egress items whose fate chain state keeps; of older ones an archived block tells.
pub const EGRESS_FATES_KEPT: u64 = 1_024;
/// Age, in blocks, of the finalised block that a registration's report data names.
pub const MAX_REGISTRATION_AGE_BLOCKS: u32 = 600;
/// Blocks that pass at least between the listing of a measurement and the first keys for it, a day of 6 s blocks; none on a
/// development network. Compiled into gatekeepers, so that no vote shortens it; governance may lengthen it. When an entry was listed is
/// the chain's word, about which an upgrade of the runtime could lie: a gatekeeper counts from its own first sight if that is later.
pub const MEASUREMENT_DELAY_BLOCKS: u32 = 14_400;
/// Blocks that the last block of a seat's signature for a suspension lies ahead at most, a day of 6 s blocks: in them the signatures are
/// brought together. The chain takes none that reaches farther, and a gatekeeper's TEE makes none.
pub const SUSPENSION_SIGNED_AHEAD_BLOCKS: u32 = 14_400;
/// Blocks of a gatekeeper's own head for which a worker's request for keys is good, counted from the worker's head that it names. A worker makes
/// it anew every 20 blocks and takes an answer for 40; a gatekeeper may know 20 blocks more than the worker does.
pub const KEY_REQUEST_BLOCKS: u32 = 60;
/// Fragments of one finality proof.
pub const MAX_FINALITY_FRAGMENTS: usize = 64;
/// Bytes of one finality proof.
pub const MAX_FINALITY_PROOF_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of one storage proof.
pub const MAX_STORAGE_PROOF_BYTES: usize = 2 * 1024 * 1024;
