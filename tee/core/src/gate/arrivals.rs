//! What a delivery brings for this gatekeeper's part in an attempt: sealed messages, and what stands on chain beside statements.
//!
//! Guarantees: only what names the attempt, and the index under which this gatekeeper receives, has room, and so much of one delivery; it
//! is looked at with the delivery's proof, and then forgotten. The ceremony of the root and that of identities share it. Peers, host and
//! whoever else sends control every byte: what is here is an allegation until a ceremony's own check took it.

use phala_protocol::{
    ceremony::{Attachment, Parcel},
    relay::PlacedAttachment,
};

/// Introductions, parcels and attachments that are looked at of one delivery, of each: the largest ceremony has two parcels, a delivery and
/// a package of each of 99 seats.
pub(super) const MAX_OF_ONE_DELIVERY: usize = 512;

/// What arrived.
#[derive(Default)]
pub(super) struct Arrivals {
    parcels: Vec<Parcel>,
    placed: Vec<PlacedAttachment>,
}

/// One of them.
pub(super) enum Arrival<'a> {
    /// A sealed message, sent or delivered on chain.
    Parcel(&'a Parcel),
    /// The package, in clear, of the dealer of this index.
    Package(u16, &'a [u8]),
}

impl Arrivals {
    /// Takes what is of the attempt (era and attempt) and for `index`.
    pub(super) fn of(
        (era, attempt): (u32, u32),
        index: u16,
        mut parcels: Vec<Parcel>,
        mut placed: Vec<PlacedAttachment>,
    ) -> Self {
        parcels.retain(|parcel| (parcel.header.era, parcel.header.attempt, parcel.header.to) == (era, attempt, index));
        parcels.truncate(MAX_OF_ONE_DELIVERY);
        // A share is taken after its package.
        parcels.sort_by_key(|parcel| parcel.header.kind);
        placed.retain(|placed| (placed.era, placed.attempt) == (era, attempt) && is_for(&placed.attachment, index));
        placed.truncate(MAX_OF_ONE_DELIVERY);
        Self { parcels, placed }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parcels.is_empty() && self.placed.is_empty()
    }

    /// All of it, in the order in which it is taken.
    pub(super) fn iter(&self) -> impl Iterator<Item = Arrival<'_>> {
        let placed = self.placed.iter().filter_map(|placed| match &placed.attachment {
            Attachment::Parcel(parcel) => Some(Arrival::Parcel(parcel)),
            Attachment::Package(bytes) => Some(Arrival::Package(placed.index, bytes)),
            // Whoever complained is sealed to under a key that came in its introduction; the record has the hash of this one.
            Attachment::Key(_) => None,
        });
        self.parcels.iter().map(Arrival::Parcel).chain(placed)
    }
}

/// Whether whoever has `index` can use what stands on chain beside a statement.
fn is_for(attachment: &Attachment, index: u16) -> bool {
    match attachment {
        Attachment::Parcel(parcel) => parcel.header.to == index,
        Attachment::Package(_) => true,
        Attachment::Key(_) => false,
    }
}
