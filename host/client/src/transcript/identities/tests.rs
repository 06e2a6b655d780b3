//! A ceremony of identities on a chain that is made in the test: the good file, and one broken part at a time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use super::super::{testing::identities::*, *};
use phala_crypto::transcript::Part;
use phala_protocol::{
    ceremony::{Fault, Reason},
    identities::IdentityRecord,
};
use std::collections::BTreeMap;

type File = ProvedTranscript<IdentityCeremonyRecord>;

fn verified(file: &File) -> Result<Verified<IdentityCeremonyRecord>, VerifyError> {
    verify(file, &file.genesis, &[1; 32])
}

fn refused(edit: impl FnOnce(&mut File)) -> VerifyError {
    let mut file = handed_over().file;
    edit(&mut file);
    verified(&file).unwrap_err()
}

#[test]
fn a_hand_over_of_identities_is_proved_from_its_beginning_to_the_record_that_the_chain_took() {
    let file = handed_over().file;
    let found = verified(&file).unwrap();
    assert!(found.is_all_proved() && found.proved() == BLOCKS.len());
    assert_eq!((found.outcome.made, found.recorded), (Some((1, taken().hash())), Some(Recorded::Same(ENDED))));
    let blamed = BTreeMap::from([(Part::Holder(4), (Fault::Absent, Some(Reason::NotConfirmed)))]);
    assert_eq!(found.outcome.blamed, BTreeMap::from([(0, blamed)]));
    let whole = file.to_bytes().unwrap();
    assert_eq!(File::decode_bounded(&whole), Ok(file.clone()));
    assert_eq!(TranscriptFile::decode_bounded(&whole), Ok(TranscriptFile::Identities(file)));
    assert_eq!(<ProvedTranscript>::decode_bounded(&whole), Err(FileError::OtherKind));
    // The record that was taken stands once in the file, and not in its proof again.
    let record = taken().encode();
    assert_eq!(whole.windows(record.len()).filter(|window| *window == record.as_slice()).count(), 1);
}

#[test]
fn keys_that_are_made_have_no_record_before_them() {
    let file = made().file;
    let found = verified(&file).unwrap();
    assert!(found.is_all_proved());
    assert_eq!((found.outcome.made, found.recorded), (Some((1, taken().hash())), Some(Recorded::Same(ENDED))));
    let mut with_former = file.clone();
    with_former.beside.former = Some(former());
    assert_eq!(verified(&with_former), Err(VerifyError::Former));
}

#[test]
fn the_record_that_was_taken_is_the_one_that_holders_confirmed_of_the_keys_that_were_handed_over() {
    assert_eq!(refused(|file| file.beside.former = None), VerifyError::Former);
    let other_keys = |file: &mut File| file.beside.former.as_mut().unwrap().keys.ed25519[0] ^= 1;
    assert_eq!(refused(other_keys), VerifyError::Former, "its hash is the ceremony's");
    // Whoever holds what is handed over deals, and as many as it takes of them: also where a record is a node's word.
    let deal = |change: fn(&mut IdentityCeremonyRecord)| {
        refused(|file| {
            file.proofs.records.fill(Shown::NotProved(Gap::NoState));
            file.transcript.records.iter_mut().for_each(|(_, record)| change(record));
        })
    };
    assert_eq!(deal(|record| record.deals = 2), VerifyError::Former);
    assert_eq!(deal(|record| record.dealers[0].gatekeeper = record.holders[3].gatekeeper), VerifyError::Former);
    let alter = |change: fn(&mut IdentityRecord)| refused(|file| change(file.beside.taken.as_mut().unwrap()));
    assert_eq!(alter(|taken| taken.keys.sr25519[0] ^= 1), VerifyError::Taken(NotShown::OtherRecord));
    assert_eq!(alter(|taken| taken.holders[0].shares.ed25519[0] ^= 1), VerifyError::Taken(NotShown::OtherRecord));
    let changes: [fn(&mut IdentityRecord); 4] = [
        |taken| taken.threshold = 2,
        |taken| taken.era += 1,
        |taken| {
            let _last = taken.holders.pop();
        },
        |taken| taken.holders[2].index = 4,
    ];
    for change in changes {
        assert_eq!(alter(change), VerifyError::Taken(NotShown::OtherHolders));
    }
    // Of a ceremony whose end is left out nothing was taken.
    let early = refused(|file| {
        file.transcript.records.truncate(5);
        file.proofs.records.truncate(5);
    });
    assert_eq!(early, VerifyError::Taken(NotShown::NotAgreed));
    // Without the record that notes the agreement, the confirmations are enough.
    let mut unnoted = handed_over().file;
    unnoted.transcript.records.pop();
    unnoted.proofs.records.pop();
    assert_eq!(verified(&unnoted).unwrap().recorded, Some(Recorded::Same(ENDED)));
}

