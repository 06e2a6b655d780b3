//! Collateral from a service that answers as Intel's provisioning certification service (version 4) or a PCCS does.
//!
//! The operator names the service; there is no default, and no answer names another. Guarantees: every answer is bounded in bytes and time,
//! redirections are not followed, signed JSON is kept byte for byte, and what comes out has been judged by nobody: the caller verifies it. The
//! service controls all of it, and can at most be useless, since everything that it gives is signed by Intel.

use crate::{args::CollateralFetchArgs, error::CliError};
use phala_attest::{Collateral, List};
use phala_client::ErrorCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;

/// Bytes of the longest answer: several times the longest revocation list that was seen.
const MAX_ANSWER_BYTES: usize = 512 * 1024;
const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer: its body, and the chain that one of its headers holds.
struct Answer {
    body: Vec<u8>,
    chain: Vec<u8>,
}

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
    if !args.pccs.starts_with("http://") {
        return Err(CliError::invalid(format!("{} is no address that begins with http://", args.pccs))
            .with_hint("this command speaks no TLS: name a PCCS or proxy of your own; what it gives is signed"));
    }
    let service = Service::new(&args.pccs)?;
    let (tee, fmspc, ca) = (&args.tee, &args.fmspc, &args.ca);
    let tcb = service
        .get(
            &format!("{tee}/certification/v4/tcb?fmspc={fmspc}"),
            &["TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"],
        )
        .await?;
    let qe =
        service.get(&format!("{tee}/certification/v4/qe/identity"), &["SGX-Enclave-Identity-Issuer-Chain"]).await?;
    let list = service
        .get(&format!("sgx/certification/v4/pckcrl?ca={ca}&encoding=der"), &["SGX-PCK-CRL-Issuer-Chain"])
        .await?;
    let root_list = service.get("sgx/certification/v4/rootcacrl", &[]).await?;

    let signed: SignedTcbInfo<'_> = parse(&tcb.body, "TCB info")?;
    let identity: SignedIdentity<'_> = parse(&qe.body, "QE identity")?;
    Ok(Collateral {
        tcb_info: limited(signed.document.get().as_bytes().to_vec(), "TCB info")?,
        tcb_info_signature: signature(&signed.signature, "TCB info")?,
        tcb_info_issuer_chain: limited(tcb.chain, "chain of the TCB info")?,
        qe_identity: limited(identity.document.get().as_bytes().to_vec(), "QE identity")?,
        qe_identity_signature: signature(&identity.signature, "QE identity")?,
        qe_identity_issuer_chain: limited(qe.chain, "chain of the QE identity")?,
        root_ca_crl: limited(der(root_list.body), "root's revocation list")?,
        pck_crl: limited(der(list.body), "revocation list")?,
        pck_crl_issuer_chain: limited(list.chain, "chain of the revocation list")?,
    })
}

struct Service<'a> {
    base: &'a str,
    http: reqwest::Client,
}

impl<'a> Service<'a> {
    fn new(base: &'a str) -> Result<Self, CliError> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| CliError::new(ErrorCode::Internal, format!("cannot make an HTTP client: {error}")))?;
        Ok(Self { base: base.trim_end_matches('/'), http })
    }

    /// The answer to a path, with the chain in the first of `headers` that is there; none of them is asked for where there are none.
    async fn get(&self, path: &str, headers: &[&str]) -> Result<Answer, CliError> {
        let url = format!("{}/{path}", self.base);
        let unreachable = |error: reqwest::Error| {
            CliError::new(ErrorCode::Unreachable, format!("{url} does not answer: {error}"))
                .with_hint("is this the address of a PCCS?")
        };
        let mut response = self.http.get(&url).send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            let code = if response.status().as_u16() == 404 { ErrorCode::NotFound } else { ErrorCode::Unreachable };
            return Err(CliError::new(code, format!("{url} answers {}", response.status())));
        }
        let chain =
            headers.iter().find_map(|name| response.headers().get(*name)).map(|value| unescape(value.as_bytes()));
        let chain = match (headers.first(), chain) {
            (Some(name), None) => return Err(malformed(&format!("{url} has no header {name}"))),
            (_, chain) => chain.unwrap_or_default(),
        };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len().saturating_add(chunk.len()) > MAX_ANSWER_BYTES {
                return Err(malformed(&format!("{url} answers with more than {MAX_ANSWER_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { body, chain })
    }
}

fn malformed(what: &str) -> CliError {
    CliError::new(ErrorCode::Unverified, what.to_owned()).with_hint("is this the address of a PCCS?")
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
    use crate::evidence;
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
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

    /// Answers four requests as a PCCS; `alter` changes the answer (status line, header, body) to a path.
    fn pccs(alter: impl Fn(&str, &mut (String, String, Vec<u8>)) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let genuine = evidence::collateral(COLLATERAL).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().take(4) {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let request = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                let path = request.split(' ').nth(1).unwrap().to_owned();
                let signed = |name: &str, text: &[u8], signature: &[u8]| {
                    [
                        b"{\"",
                        name.as_bytes(),
                        b"\":",
                        text,
                        b",\"signature\":\"",
                        hex::encode(signature).as_bytes(),
                        b"\"}",
                    ]
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
                    "/sgx/certification/v4/rootcacrl" => {
                        (String::new(), hex::encode(&*genuine.root_ca_crl).into_bytes())
                    }
                    other => (format!("X-Unknown: {other}\r\n"), Vec::new()),
                };
                let mut answer = ("200 OK".to_owned(), header, body);
                alter(&path, &mut answer);
                let (status, header, body) = answer;
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\n{header}Connection: close\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                )
                .and_then(|()| stream.write_all(&body))
                .ok();
            }
        });
        address
    }

    fn arguments(pccs: String) -> CollateralFetchArgs {
        CollateralFetchArgs {
            pccs,
            fmspc: "B0C06F000000".to_owned(),
            ca: "platform".to_owned(),
            tee: "tdx".to_owned(),
            out: "unused".into(),
        }
    }

    #[tokio::test]
    async fn what_a_service_gives_is_kept_byte_for_byte() {
        let fetched = fetch(&arguments(pccs(|_, _| ()))).await.unwrap();
        assert_eq!(fetched, evidence::collateral(COLLATERAL).unwrap());
    }

    #[tokio::test]
    async fn a_service_that_answers_badly_is_an_error_by_kind() {
        type Alter = fn(&str, &mut (String, String, Vec<u8>));
        let cases: [(Alter, &str); 6] = [
            (|_, answer| answer.0 = "404 Not Found".to_owned(), "not_found"),
            (|_, answer| answer.0 = "302 Found".to_owned(), "unreachable"),
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
            assert_eq!(fetch(&arguments(pccs(alter))).await.unwrap_err().code.as_str(), code);
        }
        let error = fetch(&arguments("https://127.0.0.1:1".to_owned())).await.unwrap_err();
        assert_eq!(error.code.as_str(), "invalid");
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
