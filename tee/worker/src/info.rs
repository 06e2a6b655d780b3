//! What the process says about itself, in JSON. Nothing in it is secret, and none of it is to be believed without its signature or
//! the chain's record. Simulation says INSECURE here.

use crate::{
    bounds::{CORS, REQUEST_SECONDS},
    listener, machine,
    public::{MAX_CONCURRENT_QUERIES, MAX_WAITING_QUERIES},
    service::{Service, Stopped},
};
use codec::{DecodeAll, Encode};
use phala_attest::Evidence;
use phala_core::{ClusterHealth, GateHealth};
use phala_protocol::{
    attestation::{Assurance, Role},
    ceremony::Phase,
    ids::to_hex,
    limits::{MAX_QUERY_BYTES, MAX_QUERY_LIFETIME_BLOCKS},
};
use serde_json::{json, Value};

/// `/v1/info`.
pub(crate) fn info(service: &Service) -> Result<Value, Stopped> {
    let present = service.present()?;
    let clusters: Vec<_> = present
        .serving
        .iter()
        .map(|serving| {
            let key = serving.query_key();
            json!({
                "cluster": serving.cluster().0,
                "epoch": key.epoch,
                "query_key": to_hex(&key.encode()),
                "replicas": serving.replicas(),
                "vote": vote(serving.replicas()),
            })
        })
        .collect();
    let attested = present.attested.as_ref();
    let claimed = attested.and_then(|(_, evidence)| {
        let evidence = Evidence::decode_all(&mut evidence.as_slice()).ok()?;
        machine::claimed_measurement(&evidence).ok()
    });
    let registration = present.registration;
    let measurement = registration.map(|record| record.measurement).or(claimed);
    let assurance = registration.map(|record| record.assurance);
    let insecure = present.is_development || assurance != Some(Assurance::Hardware);
    let (height, head) = present.head;
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "insecure": insecure,
        "notice": insecure.then_some("INSECURE: no hardware vouches for this process"),
        "genesis": to_hex(&present.genesis),
        "identity": present.identity.to_string(),
        "role": role(service.role),
        "operator": service.operator.to_string(),
        "measurement": measurement.map(|measurement| to_hex(&measurement)),
        "assurance": assurance.map(assurance_name),
        "engine": service.layout.map(|layout| json!({
            "layout": layout.name(),
            "reserved_gib": layout.reserved_gib(),
        })),
        "registered": registration.is_some(),
        "height": height,
        "head": to_hex(&head),
        "clusters": clusters,
        "gatekeeper": present.gate.as_ref().map(gatekeeper),
        "evidence": attested.map(|(_, evidence)| to_hex(evidence)),
        "registration": attested.map(|(registration, _)| to_hex(&registration.encode())),
        "limits": {
            "query_bytes": MAX_QUERY_BYTES,
            "query_lifetime_blocks": MAX_QUERY_LIFETIME_BLOCKS,
            "request_seconds": REQUEST_SECONDS,
            "concurrent_queries": MAX_CONCURRENT_QUERIES,
            "waiting_queries": MAX_WAITING_QUERIES,
            "requests_per_second": service.limits.per_second,
            "burst": service.limits.burst,
            "connections": listener::PUBLIC.room.connections,
            "connections_per_address": listener::PUBLIC.room.per_address,
            "connections_per_site": listener::PUBLIC.room.per_site,
            "connection_seconds": listener::PUBLIC.lifetime.as_secs(),
            "cors": { "origins": CORS.origins, "methods": CORS.methods, "credentials": false },
        },
    }))
}

/// `/v1/health`: whether the process does its role's work now.
pub(crate) fn health(service: &Service) -> Result<(bool, Value), Stopped> {
    let present = service.present()?;
    let cluster = present.cluster.as_ref();
    let healthy = present.registration.is_some()
        && match service.role {
            Role::Worker => cluster.is_some_and(|health| health.serving && health.diverged_at.is_none()),
            Role::Gatekeeper => present.gate.as_ref().is_some_and(|gate| !gate.seats.is_empty()),
        };
    let detail = json!({
        "healthy": healthy,
        "role": role(service.role),
        "height": present.head.0,
        "registered": present.registration.is_some(),
        "cluster": cluster.map(of_cluster),
    });
    Ok((healthy, detail))
}

