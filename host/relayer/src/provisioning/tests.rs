//! A provisioning service that is played, in clear and over TLS, and answers well, badly or not at all.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
use super::{service::MAX_ANSWER_BYTES, *};
use phala_attest::{CollateralKind, List};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{crypto::ring::default_provider, pki_types::PrivateKeyDer, ServerConfig, ServerConnection, StreamOwned};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

const COLLATERAL: &[u8] = include_bytes!("../../../../testing/vectors/attest/tdx_v4.collateral.json");

/// The model that it is of, as a service is asked for it.
const FMSPC: &str = "B0C06F000000";

/// The recorded collateral.
pub(crate) fn genuine() -> Collateral {
    fn list<const LIMIT: usize>(bytes: Vec<u8>) -> List<u8, LIMIT> {
        List::try_from(bytes).ok().unwrap()
    }
    let json: serde_json::Value = serde_json::from_slice(COLLATERAL).unwrap();
    let text = |name: &str| json[name].as_str().unwrap().as_bytes().to_vec();
    let bytes = |name: &str| hex::decode(text(name)).unwrap();
    let signature = |name: &str| bytes(name).try_into().unwrap();
    Collateral {
        kind: CollateralKind::IntelDcap,
        tcb_info: list(text("tcb_info")),
        tcb_info_signature: signature("tcb_info_signature"),
        tcb_info_issuer_chain: list(text("tcb_info_issuer_chain")),
        qe_identity: list(text("qe_identity")),
        qe_identity_signature: signature("qe_identity_signature"),
        qe_identity_issuer_chain: list(text("qe_identity_issuer_chain")),
        root_ca_crl: list(bytes("root_ca_crl")),
        pck_crl: list(bytes("pck_crl")),
        pck_crl_issuer_chain: list(text("pck_crl_issuer_chain")),
    }
}

/// `text` with everything escaped that a header cannot hold, as Intel does it.
fn escape(text: &[u8]) -> String {
    text.iter()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(*byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Status line, header and body of an answer.
pub(crate) type Parts = (String, String, Vec<u8>);

/// Answers one request as a PCCS that has collateral of the model `fmspc`, under the platform authority; `alter` changes the answer to a
/// path. A client that gives up is no failure.
fn serve(
    stream: impl Read + Write,
    fmspc: &str,
    genuine: &Collateral,
    alter: &impl Fn(&str, &mut Parts),
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    stream.read_line(&mut request).ok()?;
    let path = request.split(' ').nth(1)?.to_owned();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? <= 2 {
            break;
        }
    }
    let signed = |name: &str, text: &[u8], signature: &[u8]| {
        [b"{\"", name.as_bytes(), b"\":", text, b",\"signature\":\"", hex::encode(signature).as_bytes(), b"\"}"]
            .concat()
    };
    let (header, body) = match path.as_str() {
        path if path == format!("/tdx/certification/v4/tcb?fmspc={fmspc}") => (
            format!("TCB-Info-Issuer-Chain: {}\r\n", escape(&genuine.tcb_info_issuer_chain)),
            signed("tcbInfo", &genuine.tcb_info, &genuine.tcb_info_signature),
        ),
        "/tdx/certification/v4/qe/identity" => (
            format!("SGX-Enclave-Identity-Issuer-Chain: {}\r\n", escape(&genuine.qe_identity_issuer_chain)),
            signed("enclaveIdentity", &genuine.qe_identity, &genuine.qe_identity_signature),
        ),
        "/sgx/certification/v4/pckcrl?ca=platform&encoding=der" => (
            format!("SGX-PCK-CRL-Issuer-Chain: {}\r\n", escape(&genuine.pck_crl_issuer_chain)),
            genuine.pck_crl.to_vec(),
        ),
        "/sgx/certification/v4/rootcacrl" => (String::new(), hex::encode(&*genuine.root_ca_crl).into_bytes()),
        other => (format!("X-Unknown: {other}\r\n"), Vec::new()),
    };
    let mut answer = ("200 OK".to_owned(), header, body);
    alter(&path, &mut answer);
    let (status, header, body) = answer;
    let head = format!("HTTP/1.1 {status}\r\n{header}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.get_mut().write_all(&[head.as_bytes(), &body].concat()).ok()?;
    stream.get_mut().flush().ok()
}

/// Four connections to a PCCS, over TLS where there is a configuration of it.
fn pccs(tls: Option<ServerConfig>, alter: impl Fn(&str, &mut Parts) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = format!("{scheme}://{}/", listener.local_addr().unwrap());
    let genuine = genuine();
    let tls = tls.map(Arc::new);
    thread::spawn(move || {
        for stream in listener.incoming().take(4) {
            let stream = stream.unwrap();
            let _ = match &tls {
                None => serve(stream, FMSPC, &genuine, &alter),
                Some(tls) => {
                    let session = ServerConnection::new(tls.clone()).unwrap();
                    serve(StreamOwned::new(session, stream), FMSPC, &genuine, &alter)
                }
            };
        }
    });
    address
}

/// A PCCS in clear for as long as the test runs, which has what `has` gives at the time of each request, of the model `fmspc`.
pub(crate) fn lasting(
    fmspc: String,
    has: impl Fn() -> Collateral + Send + 'static,
    alter: impl Fn(&str, &mut Parts) + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.ok().and_then(|stream| serve(stream, &fmspc, &has(), &alter));
        }
    });
    address
}

