//! What the process says about itself, in JSON. Nothing in it is secret, and none of it is to be believed without its signature or
//! the chain's record. Simulation says INSECURE here.

use crate::{
    limits, machine,
    public::{MAX_CONCURRENT_QUERIES, QUERY_SECONDS},
    service::{Service, Stopped},
};
use codec::{DecodeAll, Encode};
use phala_attest::Evidence;
use phala_protocol::{
    attestation::{Assurance, Role},
    ids::to_hex,
    limits::{MAX_QUERY_BYTES, MAX_QUERY_LIFETIME_BLOCKS},
};
use serde_json::{json, Value};

/// `/v1/info`.
pub(crate) fn info(service: &Service) -> Result<Value, Stopped> {
    let serving = service.serving();
    let clusters: Vec<_> = serving
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
    service.with(|tee| {
        let (height, head) = tee.head();
        let registration = tee.registration();
        let attested = tee.attested();
        let claimed = attested.and_then(|(_, evidence)| {
            let evidence = Evidence::decode_all(&mut evidence.as_slice()).ok()?;
            machine::claimed_measurement(&evidence).ok()
        });
        let measurement = registration.map(|record| record.measurement).or(claimed);
        let assurance = registration.map(|record| record.assurance);
        let insecure = tee.is_development() || assurance != Some(Assurance::Hardware);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "insecure": insecure,
            "notice": insecure.then_some("INSECURE: no hardware vouches for this process"),
            "genesis": to_hex(&tee.status().genesis),
            "identity": tee.identity().to_string(),
            "role": role(service.role),
            "operator": service.operator.to_string(),
            "measurement": measurement.map(|measurement| to_hex(&measurement)),
            "assurance": assurance.map(assurance_name),
            "registered": registration.is_some(),
            "height": height,
            "head": to_hex(&head),
            "clusters": clusters,
            "evidence": attested.map(|(_, evidence)| to_hex(evidence)),
            "registration": attested.map(|(registration, _)| to_hex(&registration.encode())),
            "limits": {
                "query_bytes": MAX_QUERY_BYTES,
                "query_lifetime_blocks": MAX_QUERY_LIFETIME_BLOCKS,
                "query_seconds": QUERY_SECONDS,
                "concurrent_queries": MAX_CONCURRENT_QUERIES,
                "requests_per_second": limits::PER_SECOND,
                "burst": limits::BURST,
                "cors": "any origin, GET and POST, no credentials",
            },
        })
    })
}

/// `/v1/health`: whether the process does its role's work now.
pub(crate) fn health(service: &Service) -> Result<(bool, Value), Stopped> {
    service.with(|tee| {
        let cluster = tee.cluster_health();
        let healthy = tee.registration().is_some()
            && match service.role {
                Role::Worker => cluster.as_ref().is_some_and(|health| health.serving && health.diverged_at.is_none()),
                Role::Gatekeeper => tee.has_seat(),
            };
        let detail = json!({
            "healthy": healthy,
            "role": role(service.role),
            "height": tee.head().0,
            "registered": tee.registration().is_some(),
            "cluster": cluster.map(|health| json!({
                "cluster": health.cluster.0,
                "epoch": health.epoch,
                "executed": health.executed,
                "pending": health.pending,
                "serving": health.serving,
                "diverged_at": health.diverged_at,
            })),
        });
        (healthy, detail)
    })
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
