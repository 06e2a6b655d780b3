//! Queries: private questions to one attested worker, which never touch the chain.
//!
//! ```text
//! version u8 | cluster u32 | epoch u32 | size class u8 | X-Wing ciphertext | AEAD body of the padded SignedQuery
//! ```
//! Sealed to the worker's query key of the epoch, which its identity signs. An answer is sealed under the HPKE export, padded to a
//! size class, and signed by the identity: it is *one attested machine's word* and says so. The export belongs to the query, and
//! whoever carries a query can bring it twice: it then gets two answers under one key, of which the second (a refusal) says
//! nothing that the carrier does not know. So an answer's nonce is a PRF of what it says, under another export of the same query: two
//! answers that differ have two nonces, but for one chance in 2^96, and equal ones are the same bytes. It takes no entropy and no memory of
//! what was answered before. The cipher survives a nonce that repeats all the same.
//!
//! ```text
//! nonce key = Export("PHALA/query/answer-nonce-key/v1", 32)         key = Export("PHALA/query/answer-key/v1", 32)
//! nonce     = HKDF(nonce key, "PHALA/query/answer-nonce/v1", padded answer), 12 bytes
//! body      = AES-256-GCM-SIV(key, nonce, no associated data, padded answer)
//! ```
//!
//! Guarantees: bounded decoding. Freshness is the asker's `min_height`; a nonce is remembered until `valid_until`. Somebody
//! else's reply, data that a contract denies the asker ([`CONTRACT_DENIES`]) and a contract that does not exist are one refusal,
//! [`QueryRefusal::NotFound`]. Does not hide how long an answer takes; which contracts exist is public on the chain. The asker and the
//! host control what arrives.

use crate::{
    domain,
    envelope::{SizeClass, AEAD_TAG_BYTES, ENCAPSULATED_BYTES},
    hash_value,
    ids::{AccountId, BlockNumber, ClusterId, ContractId, Epoch, WorkerId},
    result::{ClusterResult, Reply},
    Hash,
};
use alloc::vec::Vec;
use codec::{Decode, Encode};

/// The only version there is.
pub const VERSION: u8 = 1;
const HEADER_BYTES: usize = 10;
/// The whole of the error by which a contract says that it has nothing that the caller may see. A query that ends in it is refused as one
/// to a contract that does not exist.
pub const CONTRACT_DENIES: u8 = 3;

/// The public part of a sealed query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct QueryHeader {
    /// [`VERSION`].
    pub version: u8,
    /// Which cluster is asked.
    pub cluster: ClusterId,
    /// Under which epoch's query key.
    pub epoch: Epoch,
    /// Padded to which size.
    pub size: SizeClass,
}

/// A sealed query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedQuery {
    /// The public part, which is the AEAD's associated data.
    pub header: QueryHeader,
    /// The X-Wing ciphertext.
    pub encapsulated: Vec<u8>,
    /// The AEAD's output.
    pub body: Vec<u8>,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Query {
    /// Who is asked; another worker refuses.
    pub worker: WorkerId,
    /// What is asked.
    pub request: QueryRequest,
    /// Used once.
    pub nonce: [u8; 16],
    /// The last finalised block at which the query is answered.
    pub valid_until: BlockNumber,
    /// The answer's boundary must be final on a chain of at least this height as the worker sees it.
    pub min_height: BlockNumber,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum QueryRequest {
    /// A read-only method of a contract, run as the asking account.
    #[codec(index = 0)]
    Contract {
        /// Which contract.
        contract: ContractId,
        /// Method and arguments, as the contract ABI encodes them.
        payload: Vec<u8>,
    },
    /// The reply to the asking account's own command with this nonce.
    #[codec(index = 1)]
    Reply {
        /// The command's nonce.
        nonce: u64,
    },
}

/// A query with its account's authority.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedQuery {
    /// Who asks.
    pub account: AccountId,
    /// What.
    pub query: Query,
    /// sr25519 over [`signing_payload`].
    pub signature: [u8; 64],
}

/// What a worker answers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Answer {
    /// Hash of the question: [`signing_payload`].
    pub query: Hash,
    /// The finalised block that the worker had seen.
    pub height: BlockNumber,
    /// The last vote-final result, on whose state the query ran; none before the first.
    pub state: Option<ClusterResult>,
    /// The content.
    pub content: AnswerContent,
}

/// The content of an answer.
#[expect(clippy::large_enum_variant, reason = "one lives at a time, between decoding and use")]
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AnswerContent {
    /// The contract's output.
    #[codec(index = 0)]
    Output(Vec<u8>),
    /// The contract refused with this error.
    #[codec(index = 1)]
    Reverted(Vec<u8>),
    /// The reply to a command whose result is final, with what proves it to others.
    #[codec(index = 2)]
    Reply {
        /// The reply.
        reply: Reply,
        /// Its salt.
        salt: [u8; 32],
        /// The final result that commits it.
        result: ClusterResult,
        /// Its place among that result's replies, and their number.
        position: (u32, u32),
        /// The Merkle path, leaf to root.
        path: Vec<Hash>,
    },
    /// This account's command was executed, so that its nonce is used up, and its result is not final yet. An item that was refused with the
    /// nonce still free, as a copy in another wrapper is, is nothing until its result is final.
    #[codec(index = 3)]
    Pending,
    /// Refused.
    #[codec(index = 4)]
    Refused(QueryRefusal),
}

