//! Counters of the process, in the Prometheus text format. Numbers only: no account, contract or content is a label.

use crate::snapshot::Snapshot;
use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// The counters.
#[derive(Default)]
pub(crate) struct Metrics {
    height: AtomicU64,
    executed: AtomicU64,
    pending: AtomicU64,
    epoch: AtomicU64,
    deliveries: AtomicU64,
    deliveries_refused: AtomicU64,
    queries: AtomicU64,
    queries_refused: AtomicU64,
}

impl Metrics {
    pub(crate) fn stands(&self, snapshot: &Snapshot) {
        self.height.store(snapshot.head.0.into(), Relaxed);
        if let Some(health) = &snapshot.cluster {
            self.pending.store(health.pending as u64, Relaxed);
            self.epoch.store(health.epoch.into(), Relaxed);
        }
    }

    pub(crate) fn delivered(&self, taken: bool) {
        let counter = if taken { &self.deliveries } else { &self.deliveries_refused };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn executed(&self, items: usize) {
        self.executed.fetch_add(items as u64, Relaxed);
    }

    pub(crate) fn queried(&self, answered: bool) {
        let counter = if answered { &self.queries } else { &self.queries_refused };
        counter.fetch_add(1, Relaxed);
    }

    /// The exposition.
    pub(crate) fn text(&self) -> String {
        let rows = [
            ("phala_height", "gauge", "Finalised block that the TEE has verified", &self.height),
            ("phala_epoch", "gauge", "Open epoch of the cluster", &self.epoch),
            ("phala_results_pending", "gauge", "Results that wait to become final", &self.pending),
            ("phala_items_executed_total", "counter", "Inbox items executed since the start", &self.executed),
            ("phala_deliveries_total", "counter", "Deliveries taken", &self.deliveries),
            ("phala_deliveries_refused_total", "counter", "Deliveries refused", &self.deliveries_refused),
            ("phala_queries_total", "counter", "Queries answered", &self.queries),
            ("phala_queries_refused_total", "counter", "Queries refused", &self.queries_refused),
        ];
        let mut text = String::new();
        for (name, kind, help, value) in rows {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {}", value.load(Relaxed));
        }
        text
    }
}