#[test]
fn what_the_chain_has_after_the_ceremony_is_compared_with_what_is_shown() {
    // The ceremony was given up or cancelled: those who held the keys hold them.
    let kept = verified(&ceremony_with(Some(&former()), Some(&former())).file).unwrap();
    assert_eq!((kept.recorded, kept.is_all_proved()), (Some(Recorded::Nothing(ENDED)), true));
    let none = verified(&ceremony_with(None, None).file).unwrap();
    assert_eq!(none.recorded, Some(Recorded::Nothing(ENDED)));
    let other = IdentityRecord { threshold: 2, ..taken() };
    for recorded in [None, Some(&other)] {
        let file = ceremony_with(Some(&former()), recorded).file;
        assert_eq!(verified(&file).unwrap_err(), VerifyError::OtherMade(ENDED));
    }
    // What the chain has is not kept from whoever reads the file, nor shown where the chain has another.
    let hidden = refused(|file| {
        let chain = handed_over().chain;
        file.beside.taken = None;
        file.proofs.made.as_mut().unwrap().1 = Shown::Proved(ended_proof(&chain, &[]));
    });
    assert_eq!(hidden, VerifyError::OtherMade(ENDED));
    let mut claimed = ceremony_with(Some(&former()), Some(&former())).file;
    claimed.beside.taken = Some(taken());
    assert_eq!(verified(&claimed), Err(VerifyError::OtherMade(ENDED)));
    let early = refused(|file| file.proofs.made.as_mut().unwrap().0 = BLOCKS[6]);
    assert_eq!(early, VerifyError::EarlyMade(BLOCKS[6]));
    // Where nothing is proved of it, it follows from the confirmations, and that the chain took it is not said.
    let mut unproved = handed_over().file;
    unproved.proofs.made = Some((ENDED, Shown::NotProved(Gap::NoState)));
    let found = verified(&unproved).unwrap();
    assert_eq!((found.outcome.made, found.recorded), (Some((1, taken().hash())), None));
}

#[test]
fn a_ceremony_of_identities_that_is_not_the_chains_is_refused() {
    let unsigned = refused(|file| file.transcript.statements[0].signature[0] ^= 1);
    assert_eq!(unsigned, VerifyError::Transcript(TranscriptError::BadSignature(0)));
    let other = refused(|file| {
        for (_, record) in &mut file.transcript.records {
            record.dealers[1].package = record.dealers[1].package.map(|_| [7; 32]);
        }
    });
    assert!(matches!(other, VerifyError::State { block: 2, .. }));
    let moved = refused(|file| file.transcript.records[5].0 = 6);
    assert_eq!(moved, VerifyError::OtherBlock { block: 6, shown: 7 });
    assert_eq!(refused(|file| drop(file.proofs.records.pop())), VerifyError::Count { proofs: 6, records: 7 });
    let file = handed_over().file;
    assert!(matches!(verify(&file, &[9; 32], &[1; 32]), Err(VerifyError::OtherChain { .. })));
    let mut words = file.clone();
    words.proofs.records.fill(Shown::NotProved(Gap::NoFinality));
    assert_eq!(verified(&words).unwrap().proved(), 0);
}
