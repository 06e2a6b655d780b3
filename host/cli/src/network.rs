//! Which network a command is about, and the connection to it.
//!
//! `--network`, else `PHALA_NETWORK`, else the last `phala dev`. A folder's `network.json` pins the genesis, and what decides is verified
//! from there on. A bare `ws://` address pins nothing: the node's word is taken for which chain it is, and that is said.

use crate::{
    args::Global,
    dev::network_file::{self, NetworkFile},
    error::{CliError, Code},
    home,
    output::note,
};
use phala_client::{network::Pin, worker::WorkerEndpoint, ErrorCode, Network};
use phala_protocol::{ClusterId, ContractId};
use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// What the user chose.
pub enum Selected {
    /// A network file.
    File(Box<NetworkFile>),
    /// A node's address.
    Url(String),
}

/// A network to work with.
pub struct Connected {
    /// The verified connection.
    pub network: Network,
    /// The file that names it, if one does.
    pub file: Option<Box<NetworkFile>>,
    more_workers: Vec<String>,
}

/// What the command line names, else what `PHALA_NETWORK` does. An empty variable names nothing.
pub fn named(option: Option<String>, environment: Option<OsString>) -> Result<Option<String>, CliError> {
    if option.is_some() {
        return Ok(option);
    }
    let environment = environment.filter(|name| !name.is_empty()).map(OsString::into_string).transpose();
    environment.map_err(|name| {
        CliError::invalid(format!("PHALA_NETWORK is not UTF-8: {}", name.display()))
            .with_hint("set it to a network's folder or a node's address, or unset it")
    })
}

/// `phala dev` makes the network that it runs: to name another one is a mistake, and a variable that does so is meant for other
/// commands. Returns what to say of the latter.
pub fn not_for_dev(option: Option<&str>, environment: Option<&OsStr>) -> Result<Option<&'static str>, CliError> {
    if let Some(network) = option {
        return Err(CliError::new(
            Code::Usage,
            format!("`phala dev` starts a network of its own, and cannot use `--network {network}`"),
        )
        .with_hint("`--base-path DIR` says in which folder it lives"));
    }
    let set = environment.is_some_and(|name| !name.is_empty());
    Ok(set.then_some("note: `phala dev` starts a network of its own and ignores PHALA_NETWORK; the variable still holds for other commands"))
}

/// The folder that the user means, where only a folder will do.
pub fn folder(global: &Global) -> Result<PathBuf, CliError> {
    match &global.network {
        Some(url) if is_url(url) => Err(CliError::invalid(format!(
            "{url} is a node; a network's folder is needed here"
        ))
        .with_hint("name with --network the folder that has its network.json; whoever runs the network gives it out")),
        Some(path) => {
            let path = home::absolute(Path::new(path))?;
            // The file's own name is as good as its folder's.
            Ok(match path.file_name() {
                Some(name) if name == network_file::NAME => path.parent().map_or(path.clone(), Path::to_path_buf),
                _ => path,
            })
        }
        None => home::last_network()?.ok_or_else(|| {
            CliError::new(ErrorCode::NotFound, "no network is known here")
                .with_hint("`phala dev` starts one; --network names another")
        }),
    }
}

/// What the user means.
pub fn select(global: &Global) -> Result<Selected, CliError> {
    if let Some(url) = global.network.as_ref().filter(|text| is_url(text)) {
        return Ok(Selected::Url(url.clone()));
    }
    Ok(Selected::File(Box::new(NetworkFile::read(&folder(global)?)?)))
}

fn is_url(text: &str) -> bool {
    text.starts_with("ws://") || text.starts_with("wss://")
}

/// Connects to the network that the user means.
pub async fn connect(global: &Global) -> Result<Connected, CliError> {
    let more_workers = global.more_workers.clone();
    match select(global)? {
        Selected::Url(url) => {
            let network = Network::connect_unpinned(&url).await?;
            note(&format!(
                "note: taking the word of {url} for its genesis {}",
                phala_protocol::ids::to_hex(network.genesis())
            ));
            Ok(Connected { network, file: None, more_workers })
        }
        Selected::File(file) => match connect_any(&file.nodes(), &file.pin()?).await {
            Ok(network) => Ok(Connected { network, file: Some(file), more_workers }),
            Err(error) if file.is_stopped() && error.code == Code::Client(ErrorCode::Unreachable) => {
                Err(CliError { message: format!("the network in {} is stopped", file.base_path.display()), ..error }
                    .with_hint("`phala dev` with the same --base-path starts it again, from where it was"))
            }
            Err(error) => Err(error),
        },
    }
}

