//! `phala gatekeeper transcript`: what a node shows of a ceremony, written down for anybody to check.
//!
//! Of a ceremony of the root, or of one in which the network's identities were made or handed over. Walks back from a finalised block through
//! the node's states, as far as the ceremony's record stands in them, and takes the signed statements out of the blocks in which the record
//! changed. A statement is found by its era and attempt, wherever in an extrinsic it stands, and known by its gatekeeper's signature and by
//! the record that took it; so one that was sent within a batch is found, and one that was refused is not. Of identities it reads those that
//! were handed over, and what the chain had of them afterwards. Of each record the node is asked for what proves it, from the genesis that the
//! user pinned on; a record that it cannot prove, because it has no such state any more, is its word, and the file says so. All of it is
//! checked before it is written.

use super::transcript::{self, Told};
use crate::{
    args::{Global, TranscriptArgs},
    error::CliError,
    home, network,
    output::{note, Output},
};
use codec::{Decode, DecodeAll, Encode};
use phala_client::{
    transcript::{FileKind, ProvedTranscript},
    Chain, ClientError, ErrorCode, Network,
};
use phala_crypto::{
    signature::ed25519,
    transcript::{is_taken, Signed, Transcript, MAX_TRANSCRIPT_RECORDS},
};
use phala_protocol::{ceremony::CeremonyRecord, identities::IdentityCeremonyRecord, ids::BlockNumber, Hash};

/// Blocks in which a ceremony is looked for, and that are read of it once it is found.
const MOST_BLOCKS: usize = MAX_TRANSCRIPT_RECORDS;

/// Runs `phala gatekeeper transcript`.
pub async fn run(global: &Global, args: &TranscriptArgs, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    if args.identities {
        write::<IdentityCeremonyRecord>(&connected.network, args, output).await
    } else {
        write::<CeremonyRecord>(&connected.network, args, output).await
    }
}

async fn write<K: Told>(network: &Network, args: &TranscriptArgs, output: Output) -> Result<(), CliError> {
    let file = assemble::<K>(network, args).await?;
    // Before it is given out: a node that contradicts itself is found out here.
    let checked = transcript::check(network.genesis(), &file)?;
    let path = home::absolute(&args.output)?;
    home::write_whole(&path, &file.to_bytes()?)?;
    let mut json = checked.json();
    if let serde_json::Value::Object(object) = &mut json {
        object.insert("file".to_owned(), path.display().to_string().into());
    }
    output.data(&json, || format!("{}\nwritten to {}", checked.text(), path.display()));
    Ok(())
}

/// What a node shows of a ceremony, and what it can prove of that.
async fn assemble<K: FileKind>(network: &Network, args: &TranscriptArgs) -> Result<ProvedTranscript<K>, CliError> {
    let (chain, genesis) = (network.chain(), network.genesis());
    let found: Search<K> = find(chain, args).await?;
    if !found.from_its_beginning {
        note("note: the transcript does not begin with the ceremony: the states before are gone, or too many");
    }
    let mut transcript = found.records();
    let beside = beside(chain, &found).await?;
    // At once: a node that prunes loses the oldest of these states next.
    let proofs = network.prove_ceremony(&transcript.records, &beside, found.made()).await?;
    for run in found.runs.iter().rev() {
        for extrinsic in chain.body(&run.hash).await? {
            for statement in statements(&extrinsic, &run.record, genesis) {
                transcript.note(&statement);
            }
        }
    }
    Ok(ProvedTranscript { genesis: *genesis, transcript, beside, proofs })
}

/// What the node has beside the ceremony: in its last state, and in the one after it.
async fn beside<K: FileKind>(chain: &Chain, found: &Search<K>) -> Result<K::Beside, CliError> {
    let (mut before, mut after) = (None, None);
    let (number, hash, record) = found.last().ok_or_else(|| other_version("there is no record"))?;
    if let Some(key) = K::BESIDE {
        before = chain.storage_raw(key, Some(&hash)).await.map_err(|error| no_state(error, number))?;
        if let Some((_, number)) = found.made() {
            let hash = chain.block_hash(Some(number)).await?;
            after = chain.storage_raw(key, Some(&hash)).await.map_err(|error| no_state(error, number))?;
        }
    }
    record.beside(before.as_deref(), after.as_deref()).ok_or_else(|| {
        other_version(&format!("what stands beside the ceremony's record of block {number} is not of it"))
    })
}

fn other_version(what: &str) -> CliError {
    CliError::new(ErrorCode::Unverified, what)
        .with_hint("this program and the network's runtime are of different versions, or the node lies or is damaged")
}

async fn find<K: FileKind>(chain: &Chain, args: &TranscriptArgs) -> Result<Search<K>, CliError> {
    let finalised = chain.finalised_head().await?.number;
    let newest = args.before.map_or(finalised, |block| block.min(finalised));
    let mut search = Search::new(args.era, args.attempt);
    let mut left = MOST_BLOCKS;
    for number in (0..=newest).rev() {
        let hash = chain.block_hash(Some(number)).await?;
        let found_before = !search.runs.is_empty();
        let raw = match chain.storage_raw(K::KEY, Some(&hash)).await {
            Ok(raw) => raw,
            // The node has no older states: what it has is written down, and where it begins is said.
            Err(error) if found_before && error.code == ErrorCode::Refused => break,
            Err(error) => return Err(no_state(error, number)),
        };
        if search.take(number, hash, raw)? {
            break;
        }
        left = if found_before || search.runs.is_empty() { left.saturating_sub(1) } else { MOST_BLOCKS };
        if left == 0 {
            break;
        }
    }
    if search.runs.is_empty() {
        return Err(CliError::new(
            ErrorCode::NotFound,
            format!("no such ceremony is in the {MOST_BLOCKS} blocks before block {newest}"),
        )
        .with_hint("--before names a block of it or after it, such as that of its last event"));
    }
    Ok(search)
}

