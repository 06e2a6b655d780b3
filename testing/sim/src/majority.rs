//! Why a cluster has no majority left, where that is no defect of what is simulated.
//!
//! Guarantees: pure, by what is known of each replica of the chain's own set. A majority may be lost in two ways only: a host attacked the
//! disk of a replica that can therefore not go on; or a replica left by governance's word, of which the others had need because some of
//! them could not go on already. Every other lost majority is a defect.

/// A replica, as far as a majority depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// It can never go on, by the protocol's own rules, and nobody hands it the state.
    pub left_behind: bool,
    /// Its host attacked its disk, or it was no replica for a while.
    pub attacked: bool,
}

/// A departure that made the set what it is: of each replica before and after, whether it was left behind at that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// With the one that left.
    pub before: Vec<bool>,
    /// Without it.
    pub after: Vec<bool>,
}

/// Why a majority was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// By an attack of a host, at least with others.
    Hosts,
    /// By a departure: had nobody left, there would still be one.
    Departure,
}

impl Loss {
    /// As what it is counted.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hosts => "= clusters halted by their hosts",
            Self::Departure => "= clusters that a departure left without a majority",
        }
    }
}

/// Why the replicas `now` have no majority that can go on. None when they have one, and when nothing excuses that they have none.
pub fn lost(now: &[Place], departure: Option<&Departure>) -> Option<Loss> {
    let behind: Vec<bool> = now.iter().map(|place| place.left_behind).collect();
    if has_majority(&behind) {
        return None;
    }
    if now.iter().any(|place| place.left_behind && place.attacked) {
        return Some(Loss::Hosts);
    }
    let departed = departure.is_some_and(|change| has_majority(&change.before) && !has_majority(&change.after));
    departed.then_some(Loss::Departure)
}

/// Whether more than half of replicas can go on, of which it is given who is left behind.
pub(crate) fn has_majority(left_behind: &[bool]) -> bool {
    left_behind.iter().filter(|behind| !**behind).count() > left_behind.len() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOES_ON: Place = Place { left_behind: false, attacked: false };
    const BEHIND: Place = Place { left_behind: true, attacked: false };
    const ATTACKED: Place = Place { left_behind: true, attacked: true };
    /// Attacked, and none the worse for it.
    const RECOVERED: Place = Place { left_behind: false, attacked: true };

    fn change(before: &[bool], after: &[bool]) -> Departure {
        Departure { before: before.to_vec(), after: after.to_vec() }
    }

    #[test]
    fn a_departure_may_take_the_majority_of_which_others_were_left_behind_already() {
        // One of three is left behind, and one of the other two leaves.
        let departure = change(&[true, false, false], &[true, false]);
        assert_eq!(lost(&[BEHIND, GOES_ON], Some(&departure)), Some(Loss::Departure));
        // Two of five are, and one of the other three leaves.
        let departure = change(&[true, true, false, false, false], &[true, true, false, false]);
        assert_eq!(lost(&[BEHIND, BEHIND, GOES_ON, GOES_ON], Some(&departure)), Some(Loss::Departure));
    }

    #[test]
    fn no_other_lost_majority_is_excused_by_a_departure() {
        // Nobody left.
        assert_eq!(lost(&[BEHIND, GOES_ON], None), None);
        assert_eq!(lost(&[BEHIND, BEHIND, GOES_ON], None), None);
        // Nobody was left behind when one left: the one that is now became so since, in a cluster that had its majority.
        assert_eq!(lost(&[BEHIND, GOES_ON], Some(&change(&[false, false, false], &[false, false]))), None);
        // The majority was lost before.
        let late = change(&[true, true, false], &[true, true]);
        assert_eq!(lost(&[BEHIND, BEHIND], Some(&late)), None);
        // Who left was left behind itself, and those that stay were enough.
        assert_eq!(lost(&[BEHIND, GOES_ON], Some(&change(&[true, false, false], &[false, false]))), None);
        // Those that stay were a majority of themselves: four replicas, of which one is left behind and one leaves.
        let harmless = change(&[true, false, false, false], &[true, false, false]);
        assert_eq!(lost(&[BEHIND, BEHIND, GOES_ON], Some(&harmless)), None);
    }

    #[test]
    fn hosts_are_named_where_an_attacked_replica_is_lost_and_only_there() {
        assert_eq!(lost(&[ATTACKED, BEHIND, GOES_ON], None), Some(Loss::Hosts));
        assert_eq!(lost(&[RECOVERED, BEHIND, BEHIND], None), None);
        let departure = change(&[true, false, false], &[true, false]);
        assert_eq!(lost(&[ATTACKED, GOES_ON], Some(&departure)), Some(Loss::Hosts));
    }

    #[test]
    fn a_cluster_with_a_majority_is_excused_from_nothing() {
        let departure = change(&[true, false, false], &[true, false]);
        assert_eq!(lost(&[GOES_ON, GOES_ON], Some(&departure)), None);
        assert_eq!(lost(&[ATTACKED, GOES_ON, GOES_ON], Some(&departure)), None);
        assert_eq!(lost(&[GOES_ON], None), None);
    }
}
