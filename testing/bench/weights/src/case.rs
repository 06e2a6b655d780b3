//! What is measured: one case for each function of a pallet's `WeightInfo`, with the states in which it is measured.

use crate::{fit::Sample, measure::Counts};
use anyhow::Result;
use frame_support::weights::Weight;
use phala_runtime::RuntimeCall;

/// What is done in a scene.
pub(crate) enum Work {
    /// A transaction of Alice's, which is taken.
    Call(RuntimeCall),
    /// A call of root's, which is taken.
    Root(RuntimeCall),
    /// A transaction of Alice's that is refused after all its work, and the name of the error that says so.
    Refused(RuntimeCall, &'static str),
    /// The next block begins.
    Block {
        /// The pallet's hook, whose accesses are counted.
        hook: fn(u32) -> Weight,
        /// Whether the hook did what the scene is for.
        done: fn() -> bool,
    },
}

/// A prepared state: what is done next, and the arguments of the weight's function that it stands for.
pub(crate) struct Scene {
    pub(crate) at: Vec<u32>,
    pub(crate) work: Work,
}

/// Prepares the present externalities. The numbers say how large.
pub(crate) type Setup = fn(&[u32]) -> Result<Scene>;

/// One state in which a function is measured.
pub(crate) struct Point {
    pub(crate) label: &'static str,
    pub(crate) size: &'static [u32],
    pub(crate) setup: Setup,
}

/// One function of a pallet's `WeightInfo`.
pub(crate) struct Case {
    pub(crate) pallet: &'static str,
    pub(crate) function: &'static str,
    /// What the pallet charges at these arguments: the weight of this function, of a hook with all that it charges.
    pub(crate) charged: fn(&[u32]) -> Weight,
    /// How often a state has what is charged: the weight is of one.
    pub(crate) units: u64,
    /// As many of them as there are parameters, and one more, differ so that they say how the cost grows with each parameter.
    pub(crate) points: Vec<Point>,
}

impl Case {
    pub(crate) fn new(pallet: &'static str, function: &'static str, charged: fn(&[u32]) -> Weight) -> Self {
        Self { pallet, function, charged, units: 1, points: Vec::new() }
    }

    /// The weight is of one of as many that each state has.
    pub(crate) fn of(mut self, units: u64) -> Self {
        self.units = units.max(1);
        self
    }

    /// What was measured of a state, for one of its units.
    pub(crate) fn sample(&self, at: Vec<u32>, counts: Counts, nanoseconds: u64) -> Sample {
        let share = |whole: u64| whole.div_ceil(self.units);
        Sample {
            at,
            nanoseconds: share(nanoseconds),
            proof: share(counts.proof),
            reads: share(counts.reads),
            writes: share(counts.writes),
        }
    }

    /// With one more state.
    pub(crate) fn at(mut self, label: &'static str, size: &'static [u32], setup: Setup) -> Self {
        self.points.push(Point { label, size, setup });
        self
    }
}

/// The number at `place`; 0 where there is none.
pub(crate) fn number(numbers: &[u32], place: usize) -> u32 {
    numbers.get(place).copied().unwrap_or(0)
}
