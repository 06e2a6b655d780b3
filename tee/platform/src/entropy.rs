//! Randomness for keys and nonces.

/// Gives random bytes.
///
/// Inside a TEE the kernel (or Gramine) seeds its generator from RDRAND, which the host does not see. On a machine without
/// a TEE the host can know every byte; there it protects nothing, as nothing else does.
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
