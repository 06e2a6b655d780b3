//! Key ceremonies: hostile seats and hosts before a seat, and hostile exporters before whoever checks a transcript.
//!
//! INSECURE: the machines are simulated, on a genesis that is marked as a development one.

use crate::{assert_bounded, measured, Target, Verdict};
use codec::{DecodeAll, Encode};
use phala_client::transcript::{
    self,
    testing::{self, identities},
    Basis, FileKind, Gap, Proofs, ProvedTranscript, Recorded, Shown, TranscriptFile, VerifyError,
};
use phala_crypto::{
    transcript::{CeremonyKind, IdentityTranscript},
    Secret,
};
use phala_gatekeeper::{
    dkg::{open_parcel, verify_sender, verify_transcript, Ceremony, Transcript, View},
    verify_introduction, Facts, Verifier,
};
use phala_insecure_tee::InsecureMachine;
use phala_keys_sim::{
    members::{introduce, GENESIS},
    Members,
};
use phala_light_client::testing::TestChain;
use phala_protocol::{
    ceremony::{CeremonyAttempt, CeremonyRecord, Introduction, Parcel, ParcelKind, Phase, SignedStatement, Statement},
    Hash, WorkerId,
};
use std::sync::LazyLock;

const NOW: u64 = 1_790_000_000;
/// The attempt of that ceremony.
const OF: CeremonyAttempt = CeremonyAttempt::root(1, 0);

/// A ceremony of four seats in which all hashes stand, before its first seat.
struct World {
    members: Members,
    ids: Vec<WorkerId>,
    /// The first seat, sealed: without the package of the second, with it, and with what all others dealt.
    states: [Vec<u8>; 3],
    /// What that makes, sealed: its seat in the keys.
    seat: Vec<u8>,
    /// What the second seat sent to the first.
    package: Parcel,
    share: Parcel,
    introduction: Introduction,
    facts: Facts,
    transcript: Transcript,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);
/// A ceremony on a chain, and the file that shows it.
static SHOWN: LazyLock<testing::Ceremony> = LazyLock::new(testing::ceremony);
/// The same of ceremonies in which identities are handed over, and made.
static HANDED_OVER: LazyLock<identities::IdentityCeremony> = LazyLock::new(identities::handed_over);
static MADE: LazyLock<identities::IdentityCeremony> = LazyLock::new(identities::made);

impl World {
    fn new() -> Self {
        let members = Members::new(4);
        let ids = members.ids(4);
        let mut record = CeremonyRecord { until: 100, ..CeremonyRecord::new(1, 0, &ids) };
        let mut transcript = Transcript::default();
        transcript.observe(1, &record);
        let begin = |id: &WorkerId| Ceremony::begin(&GENESIS, id, &Secret::new(id.0), &record).unwrap();
        let mut seats: Vec<Ceremony> = ids.iter().map(begin).collect();
        let mut said: Vec<SignedStatement> = Vec::new();
        for (index, seat) in (1..).zip(&mut seats) {
            said.extend(turn(&members, seat, index, &record).0);
        }
        for (seat, signed) in record.seats.iter_mut().zip(&said) {
            if let Statement::Commit { package } = signed.statement {
                seat.package = Some(package);
            }
            transcript.note(signed);
        }
        record.phase = Phase::Share;
        transcript.observe(2, &record);

        let mut parcels: Vec<Parcel> = Vec::new();
        for (index, seat) in (1..).zip(&mut seats) {
            parcels.extend(turn(&members, seat, index, &record).1);
        }
        let sent = |from, kind| {
            let wanted = |sent: &&Parcel| (sent.header.from, sent.header.to, sent.header.kind) == (from, 1, kind);
            parcels.iter().find(wanted).unwrap().clone()
        };
        let (package, share) = (sent(2, ParcelKind::Package), sent(2, ParcelKind::Share));
        let mut first = seats.swap_remove(0);
        let without = first.to_secret_bytes().expose().clone();
        first.accept(&members.receiving(1, OF), &package).unwrap();
        let with = first.to_secret_bytes().expose().clone();
        for from in 2..=4 {
            for kind in [ParcelKind::Package, ParcelKind::Share] {
                first.accept(&members.receiving(1, OF), &sent(from, kind)).unwrap();
            }
        }
        let _ = turn(&members, &mut first, 1, &record);
        let states = [without, with, first.to_secret_bytes().expose().clone()];
        let seat = first.seat().unwrap().to_secret_bytes().expose().clone();
        let machine = InsecureMachine::new("a machine", b"the binary", NOW).unwrap();
        let announced = members.receiving(1, OF).announce(members.identity(1));
        let (introduction, facts) = introduce(members.identity(1), members.lasting(1), announced, &machine);
        Self { members, ids, states, seat, package, share, introduction, facts, transcript }
    }
}

