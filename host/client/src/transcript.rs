//! A ceremony's transcript as a file, with what shows offline that its records are the chain's.
//!
//! `phala-ceremony-record-4` is bytes: [`MARK`], which kind of ceremony it is of ([`FileKind::TAG`]), the 32 bytes of the chain's genesis hash,
//! the length of the transcript (4 bytes, little-endian), SCALE of the [`Transcript`], and SCALE of what stands beside it
//! ([`FileKind::Beside`]) and of its [`Proofs`]. A proof of a record is a header that the chain's authorities finalised, the headers from there
//! down to the record's block, and nodes of a storage proof of the ceremony's record in that block's state.
//!
//! Of a ceremony of identities stand beside the transcript the record of those that were handed over, whose hash the ceremony's records have,
//! and the one that the chain has afterwards, which is of the holders that confirmed its hash, and of the same keys.
//!
//! Guarantees: [`verify`] is a pure function of the file, the pinned genesis hash and entropy, and a record is called proved only if the
//! chain with that genesis finalised a block of that number whose state has this very record. One that is not proved is the word of the
//! node that it was read from, and the file says why. A file that contradicts itself, or has a proof that does not hold, is refused whole.
//! Sizes are bounded before anything is decoded, and checking takes time in proportion to the file.
//!
//! It does not show: that no record or statement is left out; what blocks held between those that are shown; that the chain is still
//! there; that the points of a record of identities are points, or its shares of one key. Whoever made the file controls all of it; the pinned
//! hash and the entropy are the reader's.

mod identities;
mod kind;
mod prove;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use identities::IdentityRecords;
pub use kind::FileKind;

use crate::{entropy, error::chain_of, network::finality_proof, ClientError, ErrorCode};
use codec::{Decode, DecodeWithMemLimit, DecodeWithMemTracking, Encode};
use phala_crypto::transcript::{
    verify_transcript, CeremonyKind, OutcomeOf, Transcript, TranscriptError, MAX_TRANSCRIPT_BYTES,
};
use phala_light_client::{
    encode_proof, verify_ancestors, verify_anchor, verify_storage_value, AncestryError, AnchorError, FinalityError,
    LightClient, ProofError, VerifiedHeader,
};
use phala_protocol::{
    ceremony::CeremonyRecord,
    finality::{FinalityFragment, GenesisAnchor},
    identities::{IdentityCeremonyRecord, NotShown},
    ids::{to_hex, BlockNumber},
    Hash,
};

/// What a file begins with: what it is, and in which form.
pub const MARK: &[u8; 24] = b"phala-ceremony-record-4\n";
/// What files of every form begin with.
const ANY_MARK: &[u8] = b"phala-ceremony-record-";
/// Bytes that the proofs of a transcript have at most, with what stands beside it: those of some thousands of records, and of a thousand
/// authority sets.
pub const MAX_PROOFS_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that a file has at most.
pub const MAX_FILE_BYTES: usize = MARK.len() + 1 + 32 + 4 + MAX_TRANSCRIPT_BYTES + MAX_PROOFS_BYTES;
/// Bytes of memory that proofs take at most: an empty header or node is one byte of the encoding, and 24 of memory.
const MAX_PROOFS_MEMORY: usize = 128 * 1024 * 1024;

/// A transcript with its proofs: of a ceremony of the root, unless another kind is named. Holding one proves nothing; [`verify`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedTranscript<K: FileKind = CeremonyRecord> {
    /// The chain that it says it is of.
    pub genesis: Hash,
    /// What was seen.
    pub transcript: Transcript<K, K::Statement>,
    /// What belongs to it and is no part of the ceremony.
    pub beside: K::Beside,
    /// What shows it.
    pub proofs: Proofs,
}

/// A transcript of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TranscriptFile {
    /// Of a ceremony of the root and the beacon.
    Root(ProvedTranscript),
    /// Of one in which identities were made or handed over.
    Identities(ProvedTranscript<IdentityCeremonyRecord>),
}

/// What shows the records of a transcript.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct Proofs {
    /// The genesis header and the chain's first authorities; needed if anything is proved.
    pub anchor: Option<GenesisAnchor>,
    /// Justified headers, ascending: the last one of each authority set that ended, and those that proofs start from.
    pub finality: Vec<FinalityFragment>,
    /// For each record of the transcript, in its order.
    pub records: Vec<Shown>,
    /// For the block after the ceremony's last: what the chain recorded of what it made ([`FileKind::made_key`]). None if nobody looked.
    pub made: Option<(BlockNumber, Shown)>,
}