/// Why a query was refused, as the asker reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum QueryRefusal {
    /// No such contract, no executed command of this account with this nonce, or data that the contract denies it: these are not told
    /// apart.
    #[codec(index = 0)]
    #[error("there is no such contract, or nothing there that this account may see")]
    NotFound,
    /// The nonce was used.
    #[codec(index = 1)]
    #[error("the query's nonce was already used; make a new query")]
    Replayed,
    /// `valid_until` has passed, or lies too far ahead.
    #[codec(index = 2)]
    #[error("the query has expired, or names a block too far ahead")]
    Expired,
    /// The worker has not seen `min_height`.
    #[codec(index = 3)]
    #[error("the worker has not yet seen the height that the query asks for")]
    Stale,
    /// The method wanted to write, or to draw random bytes.
    #[codec(index = 4)]
    #[error("the method writes or draws random bytes; send a command instead")]
    NotReadOnly,
    /// The contract trapped.
    #[codec(index = 5)]
    #[error("the contract trapped")]
    Trapped,
    /// The query's gas bound was reached.
    #[codec(index = 6)]
    #[error("the query ran out of gas")]
    OutOfGas,
    /// Meant for another worker, or not signed by its account.
    #[codec(index = 7)]
    #[error("the query is not signed by its account for this worker")]
    Unauthorised,
    /// The worker remembers as many queries of this lifetime as it can.
    #[codec(index = 8)]
    #[error("too many queries of this lifetime are outstanding; ask with a shorter one")]
    Crowded,
}

/// A sealed answer, as HTTP carries it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SealedAnswer {
    /// The nonce, which the padded [`Answer`] gives.
    pub nonce: [u8; 12],
    /// AES-256-GCM-SIV under the query's exported key and this nonce, over the padded [`Answer`].
    pub body: Vec<u8>,
    /// Ed25519 by the worker over [`answer_payload`].
    pub signature: [u8; 64],
}

/// A worker's query key of one epoch, certified by its identity.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct QueryKey {
    /// Whose key.
    pub worker: WorkerId,
    /// For which cluster.
    pub cluster: ClusterId,
    /// For which epoch.
    pub epoch: Epoch,
    /// X-Wing public key.
    pub public_key: Vec<u8>,
    /// Ed25519 by the worker over [`QueryKey::signing_payload`].
    pub signature: [u8; 64],
}

impl QueryKey {
    /// The 32 bytes that the worker signs.
    pub fn signing_payload(&self, genesis: &Hash) -> Hash {
        hash_value(domain::QUERY_KEY, &(genesis, self.worker, self.cluster, self.epoch, &self.public_key))
    }
}

impl SealedQuery {
    /// The query's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.encode();
        bytes.extend_from_slice(&self.encapsulated);
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Decodes a query whose length is exactly what its header says.
    pub fn decode_exact(bytes: &[u8]) -> Result<Self, QueryDecodeError> {
        let mut public = bytes.get(..HEADER_BYTES).ok_or(QueryDecodeError::Length)?;
        let header = QueryHeader::decode(&mut public).map_err(|_| QueryDecodeError::Header)?;
        if header.version != VERSION {
            return Err(QueryDecodeError::Version(header.version));
        }
        if bytes.len() != HEADER_BYTES + ENCAPSULATED_BYTES + header.size.bytes() + AEAD_TAG_BYTES {
            return Err(QueryDecodeError::Length);
        }
        let rest = bytes.get(HEADER_BYTES..).ok_or(QueryDecodeError::Length)?;
        let encapsulated = rest.get(..ENCAPSULATED_BYTES).ok_or(QueryDecodeError::Length)?;
        let body = rest.get(ENCAPSULATED_BYTES..).ok_or(QueryDecodeError::Length)?;
        Ok(Self { header, encapsulated: encapsulated.to_vec(), body: body.to_vec() })
    }
}

/// Why bytes are not a query; the fault is the asker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryDecodeError {
    /// A size class that does not exist.
    #[error("query header is malformed")]
    Header,
    /// Another version of the format.
    #[error("query version {0} is not supported; this network speaks version 1")]
    Version(u8),
    /// Not the length that the size class implies.
    #[error("query length does not match its size class")]
    Length,
}

/// The 32 bytes that an account signs to ask `query` of `cluster`.
pub fn signing_payload(genesis: &Hash, cluster: ClusterId, query: &Query) -> Hash {
    hash_value(domain::QUERY, &(genesis, cluster, query))
}

/// The 32 bytes that a worker signs under `answer`.
pub fn answer_payload(genesis: &Hash, answer: &Answer) -> Hash {
    hash_value(domain::QUERY_ANSWER, &(genesis, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_query_has_one_length_only() {
        let header = QueryHeader { version: VERSION, cluster: ClusterId(1), epoch: 2, size: SizeClass::K1 };
        let query = SealedQuery {
            header,
            encapsulated: alloc::vec![1; ENCAPSULATED_BYTES],
            body: alloc::vec![2; 1024 + AEAD_TAG_BYTES],
        };
        let bytes = query.to_bytes();
        assert_eq!(SealedQuery::decode_exact(&bytes), Ok(query));
        for length in 0..bytes.len() {
            assert!(SealedQuery::decode_exact(&bytes[..length]).is_err());
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(SealedQuery::decode_exact(&longer), Err(QueryDecodeError::Length));
    }
}