/// Asks for what the recorded collateral is of.
async fn fetch(pccs: &str, authority: Option<&Path>) -> Result<Collateral, ClientError> {
    let wanted =
        Wanted { vendor: Vendor::IntelTdx, fmspc: [0xb0, 0xc0, 0x6f, 0, 0, 0], authority: PckAuthority::Platform };
    Service::new(pccs, authority)?.collateral(&wanted).await
}

/// A throw-away authority, and a certificate of it for `name` that `alter` may spoil.
fn certified(name: &str, alter: fn(&mut CertificateParams)) -> (String, ServerConfig) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    alter(&mut leaf);
    let key = KeyPair::generate().unwrap();
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    (pem, config)
}

/// The authority in a file that lives as long as the folder.
fn file_of(pem: &str, folder: &tempfile::TempDir) -> PathBuf {
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, pem).unwrap();
    file
}

#[tokio::test]
async fn what_a_service_gives_is_kept_byte_for_byte() {
    let fetched = fetch(&pccs(None, |_, _| ()), None).await.unwrap();
    assert_eq!(fetched, genuine());
}

#[tokio::test]
async fn a_service_over_tls_gives_the_same_to_who_trusts_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (pem, tls) = certified("127.0.0.1", |_| ());
    let fetched = fetch(&pccs(Some(tls), |_, _| ()), Some(&file_of(&pem, &folder))).await.unwrap();
    assert_eq!(fetched, genuine());
}

#[tokio::test]
async fn a_service_whose_certificate_is_another_authoritys_for_another_name_or_over_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (other, _) = certified("127.0.0.1", |_| ());
    let (_, tls) = certified("127.0.0.1", |_| ());
    let mut refused = vec![(other, tls, "another authority")];
    let (pem, tls) = certified("pccs.example", |_| ());
    refused.push((pem, tls, "another name"));
    let (pem, tls) = certified("127.0.0.1", |leaf| leaf.not_after = rcgen::date_time_ymd(2021, 1, 1));
    refused.push((pem, tls, "expired"));
    for (pem, tls, why) in refused {
        let address = pccs(Some(tls), |path, _| panic!("{path} was asked for"));
        let error = fetch(&address, Some(&file_of(&pem, &folder))).await.unwrap_err();
        assert_eq!(error.code.as_str(), "unreachable", "{why}");
        assert!(error.message.contains("certificate"), "{why}: {}", error.message);
        assert!(error.hint.unwrap().contains("--ca-certificate"), "{why}");
    }
}

#[test]
fn intels_own_service_has_the_roots_list_elsewhere() {
    assert_eq!(root_list_of(INTEL), INTEL_ROOT_LIST);
    for other in ["https://api.trustedservices.intel.com.example", "http://127.0.0.1:8081"] {
        assert_eq!(root_list_of(other), format!("{other}/sgx/certification/v4/rootcacrl"));
    }
}

#[tokio::test]
async fn a_service_that_answers_badly_is_an_error_by_kind() {
    type Alter = fn(&str, &mut Parts);
    let cases: [(Alter, &str); 6] = [
        (|_, answer| answer.0 = "404 Not Found".to_owned(), "not_found"),
        (
            |_, answer| {
                answer.0 = "302 Found".to_owned();
                answer.1 = "Location: /sgx/certification/v4/rootcacrl\r\n".to_owned();
            },
            "unreachable",
        ),
        (|_, answer| answer.1.clear(), "unverified"),
        (|_, answer| answer.2 = b"{}".to_vec(), "unverified"),
        (|_, answer| answer.2 = vec![b' '; MAX_ANSWER_BYTES + 1], "unverified"),
        (
            |path, answer| {
                if path.contains("pckcrl") {
                    answer.2 = vec![0; 100_000];
                }
            },
            "unverified",
        ),
    ];
    for (alter, code) in cases {
        assert_eq!(fetch(&pccs(None, alter), None).await.unwrap_err().code.as_str(), code);
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(fetch(&format!("http://{closed}"), None).await.unwrap_err().code.as_str(), "unreachable");
}
