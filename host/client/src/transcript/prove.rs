//! Collects from a node what shows the records of a ceremony.
//!
//! Guarantees: what the node cannot show is a [`Gap`] and no failure; what it shows is put together as [`super::verify`] reads it. Nothing
//! here but the handing over of authority sets is verified: the caller asks that function before he gives the file to anybody. Older
//! blocks are asked for first, because a node that prunes loses their states next. The node controls every answer; the pinned anchor is
//! the user's.

use super::{FileKind, Gap, Proofs, Shown, StateProof, MAX_PROOFS_BYTES};
use crate::{
    entropy,
    network::{finality_proof, refused},
    ClientError, ErrorCode, Network,
};
use codec::Encode;
use phala_light_client::{limits::MAX_ANCESTORS, verify_anchor};
use phala_protocol::{
    finality::{FinalityFragment, FinalityProof},
    hash::blake2_256,
    ids::BlockNumber,
    Hash,
};
use std::collections::BTreeMap;

/// Bytes that justified headers, other headers and nodes may take together, and as many the headers that end authority sets. The rest is
/// for the genesis and for what stands between them.
const HALF: usize = MAX_PROOFS_BYTES / 2 - 1024 * 1024;

/// What shows a value, by the number of the block that is justified.
struct Found {
    justified: BlockNumber,
    headers: Vec<Vec<u8>>,
    nodes: Vec<Vec<u8>>,
}

/// What was collected so far.
#[derive(Default)]
struct Collected {
    justified: BTreeMap<BlockNumber, FinalityFragment>,
    bytes: usize,
}

impl Network {
    /// What shows these records, each in the state of its block, from the pinned genesis on, as far as the node can; and, if `made` names
    /// an era and a block after the ceremony's last, what the chain recorded of what was made in it. `beside` is what stands beside the
    /// transcript.
    pub async fn prove_ceremony<K: FileKind>(
        &self,
        records: &[(BlockNumber, K)],
        beside: &K::Beside,
        made: Option<(u32, BlockNumber)>,
    ) -> Result<Proofs, ClientError> {
        let mut collected = Collected::default();
        let mut found = Vec::with_capacity(records.len());
        for (block, record) in records {
            found.push(self.found(&mut collected, *block, K::KEY, Some(&record.encode())).await?);
        }
        let known = K::known(beside);
        let made = match made {
            Some((era, block)) => {
                let found = self.found(&mut collected, block, &K::made_key(era), known.as_deref()).await?;
                Some((block, found))
            }
            None => None,
        };
        let newest = collected.justified.keys().next_back().copied();
        let sets = match newest {
            Some(newest) => gap(self.set_changes(newest).await, Gap::NoFinality)?,
            None => Ok(BTreeMap::new()),
        };
        let sets = match sets.and_then(|sets| if bytes_of(sets.values()) > HALF { Err(Gap::TooLong) } else { Ok(sets) })
        {
            Ok(sets) => sets,
            // Without the sets nothing that was found can be checked.
            Err(gap) => {
                let none = |found: Result<Found, Gap>| Shown::NotProved(found.err().unwrap_or(gap));
                let records = found.into_iter().map(none).collect();
                let made = made.map(|(block, found)| (block, none(found)));
                return Ok(Proofs { anchor: None, finality: Vec::new(), records, made });
            }
        };
        let mut all = collected.justified;
        // Of a block that ends a set there is one header; its justification may be another one.
        all.extend(sets);
        let positions: BTreeMap<BlockNumber, u32> = all.keys().copied().zip(0u32..).collect();
        let shown = |found: Result<Found, Gap>| match found {
            Ok(Found { justified, headers, nodes }) => match positions.get(&justified) {
                Some(from) => Shown::Proved(StateProof { from: *from, headers, nodes }),
                None => Shown::NotProved(Gap::NoFinality),
            },
            Err(gap) => Shown::NotProved(gap),
        };
        Ok(Proofs {
            anchor: newest.map(|_| self.pin().anchor.clone()),
            records: found.into_iter().map(shown).collect(),
            made: made.map(|(block, found)| (block, shown(found))),
            finality: all.into_values().collect(),
        })
    }

