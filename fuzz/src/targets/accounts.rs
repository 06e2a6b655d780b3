//! What a user's machine reads as text: addresses, key files, network files, and what a worker says about itself.
//!
//! Oracle: Parity's SS58 reader. Key files that would need a second of scrypt are read and not opened.

use crate::{assert_bounded, measured, Target, Verdict};
use base64::{engine::general_purpose::STANDARD, Engine};
use phala_client::{
    account::{parse_account, ss58, KeyFile, KeyFileError},
    network::Pin,
    receipt::EvidenceOf,
    worker::WorkerInfo,
    Account,
};
use phala_protocol::{finality::GenesisAnchor, AccountId};
use sp_core::crypto::{AccountId32, PublicError, Ss58Codec};
use std::sync::LazyLock;

/// Addresses.
pub static TEXTS: Target = Target {
    name: "addresses",
    covers: &["host/client/src/account/ss58.rs::parse_account", "host/client/src/account/mod.rs::parse_account"],
    samples: LazyLock::new(|| {
        let account = AccountId([9; 32]);
        let mut samples: Vec<String> =
            [0, 30, 42, 63, 64, 255, 16_383].map(|prefix| ss58::format(&account, prefix)).to_vec();
        samples.extend([account.to_string(), "alice".to_owned()]);
        samples.into_iter().map(String::into_bytes).collect()
    }),
    check: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::refused("not text") };
        let ours = ss58::parse_account(text);
        if ours.is_ok() {
            assert_eq!(parse_account(text).ok(), ours.ok());
        }
        if text.starts_with("0x") {
            return match ours {
                Ok(account) => {
                    assert_eq!(account.to_string(), text.to_lowercase());
                    Verdict::accepted("hexadecimal")
                }
                Err(error) => Verdict::refused(error).of("hexadecimal"),
            };
        }
        match (ours, AccountId32::from_ss58check_with_version(text)) {
            (Ok(account), Ok((theirs, prefix))) => {
                assert_eq!(account.0, <[u8; 32]>::from(theirs));
                assert_eq!(ss58::parse_account(&ss58::format(&account, prefix.into())), Ok(account));
                Verdict::accepted("")
            }
            // Prefixes that they keep for themselves say nothing about the key.
            (Ok(_), Err(PublicError::FormatNotAllowed)) => Verdict::accepted("reserved"),
            (Ok(_), Err(error)) => panic!("{text} is taken, and Parity refuses it: {error:?}"),
            (Err(error), Ok(_)) => panic!("{text} is refused, and Parity takes it: {error}"),
            (Err(error), Err(_)) => Verdict::refused(error),
        }
    },
    iterations: 8_000,
};

/// Files and answers in JSON: a key file, a pin, a worker's information.
pub static FILES: Target = Target {
    name: "files",
    covers: &[
        "host/client/src/account/key_file.rs::open",
        "host/client/src/network.rs::from_json",
        "host/client/src/receipt.rs::from_info",
    ],
    samples: LazyLock::new(|| {
        let anchor = GenesisAnchor { header: vec![1; 40], authorities_proof: vec![vec![3; 10], vec![]] };
        let pin = Pin { genesis: [1; 32], anchor };
        let info = r#"{"genesis":"0x00","identity":"0x0101010101010101010101010101010101010101010101010101010101010101","role":"worker",
            "measurement":null,"height":7,"clusters":[{"cluster":0,"epoch":3,"query_key":"0x02"}],"registration":"0x01","evidence":"0x02"}"#;
        vec![
            include_bytes!("../../../host/client/tests/fixtures/polkadot-js-alice.json").to_vec(),
            pin.to_json().to_string().into_bytes(),
            info.as_bytes().to_vec(),
        ]
    }),
    check: |bytes| {
        if let Ok(file) = serde_json::from_slice::<KeyFile>(bytes) {
            return key_file(&file);
        }
        if let Ok(json) = serde_json::from_slice::<serde_json::Value>(bytes) {
            let (pin, peak) = measured(|| Pin::from_json(&json));
            assert_bounded(peak, bytes.len(), 80);
            if let Ok(pin) = pin {
                assert_eq!(Pin::from_json(&pin.to_json()).ok(), Some(pin));
                return Verdict::accepted("pin");
            }
        }
        match serde_json::from_slice::<WorkerInfo>(bytes) {
            Ok(info) => {
                let evidence = EvidenceOf::from_info(&info, &[]);
                Verdict::accepted(format_args!("info {} {}", evidence.is_some(), "x".repeat(info.clusters.len())))
            }
            Err(error) => Verdict::refused(error),
        }
    },
    iterations: 2_000,
};

fn key_file(file: &KeyFile) -> Verdict {
    let json = serde_json::to_value(file).unwrap();
    assert_eq!(serde_json::from_value::<KeyFile>(json.clone()).ok().as_ref(), Some(file));
    let _ = (file.name(), file.account());
    let encoded = json["encoded"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    // n, p, r of scrypt, where polkadot.js writes them: the allowed ones cost a second and up to 128 MiB each.
    let n = encoded.get(32..36).map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
    if (1 << 12..=1 << 17).contains(&n) && n.is_power_of_two() {
        return Verdict::accepted("a key file that may be opened");
    }
    match Account::from_key_file(file, "correct horse") {
        Ok(_) => panic!("a key under parameters that nobody uses"),
        Err(error) => {
            assert!(matches!(error, KeyFileError::Encoding | KeyFileError::Parameters));
            Verdict::refused(error)
        }
    }
}
