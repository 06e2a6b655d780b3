//! How much address space an engine reserves, and what it lets the processor find out for it.
//!
//! There are two layouts of one engine, for two kinds of machine. Guarantees: outcome, gas, writes, events and egress of an execution are the
//! same in both, so that replicas of one cluster may differ in it. What could differ is made equal elsewhere: gas and the depth of the
//! stack by [`crate::rewrite`], the size of a memory by the limiter, traps by their kinds. Compiled code is never given from one to the other:
//! it lives and dies with its engine. A machine's backend chooses the layout when the process starts; no contract and no peer has a say.
//! `docs/adr/0015-an-enclave-checks-every-access.md` says why an enclave needs its own.

use crate::{
    limits::{MAX_MEMORY_PAGES, MAX_TABLE_ELEMENTS},
    slots::SLOTS,
};

/// Bytes of the largest memory that a contract may have.
pub(crate) const MEMORY_BYTES: u64 = MAX_MEMORY_PAGES << 16;

/// Bytes of the longest single access.
const ACCESS_BYTES: u64 = 8;

/// Bytes of one entry of a table, at most.
const TABLE_ENTRY_BYTES: u64 = 16;

/// How an engine places the memories of contracts, and tells an access outside of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// For a virtual machine that has its own page tables. Each memory has all the address space that a 32-bit pointer reaches; an access
    /// outside of the memory faults, and its code has no branch that could be mispredicted.
    Wide,
    /// For an enclave, whose address space is small and whose page tables are the host's. Each memory has the space of the largest that is
    /// allowed; code compares every address with the memory's size, and no fault decides anything.
    Compact,
}

impl Layout {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Wide, Self::Compact];

    /// Its name in logs and at `/v1/info`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Compact => "compact",
        }
    }

    /// Bytes of address space of one memory.
    pub(crate) const fn memory_bytes(self) -> u64 {
        match self {
            Self::Wide => 4 << 30,
            Self::Compact => MEMORY_BYTES,
        }
    }

    /// Bytes of address space behind each memory, and before the first: in [`Self::Wide`] what a pointer and a constant offset reach together.
    /// In [`Self::Compact`] what speculation reaches: code that runs past a comparison has an address and an offset of at most
    /// [`MEMORY_BYTES`] each ([`crate::rewrite`]), so it stays in the slot that it is in.
    pub(crate) const fn guard_bytes(self) -> u64 {
        match self {
            Self::Wide => 32 << 20,
            Self::Compact => MEMORY_BYTES + (64 << 10),
        }
    }

    /// Whether a fault of the processor may become a trap of a contract.
    pub(crate) const fn has_traps_by_fault(self) -> bool {
        matches!(self, Self::Wide)
    }

    /// Address space that an engine reserves when it starts, in bytes: address space and not memory.
    pub const fn reserved_bytes(self) -> u64 {
        let (slots, guard) = (SLOTS as u64, self.guard_bytes());
        slots * (self.memory_bytes() + guard) + guard + slots * MAX_TABLE_ELEMENTS as u64 * TABLE_ENTRY_BYTES
    }

    /// The same in GiB, rounded up.
    pub const fn reserved_gib(self) -> u64 {
        self.reserved_bytes().div_ceil(1 << 30)
    }
}

const _: () = assert!(MEMORY_BYTES <= Layout::Compact.memory_bytes() && MEMORY_BYTES <= Layout::Wide.memory_bytes());
const _: () =
    assert!(Layout::Compact.guard_bytes() + Layout::Compact.memory_bytes() >= 2 * MEMORY_BYTES + ACCESS_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enclaves_engine_reserves_less_than_two_gibibytes() {
        assert!(Layout::Compact.reserved_bytes() < 3 << 29, "{}", Layout::Compact.reserved_bytes());
        assert!(Layout::Compact.reserved_bytes() > u64::from(SLOTS) * MEMORY_BYTES);
        assert!(Layout::Wide.reserved_gib() > 160);
    }
}
