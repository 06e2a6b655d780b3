//! What must not stand in a log of the measured binary, line by line.
//!
//! Guarantees: a line passes only when it holds no text that it was told of in any form, and nothing that looks like more than a hash:
//! hexadecimal of over 32 bytes, a list of over 16 decimals (how bytes look when printed for debugging), or a word of over 88
//! characters of base64. Does not: know secrets that nobody told it of; those are found by how they look.

use crate::canary::Needles;
use std::collections::BTreeMap;

/// `PHALA_LOG` for whatever any part of a worker would say, in tests that others wait for. Relayer and command line read the same filter:
/// what only their crates say, which a worker does not have, is left out here, and not in a campaign.
pub const EVERYTHING: &str =
    "trace,jsonrpsee=off,jsonrpsee-client=off,soketto=off,reqwest=off,hyper_util::client=off,subxt=off";

/// Variables with which the processes of a campaign say all that is practical: TEEs, relayer and `phala dev` everything, the node what goes
/// through its RPC, its pool and its runtime, and of the rest all but its finest level.
pub const OF_A_CAMPAIGN: [(&str, &str); 2] = [
    ("PHALA_LOG", "trace"),
    (
        "RUST_LOG",
        "debug,txpool=trace,runtime=trace,rpc=trace,jsonrpsee=trace,jsonrpsee-server=trace,jsonrpsee_server=trace",
    ),
];

/// Digits of 32 bytes: identities and hashes are public.
const HASH_DIGITS: usize = 64;
/// Decimals that stand in a row by chance, such as dates.
const FEW_DECIMALS: usize = 16;
/// Characters of 64 bytes in base64.
const LONG_WORD: usize = 88;

/// The rules, with what is forbidden here.
pub struct Redaction {
    forbidden: Needles,
}

impl Redaction {
    /// Forbids `texts` in every form.
    pub fn of(texts: &[&[u8]]) -> Self {
        Self { forbidden: Needles::of(texts) }
    }

    /// Why a line must not be in a log.
    pub fn fault(&self, line: &str) -> Option<&'static str> {
        let mut found = BTreeMap::new();
        self.forbidden.count(line.as_bytes(), &mut found);
        if !found.is_empty() {
            return Some("it says what it must not");
        }
        if longest_run(line, |character| character.is_ascii_hexdigit()) > HASH_DIGITS {
            return Some("it holds more hexadecimal than a hash has");
        }
        // Without `/`: paths are long.
        if longest_run(line, |character| character.is_ascii_alphanumeric() || matches!(character, '+' | '=' | '_'))
            > LONG_WORD
        {
            return Some("it holds a word longer than 64 bytes in base64");
        }
        if most_decimals(line) > FEW_DECIMALS {
            return Some("it holds a list of bytes");
        }
        None
    }
}

fn longest_run(line: &str, is_part: impl Fn(char) -> bool) -> usize {
    line.split(|character| !is_part(character)).map(str::len).max().unwrap_or(0)
}

/// The longest list of numbers below 256 with nothing but commas and spaces between.
fn most_decimals(line: &str) -> usize {
    let lists = line.split(|character: char| !(character.is_ascii_digit() || matches!(character, ',' | ' ')));
    let numbers = |list: &str| list.split(',').filter(|number| number.trim().parse::<u8>().is_ok()).count();
    lists.map(numbers).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_healthy_log_pass() {
        let rules = Redaction::of(&[b"very secret thing"]);
        let hash = "ab".repeat(32);
        for line in [
            "2026-11-21T11:01:22.081189Z  INFO phala_worker::service: registered on chain",
            &format!("INFO phala_worker: started identity=0x{hash} role=Worker"),
            "TRACE hyper::proto::h1::io: flushed 4096 bytes, 12, 13, 14",
            "reading /a/very/long/path/of/a/folder/that/nobody/would/ever/make/but/somebody/did/cluster-0.store",
        ] {
            assert_eq!(rules.fault(line), None, "{line}");
        }
    }

    #[test]
    fn lines_that_say_too_much_do_not() {
        let rules = Redaction::of(&[b"very secret thing"]);
        let bytes = [7u8; 20];
        let key = "0a".repeat(33);
        for line in [
            "DEBUG call payload=very secret thing",
            "DEBUG call payload=76657279207365637265742074686967 very 7665727920736563726574207468696e67",
            &format!("DEBUG sealed=0x{key}"),
            &format!("DEBUG sealed={bytes:?}"),
            &format!("DEBUG body={}", "QUJD".repeat(23)),
        ] {
            assert!(rules.fault(line).is_some(), "{line}");
        }
    }
}
