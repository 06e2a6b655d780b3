//! The time of day, as the host tells it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time.
///
/// **The host controls it.** It may stand still, jump, or run backwards; none of the supported TEEs has a trusted clock.
/// It may decide when to try again and when to give up a lease early, and nothing that must hold against the host: the
/// time of a command, of a collateral's validity or of an assignment is the chain's.
pub trait Clock {
    /// Seconds since 1970, by the host's word; 0 if its clock is before that.
    fn now(&self) -> u64;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostClock;

impl HostClock {
    /// Whose time it is, for logs.
    pub const SOURCE: &'static str = "the host's, not trusted; the chain's time decides";
}

impl Clock for HostClock {
    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_clock_is_past_the_year_2025() {
        assert!(HostClock.now() > 1_735_689_600);
    }
}
