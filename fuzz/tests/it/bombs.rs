//! Inputs too long for the targets: as many bytes as a decoder takes, made to cost as much memory as they can.

use codec::{Compact, Encode};
use phala_client::{
    abi::{AbiError, Budget, Kind, Metadata, Method, Type, MAX_DECODED_BYTES},
    beacon::{BeaconProof, BeaconProofError},
    transcript::{self, FileError, FileKind, ProvedTranscript, TranscriptFile},
};
use phala_crypto::transcript::{verify_transcript, IdentityTranscript, TranscriptError};
use phala_fuzz::measured;
use phala_light_client::{testing::TestChain, verify_anchor, FinalityError};
use phala_protocol::{
    finality::FinalityProof,
    limits::{MAX_FINALITY_FRAGMENTS, MAX_FINALITY_PROOF_BYTES},
    relay::{Delivery, DeliveryDecodeError, MAX_DELIVERY_BYTES},
};
use serde_json::json;

/// `count` as SCALE has it, before as many zeros as reach `length` bytes.
fn many(before: &[u8], count: u32, length: usize) -> Vec<u8> {
    let mut bytes = [before, &Compact(count).encode()].concat();
    bytes.resize(length, 0);
    bytes
}

#[test]
fn a_delivery_of_empty_parts_is_refused_before_it_fills_the_memory() {
    // One byte a part on the wire, 24 in memory: a proof, code, then items, answers and inquiries.
    for before in [&[0][..], &[0, 0, 0], &[0, 0]] {
        let bytes = many(before, (MAX_DELIVERY_BYTES - 64) as u32, MAX_DELIVERY_BYTES);
        let (decoded, peak) = measured(|| Delivery::decode_bounded(&bytes));
        assert_eq!(decoded, Err(DeliveryDecodeError::Malformed));
        assert!(peak <= 2 * MAX_DELIVERY_BYTES as u64, "{peak} bytes for {}", bytes.len());
    }
}

#[test]
fn the_codec_alone_would_not_bound_them() {
    let bytes = many(&[0], (1 << 20) - 64, 1 << 20);
    let (_, peak) = measured(|| <Delivery as codec::Decode>::decode(&mut &bytes[..]).is_ok());
    assert!(peak >= 20 << 20, "{peak}: then the bound of `decode_bounded` has become needless");
}