/// Whether something of a state is proved.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub enum Shown {
    /// By this.
    #[codec(index = 0)]
    Proved(StateProof),
    /// It is a node's word, and why.
    #[codec(index = 1)]
    NotProved(Gap),
}

/// What shows a value in the state of one block.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct StateProof {
    /// Position, among the justified headers, of the one to start from.
    pub from: u32,
    /// Headers from the parent of that one down to the block's own; none if it is the block's own.
    pub headers: Vec<Vec<u8>>,
    /// Nodes of the storage proof. Of a record's, the first that is empty stands for the record as the file has it: in a state of the
    /// chain's version a value of more than 32 bytes is a node of its own.
    pub nodes: Vec<Vec<u8>>,
}

/// Why something is not proved. The word of whoever made the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking)]
pub enum Gap {
    /// The node that was asked had no state of the block any more.
    #[codec(index = 0)]
    NoState,
    /// The node that was asked had no justification at or near the block.
    #[codec(index = 1)]
    NoFinality,
    /// The proofs would have been longer than a file may have them.
    #[codec(index = 2)]
    TooLong,
}

impl Gap {
    /// As scripts read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoState => "no_state",
            Self::NoFinality => "no_finality",
            Self::TooLong => "too_long",
        }
    }
}

/// What a record's truth rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Finality, from the pinned genesis on.
    Proved,
    /// The word of the node that it was read from.
    Word(Gap),
}

/// What the chain recorded of what a ceremony made, where that is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// What the file shows.
    Same(BlockNumber),
    /// Nothing new in the state of this block. Of a root: governance had recorded one by hand, or the ceremony made none. Of identities: they
    /// are not made, or still held by those who dealt.
    Nothing(BlockNumber),
}

/// What holds of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<K: CeremonyKind = CeremonyRecord> {
    /// What the transcript shows.
    pub outcome: OutcomeOf<K>,
    /// What each record rests on, in their order.
    pub records: Vec<Basis>,
    /// What the chain recorded of what was made; none if that is not proved.
    pub recorded: Option<Recorded>,
}

impl<K: CeremonyKind> Verified<K> {
    /// How many records are proved.
    pub fn proved(&self) -> usize {
        self.records.iter().filter(|basis| **basis == Basis::Proved).count()
    }

    /// Whether all of them are.
    pub fn is_all_proved(&self) -> bool {
        self.proved() == self.records.len()
    }
}

/// Why bytes are no file that can be looked at; the fault is whoever made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Something else.
    #[error("the file is no transcript of a ceremony")]
    Other,
    /// A transcript of another form.
    #[error("the file is a transcript of a ceremony in another form than the one that this program reads")]
    OtherForm,
    /// A transcript of the other kind of ceremony than the one that was asked for.
    #[error("the file is a transcript of another kind of ceremony")]
    OtherKind,
    /// Longer than one may be.
    #[error("the file is longer than a transcript may be")]
    TooLong,
    /// The transcript in it is none.
    #[error("{0}")]
    Transcript(TranscriptError),
    /// What follows the transcript is none of proofs.
    #[error("the proofs of the transcript are malformed")]
    Proofs,
}

