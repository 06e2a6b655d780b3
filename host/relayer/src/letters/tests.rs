//! What is taken of whom, and how long anybody may take for it.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use phala_protocol::{
    ceremony::MAX_SEATS,
    identities::{
        signing::{NonceCommitments, PartialSignature, SigningLetter, SigningMessage, SigningSession},
        Scheme,
    },
    keys::KeyAnswer,
};
use std::{collections::BTreeMap, net::Ipv4Addr};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

const WORKER: WorkerId = WorkerId([1; 32]);
const CHAIN: Hash = [7; 32];
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Longer than anything here may take.
const SOON: Duration = Duration::from_secs(20);
/// Little patience, so that its end is seen.
const HASTY: Bounds = Bounds {
    connections: 64,
    of_one: 32,
    of_site: 64,
    patience: Duration::from_millis(200),
    lifetime: Duration::from_secs(1),
};

fn answer(request: u8, bytes: usize) -> Addressed {
    let answer = KeyAnswer { encapsulated: vec![], body: vec![request; bytes] };
    Addressed { chain: CHAIN, to: WORKER, letter: Letter::Answer([request; 32], answer) }
}

/// Mail for [`WORKER`], and where letters to it are taken.
async fn listening(bounds: Bounds) -> (Arc<Mail>, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mail = Arc::new(Mail::default());
    mail.open(WORKER, CHAIN);
    tokio::spawn(serve(listener, mail.clone(), Router::new(), bounds));
    (mail, address)
}

fn head(length: usize) -> Vec<u8> {
    format!("POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n").into_bytes()
}

fn request(body: &[u8]) -> Vec<u8> {
    [head(body.len()), body.to_vec()].concat()
}

/// What is answered to these bytes until the connection ends.
async fn says(address: SocketAddr, bytes: &[u8]) -> String {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let hear = async {
            let (mut said, mut chunk) = (Vec::new(), [0; 4_096]);
            while let Ok(length @ 1..) = reader.read(&mut chunk).await {
                said.extend_from_slice(&chunk[..length]);
            }
            said
        };
        // It may be closed before all was sent.
        let (said, _) = tokio::join!(hear, writer.write_all(bytes));
        String::from_utf8_lossy(&said).into_owned()
    };
    timeout(SOON, talk).await.unwrap()
}

