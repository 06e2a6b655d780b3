//! The SDK's codec, which contracts decode their callers' bytes with.
//!
//! Oracle: the chain's own codec. Both take the same bytes for the same value, or both refuse.

use crate::{assert_bounded, measured, Target, Verdict};
use codec::{DecodeAll, Encode};
use phala_sdk::codec::{decode_length, decode_str, Decode as SdkDecode, Encode as SdkEncode};
use std::sync::LazyLock;

macro_rules! types {
    ($($kind:ty),* $(,)?) => {
        const TYPES: &[fn(&[u8]) -> Verdict] = &[$(agree::<$kind>),*];

        fn samples() -> Vec<Vec<u8>> {
            let mut samples = Vec::new();
            let mut index = 0_u8;
            $(
                for fill in [0, 1, 4, 12] {
                    if let Ok(value) = <$kind as codec::Decode>::decode(&mut &[fill; 600][..]) {
                        samples.push([vec![index], Encode::encode(&value)].concat());
                    }
                }
                index += 1;
            )*
            let _ = index;
            samples
        }
    };
}

types!(
    u8,
    u64,
    i128,
    bool,
    String,
    Vec<u8>,
    Vec<u32>,
    Vec<String>,
    Vec<Vec<u8>>,
    Option<bool>,
    Option<Option<u16>>,
    [u8; 32],
    [u16; 3],
    Result<u32, String>,
    (u8, String, Option<u64>),
    Vec<(u32, bool)>,
);

/// The first byte names the type.
pub static VALUES_OF_CONTRACTS: Target = Target {
    name: "sdk",
    covers: &[
        "contracts/sdk/src/codec.rs::decode",
        "contracts/sdk/src/codec.rs::decode_all",
        "contracts/sdk/src/codec.rs::decode_length",
        "contracts/sdk/src/codec.rs::decode_str",
    ],
    samples: LazyLock::new(samples),
    check: |bytes| {
        let (which, bytes) = bytes.split_first().unwrap_or((&0, &[]));
        let length = decode_length(&mut &bytes[..]).ok();
        let theirs = <codec::Compact<u32> as codec::Decode>::decode(&mut &bytes[..]).ok();
        assert_eq!(length, theirs.map(|length| length.0 as usize), "a length");
        let text = decode_str(&mut &bytes[..]).ok().map(str::to_owned);
        assert_eq!(text, <String as codec::Decode>::decode(&mut &bytes[..]).ok(), "a text");
        let which = usize::from(*which) % TYPES.len();
        TYPES[which](bytes).of(&which.to_string())
    },
    iterations: 8_000,
};

fn agree<T: SdkDecode + SdkEncode + DecodeAll + Encode + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Verdict {
    let (ours, peak) = measured(|| <T as SdkDecode>::decode_all(bytes));
    assert_bounded(peak, bytes.len(), 80);
    match (ours, <T as DecodeAll>::decode_all(&mut &bytes[..])) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours, theirs);
            assert_eq!(SdkEncode::encode(&ours), bytes);
            Verdict::accepted("")
        }
        (Err(_), Err(_)) => Verdict::refused(""),
        (ours, theirs) => panic!("{ours:?} here, {theirs:?} on the chain"),
    }
}
