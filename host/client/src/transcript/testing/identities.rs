//! NEVER SHIPPED: a ceremony of identities on a chain that is made up.
//!
//! The first attempt fails, because the fourth holder confirms nothing; in the second the other three confirm, and the chain takes the record.
//! Keys are handed over by three dealers, of whom the one of index 4 is the third holder; or made by the four seats. Everything follows from
//! constants. Its inputs are tests, for whom it panics when something does not fit.

use super::super::{IdentityRecords, Proofs, ProvedTranscript, Shown, StateProof};
use super::{key, proof_from, AUTHORITIES};
use codec::Encode;
use phala_crypto::transcript::IdentityTranscript;
use phala_light_client::testing::TestChain;
use phala_protocol::{
    ceremony::Phase,
    identities::{
        end_phase, IdentityCeremonyRecord, IdentityHolder, IdentityNext, IdentityPoints, IdentityRecord,
        IdentityStatement, SignedIdentityStatement,
    },
    storage, Hash, WorkerId,
};

/// The era whose set receives the keys.
pub const ERA: u32 = 4;
/// Blocks whose records the transcript shows.
pub const BLOCKS: [u32; 7] = [1, 2, 3, 4, 5, 7, 8];
/// The block after the ceremony's last, which has the record of identities.
pub const ENDED: u32 = 9;
/// The newest block.
pub const NEWEST: u32 = 10;
/// The block that hands over to another authority set.
const HANDS_OVER: u32 = 6;
/// Justified blocks of the file, ascending.
const JUSTIFIED: [u32; 4] = [3, HANDS_OVER, 8, NEWEST];
/// From which of them each record's proof starts.
const FROM: [u32; 7] = [0, 0, 0, 1, 1, 2, 2];
/// Blocks of a phase that nobody waits for.
const PHASE: u32 = 20;

/// A ceremony of identities.
pub struct IdentityCeremony {
    /// The chain that it was on.
    pub chain: TestChain,
    /// What shows it, all of it proved.
    pub file: ProvedTranscript<IdentityCeremonyRecord>,
}

fn id(index: u8) -> WorkerId {
    WorkerId(key(index).public())
}

fn points(byte: u8) -> IdentityPoints {
    IdentityPoints { ed25519: [byte; 32], sr25519: [byte ^ 0xff; 32] }
}

fn held_by(era: u32, holders: &[(u16, u8)]) -> IdentityRecord {
    let holder = |(index, gatekeeper): &(u16, u8)| IdentityHolder {
        index: *index,
        gatekeeper: id(*gatekeeper),
        shares: points(*gatekeeper),
    };
    IdentityRecord { era, threshold: 3, keys: points(99), holders: holders.iter().map(holder).collect() }
}

/// The record of those who hand over.
pub fn former() -> IdentityRecord {
    held_by(ERA - 1, &[(1, 1), (2, 2), (4, 4)])
}

/// The record that the chain takes.
pub fn taken() -> IdentityRecord {
    held_by(ERA, &[(1, 11), (2, 12), (3, 4)])
}

/// What the holder of index 1 says at the end.
fn confirmation(genesis: &Hash) -> SignedIdentityStatement {
    let statement = IdentityStatement::Confirm { record: taken().hash() };
    let mut signed = SignedIdentityStatement { era: ERA, attempt: 1, index: 1, statement, signature: [0; 64] };
    signed.signature = key(11).sign(&signed.signing_payload(genesis));
    signed
}

/// The ceremony in which `former` is handed over, or keys are made; after it the chain has `recorded`.
pub fn ceremony_with(former: Option<&IdentityRecord>, recorded: Option<&IdentityRecord>) -> IdentityCeremony {
    let before = former.map(|former| (storage::IDENTITY.to_vec(), former.encode()));
    let mut chain = TestChain::new(7, AUTHORITIES, before);
    let genesis = chain.genesis_hash();
    let mut transcript = IdentityTranscript::default();
    let build = |chain: &mut TestChain, transcript: &mut IdentityTranscript, record: &IdentityCeremonyRecord| {
        let block = chain.build_block([(storage::IDENTITY_CEREMONY.to_vec(), Some(record.encode()))]);
        transcript.observe(block, record);
    };
    let mut record = IdentityCeremonyRecord::new(ERA, 0, former, &[11, 12, 4, 14].map(id), |_| true);
    record.begin(Phase::Commit, 1, PHASE);
    build(&mut chain, &mut transcript, &record);
    record.dealers.iter_mut().for_each(|dealer| dealer.package = Some([1; 32]));
    build(&mut chain, &mut transcript, &record);
    record.holders.iter_mut().take(3).for_each(|holder| holder.confirmed = Some([2; 32]));
    record.begin(Phase::Settle, 3, 1);
    build(&mut chain, &mut transcript, &record);
    assert_eq!(end_phase(&mut record).next, IdentityNext::Begin(Phase::Commit));
    record.begin(Phase::Commit, 4, PHASE);
    build(&mut chain, &mut transcript, &record);
    record.dealers.iter_mut().for_each(|dealer| dealer.package = Some([3; 32]));
    build(&mut chain, &mut transcript, &record);
    assert_eq!(chain.build_set_change(AUTHORITIES), HANDS_OVER);
    record.holders.iter_mut().take(3).for_each(|holder| holder.confirmed = Some(taken().hash()));
    record.begin(Phase::Share, 7, PHASE);
    build(&mut chain, &mut transcript, &record);
    assert_eq!(end_phase(&mut record).next, IdentityNext::Agreed(taken().hash()));
    record.begin(Phase::Share, 8, PHASE);
    build(&mut chain, &mut transcript, &record);
    let ended =
        [(storage::IDENTITY_CEREMONY.to_vec(), None), (storage::IDENTITY.to_vec(), recorded.map(Encode::encode))];
    assert_eq!(chain.build_block(ended), ENDED);
    assert_eq!(chain.build_blocks(1), NEWEST);

    transcript.note(&confirmation(&genesis));
    assert!(transcript.records.iter().map(|(block, _)| *block).eq(BLOCKS));
    let records = BLOCKS.iter().zip(FROM).zip(&transcript.records).map(|((block, from), (_, record))| {
        let key = &storage::IDENTITY_CEREMONY;
        Shown::Proved(proof_from(&chain, &JUSTIFIED, from, *block, key, &record.encode()))
    });
    let records = records.collect();
    let made = Some((ENDED, Shown::Proved(ended_proof(&chain, &taken().encode()))));
    let anchor = Some(chain.anchor());
    let finality = JUSTIFIED.iter().map(|block| chain.fragment(*block)).collect();
    let shown = recorded.filter(|recorded| **recorded == taken()).cloned();
    let beside = IdentityRecords { former: former.cloned(), taken: shown };
    let file = ProvedTranscript { genesis, transcript, beside, proofs: Proofs { anchor, finality, records, made } };
    IdentityCeremony { chain, file }
}

/// What shows the record of identities after the ceremony, without the node that is `known`.
pub fn ended_proof(chain: &TestChain, known: &[u8]) -> StateProof {
    proof_from(chain, &JUSTIFIED, 3, ENDED, &storage::IDENTITY, known)
}

/// The ceremony in which keys are handed over, and the chain takes the record.
pub fn handed_over() -> IdentityCeremony {
    ceremony_with(Some(&former()), Some(&taken()))
}

/// The ceremony in which the same keys are made.
pub fn made() -> IdentityCeremony {
    ceremony_with(None, Some(&taken()))
}
