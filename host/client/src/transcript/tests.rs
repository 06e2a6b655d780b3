//! A ceremony on a chain that is made in the test: the good file, and one broken part at a time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use super::{testing::*, *};
use phala_protocol::{ceremony::Phase, chain_state::RootRecord, storage};

fn verified(file: &ProvedTranscript) -> Result<Verified, VerifyError> {
    verify(file, &file.genesis, &[1; 32])
}

/// What the check says of a file that `edit` altered.
fn refused(edit: impl FnOnce(&mut ProvedTranscript)) -> VerifyError {
    let mut file = ceremony().file;
    edit(&mut file);
    verified(&file).unwrap_err()
}

fn state(proofs: &mut Proofs, record: usize) -> &mut StateProof {
    let Shown::Proved(proof) = &mut proofs.records[record] else { panic!("proved") };
    proof
}

#[test]
fn a_record_is_proved_if_the_chain_finalised_a_block_that_has_it() {
    let file = ceremony().file;
    let found = verified(&file).unwrap();
    assert_eq!(found.records, [Basis::Proved; 5]);
    assert!(found.is_all_proved() && found.proved() == 5);
    assert_eq!((found.outcome.made, found.recorded), (Some((0, KEYS)), Some(Recorded::Same(ENDED))));
    // The record itself stands once in the file, and not in its proof again.
    let record = file.transcript.records[0].1.encode();
    let whole = file.to_bytes().unwrap();
    assert_eq!(whole.windows(record.len()).filter(|window| *window == record.as_slice()).count(), 1);
    assert_eq!(<ProvedTranscript>::decode_bounded(&whole), Ok(file.clone()));
    // It may stand there all the same.
    let mut repeated = file.clone();
    let nodes = &mut state(&mut repeated.proofs, 0).nodes;
    let place = nodes.iter_mut().find(|node| node.is_empty()).unwrap();
    *place = record;
    assert_eq!(verified(&repeated), Ok(found));
}

#[test]
fn what_a_node_could_not_prove_is_its_word_and_the_file_says_why() {
    let mut file = ceremony().file;
    for (record, gap) in [(0, Gap::NoState), (3, Gap::NoFinality), (4, Gap::TooLong)] {
        file.proofs.records[record] = Shown::NotProved(gap);
    }
    file.proofs.made = Some((ENDED, Shown::NotProved(Gap::NoState)));
    let found = verified(&file).unwrap();
    let word = [Basis::Word(Gap::NoState), Basis::Word(Gap::NoFinality), Basis::Word(Gap::TooLong)];
    assert_eq!(found.records, [word[0], Basis::Proved, Basis::Proved, word[1], word[2]]);
    assert_eq!((found.proved(), found.is_all_proved(), found.recorded), (2, false, None));
    assert_eq!(<ProvedTranscript>::decode_bounded(&file.to_bytes().unwrap()), Ok(file.clone()));
    // Nothing proved needs no genesis.
    file.proofs =
        Proofs { anchor: None, finality: Vec::new(), records: vec![Shown::NotProved(Gap::NoFinality); 5], made: None };
    assert_eq!(verified(&file).unwrap().proved(), 0);
    assert_eq!(verified(&file).unwrap().outcome.made, Some((0, KEYS)), "what it shows is the same");
}

#[test]
fn a_record_that_is_not_the_chains_has_no_proof_that_holds() {
    // The transcript alone does not contradict itself.
    let other = |file: &mut ProvedTranscript| {
        for (_, record) in &mut file.transcript.records {
            record.seats[1].package = record.seats[1].package.map(|_| [7; 32]);
        }
    };
    assert!(matches!(refused(other), VerifyError::State { block: 2, .. }));
    // With the chain's own record in the proof it is said to be another.
    let honest = ceremony().file.transcript.records[1].1.encode();
    let error = refused(|file| {
        other(file);
        let nodes = &mut state(&mut file.proofs, 1).nodes;
        *nodes.iter_mut().find(|node| node.is_empty()).unwrap() = honest;
    });
    assert_eq!(error, VerifyError::OtherRecord(2));
    // The record of a block is not that of the next one.
    let error = refused(|file| file.transcript.records[2].0 = 9);
    assert_eq!(error, VerifyError::OtherBlock { block: 9, shown: 10 });
    // A ceremony that is over is in no state.
    let made_up = refused(|file| {
        let chain = ceremony().chain;
        let (_, record) = file.transcript.records[4].clone();
        file.transcript.records.push((ENDED, CeremonyRecord { phase: Phase::Share, until: 40, ..record }));
        file.proofs.records.push(Shown::Proved(proof(&chain, 3, ENDED, &storage::CEREMONY, &[])));
        file.proofs.made = None;
    });
    assert_eq!(made_up, VerifyError::OtherRecord(ENDED));
}

