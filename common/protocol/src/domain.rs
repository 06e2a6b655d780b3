//! The one list of domain labels: every hash, signature, key derivation and AEAD of the network names one of these. Measurements
//! (`common/attest`) and a machine's sealed files (`tee/platform`) have labels of their own, in crates that know nothing of the network.
//!
//! Guarantees that no two uses share a label (tested), so that a value made for one purpose never serves another, and that a label under
//! which something secret is derived has golden vectors: see [`DERIVING`].
//! Nobody controls its inputs: it has none. It does not hash; [`crate::hash`] does.

/// A label of the form `PHALA/<crate>/<operation>/v<n>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain(&'static str);

impl Domain {
    /// The label's bytes, at most 255 of them.
    pub const fn as_bytes(&self) -> &'static [u8] {
        self.0.as_bytes()
    }

    /// The label as text.
    pub const fn as_str(&self) -> &'static str {
        self.0
    }

    /// Whether it is one of [`DERIVING`].
    pub fn derives(&self) -> bool {
        DERIVING.contains(self)
    }
}

macro_rules! domains {
    ($($(#[$doc:meta])* $name:ident = $label:literal;)*) => {
        $($(#[$doc])* pub const $name: Domain = Domain($label);)*
        /// Every label, in the order of their declaration.
        pub const ALL: &[Domain] = &[$($name),*];
    };
}

domains! {
    /// Hash of a message as an inbox link commits it.
    INBOX_MESSAGE = "PHALA/inbox/message/v1";
    /// A link of a cluster's inbox.
    INBOX_LINK = "PHALA/inbox/link/v1";
    /// The link before a cluster's first item.
    INBOX_GENESIS = "PHALA/inbox/genesis/v1";
    /// Derivation of a contract's id.
    CONTRACT_ID = "PHALA/contracts/id/v1";
    /// Hash of a contract's code.
    CODE = "PHALA/contracts/code/v1";
    /// Random bytes that a contract draws.
    CONTRACT_RANDOM = "PHALA/contracts/random/v1";
    /// A contract's account on our chain.
    CONTRACT_ACCOUNT = "PHALA/contracts/account/v1";
    /// The name of a snapshot of a cluster's state.
    SNAPSHOT_ID = "PHALA/snapshot/id/v1";
    /// The key that a snapshot's parts are sealed under.
    SNAPSHOT_KEY = "PHALA/snapshot/key/v1";
    /// The id of what a contract sends out of its cluster.
    EGRESS = "PHALA/egress/item/v1";
    /// What gatekeepers sign as a contract whose message has left.
    EGRESS_SIGNATURE = "PHALA/egress/signature/v1";
    /// What an account signs to authorise a command.
    CALL = "PHALA/call/sign/v1";
    /// Hash of an envelope public key.
    ENVELOPE_KEY = "PHALA/envelope/key/v1";
    /// HPKE `info` of an envelope.
    ENVELOPE_INFO = "PHALA/envelope/info/v1";
    /// First bytes of an envelope's associated data.
    ENVELOPE_AAD = "PHALA/envelope/aad/v1";
    /// What an account signs to open a session.
    SESSION_OPEN = "PHALA/session/open/v1";
    /// HPKE exporter of a session's secret.
    SESSION_SECRET = "PHALA/session/secret/v1";
    /// One-time tag of a session command.
    SESSION_TAG = "PHALA/session/tag/v1";
    /// AEAD key of one session command.
    SESSION_KEY = "PHALA/session/key/v1";
    /// What a session key signs.
    SESSION_SIGN = "PHALA/session/sign/v1";
    /// What an account signs to ask a query.
    QUERY = "PHALA/query/sign/v1";
    /// HPKE `info` of a query.
    QUERY_INFO = "PHALA/query/info/v1";
    /// HPKE exporter of a query's answer key.
    QUERY_ANSWER_KEY = "PHALA/query/answer-key/v1";
    /// HPKE exporter of the key under which the nonces of a query's answers are derived.
    QUERY_ANSWER_NONCE_KEY = "PHALA/query/answer-nonce-key/v1";
    /// The nonce of an answer, of its padded plaintext.
    QUERY_ANSWER_NONCE = "PHALA/query/answer-nonce/v1";
    /// What a worker signs under a query's answer.
    QUERY_ANSWER = "PHALA/query/answer/v1";
    /// What a worker remembers of a query that it answered.
    QUERY_SEEN = "PHALA/query/seen/v1";
    /// What a worker signs to certify its query key of an epoch.
    QUERY_KEY = "PHALA/query/key/v1";
    /// What a replica signs as its result.
    RESULT = "PHALA/result/sign/v1";
    /// What a replica signs to bind the commitments of two epochs.
    REKEY = "PHALA/result/rekey/v1";
    /// The commitment of an internal root: an HMAC under the commit key.
    COMMITMENT = "PHALA/result/commitment/v1";
    /// The salted commitment of one reply.
    REPLY = "PHALA/result/reply/v1";
    /// The salt of one reply, from the commit key.
    REPLY_SALT = "PHALA/result/reply-salt/v1";
    /// What a replica signs to announce an epoch's envelope key.
    EPOCH_KEY = "PHALA/epoch/announce/v1";
    /// Report data of a worker's or gatekeeper's evidence.
    REPORT_DATA = "PHALA/attestation/report-data/v1";
    /// A machine's pseudonym in the hardware registry.
    HARDWARE_ID = "PHALA/attestation/hardware-id/v1";
    /// A TEE's measurement over every launch-identity field.
    MEASUREMENT = "PHALA/attest/measurement/v1";
    /// What gatekeepers sign to suspend whom a list names.
    SUSPENSION = "PHALA/attestation/suspension/v1";
    /// Hash of a TEE's encryption key.
    ENCRYPTION_KEY = "PHALA/attestation/encryption-key/v1";
    /// Coefficients of a batch verification.
    SIGNATURE_BATCH = "PHALA/signature/batch/v1";
    /// Randomness of a batch verification of accounts' signatures.
    ACCOUNT_BATCH = "PHALA/signature/accounts/v1";
    /// Hedging of a signature's nonce.
    SIGNATURE_NONCE = "PHALA/signature/nonce/v1";
    /// Input of the threshold PRF.
    PRF_INPUT = "PHALA/keys/prf-input/v1";
    /// Proof that a partial evaluation is right.
    PRF_PROOF = "PHALA/keys/prf-proof/v1";
    /// Nonce of that proof.
    PRF_NONCE = "PHALA/keys/prf-nonce/v1";
    /// Output of the threshold PRF.
    PRF_OUTPUT = "PHALA/keys/prf-output/v1";
    /// Commitment to a root's public shares.
    SHARE_LIST = "PHALA/keys/share-list/v1";
    /// What every seat of a root signs.
    ROOT_RECORD = "PHALA/keys/root-record/v1";
    /// Input of the beacon.
    BEACON_INPUT = "PHALA/beacon/input/v1";
    /// Proof that a partial of the beacon is right.
    BEACON_PROOF = "PHALA/beacon/proof/v1";
    /// Nonce of that proof.
    BEACON_NONCE = "PHALA/beacon/nonce/v1";
    /// The beacon's value.
    BEACON_OUTPUT = "PHALA/beacon/output/v1";
    /// Coefficients of the check that public shares are of one key.
    BEACON_RECORD = "PHALA/beacon/record/v1";
    /// Seed of a drawing from a value of the beacon.
    BEACON_DRAW = "PHALA/beacon/draw/v1";
    /// The hash of a beacon record, as seats confirm it.
    BEACON_KEY = "PHALA/beacon/key/v1";
    /// A number of a drawing.
    BEACON_WORD = "PHALA/beacon/word/v1";
    /// What a worker signs that the beacon asks for a sign of life.
    HEARTBEAT = "PHALA/heartbeat/answer/v1";
    /// Which sharing of an identity signs.
    IDENTITY_SHARING = "PHALA/identity/sharing/v1";
    /// Entropy of the nonces of one signing session.
    IDENTITY_SIGNING = "PHALA/identity/signing/v1";
    /// The list of commitments that signers sign together.
    IDENTITY_LIST = "PHALA/identity/list/v1";
    /// What one holder sends another in a signing session.
    IDENTITY_LETTER = "PHALA/identity/letter/v1";
    /// What one attempt to reshare an identity is bound to.
    IDENTITY_SESSION = "PHALA/identity/session/v1";
    /// Hash of a dealer's package when an identity is reshared.
    IDENTITY_PACKAGE = "PHALA/identity/package/v1";
    /// Coefficients of a dealer's polynomial when an identity is reshared.
    IDENTITY_POLYNOMIAL = "PHALA/identity/polynomial/v1";
    /// Nonces with which a share of an identity signs.
    IDENTITY_NONCE = "PHALA/identity/nonce/v1";
    /// What a contract's key is away from the network's.
    IDENTITY_OFFSET = "PHALA/identity/offset/v1";
    /// The hash of the record of identities, as holders confirm it.
    IDENTITY_RECORD = "PHALA/identity/record/v1";
    /// Hash of a dealer's package in a ceremony of identities.
    IDENTITY_DEALING = "PHALA/identity/dealing/v1";
    /// What a dealer or holder signs in a ceremony of identities.
    IDENTITY_STATEMENT = "PHALA/identity/statement/v1";
    /// Challenge of the proof that a dealer knows the key that it deals.
    IDENTITY_POSSESSION = "PHALA/identity/possession/v1";
    /// Nonce of that proof.
    IDENTITY_POSSESSION_NONCE = "PHALA/identity/possession-nonce/v1";
    /// HPKE `info` of a key answer.
    KEY_ANSWER = "PHALA/keys/answer/v1";
    /// Hash of the key that a key answer is sealed to.
    ANSWER_KEY = "PHALA/keys/answer-key/v1";
    /// What a worker signs to ask for a key.
    KEY_REQUEST = "PHALA/keys/request/v1";
    /// Hash of a dealer's package in a key ceremony.
    CEREMONY_PACKAGE = "PHALA/ceremony/package/v1";
    /// What a seat signs in a key ceremony.
    CEREMONY_STATEMENT = "PHALA/ceremony/statement/v1";
    /// HPKE `info` of a sealed message between seats.
    CEREMONY_PARCEL = "PHALA/ceremony/parcel/v1";
    /// What the sender of a sealed message between seats signs.
    CEREMONY_SENDER = "PHALA/ceremony/sender/v1";
    /// Hash of what is delivered on chain in a key ceremony.
    CEREMONY_DELIVERY = "PHALA/ceremony/delivery/v1";
    /// What a gatekeeper signs to announce the key under which it receives in one attempt.
    CEREMONY_RECEIVING = "PHALA/ceremony/receiving/v1";
    /// Seed of that key pair.
    CEREMONY_RECEIVING_SEED = "PHALA/ceremony/receiving-seed/v1";
    /// Seed from which a seat draws its polynomial of the root in one attempt.
    CEREMONY_SEED = "PHALA/ceremony/seed/v1";
    /// The same, of the beacon.
    CEREMONY_BEACON_SEED = "PHALA/ceremony/beacon-seed/v1";
    /// What sealing a message between seats consumes, from a turn's entropy.
    CEREMONY_ENTROPY = "PHALA/ceremony/entropy/v1";
    /// Seed of an epoch's envelope key pair.
    EPOCH_ENVELOPE = "PHALA/epoch/envelope/v1";
    /// Storage key of an epoch.
    EPOCH_STORAGE = "PHALA/epoch/storage/v1";
    /// Commit key of an epoch.
    EPOCH_COMMIT = "PHALA/epoch/commit/v1";
    /// Entropy of an epoch.
    EPOCH_ENTROPY = "PHALA/epoch/entropy/v1";
    /// A machine's own storage key.
    STATE_LOCAL = "PHALA/state/local/v1";
    /// Locator of an entry in a machine's store.
    STATE_LOCATOR = "PHALA/state/locator/v1";
    /// AEAD of an entry in a machine's store.
    STATE_ENTRY = "PHALA/state/entry/v1";
    /// AEAD of older data keys inside the state.
    STATE_RING = "PHALA/state/ring/v1";
    /// Tags of the blocks of a machine's store, under a key of the machine.
    STATE_FILE = "PHALA/state/file/v1";
    /// A leaf of the state's commitment.
    STATE_LEAF = "PHALA/state/leaf/v1";
    /// An inner node of the state's commitment.
    STATE_NODE = "PHALA/state/node/v1";
    /// The path of a key in the state's commitment.
    STATE_PATH = "PHALA/state/path/v1";
    /// A leaf of a Merkle list.
    MERKLE_LEAF = "PHALA/merkle/leaf/v1";
    /// An inner node of a Merkle list.
    MERKLE_NODE = "PHALA/merkle/node/v1";
    /// The root of a Merkle list, with its count.
    MERKLE_ROOT = "PHALA/merkle/root/v1";
    /// Key of what an account keeps for itself on a disk.
    ACCOUNT_KEEP = "PHALA/account/keep/v1";
}

/// The labels under which keys, seeds, nonces and streams are derived. Each has a golden vector, which a test of `phala-crypto` asks for,
/// and `phala-crypto` derives under no other in builds that check (debug assertions).
pub const DERIVING: &[Domain] = &[
    EPOCH_ENVELOPE,
    EPOCH_STORAGE,
    EPOCH_COMMIT,
    EPOCH_ENTROPY,
    CONTRACT_RANDOM,
    SNAPSHOT_KEY,
    REPLY_SALT,
    SESSION_SECRET,
    SESSION_TAG,
    SESSION_KEY,
    QUERY_ANSWER_KEY,
    QUERY_ANSWER_NONCE_KEY,
    QUERY_ANSWER_NONCE,
    STATE_LOCAL,
    STATE_LOCATOR,
    STATE_ENTRY,
    STATE_RING,
    STATE_FILE,
    ACCOUNT_KEEP,
    CEREMONY_RECEIVING_SEED,
    CEREMONY_SEED,
    CEREMONY_BEACON_SEED,
    CEREMONY_ENTROPY,
    IDENTITY_POLYNOMIAL,
    IDENTITY_POSSESSION,
    IDENTITY_POSSESSION_NONCE,
    IDENTITY_SIGNING,
    IDENTITY_NONCE,
    IDENTITY_OFFSET,
    PRF_OUTPUT,
    PRF_NONCE,
    BEACON_NONCE,
    BEACON_DRAW,
    SIGNATURE_NONCE,
    SIGNATURE_BATCH,
    ACCOUNT_BATCH,
];

#[cfg(test)]
mod tests {
    use super::{ALL, DERIVING};
    use alloc::collections::BTreeSet;

    #[test]
    fn labels_are_unique_and_well_formed() {
        let mut seen = BTreeSet::new();
        for domain in ALL {
            let parts: alloc::vec::Vec<_> = domain.as_str().split('/').collect();
            assert_eq!(parts.len(), 4, "{}", domain.as_str());
            assert_eq!(parts[0], "PHALA");
            assert!(parts[3].starts_with('v'));
            assert!(domain.as_bytes().len() <= 255);
            assert!(seen.insert(domain.as_str()), "{} is declared twice", domain.as_str());
        }
    }

    #[test]
    fn labels_that_derive_are_declared_and_listed_once() {
        let listed: BTreeSet<_> = DERIVING.iter().map(|domain| domain.as_str()).collect();
        assert_eq!(listed.len(), DERIVING.len());
        assert_eq!(ALL.iter().filter(|domain| domain.derives()).count(), DERIVING.len());
        assert!(!super::CALL.derives());
    }
}
