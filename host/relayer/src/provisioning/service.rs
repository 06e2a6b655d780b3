//! The transport to a provisioning service: HTTP/1.1, in clear or over TLS.
//!
//! TLS is transport only. What a service gives is signed by Intel and verified afterwards, so a service that lies can at most be useless;
//! TLS keeps those on the way from seeing which model is asked for and from wasting the operator's time. Guarantees: an `https` service
//! shows a certificate that leads to an authority - one of those in the operator's file, or else of the operating system's store - and is
//! good now and for the service's name; every answer is bounded in bytes and time; no redirection is followed and no proxy of the
//! environment is used, so that whom the operator names is whom he asks. TLS 1.2 and 1.3, by rustls with ring.
//!
//! The service, and whoever stands between when there is no TLS, controls every byte of an answer.

use http_body_util::{BodyExt, Empty};
use hyper::{body::Bytes, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{connect::HttpConnector, Client},
    rt::TokioExecutor,
};
use phala_client::{ClientError, ErrorCode};
use rustls::{
    crypto::ring::default_provider,
    pki_types::{pem::PemObject, CertificateDer},
    ClientConfig, RootCertStore,
};
use std::{fs::File, io::Read, path::Path, sync::Arc, time::Duration};

/// Bytes of the longest file of certificate authorities.
const MAX_AUTHORITIES_BYTES: u64 = 1024 * 1024;
/// Bytes of the longest answer: several times the longest revocation list that was seen.
pub(super) const MAX_ANSWER_BYTES: usize = 512 * 1024;
/// Bytes of the longest head of an answer, in which an escaped chain stands.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// For a whole answer, from the connection to its last byte.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer: its body, and the header that was asked for.
pub(super) struct Answer {
    /// Its bytes.
    pub body: Vec<u8>,
    /// The bytes of the header; empty when none was asked for.
    pub header: Vec<u8>,
}

/// Why there is no client for a service.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The operating system has no authority that could vouch for an `https` service.
    #[error("this machine trusts no certificate authority")]
    NoAuthority,
    /// The address or the file of authorities is none.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl From<ServiceError> for ClientError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::NoAuthority => {
                Self::new(ErrorCode::Invalid, error.to_string()).with_hint("install the package ca-certificates")
            }
            ServiceError::Client(error) => error,
        }
    }
}

/// A client for one service.
pub struct Service {
    base: String,
    http: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    /// Whether it speaks TLS.
    secure: bool,
    timeout: Duration,
}

impl Service {
    /// A client for the service at `base`. `authorities` is a PEM file of the only certificate authorities to trust, for `https` alone.
    pub fn new(base: &str, authorities: Option<&Path>) -> Result<Self, ServiceError> {
        let base = base.trim_end_matches('/');
        let address = base.parse::<Uri>();
        let address = address.map_err(|error| invalid(format!("{base} is no address: {error}")))?;
        let secure = match (address.scheme_str(), address.host()) {
            (Some("https"), Some(_)) => true,
            (Some("http"), Some(_)) => false,
            _ => return Err(invalid(format!("{base} is no address that begins with https:// or http://")).into()),
        };
        let roots = match (secure, authorities) {
            (true, Some(file)) => roots_of(file)?,
            (true, None) => roots_of_system()?,
            (false, None) => RootCertStore::empty(),
            (false, Some(_)) => {
                let error = invalid("a certificate authority is of use with https:// only");
                return Err(error.with_hint("name the service by https://, or leave the authority out").into());
            }
        };
        let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| ClientError::new(ErrorCode::Internal, format!("cannot speak TLS: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls);
        // A service that is named by https:// is never asked in clear.
        let connector = if secure { connector.https_only() } else { connector.https_or_http() };
        let http = Client::builder(TokioExecutor::new())
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .build(connector.enable_http1().build());
        Ok(Self { base: base.to_owned(), http, secure, timeout: TIMEOUT })
    }

    /// The same, which waits for less time.
    #[cfg(test)]
    pub(crate) fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Its address, as it was named.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The answer to an address, with the first of `headers` that is there; none is asked for where there are none.
    pub(super) async fn get(&self, url: &str, headers: &[&str]) -> Result<Answer, ClientError> {
        match tokio::time::timeout(self.timeout, self.answer(url, headers)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable(url, &format!("no answer within {} seconds", self.timeout.as_secs()))),
        }
    }

    async fn answer(&self, url: &str, headers: &[&str]) -> Result<Answer, ClientError> {
        let address = url.parse::<Uri>();
        let address = address.map_err(|error| invalid(format!("{url} is no address: {error}")))?;
        let response = self.http.get(address).await;
        let mut response = response.map_err(|error| self.unreachable(url, &reasons(&error)))?;
        if !response.status().is_success() {
            let code = if response.status().as_u16() == 404 { ErrorCode::NotFound } else { ErrorCode::Unreachable };
            return Err(ClientError::new(code, format!("{url} answers {}", response.status())));
        }
        let header =
            headers.iter().find_map(|name| response.headers().get(*name)).map(|value| value.as_bytes().to_vec());
        let header = match (headers.first(), header) {
            (Some(name), None) => return Err(malformed(&format!("{url} has no header {name}"))),
            (_, header) => header.unwrap_or_default(),
        };
        let mut body = Vec::new();
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(|error| self.unreachable(url, &reasons(&error)))?;
            let Some(chunk) = frame.data_ref() else { continue };
            if body.len().saturating_add(chunk.len()) > MAX_ANSWER_BYTES {
                return Err(malformed(&format!("{url} answers with more than {MAX_ANSWER_BYTES} bytes")));
            }
            body.extend_from_slice(chunk);
        }
        Ok(Answer { body, header })
    }

