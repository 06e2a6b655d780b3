//! The operating system's entropy, for nonces, salts and encapsulations.

use crate::{ClientError, ErrorCode};

/// Fresh unpredictable bytes.
pub(crate) fn fresh<const N: usize>() -> Result<[u8; N], ClientError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| ClientError::new(ErrorCode::Internal, format!("the system has no entropy: {error}")))?;
    Ok(bytes)
}
