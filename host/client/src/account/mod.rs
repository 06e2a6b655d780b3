//! Accounts: sr25519 keys that sign extrinsics, commands and queries.
//!
//! Guarantees: a secret never leaves in clear except as the caller asks for an encrypted key file; signatures are hedged with fresh
//! entropy. A development account's key is published: [`Account::development`] is INSECURE on any network with value.
//! Who controls the inputs: the user and the user's files. Does not do: choose where key files lie.

mod at_rest;
mod key_file;
pub mod ss58;

pub use key_file::{KeyFile, KeyFileError};

use crate::{entropy, ClientError, ErrorCode};
use phala_crypto::{
    signature::sr25519::{AccountKey, KeyError},
    Secret,
};
use phala_protocol::AccountId;

/// INSECURE: the names of the development accounts and their published mini secrets (`subkey inspect //Alice`).
const DEVELOPMENT: [(&str, [u8; 32]); 6] = [
    ("alice", hex32(b"e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a")),
    ("bob", hex32(b"398f0c28f98885e046333d4a41c19cee4c37368a9832c6502f6cfd182e2aef89")),
    ("charlie", hex32(b"bc1ede780f784bb6991a585e4f6e61522c14e1cae6ad0895fb57b9a205a8f938")),
    ("dave", hex32(b"868020ae0687dda7d57565093a69090211449845a7e11453612800b663307246")),
    ("eve", hex32(b"786ad0e2df456fe43dd1f91ebca22e235bc162e0bb8d53c633e8c85b2af68b7a")),
    ("ferdie", hex32(b"42438b7883391c05512a938e36c2df0131e088b3756d6aa7a755fbff19d2f842")),
];

/// INSECURE: the stashes of the development authorities, in the order of the genesis presets: its validators
/// (`subkey inspect //Alice//stash`).
const STASHES: [(&str, [u8; 32]); 4] = [
    ("alice-stash", hex32(b"3c881bc4d45926680c64a7f9315eeda3dd287f8d598f3653d7c107799c5422b3")),
    ("bob-stash", hex32(b"1a7d114100653850c65edecda8a9b2b4dd65d900edef8e70b1a6ecdcda967056")),
    ("charlie-stash", hex32(b"66256c4e2f90e273bf387923a9a7860f2e9f47a1848d6263de512f7fb110fc08")),
    ("dave-stash", hex32(b"8766312742c2ebdc78713dab36f8eb328d30d053d702da8167e4672d615f421e")),
];

/// An account that can sign.
pub struct Account {
    name: String,
    key: AccountKey,
}

impl Account {
    /// INSECURE: the names that [`Self::development`] knows.
    pub fn development_names() -> [&'static str; 6] {
        DEVELOPMENT.map(|(name, _)| name)
    }

    /// INSECURE: the names of the development authorities' stashes, which are the validators; [`Self::development`] knows them too.
    pub fn development_stashes() -> [&'static str; 4] {
        STASHES.map(|(name, _)| name)
    }

    /// INSECURE: the account `//Name` of every development network by its lower-case name, or `//Name//stash` by `name-stash`. Its key
    /// is public.
    pub fn development(name: &str) -> Result<Self, ClientError> {
        let known = DEVELOPMENT.into_iter().chain(STASHES).find(|(known, _)| *known == name);
        let (name, mini) = known.ok_or_else(|| {
            ClientError::new(ErrorCode::NotFound, format!("there is no account `{name}`")).with_hint(format!(
                "development accounts are {}, and of validators {}",
                Self::development_names().join(", "),
                Self::development_stashes().join(", ")
            ))
        })?;
        Self::from_mini_secret(name, &Secret::new(mini))
    }

    /// A new account.
    pub fn generate(name: &str) -> Result<Self, ClientError> {
        Self::from_mini_secret(name, &Secret::new(entropy::fresh()?))
    }

    /// From the 32 bytes that wallets call a raw seed or mini secret.
    pub fn from_mini_secret(name: &str, mini: &Secret<[u8; 32]>) -> Result<Self, ClientError> {
        Ok(Self { name: name.to_owned(), key: AccountKey::from_mini_secret(mini).map_err(bad_key)? })
    }

    /// Opens a key file of polkadot.js.
    pub fn from_key_file(file: &KeyFile, password: &str) -> Result<Self, KeyFileError> {
        let key = file.open(password)?;
        Ok(Self { name: file.name().to_owned(), key })
    }

