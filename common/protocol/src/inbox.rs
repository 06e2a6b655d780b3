//! The inbox of a cluster: one ordered queue behind one hash chain.
//!
//! A link commits everything a command's execution may depend on - kind, origin, sequence, inclusion block, chain time and the
//! message's hash - so that two honest replicas cannot be made to disagree by what a relayer hands them or how it batches.
//! Chain state holds only [`Head`] per cluster; dropping, reordering, duplicating or forging an item breaks the chain.
//!
//! Inputs: messages are whatever anyone paid to push. This module does not open or judge them.

use crate::{
    domain,
    gas::GasClass,
    hash_each, hash_value, hash_values,
    ids::{AccountId, Balance, BlockNumber, ClusterId, CodeHash, ContractId},
    limits, Hash,
};
use alloc::vec::Vec;
use codec::{Compact, Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum ItemKind {
    /// The message is a sealed [`crate::envelope::Envelope`].
    #[codec(index = 0)]
    Envelope(GasClass),
    /// The message is the SCALE encoding of a [`ChainMessage`].
    #[codec(index = 1)]
    Chain(GasClass),
}

impl ItemKind {
    /// The public gas bound of the item.
    pub const fn gas_class(&self) -> GasClass {
        match self {
            Self::Envelope(class) | Self::Chain(class) => *class,
        }
    }
}

/// Who put an item there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum ItemOrigin {
    /// The account that paid the public fee. It says nothing about who signed the command inside.
    #[codec(index = 0)]
    Account(AccountId),
    /// The chain itself, on behalf of its contracts pallet.
    #[codec(index = 1)]
    ContractsPallet,
}

/// A message that the chain itself sends to a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ChainMessage {
    /// Create `contract` from `code` for `deployer`. `init` is an envelope whose call, signed by the deployer, is the constructor's.
    #[codec(index = 0)]
    Instantiate {
        /// The new contract's id, as [`ContractId::derive`] gives it.
        contract: ContractId,
        /// Who deploys, and must have signed `init`.
        deployer: AccountId,
        /// The code, kept by the chain.
        code: CodeHash,
        /// A sealed call of the constructor.
        init: Vec<u8>,
    },
}

/// The head of a cluster's inbox: what chain state keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Head {
    /// Items so far; the next one's sequence.
    pub count: u64,
    /// The link of the newest item, or the cluster's genesis link.
    pub link: Hash,
}

/// One item without its message: exactly what its link commits, and all that execution knows of the block it runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct ItemHeader {
    /// Envelope or chain message, with its gas class.
    pub kind: ItemKind,
    /// Who put it there.
    pub origin: ItemOrigin,
    /// Place in the inbox, from 0.
    pub sequence: u64,
    /// The block that included it.
    pub block: BlockNumber,
    /// Chain time of that block, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What was charged for the gas class, in 10^-12 PHA: committed, so that every replica holds it against `max_fee` alike.
    pub fee: Balance,
}

/// An item as the node's offchain index keeps it and relayers carry it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Item {
    /// The link before this item.
    pub previous: Hash,
    /// What the link commits beside the message.
    pub header: ItemHeader,
    /// The message's bytes.
    pub message: Vec<u8>,
}

impl Head {
    /// The head of a cluster that has no item yet.
    pub fn empty(cluster: ClusterId) -> Self {
        Self { count: 0, link: hash_value(domain::INBOX_GENESIS, &cluster) }
    }

    /// The head after one more item, or `None` when `header.sequence` is not the next one.
    pub fn pushed(&self, header: &ItemHeader, message: &[u8]) -> Option<Self> {
        if header.sequence != self.count {
            return None;
        }
        Some(Self { count: self.count.checked_add(1)?, link: link(&self.link, header, &message_hash(message)) })
    }
}

impl Item {
    /// This item's own link.
    pub fn link(&self) -> Hash {
        link(&self.previous, &self.header, &message_hash(&self.message))
    }

