//! What hosts do to machines: they crash, and start from what they sealed, sometimes from what they sealed long ago.
//!
//! An old disk from before a confirmation that went out costs the machine its share of that attempt, and it counts among the `n - t` that may be
//! missing. So no more are restored to there than are missing beside: seats that lie, and those that take no part. Of whoever is it is
//! not required that it holds its share; all else is.

use super::World;
use phala_protocol::ceremony::tolerated;

impl World<'_> {
    /// Crashes and restarts of machines.
    pub(super) fn disturb(&mut self) {
        let calm = self.calm();
        let attempt = self.chain.record.attempt;
        let liars = self.liar_indices();
        for position in 0..self.machines.len() {
            let may_forget = self.may_forget(position);
            let machine = &mut self.machines[position];
            if !machine.up && !machine.lost && (calm || self.random.percent(30)) {
                // Sometimes the host restores an old disk.
                let back = if liars.contains(&machine.index) {
                    0
                } else if machine.confirmed.contains(&attempt) {
                    if self.apart.percent(50) {
                        self.apart.below(6) as usize
                    } else {
                        0
                    }
                } else if self.random.percent(30) {
                    self.random.below(6) as usize
                } else {
                    0
                };
                let start = machine.start(back, attempt, may_forget);
                let what = [
                    (true, "started"),
                    (start.old, "started from an old disk"),
                    (start.forgot, "started from before its confirmation"),
                ];
                for (_, what) in what.into_iter().filter(|(is_so, _)| *is_so) {
                    *self.counts.entry(what.to_owned()).or_default() += 1;
                }
            } else if machine.up && !calm {
                if self.random.percent(10) {
                    machine.seal();
                }
                if self.random.percent(3) {
                    machine.crash();
                }
            }
        }
    }

    /// Whether the keys of this attempt can do without the share of the machine at this position.
    fn may_forget(&self, position: usize) -> bool {
        let record = &self.chain.record;
        let forgot = |position: usize| self.machines[position].forgot.contains(&record.attempt);
        let lies = |index: u16| self.liars.iter().any(|liar| liar.index == index);
        let missing = (0..self.machines.len()).filter(|position| {
            let index = self.machines[*position].index;
            lies(index) || !record.takes_part(index) || forgot(*position)
        });
        forgot(position) || missing.count() < tolerated(self.machines.len())
    }
}
