//! One point in time for everything that a command waits for: what its user allows is one number of seconds, not one for each step.
//!
//! Guarantees: nothing that is bound by a deadline is waited for beyond it. What is given up is dropped where it waits, so that only
//! questions are bound so, and never the handing over of an extrinsic, which has its own end. The user controls the length.

use crate::{ClientError, ErrorCode};
use std::{
    future::Future,
    time::{Duration, Instant},
};

/// When waiting ends.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// So long from now. One that no clock can count to never comes.
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// What is left until then.
    pub fn left(&self) -> Duration {
        self.0.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()))
    }

    /// Whether nothing is left.
    pub fn has_passed(&self) -> bool {
        self.left().is_zero()
    }

    /// What `work` comes to, or nothing if that takes longer.
    pub async fn bound<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.left(), work).await.ok()
    }

    /// Sleeps, not beyond the deadline.
    pub async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time.min(self.left())).await;
    }

    /// What has to be known before anything is sent.
    pub async fn before_sending<T, E: From<ClientError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.bound(work).await.unwrap_or_else(|| {
            let error = ClientError::new(ErrorCode::Timeout, "the time is over, and no command was sent");
            Err(error.with_hint("allow more of it; `phala status` shows whether the network answers").into())
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SHORT: Duration = Duration::from_millis(80);

    #[tokio::test]
    async fn steps_that_wait_share_one_deadline() {
        let (started, deadline) = (Instant::now(), Deadline::after(SHORT));
        assert_eq!(deadline.bound(async { 7 }).await, Some(7));
        deadline.sleep(SHORT / 2).await;
        // Neither of two steps that never end takes longer than what the first left.
        for _ in 0..2 {
            assert_eq!(deadline.bound(std::future::pending::<()>()).await, None);
        }
        deadline.sleep(Duration::from_secs(3600)).await;
        assert!(deadline.has_passed() && started.elapsed() >= SHORT);
        assert!(started.elapsed() < Duration::from_secs(20));
        let unsent = deadline.before_sending(std::future::pending::<Result<(), ClientError>>()).await.unwrap_err();
        assert_eq!(unsent.code, ErrorCode::Timeout);
        assert!(unsent.message.contains("no command was sent"), "{unsent}");
    }

    #[tokio::test]
    async fn a_deadline_beyond_all_clocks_never_comes() {
        let never = Deadline::after(Duration::MAX);
        assert!(!never.has_passed());
        assert_eq!(never.bound(async { 7 }).await, Some(7));
    }
}