    /// Decodes an item of at most [`limits::MAX_MESSAGE_BYTES`] of message, and nothing after it.
    pub fn decode_bounded(bytes: &[u8]) -> Result<Self, ItemDecodeError> {
        if bytes.len() > limits::MAX_MESSAGE_BYTES as usize + 256 {
            return Err(ItemDecodeError::TooLong(bytes.len()));
        }
        let mut rest = bytes;
        let item = Self::decode(&mut rest).map_err(|_| ItemDecodeError::Malformed)?;
        if !rest.is_empty() {
            return Err(ItemDecodeError::TrailingBytes(rest.len()));
        }
        if item.message.len() > limits::MAX_MESSAGE_BYTES as usize {
            return Err(ItemDecodeError::TooLong(item.message.len()));
        }
        Ok(item)
    }

    /// As [`Self::decode_bounded`], of bytes that become the message where they are: it is the last field.
    pub fn decode_owned(mut bytes: Vec<u8>) -> Result<Self, ItemDecodeError> {
        if bytes.len() > limits::MAX_MESSAGE_BYTES as usize + 256 {
            return Err(ItemDecodeError::TooLong(bytes.len()));
        }
        let mut rest = bytes.as_slice();
        let (previous, header, Compact(length)) =
            <(Hash, ItemHeader, Compact<u32>)>::decode(&mut rest).map_err(|_| ItemDecodeError::Malformed)?;
        let message = rest.len();
        match message.checked_sub(length as usize) {
            Some(0) => {}
            Some(behind) => return Err(ItemDecodeError::TrailingBytes(behind)),
            None => return Err(ItemDecodeError::Malformed),
        }
        if message > limits::MAX_MESSAGE_BYTES as usize {
            return Err(ItemDecodeError::TooLong(message));
        }
        let before = bytes.len() - message;
        bytes.drain(..before);
        Ok(Self { previous, header, message: bytes })
    }
}

/// Why bytes are not an inbox item; the fault is with whoever served them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemDecodeError {
    /// More bytes than an item may have.
    #[error("inbox item of {0} bytes is over the limit")]
    TooLong(usize),
    /// Not the encoding of an item.
    #[error("inbox item is malformed")]
    Malformed,
    /// Bytes after the item.
    #[error("inbox item has {0} bytes after its end")]
    TrailingBytes(usize),
}

/// Hash of a message as links commit it.
pub fn message_hash(message: &[u8]) -> Hash {
    crate::hash(domain::INBOX_MESSAGE, message)
}

/// `H(previous, kind, origin, sequence, inclusion block, chain time, fee, H(message))`.
pub fn link(previous: &Hash, header: &ItemHeader, message_hash: &Hash) -> Hash {
    hash_value(domain::INBOX_LINK, &(previous, header, message_hash))
}

