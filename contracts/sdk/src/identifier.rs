//! Who calls, and what is called. Newtypes, so that one kind of 32 bytes is never passed for another.

use crate::codec::{take, Decode, DecodeError, Encode};
use alloc::vec::Vec;

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub [u8; 32]);

        impl Encode for $name {
            fn encode_to(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }
        }

        impl Decode for $name {
            fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
                take(input, 32)?.try_into().map($name).map_err(|_| DecodeError)
            }
        }
    )*};
}

identifiers! {
    /// An account of the chain, or a contract that calls as itself.
    AccountId;
    /// A contract of this cluster.
    ContractId;
}

impl From<ContractId> for AccountId {
    /// What a contract that `id` calls sees as its caller.
    fn from(id: ContractId) -> Self {
        Self(id.0)
    }
}
