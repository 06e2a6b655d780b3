//! The encrypted key files of polkadot.js: encoding version 3, `["pkcs8", "sr25519"]`, `["scrypt", "xsalsa20-poly1305"]`.
//!
//! ```text
//! encoded (base64) = salt 32 | N u32 | p u32 | r u32 | nonce 24 | secretbox(scrypt(password, salt), header 16 | secret 64 | divider 5 | public 32)
//! ```
//! Source: `@polkadot/keyring` `pair/encode.ts`, `@polkadot/util-crypto` `json/encryptFormat.ts` and `scrypt/defaults.ts`. A file is
//! whatever lies on the user's disk: only the parameter sets that polkadot.js itself allows are computed, because others could ask
//! for any amount of memory. The public key inside must be that of the secret and of the address outside.

use super::ss58;
use base64::{engine::general_purpose::STANDARD as BASE64, Engine};
use crypto_secretbox::{
    aead::{Aead, KeyInit},
    Key, XSalsa20Poly1305,
};
use phala_crypto::{signature::sr25519::AccountKey, Secret};
use phala_protocol::AccountId;
use serde::{Deserialize, Serialize};

/// `(log2 N, p, r)` that polkadot.js accepts.
const SCRYPT_PARAMETERS: [(u8, u32, u32); 6] =
    [(13, 10, 8), (14, 5, 8), (15, 3, 8), (15, 1, 8), (16, 2, 8), (17, 1, 8)];
/// What new files are written with: the strongest of them, as polkadot.js writes today.
const WRITTEN_PARAMETERS: (u8, u32, u32) = (17, 1, 8);
const PARAMETER_BYTES: usize = 32 + 12 + 24;
/// Of an Ed25519 key in PKCS #8, which polkadot.js also puts before sr25519 keys.
const HEADER: [u8; 16] = [48, 83, 2, 1, 1, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
const DIVIDER: [u8; 5] = [161, 35, 3, 33, 0];

/// A key file, as JSON has it. Reading one judges nothing; opening it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFile {
    encoded: String,
    encoding: Encoding,
    address: String,
    #[serde(default)]
    meta: serde_json::Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Encoding {
    content: Vec<String>,
    #[serde(rename = "type")]
    kind: Vec<String>,
    version: String,
}

/// Why a key file was not opened or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// Not the kind of file that this reads.
    #[error("the key file is not an encrypted sr25519 key of polkadot.js, encoding version 3")]
    Encoding,
    /// Parameters that polkadot.js would refuse too.
    #[error("the key file asks for scrypt parameters that polkadot.js does not allow")]
    Parameters,
    /// The password is wrong, or the file was changed.
    #[error("the password is wrong, or the key file is damaged")]
    Password,
    /// What was inside is not a key, or another account's.
    #[error("the key in the file is not that of its address")]
    Key,
}

impl From<KeyFileError> for crate::ClientError {
    fn from(error: KeyFileError) -> Self {
        let code = match error {
            KeyFileError::Password => crate::ErrorCode::Unauthorised,
            _ => crate::ErrorCode::Invalid,
        };
        Self::new(code, error.to_string())
    }
}

impl KeyFile {
    /// What the account is called in the file, or nothing.
    pub fn name(&self) -> &str {
        self.meta.get("name").and_then(serde_json::Value::as_str).unwrap_or_default()
    }

    /// The account that the file says it holds; checked only when it is opened.
    pub fn account(&self) -> Result<AccountId, KeyFileError> {
        ss58::parse_account(&self.address).map_err(|_| KeyFileError::Key)
    }

    /// Decrypts the key. Takes a second and up to 128 MiB: scrypt is meant to.
    pub fn open(&self, password: &str) -> Result<AccountKey, KeyFileError> {
        let Encoding { content, kind, version } = &self.encoding;
        if version != "3" || content != &["pkcs8", "sr25519"] || kind != &["scrypt", "xsalsa20-poly1305"] {
            return Err(KeyFileError::Encoding);
        }
        let bytes = BASE64.decode(&self.encoded).map_err(|_| KeyFileError::Encoding)?;
        let (parameters, sealed) = bytes.split_at_checked(PARAMETER_BYTES).ok_or(KeyFileError::Encoding)?;
        let (salt, rest) = parameters.split_at_checked(32).ok_or(KeyFileError::Encoding)?;
        let (numbers, nonce) = rest.split_at_checked(12).ok_or(KeyFileError::Encoding)?;
        let number = |index: usize| {
            let bytes = numbers.get(index * 4..index * 4 + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_le_bytes).ok_or(KeyFileError::Encoding)
        };
        let (n, p, r) = (number(0)?, number(1)?, number(2)?);
        let allowed = SCRYPT_PARAMETERS
            .into_iter()
            .find(|(log, allowed_p, allowed_r)| (1 << log, *allowed_p, *allowed_r) == (n, p, r))
            .ok_or(KeyFileError::Parameters)?;
        let cipher = cipher(password, salt, allowed)?;
        let nonce: [u8; 24] = nonce.try_into().map_err(|_| KeyFileError::Encoding)?;
        let plain = Secret::new(cipher.decrypt(&nonce.into(), sealed).map_err(|_| KeyFileError::Password)?);

        let rest = plain.expose().strip_prefix(&HEADER).ok_or(KeyFileError::Key)?;
        let (secret, rest) = rest.split_at_checked(64).ok_or(KeyFileError::Key)?;
        let public = rest.strip_prefix(&DIVIDER).ok_or(KeyFileError::Key)?;
        let secret = Secret::<[u8; 64]>::from_slice(secret).ok_or(KeyFileError::Key)?;
        let key = AccountKey::from_polkadot_js(&secret).map_err(|_| KeyFileError::Key)?;
        if key.public() != public || self.account()? != AccountId(key.public()) {
            return Err(KeyFileError::Key);
        }
        Ok(key)
    }