    /// What shows `key` in the state of a block. A node that is `known` is left out.
    async fn found(
        &self,
        collected: &mut Collected,
        block: BlockNumber,
        key: &[u8],
        known: Option<&[u8]>,
    ) -> Result<Result<Found, Gap>, ClientError> {
        let justified = match gap(self.chain().justification(block).await, Gap::NoFinality)? {
            Ok(justified) => justified,
            Err(gap) => return Ok(Err(gap)),
        };
        let Some((first, later)) = justified.headers.split_first() else {
            return Err(malformed("no header"));
        };
        let hash: Hash = blake2_256(first);
        let mut nodes = match gap(self.chain().read_proof(&[key.to_vec()], &hash).await, Gap::NoState)? {
            Ok(nodes) => nodes,
            Err(gap) => return Ok(Err(gap)),
        };
        if let Some(place) = nodes.iter_mut().find(|node| Some(node.as_slice()) == known) {
            place.clear();
        }
        // Ascending from the block to the one that is justified; a proof goes down, and begins below that one.
        let (target, headers) = match later.split_last() {
            Some((target, between)) => {
                let down = between.iter().rev().chain(std::iter::once(first));
                (target, down.cloned().collect::<Vec<_>>())
            }
            None => (first, Vec::new()),
        };
        // Nobody who checks goes down as far.
        if headers.len() > MAX_ANCESTORS {
            return Ok(Err(Gap::NoFinality));
        }
        let fragment = FinalityFragment { header: target.clone(), justification: justified.justification.clone() };
        let news = !collected.justified.contains_key(&justified.number);
        let bytes = headers.encoded_size() + nodes.encoded_size() + if news { fragment.encoded_size() } else { 0 };
        let sum = collected.bytes.saturating_add(bytes);
        if sum > HALF {
            return Ok(Err(Gap::TooLong));
        }
        collected.bytes = sum;
        collected.justified.entry(justified.number).or_insert(fragment);
        Ok(Ok(Found { justified: justified.number, headers, nodes }))
    }

    /// The last header of each authority set that ended up to block `newest`, verified from the pinned genesis on.
    async fn set_changes(&self, newest: BlockNumber) -> Result<BTreeMap<BlockNumber, FinalityFragment>, ClientError> {
        let mut light = verify_anchor(self.genesis(), &self.pin().anchor).map_err(|error| refused(&error))?;
        let mut sets = BTreeMap::new();
        while light.head().number() < newest {
            let proof = self.chain().finality_proof(light.head().number()).await?;
            let decoded = FinalityProof::decode_bounded(&proof).map_err(|error| refused(&error))?;
            if decoded.fragments.is_empty() {
                return Err(ClientError::new(ErrorCode::Unverified, "the node finalised less than it justified")
                    .with_hint("the node lies or is damaged; use another one"));
            }
            for fragment in decoded.fragments {
                let alone = finality_proof(std::slice::from_ref(&fragment));
                let advance = light.advance(&alone, &entropy::fresh()?).map_err(|error| refused(&error))?;
                let number = advance.head.number();
                if advance.set_changes > 0 && number <= newest {
                    sets.insert(number, fragment);
                }
            }
        }
        Ok(sets)
    }
}

fn bytes_of<'a>(fragments: impl Iterator<Item = &'a FinalityFragment>) -> usize {
    fragments.fold(0, |sum: usize, fragment| sum.saturating_add(fragment.encoded_size()))
}

/// A node that answers that it cannot is a gap; one that does not answer, or not in form, is a failure.
fn gap<T>(answer: Result<T, ClientError>, gap: Gap) -> Result<Result<T, Gap>, ClientError> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) if matches!(error.code, ErrorCode::Refused | ErrorCode::NotFound | ErrorCode::Stale) => Ok(Err(gap)),
        Err(error) => Err(error),
    }
}

fn malformed(what: &str) -> ClientError {
    ClientError::new(ErrorCode::Unverified, format!("the node's answer to phala_justification is malformed: {what}"))
        .with_hint("the node lies or is damaged; use another one")
}