/// Why a file does not hold; the fault is whoever made it, or the node that it is from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Of another chain.
    #[error("it is of the chain {named}, not of {pinned}")]
    OtherChain {
        /// The chain that it names.
        named: String,
        /// The chain that it has to be of.
        pinned: String,
    },
    /// The transcript contradicts itself.
    #[error("{0}")]
    Transcript(TranscriptError),
    /// Proofs of another number of records.
    #[error("it has proofs of {proofs} records, and {records} records")]
    Count {
        /// What the proofs are of.
        proofs: usize,
        /// What there is.
        records: usize,
    },
    /// The genesis or its first authorities do not hold.
    #[error("its genesis does not hold")]
    Genesis(#[source] AnchorError),
    /// A header is not finalised by the chain's authorities.
    #[error("its justified header {position} does not hold")]
    Finality {
        /// Index among them.
        position: usize,
        /// Why.
        #[source]
        reason: FinalityError,
    },
    /// A proof names a header that is not there.
    #[error("the proof of block {0} starts from a header that is not there")]
    NoHeader(BlockNumber),
    /// Headers do not lead to the block.
    #[error("the headers of the proof of block {block} do not lead to it")]
    Ancestry {
        /// The block.
        block: BlockNumber,
        /// Why.
        #[source]
        reason: AncestryError,
    },
    /// Headers lead to another block.
    #[error("the proof of block {block} is of block {shown}")]
    OtherBlock {
        /// The block.
        block: BlockNumber,
        /// What is shown.
        shown: BlockNumber,
    },
    /// Nodes do not show what the state has.
    #[error("the storage proof of block {block} does not hold, or is not of the record that is shown")]
    State {
        /// The block.
        block: BlockNumber,
        /// Why.
        #[source]
        reason: ProofError,
    },
    /// The state has another record than the transcript.
    #[error("the chain's record in block {0} is another than the one that is shown")]
    OtherRecord(BlockNumber),
    /// The record of identities that was handed over is not there, not the one whose hash the ceremony has, or of others than its dealers.
    #[error("the record of the identities that were handed over is not the one that the ceremony names")]
    Former,
    /// The record of identities that is shown as what the chain took is not what the ceremony led to.
    #[error("the record of identities that is shown is not what the ceremony led to")]
    Taken(#[source] NotShown),
    /// The state has something else than what the file shows to be made.
    #[error("what the chain has in block {0} is another than what the ceremony made")]
    OtherMade(BlockNumber),
    /// What was made is looked for in a block of the ceremony itself, or before it.
    #[error("what was made is shown in block {0}, in which the ceremony had not ended")]
    EarlyMade(BlockNumber),
}

impl VerifyError {
    /// The message with all of its reasons.
    pub fn to_text(&self) -> String {
        chain_of(self)
    }
}

impl TranscriptFile {
    /// Reads a file of either kind within its bounds. Judges nothing.
    pub fn decode_bounded(bytes: &[u8]) -> Result<Self, FileError> {
        match tag_of(bytes)?.0 {
            <CeremonyRecord as FileKind>::TAG => ProvedTranscript::decode_bounded(bytes).map(Self::Root),
            <IdentityCeremonyRecord as FileKind>::TAG => ProvedTranscript::decode_bounded(bytes).map(Self::Identities),
            _ => Err(FileError::Other),
        }
    }
}

/// Which kind a file says that it is of, and what follows.
fn tag_of(bytes: &[u8]) -> Result<(u8, &[u8]), FileError> {
    let Some(rest) = bytes.strip_prefix(MARK.as_slice()) else {
        return Err(if bytes.starts_with(ANY_MARK) { FileError::OtherForm } else { FileError::Other });
    };
    rest.split_first().map(|(tag, rest)| (*tag, rest)).ok_or(FileError::Other)
}

impl<K: FileKind> ProvedTranscript<K> {
    /// The bytes of a file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ClientError> {
        let transcript = self.transcript.encode();
        let proofs = [self.beside.encode(), self.proofs.encode()].concat();
        let length = u32::try_from(transcript.len()).ok().filter(|_| transcript.len() <= MAX_TRANSCRIPT_BYTES);
        let (Some(length), true) = (length, proofs.len() <= MAX_PROOFS_BYTES) else {
            return Err(ClientError::new(ErrorCode::OverLimit, "the transcript is longer than one may be")
                .with_hint("name one attempt alone with --attempt"));
        };
        Ok([&MARK[..], &[K::TAG], &self.genesis, &length.to_le_bytes(), &transcript, &proofs].concat())
    }

    /// Reads a file of this kind within its bounds. Judges nothing.
    pub fn decode_bounded(bytes: &[u8]) -> Result<Self, FileError> {
        let (tag, rest) = tag_of(bytes)?;
        if tag != K::TAG {
            return Err(FileError::OtherKind);
        }
        if bytes.len() > MAX_FILE_BYTES {
            return Err(FileError::TooLong);
        }
        let (genesis, rest) = rest.split_first_chunk::<32>().ok_or(FileError::Other)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(FileError::Other)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| FileError::TooLong)?;
        let (transcript, proofs) = rest.split_at_checked(length).ok_or(FileError::Other)?;
        if proofs.len() > MAX_PROOFS_BYTES {
            return Err(FileError::TooLong);
        }
        let transcript = Transcript::decode_bounded(transcript).map_err(FileError::Transcript)?;
        let mut rest = proofs;
        match <(K::Beside, Proofs)>::decode_with_mem_limit(&mut rest, MAX_PROOFS_MEMORY) {
            Ok((beside, proofs)) if rest.is_empty() => Ok(Self { genesis: *genesis, transcript, beside, proofs }),
            _ => Err(FileError::Proofs),
        }
    }
}