    /// Encrypts a key. `salt` and `nonce` must be fresh.
    pub(super) fn seal(
        name: &str,
        key: &AccountKey,
        password: &str,
        salt: &[u8; 32],
        nonce: &[u8; 24],
    ) -> Result<Self, KeyFileError> {
        let (log, p, r) = WRITTEN_PARAMETERS;
        let mut plain = Vec::with_capacity(117);
        plain.extend_from_slice(&HEADER);
        plain.extend_from_slice(key.to_polkadot_js().expose());
        plain.extend_from_slice(&DIVIDER);
        plain.extend_from_slice(&key.public());
        let plain = Secret::new(plain);
        let cipher = cipher(password, salt, WRITTEN_PARAMETERS)?;
        let sealed = cipher.encrypt(&(*nonce).into(), plain.expose().as_slice()).map_err(|_| KeyFileError::Key)?;

        let mut bytes = salt.to_vec();
        for number in [1_u32 << log, p, r] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(nonce);
        bytes.extend_from_slice(&sealed);
        let texts = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        Ok(Self {
            encoded: BASE64.encode(bytes),
            encoding: Encoding {
                content: texts(["pkcs8", "sr25519"]),
                kind: texts(["scrypt", "xsalsa20-poly1305"]),
                version: "3".to_owned(),
            },
            address: ss58::format_account(&AccountId(key.public())),
            meta: serde_json::json!({ "name": name }),
        })
    }
}

fn cipher(password: &str, salt: &[u8], (log, p, r): (u8, u32, u32)) -> Result<XSalsa20Poly1305, KeyFileError> {
    let parameters = scrypt::Params::new(log, r, p, 32).map_err(|_| KeyFileError::Parameters)?;
    let mut key = Key::default();
    scrypt::scrypt(password.as_bytes(), salt, &parameters, &mut key).map_err(|_| KeyFileError::Parameters)?;
    Ok(XSalsa20Poly1305::new(&key))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::Account;

    /// Exported by @polkadot/keyring 13 for `//Alice` under the password `correct horse`.
    const OF_POLKADOT_JS: &str = include_str!("../../tests/fixtures/polkadot-js-alice.json");

    #[test]
    fn opens_what_polkadot_js_exported() {
        let file: KeyFile = serde_json::from_str(OF_POLKADOT_JS).unwrap();
        let account = Account::from_key_file(&file, "correct horse").unwrap();
        assert_eq!(account.id(), Account::development("alice").unwrap().id());
        assert_eq!(account.name(), "Alice of polkadot.js");
        assert_eq!(file.open("wrong").err(), Some(KeyFileError::Password));
    }

    #[test]
    fn key_files_round_trip_through_json() {
        let account = Account::generate("mine").unwrap();
        let json = serde_json::to_string(&account.to_key_file("password").unwrap()).unwrap();
        let file: KeyFile = serde_json::from_str(&json).unwrap();
        assert_eq!(file.account(), Ok(account.id()));
        let opened = Account::from_key_file(&file, "password").unwrap();
        assert_eq!((opened.id(), opened.name()), (account.id(), "mine"));
    }

    #[test]
    fn refuses_other_encodings_parameters_and_addresses() {
        let file: KeyFile = serde_json::from_str(OF_POLKADOT_JS).unwrap();
        let mut other = file.clone();
        other.encoding.version = "2".to_owned();
        assert_eq!(other.open("correct horse").err(), Some(KeyFileError::Encoding));
        let mut other = file.clone();
        let mut bytes = BASE64.decode(&file.encoded).unwrap();
        bytes[34] = 0x10;
        other.encoded = BASE64.encode(&bytes);
        assert_eq!(other.open("correct horse").err(), Some(KeyFileError::Parameters));
        other.encoded = BASE64.encode(&bytes[..60]);
        assert_eq!(other.open("correct horse").err(), Some(KeyFileError::Encoding));
        let mut other = file;
        other.address = Account::development("bob").unwrap().address();
        assert_eq!(other.open("correct horse").err(), Some(KeyFileError::Key));
    }
}
