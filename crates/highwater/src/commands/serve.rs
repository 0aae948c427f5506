//! `highwater serve`: a node from a configuration file.

use crate::cli::ServeArgs;
use crate::config::{DurabilityName, FileConfig};
use crate::output::Output;
use crate::{logging, node};
use anyhow::Context;
use highwater_broker::{BrokerConfig, ListenerConfig};
use highwater_log::Durability;
use highwater_metadata::configs::StaticConfig;
use highwater_types::BrokerId;
use serde_json::json;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

/// Does what was asked.
pub fn run(args: &ServeArgs, output: &Output) -> anyhow::Result<ExitCode> {
    let file = FileConfig::load(&args.config)?;
    logging::start(&file.log.level, file.log.format)?;
    let path = || args.config.display().to_string();
    let config = broker_config(&file).with_context(path)?;
    let admin = admin_address(&file).with_context(path)?;
    node::run(config, admin, output, |kafka, admin, output| {
        let value = json!({ "ready": true, "kafka": kafka, "admin": admin });
        output.item(&value, &format!("ready on {kafka}"))
    })
}

/// The broker's configuration as the file gives it.
pub fn broker_config(file: &FileConfig) -> anyhow::Result<BrokerConfig> {
    let listen = socket_address("listener.listen", &file.listener.listen)?;
    let mut config = BrokerConfig::new(BrokerId(file.node_id), &file.data_dir, listen);
    config.cluster_id = file.cluster_id.as_deref().map(str::parse).transpose().context("cluster_id")?;
    config.durability = match file.durability {
        DurabilityName::Sync => Durability::Sync,
        DurabilityName::Replicated => Durability::Replicated,
    };
    let mut listener = ListenerConfig::plaintext(listen);
    match &file.listener.advertised {
        Some(advertised) => {
            let (host, port) = host_and_port(advertised)?;
            listener.advertised_host = Some(host);
            listener.advertised_port = Some(port);
        }
        None if listen.ip().is_unspecified() => anyhow::bail!(
            "listener.advertised is missing: clients cannot be told to connect to {listen}, \
             which stands for every address of this machine"
        ),
        None => {}
    }
    config.listeners = vec![listener];
    config.settings = StaticConfig::new(file.kafka()?).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("[kafka]: {}", texts.join("; "))
    })?;
    Ok(config)
}

/// Where the file has metrics and health served, if anywhere.
pub fn admin_address(file: &FileConfig) -> anyhow::Result<Option<SocketAddr>> {
    match file.admin.listen.as_str() {
        "" => Ok(None),
        address => socket_address("admin.listen", address).map(Some),
    }
}

fn socket_address(key: &str, text: &str) -> anyhow::Result<SocketAddr> {
    let mut addresses = text
        .to_socket_addrs()
        .with_context(|| format!("{key} = {text:?}: expected host:port, such as 127.0.0.1:9092"))?;
    addresses.next().with_context(|| format!("{key} = {text:?} has no address"))
}

fn host_and_port(text: &str) -> anyhow::Result<(String, u16)> {
    let (host, port) = text
        .rsplit_once(':')
        .with_context(|| format!("listener.advertised = {text:?}: expected host:port"))?;
    let port =
        port.parse().with_context(|| format!("listener.advertised = {text:?}: the port is no number"))?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> anyhow::Result<BrokerConfig> {
        broker_config(&FileConfig::parse(text)?)
    }

    #[test]
    fn an_address_for_every_interface_needs_an_advertised_one() {
        let error = check("data_dir = 'd'\n[listener]\nlisten = '0.0.0.0:9092'").expect_err("refused");
        assert!(error.to_string().starts_with("listener.advertised is missing"), "{error:#}");
        let config =
            check("data_dir = 'd'\n[listener]\nlisten = '0.0.0.0:9092'\nadvertised = 'h:1'").expect("taken");
        assert_eq!(config.listeners[0].advertised_host.as_deref(), Some("h"));
    }

    #[test]
    fn addresses_of_another_form_are_refused() {
        for (text, part) in [
            ("[listener]\nlisten = 'nonsense'", "listener.listen"),
            ("[listener]\nadvertised = 'host'", "expected host:port"),
            ("[listener]\nadvertised = 'host:port'", "the port is no number"),
        ] {
            let error = check(&format!("data_dir = 'd'\n{text}")).expect_err(text);
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
    }
}
