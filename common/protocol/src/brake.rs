//! What a gatekeeper's operator asks of its TEE when the brake is to be pulled, and the part of a suspension that it gets.
//!
//! A suspension by gatekeepers needs n-t+1 of the recorded root's seats. Each is asked by its own operator, for the same subject and the
//! same last block, and signs [`crate::attestation::suspension_payload`]; anyone brings the parts together into one call of the attestation
//! pallet. Whoever carries them controls these bytes, and a part says of itself whose it is: it counts when its signature holds, for the seat that
//! the *chain* records under its number.
//!
//! The subject's type is `phala_attest::Subject` wherever these are used; that crate rests on none of ours, and this one not on it.

use crate::{
    attestation::suspension_payload,
    ids::{BlockNumber, WorkerId},
    Hash,
};
use codec::{Decode, Encode};

/// Bytes of the longest [`SuspensionRequest`], with room.
pub const MAX_SUSPENSION_REQUEST_BYTES: usize = 64;
/// Bytes of the longest [`SignedSuspension`], with room.
pub const MAX_SIGNED_SUSPENSION_BYTES: usize = 256;

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SuspensionRequest<Subject> {
    /// Whom to suspend.
    pub subject: Subject,
    /// The last block in which the chain takes the signature: not the suspension's own end, which is the brake's. At most
    /// [`crate::limits::SUSPENSION_SIGNED_AHEAD_BLOCKS`] ahead.
    pub expires: BlockNumber,
}

/// One seat's part of a suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedSuspension<Subject> {
    /// Hash of the chain's genesis block.
    pub genesis: Hash,
    /// The era of the root that answered when it was signed.
    pub era: u32,
    /// The seat in that root, from 1.
    pub seat: u16,
    /// Whose seat it was.
    pub gatekeeper: WorkerId,
    /// Whom it suspends.
    pub subject: Subject,
    /// How often the brake had suspended the subject before.
    pub sequence: u32,
    /// The last block in which the chain takes it.
    pub expires: BlockNumber,
    /// The gatekeeper's signature by its identity.
    pub signature: [u8; 64],
}

impl<Subject: Encode> SignedSuspension<Subject> {
    /// What is signed: chain, subject, sequence and last block. Era and seat are not, for the chain looks at the root that it has recorded
    /// when the parts arrive.
    pub fn signing_payload(&self) -> Hash {
        suspension_payload(&self.genesis, &self.subject, self.sequence, self.expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Subject::Measurement([2; 32])`, by its index: no subject is longer.
    type Longest = (u8, [u8; 32]);
    const SUBJECT: Longest = (4, [2; 32]);

    #[test]
    fn formats_are_golden_and_within_their_limits() {
        let request = SuspensionRequest { subject: SUBJECT, expires: 5 };
        assert_eq!(request.encode(), [&[4][..], &[2; 32], &[5, 0, 0, 0]].concat());
        assert!(request.encode().len() <= MAX_SUSPENSION_REQUEST_BYTES);
        let signed = SignedSuspension {
            genesis: [1; 32],
            era: 6,
            seat: 7,
            gatekeeper: WorkerId([8; 32]),
            subject: SUBJECT,
            sequence: 3,
            expires: 5,
            signature: [9; 64],
        };
        let numbers = [&[1; 32][..], &[6, 0, 0, 0, 7, 0], &[8; 32]].concat();
        let rest = [&[4][..], &[2; 32], &[3, 0, 0, 0, 5, 0, 0, 0], &[9; 64]].concat();
        assert_eq!(signed.encode(), [numbers, rest].concat());
        assert!(signed.encode().len() <= MAX_SIGNED_SUSPENSION_BYTES);
        assert_eq!(signed.signing_payload(), suspension_payload(&[1; 32], &SUBJECT, 3, 5));
    }
}
