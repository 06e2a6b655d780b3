//! `phala account`: keys of this machine, and funds on a chain.

use crate::{
    accounts::{self, Store},
    args::{AccountCommand, Global},
    error::CliError,
    network,
    output::{line, pha, table, Output},
    values,
};
use phala_client::{chain::ChainCall, Account, ClientError, Until};
use serde_json::json;

/// Runs `phala account`.
pub async fn run(global: &Global, command: AccountCommand, output: Output) -> Result<(), CliError> {
    match command {
        AccountCommand::New { name } => {
            let account = Account::generate(&name)?;
            let password = accounts::password(global, true)?;
            let path = Store::open()?.add(&name, &account.to_key_file(&password)?)?;
            output.data(&json!({"name": name, "address": account.address(), "file": path}), || {
                format!("{name}  {}\nkept encrypted in {}", account.address(), path.display())
            });
            Ok(())
        }
        AccountCommand::List => list(output),
        AccountCommand::Import { file, name } => {
            let key = accounts::read_key_file(&file)?;
            // Opened once, so that what is kept is known to be usable, and by whom.
            let account =
                Account::from_key_file(&key, &accounts::password(global, false)?).map_err(ClientError::from)?;
            let name = name.unwrap_or_else(|| account.name().to_owned());
            let path = Store::open()?.add(&name, &key)?;
            output.data(&json!({"name": name, "address": account.address(), "file": path}), || {
                format!("{name}  {}", account.address())
            });
            Ok(())
        }
        AccountCommand::Export { name } => {
            let file = Store::open()?.find(&name)?.ok_or_else(|| {
                CliError::new(
                    phala_client::ErrorCode::NotFound,
                    format!("there is no account `{name}` on this machine"),
                )
                .with_hint("`phala account list` shows which there are")
            })?;
            let json = serde_json::to_string(&file)
                .map_err(|error| CliError::new(phala_client::ErrorCode::Internal, error.to_string()))?;
            line(&json);
            Ok(())
        }
        AccountCommand::Balance { account } => {
            let id = accounts::find(&account)?;
            let connected = network::connect(global).await?;
            let free = connected.network.chain().balance(&id).await?;
            output.data(&json!({"address": accounts::address(&id), "free": free.to_string()}), || pha(free));
            Ok(())
        }
        AccountCommand::Send { to, amount, from } => {
            let (to, amount) = (accounts::find(&to)?, values::amount(&amount)?);
            let connected = network::connect(global).await?;
            let from = accounts::signer(global, &connected.network, &from).await?;
            let call = ChainCall::transfer(&to, amount);
            let sent =
                connected.network.chain().submit(&from, &call, Until::Finalised).await.map_err(ClientError::from)?;
            output.data(
                &json!({"block": sent.block, "to": accounts::address(&to), "amount": amount.to_string()}),
                || format!("sent {} to {} in block {}", pha(amount), accounts::address(&to), sent.block),
            );
            Ok(())
        }
    }
}

fn list(output: Output) -> Result<(), CliError> {
    let store = Store::open()?;
    let mut accounts = Vec::new();
    for name in store.names()? {
        let Some(file) = store.find(&name)? else { continue };
        let id = file.account().map_err(ClientError::from)?;
        accounts.push((name, accounts::address(&id), false));
    }
    for name in Account::development_names().into_iter().chain(Account::development_stashes()) {
        // A key of one's own hides the development account of its name.
        if accounts.iter().all(|(known, ..)| known != name) {
            accounts.push((name.to_owned(), Account::development(name)?.address(), true));
        }
    }
    let json: Vec<_> = accounts
        .iter()
        .map(|(name, address, insecure)| json!({"name": name, "address": address, "insecure": insecure}))
        .collect();
    output.data(&json!({"accounts": json}), || {
        let rows: Vec<Vec<String>> = accounts
            .iter()
            .map(|(name, address, insecure)| {
                let kept = if *insecure { "INSECURE: published, for development only" } else { "encrypted, here" };
                vec![name.clone(), address.clone(), kept.to_owned()]
            })
            .collect();
        table(&["NAME", "ADDRESS", "KEY"], &rows)
    });
    Ok(())
}