/// How far a worker's cluster has come, and what became of gatekeepers' answers.
fn of_cluster(health: &ClusterHealth) -> Value {
    json!({
        "cluster": health.cluster.0,
        "epoch": health.epoch,
        "executed": health.executed,
        "pending": health.pending,
        "serving": health.serving,
        "diverged_at": health.diverged_at,
        "closed": health.closed,
        // Since the process started.
        "answers": {
            "taken": health.answers.taken,
            "refused": health.answers.refused,
            "left_out": health.answers.left_out,
        },
    })
}

/// Which seats a gatekeeper holds and the key ceremony that it takes part in; the same of identities, and how many messages it signs.
fn gatekeeper(health: &GateHealth) -> Value {
    let seats: Vec<_> = health.seats.iter().map(|seat| json!({ "era": seat.era, "recorded": seat.recorded })).collect();
    let ceremony = health.attempt.map(|attempt| {
        json!({
            "era": attempt.era,
            "attempt": attempt.attempt,
            "index": attempt.index,
            "phase": phase(attempt.phase),
            "confirmed": attempt.confirmed,
        })
    });
    let identity_ceremony = health.identity_attempt.map(|attempt| {
        json!({
            "era": attempt.era,
            "attempt": attempt.attempt,
            "dealer": attempt.dealer,
            "holder": attempt.holder,
            "phase": phase(attempt.phase),
            "confirmed": attempt.confirmed,
        })
    });
    json!({
        "seats": seats,
        "ceremony": ceremony,
        "identities": health.identities.map(|held| json!({ "era": held.era, "index": held.index })),
        "identity_ceremony": identity_ceremony,
        "signing": health.signing,
        // Since the process started.
        "keys": {
            "given": health.keys.given,
            "refused": health.keys.refused,
            "left_out": health.keys.left_out,
        },
    })
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Commit => "commit",
        Phase::Share => "share",
        Phase::Deliver => "deliver",
        Phase::Settle => "settle",
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Worker => "worker",
        Role::Gatekeeper => "gatekeeper",
    }
}

fn assurance_name(assurance: Assurance) -> &'static str {
    match assurance {
        Assurance::Simulated => "simulated",
        Assurance::Hardware => "hardware",
    }
}

/// How results are decided: with one or two replicas there is no majority to speak of.
fn vote(replicas: usize) -> String {
    if replicas <= 2 {
        "no vote".to_owned()
    } else {
        format!("{} of {replicas}", replicas / 2 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{gatekeeper, of_cluster};
    use phala_core::{AnswersHealth, ClusterHealth, GateHealth, KeysHealth};
    use phala_protocol::ClusterId;
    use std::collections::BTreeMap;

    #[test]
    fn what_a_worker_took_and_refused_of_answers_is_shown_by_kind() {
        let refused = BTreeMap::from([("unauthentic", 9), ("wrong_purposes", 2)]);
        let health = ClusterHealth {
            cluster: ClusterId(3),
            epoch: 7,
            executed: 5,
            pending: 1,
            serving: true,
            diverged_at: None,
            closed: false,
            answers: AnswersHealth { taken: 4, refused, left_out: 1 },
        };
        let expected = serde_json::json!({
            "cluster": 3,
            "epoch": 7,
            "executed": 5,
            "pending": 1,
            "serving": true,
            "diverged_at": null,
            "closed": false,
            "answers": { "taken": 4, "refused": { "unauthentic": 9, "wrong_purposes": 2 }, "left_out": 1 },
        });
        assert_eq!(of_cluster(&health), expected);
    }

    #[test]
    fn what_a_gatekeeper_gave_and_refused_is_shown_by_kind() {
        let refused = BTreeMap::from([("not_assigned", 2), ("too_often", 40)]);
        let keys = KeysHealth { given: 7, refused, left_out: 3 };
        let shown = gatekeeper(&GateHealth { keys, ..GateHealth::default() });
        let expected = serde_json::json!({
            "given": 7,
            "refused": { "not_assigned": 2, "too_often": 40 },
            "left_out": 3,
        });
        assert_eq!(shown["keys"], expected);
    }
}