/// [`Item::link`] of each of `items`, side by side. Each is of what its item says is before it: whether that is so is the caller's to see.
pub fn links(items: &[Item]) -> Vec<Hash> {
    let messages = hash_each(domain::INBOX_MESSAGE, items.iter().map(|item| item.message.as_slice()));
    let linked = items.iter().zip(&messages).map(|(item, message)| (&item.previous, &item.header, message));
    hash_values(domain::INBOX_LINK, linked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence: u64) -> ItemHeader {
        ItemHeader {
            kind: ItemKind::Envelope(GasClass::Small),
            origin: ItemOrigin::Account(AccountId([7; 32])),
            sequence,
            block: 9,
            time_ms: 1_000,
            fee: 5,
        }
    }

    #[test]
    fn every_field_changes_the_link() {
        let base = link(&[1; 32], &header(3), &[2; 32]);
        let mut other = header(3);
        other.kind = ItemKind::Envelope(GasClass::Medium);
        assert_ne!(base, link(&[1; 32], &other, &[2; 32]));
        other = header(3);
        other.kind = ItemKind::Chain(GasClass::Small);
        assert_ne!(base, link(&[1; 32], &other, &[2; 32]));
        other = header(3);
        other.origin = ItemOrigin::ContractsPallet;
        assert_ne!(base, link(&[1; 32], &other, &[2; 32]));
        other = header(3);
        other.block = 10;
        assert_ne!(base, link(&[1; 32], &other, &[2; 32]));
        other = header(3);
        other.time_ms = 1_001;
        assert_ne!(base, link(&[1; 32], &other, &[2; 32]));
        other = header(3);
        other.fee = 6;
        assert_ne!(base, link(&[1; 32], &other, &[2; 32]));
        assert_ne!(base, link(&[1; 32], &header(4), &[2; 32]));
        assert_ne!(base, link(&[0; 32], &header(3), &[2; 32]));
        assert_ne!(base, link(&[1; 32], &header(3), &[3; 32]));
    }

    #[test]
    fn head_refuses_a_gap() {
        let head = Head::empty(ClusterId(1));
        assert!(head.pushed(&header(1), b"m").is_none());
        let next = head.pushed(&header(0), b"m").map(|h| h.count);
        assert_eq!(next, Some(1));
        assert_ne!(Head::empty(ClusterId(1)).link, Head::empty(ClusterId(2)).link);
    }

    #[test]
    fn links_of_many_items_are_those_of_each() {
        let item = |number: u64| Item {
            previous: [number as u8; 32],
            header: header(number),
            message: (0..number * 131 % 4_000).map(|index| (index * number) as u8).collect(),
        };
        for count in 0..40 {
            let items: Vec<Item> = (0..count).map(item).collect();
            let each: Vec<Hash> = items.iter().map(Item::link).collect();
            assert_eq!(links(&items), each);
        }
    }

    #[test]
    fn item_decoding_is_bounded() {
        let item = Item { previous: [0; 32], header: header(0), message: alloc::vec![5; 100] };
        let bytes = item.encode();
        assert_eq!(Item::decode_bounded(&bytes), Ok(item.clone()));
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Item::decode_bounded(&longer), Err(ItemDecodeError::TrailingBytes(1)));
        assert_eq!(Item::decode_bounded(&bytes[..bytes.len() - 1]), Err(ItemDecodeError::Malformed));
        assert!(matches!(Item::decode_bounded(&alloc::vec![0; 30_000]), Err(ItemDecodeError::TooLong(30_000))));
    }

    #[test]
    fn an_item_made_of_its_bytes_is_the_one_that_is_copied_out_of_them() {
        let same = |bytes: &[u8]| {
            let copied = Item::decode_bounded(bytes);
            assert_eq!(Item::decode_owned(bytes.to_vec()), copied);
            copied.is_ok()
        };
        let most = limits::MAX_MESSAGE_BYTES as usize;
        for length in [0, 1, 63, 64, 100, 16_383, 16_384, most, most + 1] {
            let message: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let bytes = Item { previous: [9; 32], header: header(3), message }.encode();
            assert_eq!(same(&bytes), length <= most);
            assert!(!(0..bytes.len().min(300)).chain([bytes.len() - 1]).any(|end| same(&bytes[..end])));
            assert!(!same(&[&bytes[..], &[0]].concat()) && !same(&[&bytes[..], &[0; 300]].concat()));
            // Kinds, lengths and their forms that do not exist among them; whatever becomes of the others, both say it.
            let altered = |index: usize, bits: u8| {
                let mut altered = bytes.clone();
                altered[index] ^= bits;
                same(&altered)
            };
            let before = bytes.len() - length;
            let taken = (0..before).filter(|index| altered(*index, 0xff)).count();
            let expected = if length <= most { 1..before } else { 0..1 };
            assert!(
                expected.contains(&taken),
                "{taken} of {before} of {length} bytes: some are refused, and some are not"
            );
            for bit in 0..8 {
                altered(before - 1, 1 << bit);
            }
        }
    }
}
