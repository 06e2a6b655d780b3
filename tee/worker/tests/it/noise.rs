//! Garbage that looks like what the endpoints take, more or less.

use codec::Encode;
use phala_light_client::testing::TestRandom;
use phala_protocol::{
    relay::{Delivery, InboxItems},
    ClusterId,
};

/// INSECURE: what follows from a number.
pub struct Random(pub TestRandom);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound)
    }

    pub fn garbage(&mut self, longest: usize) -> Vec<u8> {
        let length = self.below(longest);
        (0..length.div_ceil(32)).flat_map(|_| self.0.bytes()).take(length).collect()
    }

    /// The body of a request.
    pub fn body(&mut self) -> Vec<u8> {
        match self.below(5) {
            0 => Vec::new(),
            1 => self.garbage(2_000),
            // The form of a query.
            2 => [&[1, 0, 0, 0, 0, 1, 0, 0, 0, 0][..], &[self.0.bytes()[0]; 1120 + 256 + 16]].concat(),
            // The form of a delivery.
            3 => {
                let items = vec![InboxItems { cluster: ClusterId(0), items: vec![self.garbage(300), Vec::new()] }];
                let (finality, proof) = (self.garbage(2_000), vec![self.garbage(500), self.garbage(500)]);
                Delivery { finality, proof, items, codes: vec![self.garbage(100)], ..Delivery::default() }.encode()
            }
            // A length that no body has.
            _ => [&[0xfe, 0xff, 0xff, 0xff][..], &self.garbage(100)].concat(),
        }
    }
}
