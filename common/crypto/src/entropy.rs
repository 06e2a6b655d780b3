//! The caller's entropy in the shape that libraries want: a stream expanded from 32 bytes by SHAKE256.
//!
//! Guarantees: the stream is a function of its seed and of what it was bound to, and nothing else. It is no source of
//! randomness: whoever constructs one decides how unpredictable it is. Two streams of one seed are told apart by what they are
//! bound to, never by who reads them: equal builders give equal streams.

use crate::Secret;
use phala_protocol::Domain;
use rand_core::{CryptoRng, Error, RngCore};
use sha3::{
    digest::{ExtendableOutput, Update, XofReader},
    Shake256, Shake256Reader,
};

/// A deterministic stream, in the trait that schnorrkel, ed25519-zebra and frost ask for.
pub struct EntropyStream(Shake256Reader);

/// Collects what a stream depends on.
pub struct EntropyBuilder(Shake256);

impl EntropyBuilder {
    /// A stream for one purpose, from 32 bytes that decide how unpredictable it is.
    pub fn new(domain: Domain, entropy: &[u8; 32]) -> Self {
        debug_assert!(domain.derives(), "{} is not listed as a label that derives, with a vector", domain.as_str());
        let label = domain.as_bytes();
        let mut state = Shake256::default();
        // Labels have at most 255 bytes (tested where they are declared), so the cast keeps the length.
        state.update(&[label.len() as u8]);
        state.update(label);
        state.update(entropy);
        Self(state)
    }

    /// Binds the stream to `part`; parts are length-prefixed, so no two lists of parts give one stream.
    #[must_use]
    pub fn bind(mut self, part: &[u8]) -> Self {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// The stream, at its beginning.
    pub fn finish(self) -> EntropyStream {
        EntropyStream(self.0.finalize_xof())
    }
}

impl EntropyStream {
    /// Fills `bytes` with the next ones.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.read(bytes);
    }

    /// The next `N` bytes.
    pub fn secret<const N: usize>(&mut self) -> Secret<[u8; N]> {
        Secret::fill(|bytes| self.0.read(bytes))
    }
}

impl RngCore for EntropyStream {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, destination: &mut [u8]) {
        self.0.read(destination);
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(destination);
        Ok(())
    }
}

impl CryptoRng for EntropyStream {}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_protocol::domain;

    fn first(builder: EntropyBuilder) -> u64 {
        builder.finish().next_u64()
    }

    #[test]
    fn depends_on_label_seed_and_every_part() {
        let new = || EntropyBuilder::new(domain::SIGNATURE_BATCH, &[1; 32]);
        assert_eq!(first(new().bind(b"ab")), first(new().bind(b"ab")));
        assert_ne!(first(new().bind(b"ab")), first(new().bind(b"a").bind(b"b")));
        assert_ne!(first(new()), first(EntropyBuilder::new(domain::SIGNATURE_BATCH, &[2; 32])));
        assert_ne!(first(new()), first(EntropyBuilder::new(domain::SIGNATURE_NONCE, &[1; 32])));
        let mut stream = new().finish();
        assert_eq!(*stream.secret::<8>().expose(), first(new()).to_le_bytes());
        let mut bytes = [0; 16];
        new().finish().fill(&mut bytes);
        assert_eq!(bytes[..8], first(new()).to_le_bytes());
        assert_eq!(bytes[8..], *stream.secret::<8>().expose());
    }
}