/// A sealed seat that a ceremony made, with its share of the beacon key.
pub(super) fn dealt_seat() -> Vec<u8> {
    WORLD.seat.clone()
}

/// How one seat introduces itself to another, and what it seals for it.
pub(super) fn mail() -> (Introduction, Parcel) {
    (WORLD.introduction.clone(), WORLD.package.clone())
}

fn turn(
    members: &Members,
    seat: &mut Ceremony,
    index: u16,
    record: &CeremonyRecord,
) -> (Vec<SignedStatement>, Vec<Parcel>) {
    let entropy = Secret::new([9; 32]);
    let (identity, receiving, peers) = (members.identity(index), members.receiving(index, OF), members.peers(OF));
    let (receiving, peers) = (&*receiving, &*peers);
    let view = View { record, head: 1, now: NOW, since: 0, identity, receiving, peers, entropy: &entropy };
    let turn = seat.step(&view).unwrap();
    (turn.statements, turn.parcels)
}

/// Before a seat: what another sent.
pub static PARCELS: Target = Target {
    name: "parcels",
    covers: &["tee/gatekeeper/src/dkg/parcel.rs::open_parcel", "tee/gatekeeper/src/dkg/parcel.rs::verify_sender"],
    samples: LazyLock::new(|| vec![WORLD.package.encode(), WORLD.share.encode()]),
    check: |bytes| {
        let (decoded, peak) = measured(|| Parcel::decode_all(&mut &bytes[..]));
        assert_bounded(peak, bytes.len(), 4);
        let Ok(parcel) = decoded else { return Verdict::refused("shape") };
        let known = [&WORLD.package, &WORLD.share];
        let sent = known.contains(&&parcel);
        // What is sealed is not bound to the signature, which a seat looks at before.
        let whole = known.iter().any(|known| Parcel { signature: known.signature, ..parcel.clone() } == **known);
        let from_second = WORLD.ids.get(1).is_some_and(|second| verify_sender(&GENESIS, second, &parcel).is_ok());
        assert_eq!(from_second, sent, "somebody else's parcel passes for the second seat's");
        let opened = open_parcel(&GENESIS, WORLD.members.receiving(1, OF).secret(), &parcel);
        assert_eq!(opened.is_ok(), whole, "an altered parcel opened");
        let state = if parcel.header.kind == ParcelKind::Share { &WORLD.states[1] } else { &WORLD.states[0] };
        let mut seat = Ceremony::from_secret_bytes(&Secret::new(state.clone())).unwrap();
        match seat.accept(&WORLD.members.receiving(1, OF), &parcel) {
            Ok(()) => {
                assert!(sent, "an altered parcel was taken");
                Verdict::accepted("")
            }
            Err(refusal) => {
                assert_eq!(seat.to_secret_bytes().expose(), state, "a refused parcel changed something");
                Verdict::refused(refusal)
            }
        }
    },
    iterations: 200,
};