/// Checks a file for the chain whose genesis hash is `pinned`. `entropy` is fresh and unknown to whoever made the file.
pub fn verify<K: FileKind>(
    file: &ProvedTranscript<K>,
    pinned: &Hash,
    entropy: &[u8; 32],
) -> Result<Verified<K>, VerifyError> {
    let ProvedTranscript { genesis, transcript, beside, proofs } = file;
    if genesis != pinned {
        return Err(VerifyError::OtherChain { named: to_hex(genesis), pinned: to_hex(pinned) });
    }
    let outcome = verify_transcript(pinned, transcript).map_err(VerifyError::Transcript)?;
    if let Some((_, record)) = transcript.records.last() {
        record.check_beside(beside)?;
    }
    if proofs.records.len() != transcript.records.len() {
        return Err(VerifyError::Count { proofs: proofs.records.len(), records: transcript.records.len() });
    }
    let heads = finalised(pinned, proofs, entropy)?;
    let mut records = Vec::with_capacity(proofs.records.len());
    for ((block, record), shown) in transcript.records.iter().zip(&proofs.records) {
        let basis = match shown {
            Shown::NotProved(gap) => Basis::Word(*gap),
            Shown::Proved(proof) => {
                let record = record.encode();
                let value = proved(&heads, *block, proof, K::KEY, Some(&record))?;
                if value.as_deref() != Some(record.as_slice()) {
                    return Err(VerifyError::OtherRecord(*block));
                }
                Basis::Proved
            }
        };
        records.push(basis);
    }
    let recorded = recorded(&heads, file, &outcome)?;
    Ok(Verified { outcome, records, recorded })
}

/// [`verify`] with the system's entropy.
pub fn verify_now<K: FileKind>(
    file: &ProvedTranscript<K>,
    pinned: &Hash,
) -> Result<Result<Verified<K>, VerifyError>, ClientError> {
    Ok(verify(file, pinned, &entropy::fresh()?))
}

/// The headers of the finality proof, each finalised by the set that those before it handed over to.
fn finalised(pinned: &Hash, proofs: &Proofs, entropy: &[u8; 32]) -> Result<Vec<VerifiedHeader>, VerifyError> {
    let Some(anchor) = &proofs.anchor else { return Ok(Vec::new()) };
    let mut light: LightClient = verify_anchor(pinned, anchor).map_err(VerifyError::Genesis)?;
    let mut heads = Vec::new();
    for (position, fragment) in proofs.finality.iter().enumerate() {
        // One by one: of several the light client wants all but the last to end a set.
        let advanced = light.advance(&finality_proof(std::slice::from_ref(fragment)), entropy);
        heads.push(advanced.map_err(|reason| VerifyError::Finality { position, reason })?.head);
    }
    Ok(heads)
}

/// The value of `key` in the state of `block`, or that it has none. The first empty node stands for `known`.
fn proved(
    heads: &[VerifiedHeader],
    block: BlockNumber,
    proof: &StateProof,
    key: &[u8],
    known: Option<&[u8]>,
) -> Result<Option<Vec<u8>>, VerifyError> {
    let head = usize::try_from(proof.from).ok().and_then(|from| heads.get(from));
    let head = head.ok_or(VerifyError::NoHeader(block))?;
    let header = if proof.headers.is_empty() {
        head.clone()
    } else {
        verify_ancestors(head, &proof.headers).map_err(|reason| VerifyError::Ancestry { block, reason })?
    };
    if header.number() != block {
        return Err(VerifyError::OtherBlock { block, shown: header.number() });
    }
    let mut nodes = proof.nodes.clone();
    // One alone: a file must not make a long record many times as long.
    if let (Some(place), Some(known)) = (nodes.iter_mut().find(|node| node.is_empty()), known) {
        *place = known.to_vec();
    }
    verify_storage_value(&header, &encode_proof(&nodes), key).map_err(|reason| VerifyError::State { block, reason })
}

/// What the chain recorded of what was made, compared with what the file shows.
fn recorded<K: FileKind>(
    heads: &[VerifiedHeader],
    file: &ProvedTranscript<K>,
    outcome: &OutcomeOf<K>,
) -> Result<Option<Recorded>, VerifyError> {
    let Some((block, Shown::Proved(proof))) = &file.proofs.made else { return Ok(None) };
    let Some((last, record)) = file.transcript.records.last() else { return Ok(None) };
    if block <= last {
        return Err(VerifyError::EarlyMade(*block));
    }
    let known = K::known(&file.beside);
    let value = proved(heads, *block, proof, &K::made_key(record.era()), known.as_deref())?;
    match record.is_made(&file.beside, outcome, value.as_deref()) {
        Some(true) => Ok(Some(Recorded::Same(*block))),
        Some(false) => Ok(Some(Recorded::Nothing(*block))),
        None => Err(VerifyError::OtherMade(*block)),
    }
}

#[cfg(test)]
mod tests;