#[test]
fn a_letter_is_taken_whole_for_whom_is_served_and_as_long_as_there_is_room() {
    let mail = Mail::default();
    let status = |letter: &Addressed| admit(&mail, PEER, &letter.encode()).0;
    assert_eq!(status(&answer(1, 9)), StatusCode::NOT_FOUND);
    mail.open(WORKER, CHAIN);
    assert_eq!(status(&answer(1, 9)), StatusCode::NO_CONTENT);
    assert_eq!(status(&answer(1, 9)), StatusCode::NO_CONTENT, "again");
    assert_eq!(status(&answer(1, MAX_LETTER_BYTES)), StatusCode::PAYLOAD_TOO_LARGE);
    let mut bytes = answer(2, 9).encode();
    bytes.push(0);
    for malformed in [&bytes[..], &bytes[..bytes.len() - 2], &[], &[0xff; 100]] {
        assert_eq!(admit(&mail, PEER, malformed).0, StatusCode::BAD_REQUEST);
    }
    let taken = (2..200).filter(|request| status(&answer(*request, 9)) == StatusCode::NO_CONTENT).count();
    assert!((1..100).contains(&taken));
    assert_eq!(status(&answer(200, 9)), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(mail.take(&WORKER).answers.len(), taken + 1);
}

#[test]
fn what_holders_say_to_each_other_passes_between_relayers_up_to_the_longest_list() {
    let session = SigningSession { scheme: Scheme::Ed25519, sharing: [1; 32], item: [2; 32], attempt: 3 };
    let commitments = |index: u16| NonceCommitments { index, hiding: [4; 32], binding: [5; 32] };
    let signing = |message| SigningLetter { from: 1, to: 2, message, signature: [7; 64] };
    let part = PartialSignature { index: 1, part: [8; 32] };
    let said = [
        signing(SigningMessage::Commit { session, commitments: commitments(1) }),
        signing(SigningMessage::List { session, commitments: (1..=MAX_SEATS as u16).map(commitments).collect() }),
        signing(SigningMessage::Part { session, list: [9; 32], part }),
    ];
    let mail = Mail::default();
    mail.open(WORKER, CHAIN);
    for letter in said.clone() {
        let addressed = Addressed { chain: CHAIN, to: WORKER, letter: Letter::Signing(letter) };
        assert_eq!(Addressed::decode_bounded(&addressed.encode()), Some(addressed.clone()));
        assert_eq!(admit(&mail, PEER, &addressed.encode()).0, StatusCode::NO_CONTENT);
    }
    assert_eq!(mail.take(&WORKER).signing, said);
}

#[test]
fn a_letter_of_another_chain_is_told_so_and_not_carried() {
    let mail = Mail::default();
    mail.open(WORKER, CHAIN);
    let foreign = Addressed { chain: [8; 32], ..answer(1, 9) };
    assert_eq!(admit(&mail, PEER, &foreign.encode()).0, StatusCode::CONFLICT);
    assert!(mail.take(&WORKER).is_empty());
    assert_eq!(admit(&mail, PEER, &answer(1, 9).encode()).0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn garbage_and_what_is_too_long_are_refused_and_the_next_letter_arrives() {
    let (mail, address) = listening(HASTY).await;
    assert!(says(address, &request(&[0xff; 300])).await.starts_with("HTTP/1.1 400"));
    assert!(says(address, &request(&[])).await.starts_with("HTTP/1.1 400"));
    assert!(!says(address, &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3, b'\n', b'\n']).await.contains(" 204 "));
    assert!(says(address, b"GET /mail/v1/letters HTTP/1.1\r\nhost: x\r\n\r\n").await.starts_with("HTTP/1.1 405"));
    assert!(says(address, &request(&vec![0; MAX_BODY_BYTES + 1])).await.starts_with("HTTP/1.1 413"));
    // Of a length that is not said: it goes on for ever.
    let endless = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = [b"4000\r\n".to_vec(), vec![0; 0x4000], b"\r\n".to_vec()].concat();
    let endless = [endless.into_bytes(), chunk.repeat(2 * MAX_BODY_BYTES / 0x4000)].concat();
    assert!(says(address, &endless).await.starts_with("HTTP/1.1 413"));
    let long_head = [b"POST / HTTP/1.1\r\nx: ".to_vec(), vec![b'x'; 4 * MAX_HEAD_BYTES]].concat();
    assert!(!says(address, &long_head).await.contains(" 204 "));
    assert!(mail.take(&WORKER).is_empty());
    assert!(says(address, &request(&answer(1, 9).encode())).await.starts_with("HTTP/1.1 204"));
    assert_eq!(mail.take(&WORKER).answers.len(), 1);
}

#[tokio::test]
async fn whoever_is_slow_idle_or_never_ends_is_cut_off() {
    let (_mail, address) = listening(HASTY).await;
    let started = Instant::now();
    assert!(!says(address, b"").await.contains(" 204 "), "it says nothing");
    assert!(!says(address, b"POST /mail/v1/letters HTTP/1.1\r\nx: ").await.contains(" 204 "), "half a head");
    assert!(says(address, &[head(100), vec![0; 9]].concat()).await.starts_with("HTTP/1.1 408"), "half a body");
    assert!(started.elapsed() < SOON / 2);
    // Whole requests in time, one after another, and no answer is read.
    let busy = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        while stream.write_all(&request(b"x")).await.is_ok() {
            tokio::time::sleep(HASTY.patience / 4).await;
        }
    };
    let started = Instant::now();
    timeout(SOON, busy).await.unwrap();
    assert!(started.elapsed() >= HASTY.lifetime / 2, "it was not cut off for another reason");
}

#[tokio::test]
async fn an_address_is_held_to_its_rate() {
    let (_mail, address) = listening(Bounds { lifetime: SOON, ..HASTY }).await;
    let many = request(b"").repeat(1_000);
    let said = says(address, &many).await;
    assert!(said.matches("HTTP/1.1 400").count() >= 500, "what is within the rate is looked at");
    assert!(said.matches("HTTP/1.1 429").count() >= 20, "and the rest is not");
}

#[tokio::test]
async fn an_old_connection_ends_with_an_answer_that_says_so() {
    let (_mail, address) = listening(HASTY).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (started, mut said, mut chunk) = (Instant::now(), String::new(), [0; 4_096]);
    let asking = async {
        while stream.write_all(&request(b"x")).await.is_ok() {
            let Ok(length @ 1..) = stream.read(&mut chunk).await else { break };
            assert!(!said.contains("connection: close"), "an answer came after the last: {said}");
            said = String::from_utf8_lossy(&chunk[..length]).into_owned();
            tokio::time::sleep(HASTY.patience / 4).await;
        }
    };
    timeout(SOON, asking).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 400") && said.contains("connection: close"), "{said}");
    assert!(started.elapsed() >= HASTY.lifetime, "not before it was old");
}

#[tokio::test]
async fn connections_of_one_address_are_bounded_and_later_ones_come_in() {
    let (_mail, address) = listening(Bounds { of_one: 2, lifetime: SOON, ..HASTY }).await;
    let held = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    // Connections are accepted in their order, and one that is over the bound is closed without a word.
    assert_eq!(says(address, &request(b"x")).await, "");
    drop(held);
    let again = async {
        while !says(address, &request(b"x")).await.starts_with("HTTP/1.1 400") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, again).await.unwrap();
}

#[tokio::test]
async fn connections_of_named_relayers_are_counted_apart_and_make_room_for_no_stranger() {
    let bounds = Bounds { connections: 1, of_one: 2, of_site: 2, patience: SOON, lifetime: SOON };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    // Two of them are at one address.
    tokio::spawn(serve(listener, Arc::new(Mail::new(BTreeMap::from([(PEER, 2)]))), Router::new(), bounds));
    let ask = |mut stream: TcpStream| async move {
        let (mut said, mut chunk) = (Vec::<u8>::new(), [0; 1_024]);
        // It may be closed before all was sent.
        let _ = stream.write_all(&request(b"x")).await;
        while !said.ends_with(b"version?") {
            match timeout(SOON, stream.read(&mut chunk)).await.unwrap() {
                Ok(length @ 1..) => said.extend_from_slice(&chunk[..length]),
                _ => break,
            }
        }
        (said.starts_with(b"HTTP/1.1 400"), stream)
    };
    let mut held = Vec::new();
    for _ in 0..4 {
        let (is_answered, stream) = ask(TcpStream::connect(address).await.unwrap()).await;
        assert!(is_answered);
        held.push(stream);
    }
    assert!(!ask(TcpStream::connect(address).await.unwrap()).await.0, "as many as two have");
    for last in [2, 3] {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
        let (is_answered, stream) = ask(socket.connect(address).await.unwrap()).await;
        assert!(is_answered, "strangers have their own place, and give it to each other");
        held.push(stream);
    }
    assert!(!ask(held.remove(4)).await.0, "the first stranger's");
    for stream in held.drain(..4) {
        assert!(ask(stream).await.0, "a named one is never cut off");
    }
}