/// Before a seat: another that introduces itself.
pub static INTRODUCTIONS: Target = Target {
    name: "introductions",
    covers: &["tee/gatekeeper/src/peer.rs::verify_introduction"],
    samples: LazyLock::new(|| vec![WORLD.introduction.encode()]),
    check: |bytes| {
        let (decoded, peak) = measured(|| Introduction::decode_all(&mut &bytes[..]));
        assert_bounded(peak, bytes.len(), 4);
        let Ok(introduction) = decoded else { return Verdict::refused("shape") };
        match verify_introduction(&WORLD.ids[0], &introduction, &WORLD.facts, &mut Verifier::default()) {
            Ok(_) => {
                assert_eq!(introduction.registration, WORLD.introduction.registration);
                assert_eq!(introduction.announced, WORLD.introduction.announced);
                Verdict::accepted("")
            }
            Err(refusal) => Verdict::refused(refusal),
        }
    },
    iterations: 500,
};

/// What a target takes for a transcript that has no file around it: of identities, where it begins with this.
const OF_IDENTITIES: &[u8] = b"identities\n";

/// A file that is honest, the same with a gap, and the same with nothing that is proved.
fn samples_of<K: FileKind>(honest: &ProvedTranscript<K>) -> Vec<Vec<u8>> {
    let found = transcript::verify(honest, &honest.genesis, &[1; 32]).expect("the honest file holds");
    assert!(found.is_all_proved(), "the honest file is proved");
    let mut gaps = honest.clone();
    gaps.proofs.records[1] = Shown::NotProved(Gap::NoState);
    let mut bare = gaps.clone();
    let records = vec![Shown::NotProved(Gap::NoFinality); honest.proofs.records.len()];
    bare.proofs = Proofs { anchor: None, finality: Vec::new(), records, made: None };
    [honest, &gaps, &bare].map(|file| file.to_bytes().unwrap()).to_vec()
}

/// Before whoever checks one: a transcript of either kind, alone and as a file with its proofs.
pub static TRANSCRIPTS: Target = Target {
    name: "transcripts",
    covers: &[
        "common/crypto/src/transcript.rs::decode_bounded",
        "common/crypto/src/transcript.rs::verify_transcript",
        "host/client/src/transcript.rs::decode_bounded",
        "host/client/src/transcript.rs::verify",
    ],
    samples: LazyLock::new(|| {
        let handed_over = &HANDED_OVER.file;
        let alone = [OF_IDENTITIES, &handed_over.transcript.encode()].concat();
        let files = [samples_of(&SHOWN.file), samples_of(handed_over), samples_of(&MADE.file)].concat();
        [&files[..], &[WORLD.transcript.encode(), alone]].concat()
    }),
    check: |bytes| {
        if bytes.starts_with(transcript::MARK) {
            return file_of_transcript(bytes).of("file");
        }
        if let Some(bytes) = bytes.strip_prefix(OF_IDENTITIES) {
            let (decoded, peak) = measured(|| IdentityTranscript::decode_bounded(bytes));
            assert_bounded(peak, bytes.len(), 80);
            let Ok(transcript) = decoded else { return Verdict::refused("shape").of("identities") };
            let known = &HANDED_OVER.file;
            return judged(&known.genesis, &transcript, &known.transcript).of("identities");
        }
        let (decoded, peak) = measured(|| <Transcript>::decode_bounded(bytes));
        assert_bounded(peak, bytes.len(), 80);
        let Ok(transcript) = decoded else { return Verdict::refused("shape") };
        judged(&GENESIS, &transcript, &WORLD.transcript)
    },
    iterations: 1_500,
};

/// A transcript that holds has no statement of the gatekeepers of `known` beside those that they made.
fn judged<K: CeremonyKind>(
    genesis: &Hash,
    transcript: &Transcript<K, K::Statement>,
    known: &Transcript<K, K::Statement>,
) -> Verdict {
    match verify_transcript(genesis, transcript) {
        Ok(outcome) => {
            let (_, first) = &known.records[0];
            let (_, last) = transcript.records.last().expect("it holds");
            for signed in &transcript.statements {
                // Under other keys than these anything may be signed.
                let speaker = last.speaker(signed);
                let theirs = speaker.is_some() && speaker == first.speaker(signed);
                assert!(!theirs || known.statements.contains(signed), "a statement that nobody signed");
            }
            Verdict::accepted("x".repeat(outcome.confirmed.len()))
        }
        Err(error) => Verdict::refused(error),
    }
}

