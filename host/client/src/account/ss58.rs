//! Addresses: SS58, as every Substrate wallet writes accounts.
//!
//! `base58(prefix | 32 bytes | first two bytes of BLAKE2b-512("SS58PRE" | prefix | 32 bytes))`, the prefix in one byte below 64
//! and in two above (docs.substrate.io, "SS58 address format"). Addresses of any network are taken: the key is the same.

use blake2::{Blake2b512, Digest};
use phala_protocol::AccountId;

/// The network's prefix.
pub const PREFIX: u16 = 30;

/// Why text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither base58 nor hexadecimal.
    #[error("it is neither an SS58 address nor 0x and 64 hexadecimal digits")]
    Text,
    /// Another length than an account's.
    #[error("it does not have the length of an account's address")]
    Length,
    /// Mistyped.
    #[error("its checksum is wrong: a character is mistyped")]
    Checksum,
}

/// The address of `account` with the network's prefix.
pub fn format_account(account: &AccountId) -> String {
    format(account, PREFIX)
}

/// The address of `account` with any prefix up to 16,383; higher bits are dropped.
pub fn format(account: &AccountId, prefix: u16) -> String {
    let prefix = prefix & 0x3fff;
    let mut bytes = if prefix < 64 {
        vec![prefix as u8]
    } else {
        vec![((prefix & 0xfc) >> 2) as u8 | 0x40, (prefix >> 8) as u8 | ((prefix & 3) << 6) as u8]
    };
    bytes.extend_from_slice(&account.0);
    let checksum = checksum(&bytes);
    bytes.extend_from_slice(&checksum);
    bs58::encode(bytes).into_string()
}

/// Reads an address of any network, or hexadecimal with `0x`.
pub fn parse_account(text: &str) -> Result<AccountId, AddressError> {
    if let Some(digits) = text.strip_prefix("0x") {
        let bytes = hex::decode(digits).map_err(|_| AddressError::Text)?;
        return bytes.try_into().map(AccountId).map_err(|_| AddressError::Length);
    }
    // Base58 decoding is quadratic: what cannot be an address is not decoded.
    if text.len() > 64 {
        return Err(AddressError::Length);
    }
    let bytes = bs58::decode(text).into_vec().map_err(|_| AddressError::Text)?;
    let prefix = match bytes.first() {
        Some(0..=63) => 1,
        Some(64..=127) => 2,
        _ => return Err(AddressError::Text),
    };
    let (body, sum) = bytes.split_at_checked(prefix + 32).ok_or(AddressError::Length)?;
    if sum.len() != 2 {
        return Err(AddressError::Length);
    }
    if checksum(body) != sum {
        return Err(AddressError::Checksum);
    }
    let account = body.get(prefix..).and_then(|bytes| bytes.try_into().ok()).ok_or(AddressError::Length)?;
    Ok(AccountId(account))
}

fn checksum(body: &[u8]) -> [u8; 2] {
    let digest = Blake2b512::new().chain_update(b"SS58PRE").chain_update(body).finalize();
    std::array::from_fn(|index| digest.get(index).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn addresses_of_every_prefix_come_back() {
        let account = AccountId([9; 32]);
        for prefix in [0, 2, 30, 42, 63, 64, 255, 256, 16_383] {
            assert_eq!(parse_account(&format(&account, prefix)), Ok(account), "{prefix}");
        }
        assert_eq!(parse_account(&account.to_string()), Ok(account));
    }

    /// Polkadot's treasury, and an address with a two-byte prefix, as Subscan prints them.
    #[test]
    fn known_addresses_are_read_and_written() {
        let treasury: [u8; 32] = *b"modlpy/trsry\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        assert_eq!(format(&AccountId(treasury), 0), "13UVJyLnbVp9RBZYFwFGyDvVd1y27Tt8tkntv6Q7JVPhFsTB");
        let alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
        assert_eq!(format(&parse_account(alice).unwrap(), 42), alice);
    }

    #[test]
    fn refuses_mistyped_and_short_addresses() {
        assert_eq!(parse_account("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ"), Err(AddressError::Checksum));
        assert_eq!(parse_account("0x00"), Err(AddressError::Length));
        assert_eq!(parse_account("0OIl"), Err(AddressError::Text));
        assert_eq!(parse_account(""), Err(AddressError::Text));
        assert_eq!(parse_account(&"5".repeat(1000)), Err(AddressError::Length));
    }
}
