//! Garbage, as fast as it comes, at every endpoint: each piece gets a typed refusal, and the process goes on. It has no state, so that it
//! decodes no query: what becomes of garbage there is shown on a worker that serves (`src/tests`).

use crate::{
    http::{ask, exchange, parse, refusal},
    noise::Random,
    process::Worker,
};
use codec::Encode;
use phala_attest::{Subject, Vendor};
use phala_light_client::testing::TestRandom;
use phala_protocol::{brake::SuspensionRequest, relay::MAX_DELIVERY_BYTES};
use std::net::SocketAddr;

const THREADS: u64 = 4;
const ROUNDS: usize = 60;
const PATHS: [&str; 14] = [
    "/v1/query",
    "/v1/info",
    "/v1/health",
    "/metrics",
    "/operator/v1/status",
    "/operator/v1/deliver",
    "/operator/v1/suspension",
    "/operator/v1/snapshot",
    "/operator/v1/snapshot/0x00/0",
    "/operator/v1/snapshot/%ff/%zz",
    "/operator/v1/snapshot/0000000000000000000000000000000000000000000000000000000000000000/4294967295",
    "/",
    "/v1/query/../../etc/passwd",
    "/v1/%00%ff?a=%zz&&==",
];
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "DELETE", "PATCH", "BREW"];

fn is_typed(path: &str, address: SocketAddr, method: &str, body: &[u8]) {
    let answer = ask(address, method, path, &[], body);
    let healthy_or_not = path == "/v1/health" && answer.json()["healthy"].is_boolean();
    if answer.status != 200 && !healthy_or_not {
        refusal(&answer);
    }
}

#[test]
fn garbage_at_rate_on_every_endpoint_gets_typed_refusals_and_the_process_stays_up() {
    let mut worker = Worker::start(&["--burst", "1000000", "--requests-per-second", "1000000"]);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (public, operator) = (worker.public, worker.operator);
            scope.spawn(move || {
                let mut random = Random(TestRandom::new(thread));
                for _ in 0..ROUNDS {
                    for path in PATHS {
                        let method = METHODS[random.below(METHODS.len())];
                        is_typed(path, [public, operator][random.below(2)], method, &random.body());
                    }
                    is_typed("/operator/v1/deliver", operator, "POST", &random.body());
                    is_typed("/operator/v1/suspension", operator, "POST", &random.body());
                    is_typed("/v1/query", public, "POST", &random.body());
                    // No HTTP at all: refused in HTTP's own words, or hung up on.
                    let noise = [random.garbage(400), b"\r\n\r\n".to_vec()].concat();
                    let answer = exchange([public, operator][random.below(2)], &noise);
                    assert!(answer.is_empty() || parse(&answer).is_some_and(|answer| answer.status == 400));
                }
            });
        }
    });
    let refused = ask(worker.operator, "POST", "/operator/v1/deliver", &[], &vec![0; MAX_DELIVERY_BYTES + 1]);
    assert_eq!((refused.status, refusal(&refused).as_str()), (413, "over_limit"));
    // A worker has no part of the brake, and nobody has on the public listener.
    let request = SuspensionRequest { subject: Subject::Vendor(Vendor::IntelTdx), expires: 5 }.encode();
    let refused = ask(worker.operator, "POST", "/operator/v1/suspension", &[], &request);
    assert_eq!((refused.status, refusal(&refused).as_str()), (403, "refused"));
    let refused = ask(worker.public, "POST", "/operator/v1/suspension", &[], &request);
    assert_eq!((refused.status, refusal(&refused).as_str()), (404, "not_found"));
    let longer = [&request[..], &[0]].concat();
    let refused = ask(worker.operator, "POST", "/operator/v1/suspension", &[], &longer);
    assert_eq!((refused.status, refusal(&refused).as_str()), (400, "invalid"));
    // A worker without a state hands nothing out, and no part of what it does not hand out.
    let refused = |method: &str, path: &str| {
        let answer = ask(worker.operator, method, &format!("/operator/v1/snapshot{path}"), &[], b"");
        (answer.status, refusal(&answer))
    };
    let id = "ab".repeat(32);
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(refused("POST", ""), is(503, "stale"));
    assert_eq!(refused("GET", &format!("/{id}/0")), is(404, "not_found"));
    assert_eq!(refused("GET", &format!("/0x{id}/0")), is(404, "not_found"));
    for path in [format!("/{id}/-1"), format!("/{id}/4294967296"), format!("/{id}ab/0"), format!("/{}/0", &id[2..])] {
        assert_eq!(refused("GET", &path), is(400, "invalid"), "{path}");
    }
    assert_eq!(refused("GET", ""), is(405, "invalid"));
    let public = ask(worker.public, "POST", "/operator/v1/snapshot", &[], b"");
    assert_eq!((public.status, refusal(&public).as_str()), (404, "not_found"));
    assert_eq!(ask(worker.public, "GET", "/v1/info", &[], b"").status, 200);
    assert_eq!(ask(worker.operator, "GET", "/operator/v1/status", &[], b"").status, 200);
    assert!(worker.is_unharmed());
}