#[test]
fn a_proof_that_does_not_hold_refuses_the_file() {
    type Case = (&'static str, fn(&mut Proofs));
    let cases: [Case; 13] = [
        ("header", |proofs| state(proofs, 0).from = 9),
        ("header", |proofs| proofs.anchor = None),
        ("header", |proofs| proofs.finality.truncate(2)),
        ("block", |proofs| drop(state(proofs, 0).headers.pop())),
        ("block", |proofs| state(proofs, 2).headers.clear()),
        ("ancestry", |proofs| state(proofs, 0).headers.swap(0, 1)),
        ("ancestry", |proofs| state(proofs, 0).from = 1),
        ("state", |proofs| state(proofs, 1).nodes.iter_mut().find(|node| !node.is_empty()).unwrap()[3] ^= 1),
        ("state", |proofs| state(proofs, 1).nodes.push(Vec::new())),
        ("state", |proofs| state(proofs, 1).nodes.clear()),
        ("genesis", |proofs| proofs.anchor.as_mut().unwrap().header[40] ^= 1),
        ("finality", |proofs| proofs.finality[2].justification[60] ^= 1),
        // Without the header that hands over, nothing of the next set holds.
        ("finality", |proofs| drop(proofs.finality.remove(1))),
    ];
    for (part, edit) in cases {
        let error = refused(|file| edit(&mut file.proofs));
        let named = match error {
            VerifyError::NoHeader(_) => "header",
            VerifyError::OtherBlock { .. } => "block",
            VerifyError::Ancestry { .. } => "ancestry",
            VerifyError::State { .. } => "state",
            VerifyError::Genesis(_) => "genesis",
            VerifyError::Finality { .. } => "finality",
            _ => "another",
        };
        assert_eq!(named, part, "{}", error.to_text());
    }
    assert_eq!(refused(|file| drop(file.proofs.records.pop())), VerifyError::Count { proofs: 4, records: 5 });
    let file = ceremony().file;
    assert!(matches!(verify(&file, &[9; 32], &[1; 32]), Err(VerifyError::OtherChain { .. })));
    let unsigned = refused(|file| file.transcript.statements[0].signature[0] ^= 1);
    assert_eq!(unsigned, VerifyError::Transcript(TranscriptError::BadSignature(0)));
}

#[test]
fn the_root_that_the_chain_recorded_is_compared_with_the_one_that_is_shown() {
    let found = verified(&ceremony_with(None).file).unwrap();
    assert_eq!(found.recorded, Some(Recorded::Nothing(ENDED)));
    assert!(found.is_all_proved());
    for other in [
        RootRecord { share_list: [1; 32], ..root() },
        RootRecord { threshold: 2, ..root() },
        RootRecord { seats: Vec::new(), ..root() },
    ] {
        let error = verified(&ceremony_with(Some(&other)).file).unwrap_err();
        assert_eq!(error, VerifyError::OtherMade(ENDED));
    }
    let early = refused(|file| {
        if let Some((block, _)) = &mut file.proofs.made {
            *block = BLOCKS[4];
        }
    });
    assert_eq!(early, VerifyError::EarlyMade(BLOCKS[4]));
}

#[test]
fn a_file_is_read_within_its_bounds_and_nothing_else_is_a_transcript() {
    let good = ceremony().file.to_bytes().unwrap();
    let read = |bytes: &[u8]| <ProvedTranscript>::decode_bounded(bytes).map(|_| ()).unwrap_err();
    // The form before this one had no kind, and began with the genesis.
    let older = [&b"phala-ceremony-record-3\n"[..], &good[MARK.len() + 1..]].concat();
    let mut long = good.clone();
    long[MARK.len() + 33..][..4].fill(0xff);
    for (bytes, error) in [
        (&b"{}"[..], FileError::Other),
        (&good[..40], FileError::Other),
        (&good[..200], FileError::Other),
        (&long[..], FileError::Other),
        (&older[..], FileError::OtherForm),
        (&[&good[..], &[0]].concat()[..], FileError::Proofs),
        (&good[..good.len() - 1], FileError::Proofs),
    ] {
        assert_eq!(read(bytes), error);
    }
    let mut malformed = good.clone();
    malformed[MARK.len() + 37..][..4].fill(0xff);
    assert_eq!(read(&malformed), FileError::Transcript(TranscriptError::Malformed));
    let mut endless = good.clone();
    endless.resize(MAX_FILE_BYTES + 1, 0);
    assert_eq!(read(&endless), FileError::TooLong);
    // Which kind it is of is the file's to say, and read as no other.
    let either = TranscriptFile::decode_bounded(&good);
    assert_eq!(either, Ok(TranscriptFile::Root(ceremony().file)));
    let mut other = good.clone();
    other[MARK.len()] = <IdentityCeremonyRecord as FileKind>::TAG;
    assert_eq!(read(&other), FileError::OtherKind);
    assert!(matches!(TranscriptFile::decode_bounded(&other), Err(FileError::Transcript(_))));
    other[MARK.len()] = 2;
    assert_eq!(TranscriptFile::decode_bounded(&other), Err(FileError::Other));
    assert_eq!(TranscriptFile::decode_bounded(&older), Err(FileError::OtherForm));
    assert_eq!(TranscriptFile::decode_bounded(MARK), Err(FileError::Other));
}
