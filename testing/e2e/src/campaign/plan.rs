//! Which processes are killed, and when: all of it follows from a seed.
//!
//! Guarantees: the same seed and number give the same plan on every machine and in every release of this file's algorithm, which
//! is SplitMix64 and integer arithmetic. What the kills hit depends on the machine's speed and is not reproducible. No input.

use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream that a list of numbers decides: of other numbers, or of the same in another order, it is another.
    pub fn of<const N: usize>(numbers: [u64; N]) -> Self {
        Self(numbers.into_iter().fold(0, |mixed, number| Self(mixed ^ number).bits()))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero; the bias of the remainder does not matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound.max(1)
    }

    /// A pause below `milliseconds`.
    pub fn pause(&mut self, milliseconds: u64) -> Duration {
        Duration::from_millis(self.below(milliseconds))
    }
}

/// What is done to the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// These processes are killed at once.
    Kill(Vec<&'static str>),
    /// The first is killed, and the second while the first recovers.
    Twice(&'static str, Duration, &'static str),
    /// A worker is killed again whenever it is back, this long after, until more than one epoch's blocks have passed. No epoch opens
    /// meanwhile: that takes more than half of a cluster's replicas, and this one is of two.
    Down(&'static str, Duration),
}

impl Action {
    /// How it is called in tables.
    pub fn name(&self) -> String {
        match self {
            Self::Kill(roles) => roles.join(" and "),
            Self::Twice(first, _, second) => format!("{first}, then {second}"),
            Self::Down(role, _) => format!("{role}, down for an epoch's blocks"),
        }
    }

    /// Signals that it sends at least.
    pub fn kills(&self) -> usize {
        match self {
            Self::Kill(roles) => roles.len(),
            Self::Twice(..) => 2,
            Self::Down(..) => 3,
        }
    }

    /// Clusters that can stand still because of it.
    pub fn hits(&self, cluster: u32) -> bool {
        let hit = |role: &str| match role {
            "worker-0" | "tee-worker-0" => cluster == 0,
            "worker-1" | "tee-worker-1" => cluster == 1,
            _ => true,
        };
        match self {
            Self::Kill(roles) => roles.iter().any(|role| hit(role)),
            Self::Twice(first, _, second) => hit(first) || hit(second),
            Self::Down(role, _) => hit(role),
        }
    }
}

/// One step of a campaign: under load, after a pause, something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Since the network recovered from the step before.
    pub after: Duration,
    /// What is done then.
    pub action: Action,
}

/// The longest pause between a recovery and the next kill, in milliseconds: about four blocks.
const LONGEST_PAUSE: u64 = 4_000;

/// Roles by how often they are chosen.
const SINGLE: [&str; 12] = [
    "worker-0",
    "worker-0",
    "worker-0",
    "worker-0",
    "worker-1",
    "worker-1",
    "relayer",
    "relayer",
    "node-0",
    "node-0",
    "gatekeeper",
    "gatekeeper",
];

/// Steps of at least `kills` kills.
pub fn plan(seed: u64, kills: usize) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut steps = Vec::new();
    let mut planned = 0;
    while planned < kills {
        let after = random.pause(LONGEST_PAUSE);
        let one = |random: &mut Random| SINGLE[random.below(SINGLE.len() as u64) as usize];
        let action = match random.below(20) {
            0 => Action::Kill(vec!["tee-worker-0", "worker-0"]),
            1 => Action::Kill(vec!["tee-gatekeeper", "gatekeeper"]),
            2 => Action::Kill(vec!["node-0", "worker-0", "relayer", "gatekeeper"]),
            3 => Action::Down("worker-0", random.pause(1_500)),
            4..=6 => {
                let first = one(&mut random);
                let pause = random.pause(3_000);
                Action::Twice(first, pause, one(&mut random))
            }
            _ => Action::Kill(vec![one(&mut random)]),
        };
        planned += action.kills();
        steps.push(Step { after, action });
    }
    steps
}

/// The seed of what is sent during a campaign's piece with this number, from 0. No two pieces send the same.
pub fn load_seed(seed: u64, piece: u64) -> u64 {
    Random::of([seed, piece]).bits()
}

/// One kill of each role, in an order and at moments that `seed` decides: the short form.
pub fn one_of_each(seed: u64) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut groups = vec![vec!["tee-worker-0", "worker-0"], vec!["relayer", "gatekeeper"], vec!["node-0"]];
    let mut steps = Vec::new();
    while !groups.is_empty() {
        let killed = groups.remove(random.below(groups.len() as u64) as usize);
        steps.push(Step { after: random.pause(LONGEST_PAUSE / 2), action: Action::Kill(killed) });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_seed_another() {
        assert_eq!(plan(7, 200), plan(7, 200));
        assert_ne!(plan(7, 200), plan(8, 200));
        assert!(plan(7, 200).iter().map(|step| step.action.kills()).sum::<usize>() >= 200);
        // SplitMix64's published first output for the seed 0.
        assert_eq!(Random::new(0).bits(), 0xE220_A839_7B1D_CDAF);
        assert_ne!(Random::of([1, 2]).bits(), Random::of([2, 1]).bits());
    }

    #[test]
    fn a_plan_of_200_kills_has_every_kind_of_step() {
        let names: std::collections::BTreeSet<_> = plan(1, 200).iter().map(|step| step.action.name()).collect();
        for role in ["worker-0", "worker-1", "relayer", "node-0", "gatekeeper", "tee-worker-0 and worker-0"] {
            assert!(names.contains(role), "{role} is not in {names:?}");
        }
        assert!(names.contains("worker-0, down for an epoch's blocks"));
        assert!(names.iter().any(|name| name.contains(", then ")));
    }

    #[test]
    fn the_short_form_kills_each_role_once() {
        let mut killed: Vec<_> = one_of_each(3)
            .into_iter()
            .flat_map(|step| match step.action {
                Action::Kill(roles) => roles,
                other => panic!("{other:?}"),
            })
            .collect();
        killed.sort_unstable();
        assert_eq!(killed, ["gatekeeper", "node-0", "relayer", "tee-worker-0", "worker-0"]);
    }
}
