//! What an account keeps for itself on a disk, such as its sessions: sealed under a key that only its own secret gives.
//!
//! ```text
//! key    = HKDF(first half of the account's secret as polkadot.js keeps it, ACCOUNT_KEEP, account)
//! sealed = version u8 | nonce 12 | AES-256-GCM-SIV(key, nonce, associated data of version and place, data)
//! ```
//! The first half is the scalar, which is the same in every file of one account; the second need not be.
//!
//! Guarantees: whoever cannot open the account's key file reads nothing of it; bytes that were altered, belong to another account, or
//! were sealed for another place do not open. An older version of the same place does: whoever owns the folder can bring it back. A
//! development account's key is published, so that what it keeps is INSECURE. Whoever owns the disk controls the bytes.

use super::Account;
use crate::{entropy, ClientError, ErrorCode};
use phala_crypto::{
    aead::{SivKey, NONCE_BYTES},
    kdf, Secret,
};
use phala_protocol::domain;

/// The version of what is sealed here.
const VERSION: u8 = 1;

impl Account {
    /// Seals `data` for `place`: the name under which it is kept.
    pub fn seal_own(&self, place: &str, data: &[u8]) -> Result<Vec<u8>, ClientError> {
        let nonce: [u8; NONCE_BYTES] = entropy::fresh()?;
        let body = self.keeping()?.seal(&nonce, &associated_data(place), data);
        let body = body.map_err(|error| ClientError::new(ErrorCode::Internal, error.to_string()))?;
        Ok([&[VERSION][..], &nonce, &body].concat())
    }

    /// What [`Self::seal_own`] sealed for `place`. The bytes are whatever lay there.
    pub fn open_own(&self, place: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, ClientError> {
        let refused = || {
            let message = format!("what is kept as {place} is damaged, or another account's");
            ClientError::new(ErrorCode::Invalid, message)
        };
        let (version, rest) = sealed.split_first().ok_or_else(refused)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(refused)?;
        if *version != VERSION {
            return Err(refused());
        }
        self.keeping()?.open(nonce, &associated_data(place), body).map(Secret::new).map_err(|_| refused())
    }

    fn keeping(&self) -> Result<SivKey, ClientError> {
        let secret = self.key.to_polkadot_js();
        let scalar = secret.expose().first_chunk::<32>().and_then(|scalar| Secret::<[u8; 32]>::from_slice(scalar));
        let scalar =
            scalar.ok_or_else(|| ClientError::new(ErrorCode::Internal, "an account's secret has another length"))?;
        Ok(SivKey::new(&kdf::derive(&scalar, domain::ACCOUNT_KEEP, &self.id().0)))
    }
}

fn associated_data(place: &str) -> Vec<u8> {
    [&[VERSION][..], place.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_an_account_keeps_opens_for_it_at_its_place_and_nowhere_else() {
        let (mine, other) = (Account::generate("mine").unwrap(), Account::generate("other").unwrap());
        let sealed = mine.seal_own("here", b"a session's secret").unwrap();
        assert_eq!(mine.open_own("here", &sealed).unwrap().expose(), b"a session's secret");
        assert!(!sealed.windows(6).any(|window| window == b"secret"), "nothing of it can be read");
        assert_ne!(sealed, mine.seal_own("here", b"a session's secret").unwrap(), "nor that it is the same again");

        let refused = |account: &Account, place: &str, bytes: &[u8]| {
            account.open_own(place, bytes).err().unwrap().code == ErrorCode::Invalid
        };
        assert!(refused(&other, "here", &sealed) && refused(&mine, "there", &sealed));
        assert!((0..sealed.len()).all(|length| refused(&mine, "here", &sealed[..length])));
        for position in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            assert!(refused(&mine, "here", &altered), "byte {position}");
        }
    }

    #[test]
    fn each_time_an_account_seals_what_it_keeps_it_draws_a_nonce() {
        let account = Account::generate("mine").unwrap();
        let file = account.to_key_file("password").unwrap();
        let again = Account::from_key_file(&file, "password").unwrap();
        let key = account.keeping().unwrap();
        let mut nonces = BTreeSet::new();
        // Two processes of one account, the same data at the same place.
        for turn in 0..256 {
            let sealed = [&account, &again][turn % 2].seal_own("here", b"data").unwrap();
            let (nonce, body) = sealed[1..].split_first_chunk::<NONCE_BYTES>().unwrap();
            assert_eq!(key.open(nonce, &associated_data("here"), body).unwrap(), b"data", "the nonce that it says");
            nonces.insert(*nonce);
        }
        assert_eq!(nonces.len(), 256);
    }

    /// `testing/vectors/crypto/derivations.json`, which a second implementation computed.
    #[test]
    fn the_key_of_what_an_account_keeps_follows_its_vector() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../../../testing/vectors/crypto/derivations.json")).unwrap();
        let cases = file["cases"].as_array().unwrap();
        let vector = cases.iter().find(|case| case["label"] == domain::ACCOUNT_KEEP.as_str()).unwrap();
        let bytes = |field: &str| hex::decode(vector[field].as_str().unwrap()).unwrap();
        let alice = Account::development("alice").unwrap();
        assert_eq!(alice.id().0[..], bytes("context"));
        let sealed = alice.seal_own("here", b"data").unwrap();
        let nonce = sealed[1..].first_chunk::<NONCE_BYTES>().unwrap();
        let opened = |key: &[u8]| {
            let key = SivKey::new(&Secret::from_slice(key).unwrap());
            key.open(nonce, &associated_data("here"), &sealed[1 + NONCE_BYTES..])
        };
        assert_eq!(opened(&bytes("output")).unwrap(), b"data");
        assert!(opened(&bytes("secret")).is_err());
    }

    #[test]
    fn the_same_account_out_of_its_key_file_opens_it() {
        let account = Account::generate("mine").unwrap();
        let sealed = account.seal_own("here", b"data").unwrap();
        let file = account.to_key_file("password").unwrap();
        let again = Account::from_key_file(&file, "password").unwrap();
        assert_eq!(again.open_own("here", &sealed).unwrap().expose(), b"data");
    }
}
