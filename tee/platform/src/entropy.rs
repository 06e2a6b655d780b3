//! Randomness for keys and nonces.

/// Gives random bytes.
///
/// Sources, and what the host can do about them: Gramine answers `getrandom(2)` from RDRAND inside the enclave, and fails where the
/// instruction does. Linux in a confidential virtual machine seeds its generator from RDRAND, and since 6.9 does not boot when the
/// instruction keeps failing, which a host can bring about on some processors; whatever else it mixes in - interrupts, virtio-rng - the host
/// controls and cannot take the seed away with. On a machine without a TEE the host can know every byte; there it protects nothing, as
/// nothing else does.
pub trait Entropy {
    /// Fills `bytes`. On an error none of them may be used.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// The kernel gave no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel gave no randomness: {0}")]
pub struct EntropyError(#[source] pub(crate) getrandom::Error);

/// The operating system's generator (`getrandom(2)`), which blocks until it is seeded.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelEntropy;

impl KernelEntropy {
    /// Where the bytes come from, for logs.
    pub const SOURCE: &'static str = "getrandom(2), seeded by the processor's RDRAND";
}

impl Entropy for KernelEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(bytes).map_err(EntropyError)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut first, mut second) = ([0u8; 32], [0u8; 32]);
        KernelEntropy.fill(&mut first).unwrap();
        KernelEntropy.fill(&mut second).unwrap();
        assert_ne!(first, second);
        assert_ne!(first, [0; 32]);
    }
}