fn no_state(error: ClientError, number: BlockNumber) -> CliError {
    let unreachable = error.code == ErrorCode::Unreachable;
    let failed = CliError::from(error);
    if unreachable {
        return failed;
    }
    CliError { message: format!("of block {number}: {}", failed.message), ..failed }.with_hint(
        "a node keeps the states of its last blocks only: ask one that was started with --state-pruning archive",
    )
}

/// Successive blocks whose states have one record.
struct Run<K> {
    first: BlockNumber,
    last: BlockNumber,
    /// Of the first block.
    hash: Hash,
    record: K,
}

/// A walk from newer blocks to older ones.
struct Search<K> {
    era: Option<u32>,
    attempt: Option<u32>,
    /// The last state's record, as the node gave it.
    raw: Option<Vec<u8>>,
    /// Of what is looked for, newest first.
    runs: Vec<Run<K>>,
    /// How the attempt after the one that is looked for began: what that one led to.
    after: Option<(BlockNumber, K)>,
    from_its_beginning: bool,
    /// The newest block that was looked at.
    newest: Option<BlockNumber>,
}

impl<K: FileKind> Search<K> {
    fn new(era: Option<u32>, attempt: Option<u32>) -> Self {
        Self { era, attempt, raw: None, runs: Vec::new(), after: None, from_its_beginning: false, newest: None }
    }

    /// Takes the state of the next older block. Returns whether everything is found.
    fn take(&mut self, number: BlockNumber, hash: Hash, raw: Option<Vec<u8>>) -> Result<bool, CliError> {
        self.newest = self.newest.max(Some(number));
        let same = raw.is_some() && raw == self.raw;
        let record = raw.as_deref().map(|mut bytes| K::decode_all(&mut bytes)).transpose();
        let malformed = |_| other_version(&format!("the ceremony's record of block {number} is malformed"));
        let record = record.map_err(malformed)?;
        self.raw = raw;
        let Some(record) = record else {
            if self.runs.is_empty() {
                self.after = None;
            }
            return Ok(self.ended());
        };
        if !self.wants(&record) {
            if self.runs.is_empty() {
                let follows = self.attempt.is_some_and(|attempt| attempt.checked_add(1) == Some(record.attempt()));
                self.after = follows.then_some((number, record));
            }
            return Ok(self.ended());
        }
        self.after = self.after.take().filter(|(_, next)| next.era() == record.era());
        self.era = Some(record.era());
        match self.runs.last_mut().filter(|_| same) {
            Some(run) => (run.first, run.hash) = (number, hash),
            None => self.runs.push(Run { first: number, last: number, hash, record }),
        }
        Ok(false)
    }

    fn wants(&self, record: &K) -> bool {
        self.era.is_none_or(|era| era == record.era()) && self.attempt.is_none_or(|attempt| attempt == record.attempt())
    }

    /// Whether what was found ends here.
    fn ended(&mut self) -> bool {
        self.from_its_beginning = !self.runs.is_empty();
        self.from_its_beginning
    }

    /// The era, and the block in whose state has to be what the last record led to: the first one without the ceremony. Not where another
    /// attempt followed, as when nobody showed the record of identities that was agreed on.
    fn made(&self) -> Option<(u32, BlockNumber)> {
        let run = self.runs.first().filter(|run| self.after.is_none() && self.newest > Some(run.last))?;
        run.record.agreed()?;
        Some((run.record.era(), run.last.checked_add(1)?))
    }

    /// The last record: the number and the hash of the first block that has it.
    fn last(&self) -> Option<(BlockNumber, Hash, &K)> {
        self.runs.first().map(|run| (run.first, run.hash, &run.record))
    }

    /// The records, oldest first.
    fn records(&self) -> Transcript<K, K::Statement> {
        let mut transcript = Transcript::default();
        for run in self.runs.iter().rev() {
            transcript.observe(run.first, &run.record);
            // That nothing was added until the phase's end is news.
            transcript.observe(run.last, &run.record);
        }
        if let Some((block, next)) = &self.after {
            transcript.observe(*block, next);
        }
        transcript
    }
}

/// The signed statements in an extrinsic that the record shows as taken.
fn statements<K: FileKind>(extrinsic: &[u8], record: &K, genesis: &Hash) -> Vec<K::Statement> {
    let mark = (record.era(), record.attempt()).encode();
    let at_mark = |(position, window): (usize, &[u8])| (window == mark).then_some(position);
    let positions = extrinsic.windows(mark.len()).enumerate().filter_map(at_mark);
    let statement = |position: usize| {
        let mut rest = extrinsic.get(position..)?;
        let signed = K::Statement::decode(&mut rest).ok()?;
        let speaker = record.speaker(&signed).filter(|_| is_taken(record, &signed))?;
        let payload = Signed::payload(&signed, genesis);
        ed25519::verify(&speaker.0, &payload, Signed::signature(&signed)).is_ok().then_some(signed)
    };
    positions.filter_map(statement).collect()
}

#[cfg(test)]
mod tests;
