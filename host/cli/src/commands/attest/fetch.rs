//! Collateral from Intel's provisioning certification service (version 4), or from one that answers as it does: a PCCS.
//!
//! The operator names the service; there is no default, and no answer names another. Guarantees: every answer is bounded in bytes and time,
//! redirections are not followed, signed JSON is kept byte for byte, and what comes out has been judged by nobody: the caller verifies it. The
//! service controls all of it, and can at most be useless, since everything that it gives is signed by Intel; see `service.rs` for what TLS
//! adds.
//!
//! Source: Intel, "API documentation for Provisioning Certification Service", version 4, and the PCCS of the DCAP primitives. They differ
//! in one thing that matters here: a PCCS gives the root's revocation list, Intel's service leaves it where its certificates say it is.

use super::service::{malformed, Service};
use crate::{args::CollateralFetchArgs, error::CliError};
use phala_attest::{Collateral, List};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Intel's own service, and where the root's revocation list stands that it does not give.
const INTEL: &str = "https://api.trustedservices.intel.com";
const INTEL_ROOT_LIST: &str = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";

#[derive(Deserialize)]
struct SignedTcbInfo<'a> {
    #[serde(borrow, rename = "tcbInfo")]
    document: &'a RawValue,
    signature: String,
}

#[derive(Deserialize)]
struct SignedIdentity<'a> {
    #[serde(borrow, rename = "enclaveIdentity")]
    document: &'a RawValue,
    signature: String,
}

/// Fetches what evidence of one model is verified with.
pub async fn fetch(args: &CollateralFetchArgs) -> Result<Collateral, CliError> {
    let base = args.pccs.trim_end_matches('/');
    let service = Service::new(base, args.ca_certificate.as_deref())?;
    let (tee, fmspc, ca) = (&args.tee, &args.fmspc, &args.ca);
    let tcb = service
        .get(
            &format!("{base}/{tee}/certification/v4/tcb?fmspc={fmspc}"),
            &["TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"],
        )
        .await?;
    let qe = service
        .get(&format!("{base}/{tee}/certification/v4/qe/identity"), &["SGX-Enclave-Identity-Issuer-Chain"])
        .await?;
    let list = service
        .get(&format!("{base}/sgx/certification/v4/pckcrl?ca={ca}&encoding=der"), &["SGX-PCK-CRL-Issuer-Chain"])
        .await?;
    let root_list = service.get(&root_list_of(base), &[]).await?;

    let signed: SignedTcbInfo<'_> = parse(&tcb.body, "TCB info")?;
    let identity: SignedIdentity<'_> = parse(&qe.body, "QE identity")?;
    Ok(Collateral {
        tcb_info: limited(signed.document.get().as_bytes().to_vec(), "TCB info")?,
        tcb_info_signature: signature(&signed.signature, "TCB info")?,
        tcb_info_issuer_chain: limited(unescape(&tcb.header), "chain of the TCB info")?,
        qe_identity: limited(identity.document.get().as_bytes().to_vec(), "QE identity")?,
        qe_identity_signature: signature(&identity.signature, "QE identity")?,
        qe_identity_issuer_chain: limited(unescape(&qe.header), "chain of the QE identity")?,
        root_ca_crl: limited(der(root_list.body), "root's revocation list")?,
        pck_crl: limited(der(list.body), "revocation list")?,
        pck_crl_issuer_chain: limited(unescape(&list.header), "chain of the revocation list")?,
    })
}

/// Where the service at `base` has the root's revocation list.
fn root_list_of(base: &str) -> String {
    if base.eq_ignore_ascii_case(INTEL) {
        INTEL_ROOT_LIST.to_owned()
    } else {
        format!("{base}/sgx/certification/v4/rootcacrl")
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], what: &str) -> Result<T, CliError> {
    serde_json::from_slice(body).map_err(|error| malformed(&format!("the {what} is malformed: {error}")))
}

fn signature(text: &str, what: &str) -> Result<[u8; 64], CliError> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| malformed(&format!("the signature of the {what} does not have 64 bytes")))
}

fn limited<const LIMIT: usize>(bytes: Vec<u8>, what: &str) -> Result<List<u8, LIMIT>, CliError> {
    List::try_from(bytes).map_err(|_| malformed(&format!("the {what} is too long")))
}

