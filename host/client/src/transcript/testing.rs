//! NEVER SHIPPED: ceremonies on chains that are made up, and the files that show them, for tests here and elsewhere.
//!
//! Of the root: four seats, of whom the last does not commit; the others confirm, and the chain records their root. Of identities: see
//! [`identities`]. Everything follows from constants.
//! Its inputs are tests, for whom it panics when something does not fit.
#![allow(clippy::unwrap_used, reason = "a builder for tests")]

pub mod identities;

use super::{FileKind, Proofs, ProvedTranscript, Shown, StateProof};
use codec::Encode;
use phala_crypto::{signature::ed25519::IdentityKey, transcript::Transcript, Secret};
use phala_light_client::testing::TestChain;
use phala_protocol::{
    ceremony::{CeremonyRecord, Confirmed, Fault, Phase, SignedStatement, Statement},
    chain_state::RootRecord,
    storage, WorkerId,
};

/// The era.
pub const ERA: u32 = 4;
/// What the seats confirm.
pub const KEYS: Confirmed = Confirmed { share_list: [9; 32], beacon: [8; 32] };
/// Blocks whose records the transcript shows.
pub const BLOCKS: [u32; 5] = [1, 2, 10, 11, 12];
/// The block after the ceremony's last, which has the root.
pub const ENDED: u32 = 13;
/// The newest block.
pub const NEWEST: u32 = 14;
/// The block that hands over to another authority set.
const HANDS_OVER: u32 = 5;
/// Justified blocks of the file, ascending.
const JUSTIFIED: [u32; 4] = [3, HANDS_OVER, 12, NEWEST];
/// From which of them each record's proof starts.
const FROM: [u32; 5] = [0, 0, 2, 2, 2];
/// A GRANDPA set of four lets one be absent.
const AUTHORITIES: usize = 4;

/// The identity key of the seat of `index`, from 1.
pub fn key(index: u8) -> IdentityKey {
    IdentityKey::from_seed(&Secret::new([index; 32]))
}

/// A ceremony.
pub struct Ceremony {
    /// The chain that it was on.
    pub chain: TestChain,
    /// What shows it, all of it proved.
    pub file: ProvedTranscript,
}

/// The root that the chain records.
pub fn root() -> RootRecord {
    RootRecord { era: ERA, threshold: 3, seats: ids().to_vec(), share_list: KEYS.share_list }
}

fn ids() -> [WorkerId; 4] {
    [1, 2, 3, 4].map(|index| WorkerId(key(index).public()))
}

/// The ceremony, after which the chain records `recorded` as its root.
pub fn ceremony_with(recorded: Option<&RootRecord>) -> Ceremony {
    let mut chain = TestChain::new(7, AUTHORITIES, []);
    let genesis = chain.genesis_hash();
    let mut transcript = Transcript::default();
    let mut record = CeremonyRecord::new(ERA, 0, &ids());
    let build = |chain: &mut TestChain, transcript: &mut Transcript, record: &CeremonyRecord| {
        let block = chain.build_block([(storage::CEREMONY.to_vec(), Some(record.encode()))]);
        transcript.observe(block, record);
    };
    record.begin(Phase::Commit, 1, 10);
    build(&mut chain, &mut transcript, &record);
    record.seats.iter_mut().take(3).for_each(|seat| seat.package = Some([1; 32]));
    build(&mut chain, &mut transcript, &record);
    chain.build_blocks(2);
    assert_eq!(chain.build_set_change(AUTHORITIES), HANDS_OVER);
    transcript.observe(chain.build_blocks(5), &record);
    record.seats.iter_mut().skip(3).for_each(|seat| seat.left_out = Some(Fault::Absent));
    record.begin(Phase::Share, 11, 20);
    build(&mut chain, &mut transcript, &record);
    record.seats.iter_mut().take(3).for_each(|seat| seat.confirmed = Some(KEYS));
    build(&mut chain, &mut transcript, &record);
    let ended = [(storage::CEREMONY.to_vec(), None), (CeremonyRecord::made_key(ERA), recorded.map(Encode::encode))];
    assert_eq!(chain.build_block(ended), ENDED);
    assert_eq!(chain.build_blocks(1), NEWEST);

    let mut signed =
        SignedStatement { era: ERA, attempt: 0, index: 1, statement: Statement::Confirm(KEYS), signature: [0; 64] };
    signed.signature = key(1).sign(&signed.signing_payload(&genesis));
    transcript.note(&signed);
    assert!(transcript.records.iter().map(|(block, _)| *block).eq(BLOCKS));
    let records = BLOCKS.iter().zip(FROM).zip(&transcript.records);
    let records = records.map(|((block, from), (_, record))| {
        Shown::Proved(proof(&chain, from, *block, &storage::CEREMONY, &record.encode()))
    });
    let records = records.collect();
    let made = Some((ENDED, Shown::Proved(proof(&chain, 3, ENDED, &CeremonyRecord::made_key(ERA), &[]))));
    let anchor = Some(chain.anchor());
    let finality = JUSTIFIED.iter().map(|block| chain.fragment(*block)).collect();
    let file = ProvedTranscript { genesis, transcript, beside: (), proofs: Proofs { anchor, finality, records, made } };
    Ceremony { chain, file }
}

/// The ceremony, after which the chain records its root.
pub fn ceremony() -> Ceremony {
    ceremony_with(Some(&root()))
}

/// What shows `key` in the state of `block`, from a justified header on.
pub fn proof(chain: &TestChain, from: u32, block: u32, key: &[u8], known: &[u8]) -> StateProof {
    proof_from(chain, &JUSTIFIED, from, block, key, known)
}

/// The same, where these blocks are justified.
fn proof_from(chain: &TestChain, justified: &[u32], from: u32, block: u32, key: &[u8], known: &[u8]) -> StateProof {
    let start = usize::try_from(from).ok().and_then(|from| justified.get(from)).unwrap();
    let mut nodes = chain.read_proof(block, &[key]);
    nodes.iter_mut().filter(|node| node.as_slice() == known).for_each(Vec::clear);
    StateProof { from, headers: chain.ancestry(*start, block), nodes }
}