    fn unreachable(&self, url: &str, why: &str) -> ClientError {
        let hint = if self.secure {
            "is this the address of a PCCS? One with a private certificate needs its authority named: --ca-certificate FILE"
        } else {
            "is this the address of a PCCS?"
        };
        ClientError::new(ErrorCode::Unreachable, format!("{url} does not answer: {why}")).with_hint(hint)
    }
}

/// An answer that is not what a service gives.
pub(super) fn malformed(what: &str) -> ClientError {
    ClientError::new(ErrorCode::Unverified, what.to_owned()).with_hint("is this the address of a PCCS?")
}

fn invalid(why: impl Into<String>) -> ClientError {
    ClientError::new(ErrorCode::Invalid, why)
}

/// The authorities in a PEM file.
fn roots_of(file: &Path) -> Result<RootCertStore, ClientError> {
    let wrong = |why: &str| {
        invalid(format!("{} holds no certificate authority: {why}", file.display())).with_hint(
            "PEM of the authority that signed the service's certificate, or of that certificate if it signed itself",
        )
    };
    let mut pem = Vec::new();
    let read = File::open(file).and_then(|file| file.take(MAX_AUTHORITIES_BYTES).read_to_end(&mut pem));
    read.map_err(|error| invalid(format!("cannot read {}: {error}", file.display())))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(&error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(&error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("there is no certificate in it"));
    }
    Ok(roots)
}

/// The authorities that the operating system trusts, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
fn roots_of_system() -> Result<RootCertStore, ServiceError> {
    let mut roots = RootCertStore::empty();
    // A store may hold what this TLS cannot read; it takes what it can.
    let (taken, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if taken == 0 {
        return Err(ServiceError::NoAuthority);
    }
    Ok(roots)
}

/// A failure with its causes, since the outer one says only where it was.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::{net::TcpListener, thread};

    fn refused(base: &str, authorities: Option<&Path>) -> ClientError {
        Service::new(base, authorities).err().unwrap().into()
    }

    #[test]
    fn only_what_names_a_service_is_an_address() {
        for bad in ["ftp://pccs.example", "pccs.example:8081", "https://", "/sgx", "", "https://a b"] {
            assert_eq!(refused(bad, None).code.as_str(), "invalid", "{bad}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let in_clear = refused("http://127.0.0.1:1", Some(file.path()));
        assert!(in_clear.message.contains("https"), "{}", in_clear.message);
        for (text, why) in
            [("", "no certificate"), ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "")]
        {
            std::fs::write(file.path(), text).unwrap();
            let error = refused("https://127.0.0.1:1", Some(file.path()));
            assert_eq!(error.code.as_str(), "invalid");
            assert!(error.message.contains(why) && error.message.contains("authority"), "{}", error.message);
        }
    }

    #[tokio::test]
    async fn a_service_that_is_named_over_tls_is_never_asked_in_clear() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let certificate = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap().cert;
        std::fs::write(file.path(), certificate.pem()).unwrap();
        let service = Service::new("https://127.0.0.1:1", Some(file.path())).unwrap();
        let error = service.get("http://127.0.0.1:1/", &[]).await.err().unwrap();
        assert!(error.message.contains("unsupported scheme"), "{}", error.message);
    }

    #[tokio::test]
    async fn a_service_that_says_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let silent = thread::spawn(move || listener.accept().unwrap());
        let service = Service::new(&url, None).unwrap().within(Duration::from_millis(300));
        let error = service.get(&url, &[]).await.err().unwrap();
        assert_eq!(error.code.as_str(), "unreachable");
        assert!(error.message.contains("no answer within"), "{}", error.message);
        drop(silent.join().unwrap());
    }
}
