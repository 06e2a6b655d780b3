//! What hostile contracts may and may not do, and what a real one does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod calls;
mod cargo;
mod code;
mod codes;
mod execution;
mod layouts;
mod payout;
mod random;
mod slots;
mod support;
mod template;
mod token;