/// What a file says is proved is in the chain's state of that very block, whatever else the file says.
fn file_of_transcript(bytes: &[u8]) -> Verdict {
    let (decoded, peak) = measured(|| TranscriptFile::decode_bounded(bytes));
    assert_bounded(peak, bytes.len(), 80);
    match decoded {
        Ok(TranscriptFile::Root(file)) => judged_file(bytes, &file, &[&SHOWN.chain]),
        Ok(TranscriptFile::Identities(file)) => {
            judged_file(bytes, &file, &[&HANDED_OVER.chain, &MADE.chain]).of("identities")
        }
        Err(error) => Verdict::refused(error),
    }
}

/// The same of a file of either kind, for a reader of one of these chains.
fn judged_file<K: FileKind>(bytes: &[u8], file: &ProvedTranscript<K>, chains: &[&TestChain]) -> Verdict {
    assert_eq!(file.to_bytes().unwrap(), bytes, "two encodings of one file");
    // Whose hash it names is the file's choice.
    let Some(chain) = chains.iter().find(|chain| chain.genesis_hash() == file.genesis) else {
        let other = transcript::verify(file, &chains[0].genesis_hash(), &[1; 32]);
        assert!(matches!(other, Err(VerifyError::OtherChain { .. })), "a file of another chain");
        return Verdict::refused("another chain");
    };
    let (found, peak) = measured(|| transcript::verify(file, &chain.genesis_hash(), &[1; 32]));
    // One record's encoding stands for one empty node of each proof.
    let records: usize = file.transcript.records.iter().map(|(_, record)| record.encoded_size()).sum();
    assert_bounded(peak, bytes.len() + records, 80);
    let found = match found {
        Ok(found) => found,
        Err(error) => return Verdict::refused(error.to_text()),
    };
    assert_eq!(found.records.len(), file.transcript.records.len());
    for ((block, record), basis) in file.transcript.records.iter().zip(&found.records) {
        if *basis == Basis::Proved {
            assert!(*block <= chain.best(), "a block that is not there");
            let known = chain.value(*block, K::KEY);
            assert_eq!(known, Some(&record.encode()), "a record that the chain never had");
        }
    }
    if let Some(Recorded::Same(block)) = found.recorded {
        let (last, record) = file.transcript.records.last().expect("it holds");
        assert!(block > *last, "what was made is looked for before the ceremony's end");
        let value = chain.value(block, &K::made_key(record.era())).map(Vec::as_slice);
        assert!(value.is_some() && found.outcome.made.is_some(), "nothing that is compared");
        assert_eq!(record.is_made(&file.beside, &found.outcome, value), Some(true), "what the chain never had");
    }
    Verdict::accepted(format_args!("{} {}", "x".repeat(found.proved()), found.recorded.is_some()))
}

/// What a seat unsealed. Trusted for content; never a panic.
pub static CEREMONIES: Target = Target {
    name: "ceremonies",
    covers: &["tee/gatekeeper/src/dkg/stored.rs::from_secret_bytes"],
    samples: LazyLock::new(|| WORLD.states.to_vec()),
    check: |bytes| match Ceremony::from_secret_bytes(&Secret::new(bytes.to_vec())) {
        Ok(ceremony) => {
            let sealed = ceremony.to_secret_bytes();
            let again = Ceremony::from_secret_bytes(&sealed).unwrap();
            assert_eq!(again.to_secret_bytes().expose(), sealed.expose());
            Verdict::accepted("")
        }
        Err(error) => Verdict::refused(error),
    },
    iterations: 200,
};