    /// The account in an encrypted key file that polkadot.js reads.
    pub fn to_key_file(&self, password: &str) -> Result<KeyFile, ClientError> {
        KeyFile::seal(&self.name, &self.key, password, &entropy::fresh()?, &entropy::fresh()?)
            .map_err(|error| ClientError::new(ErrorCode::Internal, error.to_string()))
    }

    /// What the account is called here; the chain does not know it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The account's id.
    pub fn id(&self) -> AccountId {
        AccountId(self.key.public())
    }

    /// The account's address in SS58 with the network's prefix.
    pub fn address(&self) -> String {
        ss58::format_account(&self.id())
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], ClientError> {
        Ok(self.key.sign(message, &entropy::fresh()?))
    }
}

/// Shows who, never the key.
impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("name", &self.name).field("id", &self.id()).finish_non_exhaustive()
    }
}

/// An account's id from what a user writes: a development name, an SS58 address of any network, or hexadecimal.
pub fn parse_account(text: &str) -> Result<AccountId, ClientError> {
    if let Ok(account) = Account::development(text) {
        return Ok(account.id());
    }
    ss58::parse_account(text).map_err(|error| {
        ClientError::new(ErrorCode::Invalid, format!("`{text}` is not an account: {error}"))
            .with_hint("an account is a name (alice to ferdie), an SS58 address, or 0x and 64 hexadecimal digits")
    })
}

fn bad_key(error: KeyError) -> ClientError {
    ClientError::new(ErrorCode::Invalid, error.to_string())
}

const fn hex32(text: &[u8; 64]) -> [u8; 32] {
    let mut out = [0; 32];
    let mut index = 0;
    while index < 32 {
        out[index] = nibble(text[index * 2]) << 4 | nibble(text[index * 2 + 1]);
        index += 1;
    }
    out
}

const fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// The addresses that every Substrate tool prints for `//Alice` to `//Ferdie`, and for `//Alice//stash` to `//Dave//stash`.
    #[test]
    fn development_accounts_are_the_well_known_ones() {
        for (name, address) in [
            ("alice", "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"),
            ("bob", "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"),
            ("charlie", "5FLSigC9HGRKVhB9FiEo4Y3koPsNmBmLJbpXg2mp1hXcS59Y"),
            ("dave", "5DAAnrj7VHTznn2AWBemMuyBwZWs6FNFjdyVXUeYum3PTXFy"),
            ("eve", "5HGjWAeFDfFCWPsjFQdVV2Msvz2XtMktvgocEZcCj68kUMaw"),
            ("ferdie", "5CiPPseXPECbkjWCa6MnjNokrgYjMqmKndv2rSnekmSK2DjL"),
            ("alice-stash", "5GNJqTPyNqANBkUVMN1LPPrxXnFouWXoe2wNSmmEoLctxiZY"),
            ("bob-stash", "5HpG9w8EBLe5XCrbczpwq5TSXvedjrBGCwqxK1iQ7qUsSWFc"),
            ("charlie-stash", "5Ck5SLSHYac6WFt5UZRSsdJjwmpSZq85fd5TRNAdZQVzEAPT"),
            ("dave-stash", "5HKPmK9GYtE1PSLsS1qiYU9xQ9Si1NcEhdeCq9sw5bqu4ns8"),
        ] {
            let account = Account::development(name).unwrap();
            assert_eq!(ss58::format(&account.id(), 42), address);
            assert_eq!(parse_account(name).unwrap(), account.id());
            assert_eq!(parse_account(address).unwrap(), account.id());
            assert_eq!(parse_account(&account.address()).unwrap(), account.id());
        }
        assert_eq!(Account::development("Alice").unwrap_err().code, ErrorCode::NotFound);
        assert_eq!(parse_account("nobody").unwrap_err().code, ErrorCode::Invalid);
    }

    #[test]
    fn signatures_verify_and_debug_hides_the_key() {
        let account = Account::generate("mine").unwrap();
        let signature = account.sign(b"message").unwrap();
        assert_eq!(phala_crypto::signature::sr25519::verify(&account.id().0, b"message", &signature), Ok(()));
        assert!(!format!("{account:?}").contains("key"));
        assert_ne!(Account::generate("mine").unwrap().id(), account.id());
    }
}
