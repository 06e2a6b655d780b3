//! The limits that `/v1/info` states are the ones that hold, and that of core dumps.

use crate::{
    http::{ask, exchange, parse, refusal},
    process::Worker,
};
use std::time::{Duration, Instant};

#[test]
fn limits_of_body_rate_and_origin_hold_and_are_stated() {
    let mut worker = Worker::start(&["--burst", "40", "--requests-per-second", "5"]);
    let info = ask(worker.public, "GET", "/v1/info", &[("origin", "https://example.org")], b"");
    assert_eq!((info.status, info.header("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(info.header("access-control-allow-credentials"), None);
    assert_eq!(info.json()["engine"]["layout"], "wide");
    let limits = &info.json()["limits"];
    assert_eq!((limits["burst"].as_f64(), limits["requests_per_second"].as_f64()), (Some(40.0), Some(5.0)));

    // Origin: any, for the two methods.
    let asking = [("origin", "https://example.org"), ("access-control-request-method", "POST")];
    let preflight = ask(worker.public, "OPTIONS", "/v1/query", &asking, b"");
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(limits["cors"]["origins"], "*");
    assert_eq!(limits["connection_seconds"], 60);
    assert_eq!(limits["connections_per_address"], 64);
    assert_eq!(limits["connections_per_site"], 256);
    assert_eq!(limits["cors"]["credentials"], false);
    let methods: Vec<_> =
        limits["cors"]["methods"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let allowed: Vec<_> = preflight.header("access-control-allow-methods").unwrap().split(',').collect();
    assert_eq!(allowed, methods);

    // Body: the stated number of bytes is taken, one more is not, whether or not it says how many it is.
    let most = usize::try_from(limits["query_bytes"].as_u64().unwrap()).unwrap();
    let taken = ask(worker.public, "POST", "/v1/query", &[], &vec![0; most]);
    assert_eq!(
        (taken.status, refusal(&taken).as_str()),
        (503, "stale"),
        "read, and this worker has nothing to answer from"
    );
    let refused = ask(worker.public, "POST", "/v1/query", &[], &vec![0; most + 1]);
    assert_eq!((refused.status, refusal(&refused).as_str()), (413, "over_limit"));
    let chunk = format!("{:x}\r\n{}\r\n", most + 1, "0".repeat(most + 1));
    let head = "POST /v1/query HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let refused = parse(&exchange(worker.public, format!("{head}{chunk}0\r\n\r\n").as_bytes())).unwrap();
    assert_eq!((refused.status, refusal(&refused).as_str()), (413, "over_limit"));

    // Rate: the burst, then as many a second as stated; in a form that a page of any origin can read.
    std::thread::sleep(Duration::from_secs(9));
    let start = Instant::now();
    let answers: Vec<_> =
        (0..120).map(|_| ask(worker.public, "GET", "/metrics", &[("origin", "https://example.org")], b"")).collect();
    let seconds = start.elapsed().as_secs_f64();
    let (taken, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(taken.len() >= 40 && (taken.len() as f64) <= 41.0 + seconds * 5.0, "{} in {seconds} s", taken.len());
    for answer in &refused {
        assert_eq!((answer.status, refusal(answer).as_str()), (429, "busy"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(ask(worker.public, "GET", "/v1/info", &[], b"").status, 200, "and it passes");
    assert!(worker.is_unharmed());
}

#[test]
fn a_tee_that_crashes_leaves_no_core_dump() {
    let core = |process: &str| -> [String; 2] {
        let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        [words[4].to_owned(), words[5].to_owned()]
    };
    let own = core("self");
    let worker = Worker::start(&[]);
    // One byte: no file, and no pipe to a program either. Whoever starts with none at all cannot raise it to that.
    let found = core(&worker.id().to_string());
    assert!(found == ["1", "1"] || (own[1] == "0" && found[0] == "0"), "{found:?}");
    assert_ne!(own, ["1", "1"], "then a worker that forbids nothing would pass");
}
