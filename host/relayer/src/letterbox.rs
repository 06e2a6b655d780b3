//! One TEE's mailbox without a listener before it: for who looks for letters that break the relayer.
//!
//! Guarantees: a body is decoded, judged and kept as the listener does it with one of a stranger, whom the operator did not name. Whoever
//! calls controls every body. Does not: bound its length or how often one comes, which the listener does before, nor keep anybody out.

use crate::{letters, mail::Mail};
use phala_protocol::{relay::Delivery, Hash, WorkerId};
use std::net::{IpAddr, Ipv4Addr};

/// Bytes of the longest body that the listener reads.
pub const MAX_BODY_BYTES: usize = letters::MAX_BODY_BYTES;
/// Whose letters all are: an address for documentation, RFC 5737.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The mailbox.
pub struct Letterbox {
    mail: Mail,
    tee: WorkerId,
}

impl Letterbox {
    /// An empty one, of a TEE that follows the chain of this genesis hash.
    pub fn new(tee: WorkerId, chain: Hash) -> Self {
        let mail = Mail::default();
        mail.open(tee, chain);
        Self { mail, tee }
    }

    /// Takes the body of a request; gives the HTTP status of the answer.
    pub fn receive(&self, body: &[u8]) -> u16 {
        letters::admit(&self.mail, STRANGER, body).0.as_u16()
    }

    /// What waits, as the TEE gets it; then it counts as carried.
    pub fn take(&self) -> Delivery {
        let mut delivery = Delivery::default();
        self.mail.take(&self.tee).put_into(&mut delivery);
        delivery
    }
}