/// A revocation list as it is, from Intel; a PCCS gives the same in hexadecimal.
fn der(body: Vec<u8>) -> Vec<u8> {
    let text = std::str::from_utf8(&body).ok().map(str::trim);
    text.and_then(|text| hex::decode(text).ok()).unwrap_or(body)
}

/// The bytes that `%41` and the like stand for; what is none of these is itself.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.first_chunk::<2>()).flatten();
        let decoded = escaped.and_then(|digits| {
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok().map(|()| byte[0])
        });
        match decoded {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{commands::attest::service::MAX_ANSWER_BYTES, evidence};
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::{
        crypto::ring::default_provider, pki_types::PrivateKeyDer, ServerConfig, ServerConnection, StreamOwned,
    };
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::TcpListener,
        path::PathBuf,
        sync::Arc,
        thread,
    };

    const COLLATERAL: &[u8] = include_bytes!("../../../../../testing/vectors/attest/tdx_v4.collateral.json");

    /// `text` with everything escaped that a header cannot hold, as Intel does it.
    fn escape(text: &[u8]) -> String {
        text.iter()
            .map(
                |byte| {
                    if byte.is_ascii_alphanumeric() {
                        char::from(*byte).to_string()
                    } else {
                        format!("%{byte:02X}")
                    }
                },
            )
            .collect()
    }

    /// Status line, header and body of an answer.
    type Parts = (String, String, Vec<u8>);

    /// Answers one request as a PCCS; `alter` changes the answer to a path. A client that gives up is no failure.
    fn serve(stream: impl Read + Write, genuine: &Collateral, alter: &impl Fn(&str, &mut Parts)) -> Option<()> {
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
            "/tdx/certification/v4/tcb?fmspc=B0C06F000000" => (
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
        let genuine = evidence::collateral(COLLATERAL).unwrap();
        let tls = tls.map(Arc::new);
        thread::spawn(move || {
            for stream in listener.incoming().take(4) {
                let stream = stream.unwrap();
                let _ = match &tls {
                    None => serve(stream, &genuine, &alter),
                    Some(tls) => {
                        let session = ServerConnection::new(tls.clone()).unwrap();
                        serve(StreamOwned::new(session, stream), &genuine, &alter)
                    }
                };
            }
        });
        address
    }

    fn arguments(pccs: String) -> CollateralFetchArgs {
        CollateralFetchArgs {
            pccs,
            ca_certificate: None,
            fmspc: "B0C06F000000".to_owned(),
            ca: "platform".to_owned(),
            tee: "tdx".to_owned(),
            out: "unused".into(),
        }
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

    /// The arguments for a service, and its authority in a file that lives as long as the folder.
    fn trusting(pccs: String, pem: &str, folder: &tempfile::TempDir) -> CollateralFetchArgs {
        let file: PathBuf = folder.path().join("authority.pem");
        std::fs::write(&file, pem).unwrap();
        CollateralFetchArgs { ca_certificate: Some(file), ..arguments(pccs) }
    }

    #[tokio::test]
    async fn what_a_service_gives_is_kept_byte_for_byte() {
        let fetched = fetch(&arguments(pccs(None, |_, _| ()))).await.unwrap();
        assert_eq!(fetched, evidence::collateral(COLLATERAL).unwrap());
    }

    #[tokio::test]
    async fn a_service_over_tls_gives_the_same_to_who_trusts_its_authority() {
        let folder = tempfile::tempdir().unwrap();
        let (pem, tls) = certified("127.0.0.1", |_| ());
        let fetched = fetch(&trusting(pccs(Some(tls), |_, _| ()), &pem, &folder)).await.unwrap();
        assert_eq!(fetched, evidence::collateral(COLLATERAL).unwrap());
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
            let error = fetch(&trusting(address, &pem, &folder)).await.unwrap_err();
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
            assert_eq!(fetch(&arguments(pccs(None, alter))).await.unwrap_err().code.as_str(), code);
        }
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(fetch(&arguments(format!("http://{closed}"))).await.unwrap_err().code.as_str(), "unreachable");
    }

    #[test]
    fn escapes_are_undone_and_nothing_else() {
        assert_eq!(unescape(escape(b"-----BEGIN C\n+/=").as_bytes()), b"-----BEGIN C\n+/=");
        for kept in ["%", "%4", "%zz", "a%", "%%", "+"] {
            assert_eq!(unescape(kept.as_bytes()), kept.as_bytes(), "{kept}");
        }
    }
}