#[test]
fn a_beacon_proofs_small_values_do_not_fill_the_memory() {
    let json = format!(r#"{{"format":"phala-beacon/v1","more":[{}0]}}"#, r#"{"":0},"#.repeat(100_000));
    let (read, peak) = measured(|| BeaconProof::from_json(json.as_bytes()));
    assert!(matches!(read, Err(BeaconProofError::Json(_))), "a field is missing");
    assert!(peak <= 64 * 1024, "{peak} bytes for {}", json.len());
    let (tree, peak) = measured(|| serde_json::from_str::<serde_json::Value>(&json).is_ok());
    assert!(tree && peak >= 10 * json.len() as u64, "{peak}: then reading no tree has become needless");
}

#[test]
fn a_delivery_of_the_greatest_length_is_taken() {
    let full = Delivery { codes: vec![vec![7; 512 * 1024]; 31], proof: vec![vec![1; 40]; 8192], ..Delivery::default() };
    let bytes = full.encode();
    assert!(bytes.len() > MAX_DELIVERY_BYTES * 9 / 10 && bytes.len() <= MAX_DELIVERY_BYTES);
    let (decoded, peak) = measured(|| Delivery::decode_bounded(&bytes));
    assert_eq!(decoded, Ok(full));
    assert!(peak <= 2 * MAX_DELIVERY_BYTES as u64, "{peak}");
}

#[test]
fn a_finality_proof_of_empty_fragments_is_refused_before_it_fills_the_memory() {
    let count = (MAX_FINALITY_PROOF_BYTES - 8) / 2;
    let bytes = many(&[], count as u32, MAX_FINALITY_PROOF_BYTES);
    let (decoded, peak) = measured(|| FinalityProof::decode_bounded(&bytes));
    assert!(decoded.is_err());
    assert!(peak <= 64 * 1024, "{peak} bytes for a proof that is refused");
    let chain = TestChain::new(1, 1, []);
    let mut client = verify_anchor(&chain.genesis_hash(), &chain.anchor()).unwrap();
    assert!(matches!(client.advance(&bytes, &[1; 32]), Err(FinalityError::Decode(_))));
    let most = many(&[], MAX_FINALITY_FRAGMENTS as u32, MAX_FINALITY_FRAGMENTS * 2 + 3);
    assert_eq!(FinalityProof::decode_bounded(&most).map(|proof| proof.fragments.len()), Ok(MAX_FINALITY_FRAGMENTS));
}

/// A file of the greatest memory: after what stands before its proofs, one byte a header in the file, 24 in memory; before them no genesis, no
/// justified header, and one record that is proved.
fn empty_headers<K: FileKind>(honest: &ProvedTranscript<K>) -> Vec<u8> {
    let length = 16 << 20;
    let transcript = honest.transcript.encode();
    let start = [&transcript::MARK[..], &[K::TAG], &honest.genesis, &(transcript.len() as u32).to_le_bytes()].concat();
    let before = [&start[..], &transcript, &honest.beside.encode(), &[0, 0], &Compact(1u32).encode(), &[0; 5]].concat();
    many(&before, (length - before.len() - 8) as u32, length)
}

#[test]
fn a_transcripts_empty_headers_are_refused_before_they_fill_the_memory() {
    let files = [
        empty_headers(&transcript::testing::ceremony().file),
        empty_headers(&transcript::testing::identities::handed_over().file),
    ];
    for bytes in files {
        let (decoded, peak) = measured(|| TranscriptFile::decode_bounded(&bytes));
        assert_eq!(decoded, Err(FileError::Proofs));
        assert!(peak <= 256 << 20, "{peak} bytes for {}", bytes.len());
    }
}

#[test]
fn a_transcripts_empty_holders_are_refused_before_they_fill_the_memory() {
    // A holder that said nothing is 36 bytes in the file, and more than a hundred in memory.
    let length = 16 << 20;
    let honest = transcript::testing::identities::handed_over().file;
    let mut record = honest.transcript.records[0].1.clone();
    let (holders, dealer) = (std::mem::take(&mut record.holders), record.dealers.len());
    assert!(holders.len() == 4 && dealer == 3);
    record.holders = vec![holders[0].clone(); length / 36];
    let transcript = IdentityTranscript { records: vec![(1, record)], statements: Vec::new() };
    let bytes = transcript.encode();
    let (decoded, peak) = measured(|| IdentityTranscript::decode_bounded(&bytes));
    assert!(peak <= 256 << 20, "{peak} bytes for {}", bytes.len());
    if let Ok(transcript) = decoded {
        let (verified, peak) = measured(|| verify_transcript(&honest.genesis, &transcript));
        assert_eq!(verified, Err(TranscriptError::Unsound(0)));
        assert!(peak <= 256 << 20, "{peak} bytes to refuse so many holders");
    }
}

/// Metadata with one query, `q`, that returns a value of this type.
fn returning(kind: &str) -> Metadata {
    let json = format!(
        r#"{{"abi":1,"name":"n","version":"1","constructor":{{"name":"c","args":[]}},"messages":[{{"name":"q","kind":"query","args":[],"returns":{kind}}}],"events":[]}}"#
    );
    Metadata::from_json(json.as_bytes()).unwrap()
}

#[test]
fn a_contracts_types_do_not_multiply_its_bytes() {
    let thousands = r#"{"array":["unit",30000]}"#;
    let nested = format!(r#"{{"array":[{{"array":[{thousands},30000]}},30000]}}"#);
    let each = format!(r#"{{"vec":{{"struct":[["a","u8"],["b",{thousands}]]}}}}"#);
    let named = format!(r#"{{"vec":{{"struct":[["{}","u8"]]}}}}"#, "n".repeat(8_000));
    let wide = format!(r#"{{"vec":{{"tuple":["u8"{}]}}}}"#, r#","unit""#.repeat(1_500));
    let output = many(&[], 16_000, 16_384);
    for kind in [nested, each, named, wide] {
        let metadata = returning(&kind);
        let (_, peak) = measured(|| metadata.messages[0].decode_output(&output, &mut Budget::default()).is_ok());
        assert!(peak <= 64 << 20, "{peak} bytes for a value of 16 KiB");
    }
}

#[test]
fn what_a_decoded_value_takes_is_no_more_than_what_is_counted() {
    let fields = |count: usize, kind: &str| {
        let fields = (0..count).map(|index| json!([format!("field{index}"), kind])).collect::<Vec<_>>();
        json!({ "struct": fields })
    };
    let long = "x".repeat(400);
    let shapes = [
        (json!("unit"), vec![]),
        (json!("i8"), vec![7]),
        (json!("u64"), vec![0xff; 8]),
        (json!("i128"), vec![0x80; 16]),
        (json!("account"), vec![7; 32]),
        (json!("contract"), vec![7; 32]),
        (json!("string"), vec![0]),
        (json!("bytes"), [&[160_u8][..], &[7; 40]].concat()),
        (json!({"array": ["u8", 0]}), vec![]),
        (json!({"tuple": []}), vec![]),
        (json!({"tuple": ["unit", "i8", "unit"]}), vec![7]),
        (json!({"array": ["unit", 1]}), vec![]),
        (json!({"vec": "bool"}), [&[20_u8][..], &[1; 5]].concat()),
        (json!({"result": ["unit", "bool"]}), vec![0]),
        (json!({"enum": [[long, null]]}), vec![0]),
        (json!({"enum": [["A", "unit"]]}), vec![0]),
        (json!({"struct": [[long, "unit"]]}), vec![]),
        (json!({"struct": [["a", {"struct": [["b", {"struct": [["c", "unit"]]}]]}]]}), vec![]),
        (fields(1, "unit"), vec![]),
        (fields(3, "unit"), vec![]),
        (fields(4, "unit"), vec![]),
        (fields(11, "i8"), vec![7; 11]),
        (fields(12, "i8"), vec![7; 12]),
        (fields(29, "unit"), vec![]),
        (fields(1_000, "unit"), vec![]),
    ];
    let most = (MAX_DECODED_BYTES + (64 << 10)) as u64;
    for (item, one) in shapes {
        // As many as are taken, and what that took.
        let taken = |count: usize| {
            let kind = Type::parse(&json!({"array": [item, count]})).unwrap();
            let method =
                Method { name: "m".to_owned(), kind: Kind::Query, arguments: Vec::new(), returns: kind, error: None };
            let bytes = one.repeat(count);
            let (decoded, peak) = measured(|| method.decode_output(&bytes, &mut Budget::default()).map(drop));
            assert!(peak <= most, "{count} of {item}: {peak} bytes");
            match decoded {
                Ok(()) => Some(peak),
                Err(AbiError::TooLarge { .. }) => None,
                Err(other) => panic!("{count} of {item}: {other}"),
            }
        };
        let (mut low, mut peak) = (1, taken(1).unwrap());
        let mut high = 2;
        while let Some(more) = taken(high) {
            (low, peak, high) = (high, more, high * 2);
        }
        while high - low > low / 4 + 1 {
            let middle = low + (high - low) / 2;
            match taken(middle) {
                Some(more) => (low, peak) = (middle, more),
                None => high = middle,
            }
        }
        println!("{item}: {low} take {peak} bytes");
        // And what is counted is not many times what is taken, or legitimate values would be refused.
        assert!(peak * 3 >= MAX_DECODED_BYTES as u64, "{low} of {item} take {peak} bytes only");
    }
}

#[test]
fn what_a_reply_returns_and_emits_takes_no_more_than_one_value_may() {
    let nothings = r#"{"array":["unit",230000]}"#;
    let json = format!(
        r#"{{"abi":1,"name":"n","version":"1","constructor":{{"name":"c","args":[]}},"messages":[{{"name":"q","kind":"query","args":[],"returns":{nothings}}}],"events":[{{"name":"e","fields":[["f",{nothings}]]}}]}}"#
    );
    let metadata = Metadata::from_json(json.as_bytes()).unwrap();
    let event = "e".encode();
    let (decoded, peak) = measured(|| {
        let mut budget = Budget::default();
        let output = metadata.messages[0].decode_output(&[], &mut budget);
        // All are kept, as whoever shows them keeps them.
        let events: Vec<_> = (0..64).map(|_| metadata.decode_event(&event, &mut budget)).collect();
        usize::from(output.is_ok()) + events.iter().filter(|event| event.is_ok()).count()
    });
    println!("{decoded} of 65 values take {peak} bytes");
    assert!((1..65).contains(&decoded), "{decoded} values");
    assert!(peak <= (MAX_DECODED_BYTES + (64 << 10)) as u64, "{decoded} values of a reply take {peak} bytes");
}