/// Connects to the first of the nodes that answers.
pub async fn connect_any(urls: &[String], pin: &Pin) -> Result<Network, CliError> {
    let mut last = CliError::invalid("the network file names no node")
        .with_hint("put the address of one into it as \"node_ws\": ws://HOST:PORT");
    for url in urls {
        match Network::connect(url, pin.clone()).await {
            Ok(network) => return Ok(network),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

impl Connected {
    /// INSECURE: whether the file says that the network is a development one.
    pub fn insecure(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.insecure)
    }

    /// Workers that may serve `cluster`, those first that the file names for it.
    pub fn workers_of(&self, cluster: ClusterId) -> Result<Vec<WorkerEndpoint>, CliError> {
        let named = self.file.iter().flat_map(|file| &file.workers);
        let mut urls: Vec<&String> =
            named.filter(|worker| worker.cluster == cluster.0).map(|worker| &worker.http).collect();
        urls.extend(&self.more_workers);
        if urls.is_empty() {
            return Err(CliError::new(ErrorCode::NotFound, format!("no worker of cluster {cluster} is known here"))
                .with_hint("name one with --worker URL"));
        }
        Ok(urls.into_iter().map(|url| WorkerEndpoint::new(url)).collect::<Result<_, _>>()?)
    }

    /// The address of every worker and gatekeeper that is known.
    pub fn all_workers(&self) -> Vec<String> {
        let named = self.file.iter().flat_map(|file| file.workers.iter().chain(&file.gatekeepers));
        named.map(|worker| worker.http.clone()).chain(self.more_workers.iter().cloned()).collect()
    }

    /// A contract by its id, or by its name in the network file.
    pub fn contract(&self, text: &str) -> Result<ContractId, CliError> {
        let named = self.file.as_ref().and_then(|file| file.contracts.get(text));
        let digits = named.map_or(text, String::as_str);
        hash(digits).map(ContractId).ok_or_else(|| {
            CliError::new(ErrorCode::NotFound, format!("`{text}` is no contract of this network"))
                .with_hint("a contract is 0x and 64 digits; `phala contract list` shows them")
        })
    }
}

/// 32 bytes from 0x and 64 digits.
pub fn hash(text: &str) -> Option<[u8; 32]> {
    hex::decode(text.strip_prefix("0x")?).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn the_option_comes_before_the_variable_and_an_empty_variable_names_nothing() {
        let named = |option: Option<&str>, variable: Option<&str>| {
            named(option.map(str::to_owned), variable.map(OsString::from)).unwrap()
        };
        assert_eq!(named(Some("a"), Some("b")).as_deref(), Some("a"));
        assert_eq!(named(None, Some("b")).as_deref(), Some("b"));
        assert_eq!(named(None, Some("")), None);
        assert_eq!(named(None, None), None);
        let error = super::named(None, Some(OsString::from_vec(vec![0xff]))).unwrap_err();
        assert_eq!(error.code.as_str(), "invalid");
    }

    #[test]
    fn a_development_network_takes_no_other_ones_name() {
        let error = not_for_dev(Some("elsewhere"), None).unwrap_err();
        assert_eq!((error.code.as_str(), error.exit_code()), ("usage", 2));
        assert!(error.message.contains("elsewhere") && error.hint.unwrap().contains("--base-path"));
        assert_eq!(not_for_dev(None, None).unwrap(), None);
        assert_eq!(not_for_dev(None, Some(OsStr::new(""))).unwrap(), None);
        assert!(not_for_dev(None, Some(OsStr::new("elsewhere"))).unwrap().unwrap().contains("PHALA_NETWORK"));
    }
}
