//! `highwater serve`: a node from a configuration file.

use crate::cli::ServeArgs;
use crate::config::{DEFAULT_INTERNAL_PORT, DurabilityName, FileConfig};
use crate::output::Output;
use crate::{logging, node};
use anyhow::Context;
use highwater_broker::{BrokerConfig, ListenerConfig};
use highwater_log::Durability;
use highwater_metadata::configs::StaticConfig;
use highwater_types::BrokerId;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

/// What stands in for the listener of a controller alone, which has none.
const UNUSED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Does what was asked.
pub fn run(args: &ServeArgs, output: &Output) -> anyhow::Result<ExitCode> {
    let file = FileConfig::load(&args.config)?;
    logging::start(&file.log.level, file.log.format)?;
    let path = || args.config.display().to_string();
    let config = broker_config(&file).with_context(path)?;
    let admin = admin_address(&file).with_context(path)?;
    node::run(config, admin, output, |kafka, admin, output| {
        let value = json!({ "ready": true, "kafka": kafka, "admin": admin });
        let text = match kafka {
            Some(kafka) => format!("ready on {kafka}"),
            None => "ready, a controller alone".to_owned(),
        };
        output.item(&value, &text)
    })
}

/// The broker's configuration as the file gives it.
pub fn broker_config(file: &FileConfig) -> anyhow::Result<BrokerConfig> {
    let listeners = if file.is_broker() { vec![kafka_listener(file)?] } else { Vec::new() };
    let listen = listeners.first().map_or(UNUSED, |listener| listener.listen);
    let mut config = BrokerConfig::new(BrokerId(file.node_id), &file.data_dir, listen);
    config.listeners = listeners;
    config.cluster_id = file.cluster_id.as_deref().map(str::parse).transpose().context("cluster_id")?;
    config.is_broker = file.is_broker();
    config.rack = file.rack.clone();
    config.voters = file.parsed_voters().map_err(anyhow::Error::msg)?;
    config.internal = internal_listener(file, &config)?;
    config.durability = match file.durability {
        DurabilityName::Sync => Durability::Sync,
        DurabilityName::Replicated => Durability::Replicated,
    };
    config.settings = StaticConfig::new(file.kafka()?).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("[kafka]: {}", texts.join("; "))
    })?;
    config.check_cluster().map_err(anyhow::Error::msg)?;
    Ok(config)
}

/// Where the file has metrics and health served, if anywhere.
pub fn admin_address(file: &FileConfig) -> anyhow::Result<Option<SocketAddr>> {
    match file.admin.listen.as_str() {
        "" => Ok(None),
        address => socket_address("admin.listen", address).map(Some),
    }
}

fn kafka_listener(file: &FileConfig) -> anyhow::Result<ListenerConfig> {
    let section = file.listener.clone().unwrap_or_default();
    let listen = socket_address("listener.listen", &section.listen)?;
    let mut listener = ListenerConfig::plaintext(listen);
    match &section.advertised {
        Some(advertised) => advertise(&mut listener, host_and_port("listener.advertised", advertised)?),
        None if listen.ip().is_unspecified() => anyhow::bail!(
            "listener.advertised is missing: clients cannot be told to connect to {listen}, \
             which stands for every address of this machine"
        ),
        None => {}
    }
    Ok(listener)
}

/// The internal port, if the node has one: `voters` says where, unless the file says otherwise.
fn internal_listener(file: &FileConfig, config: &BrokerConfig) -> anyhow::Result<Option<ListenerConfig>> {
    if config.voters.is_empty() {
        return Ok(None);
    }
    let section = file.internal.clone().unwrap_or_default();
    let voter = config.voters.iter().find(|voter| voter.id == config.node_id);
    let port = voter.map_or(DEFAULT_INTERNAL_PORT, |voter| voter.port);
    let listen = match &section.listen {
        Some(listen) => socket_address("internal.listen", listen)?,
        None => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    };
    let mut listener = ListenerConfig { name: "CONTROLLER".to_owned(), ..ListenerConfig::plaintext(listen) };
    match (&section.advertised, voter) {
        (Some(advertised), _) => advertise(&mut listener, host_and_port("internal.advertised", advertised)?),
        (None, Some(voter)) => advertise(&mut listener, (voter.host.clone(), voter.port)),
        (None, None) if listen.ip().is_unspecified() => anyhow::bail!(
            "internal.advertised is missing: the other nodes cannot be told to connect to {listen}, \
             which stands for every address of this machine"
        ),
        (None, None) => {}
    }
    Ok(Some(listener))
}

fn advertise(listener: &mut ListenerConfig, (host, port): (String, u16)) {
    listener.advertised_host = Some(host);
    listener.advertised_port = Some(port);
}

fn socket_address(key: &str, text: &str) -> anyhow::Result<SocketAddr> {
    let mut addresses = text
        .to_socket_addrs()
        .with_context(|| format!("{key} = {text:?}: expected host:port, such as 127.0.0.1:9092"))?;
    addresses.next().with_context(|| format!("{key} = {text:?} has no address"))
}

fn host_and_port(key: &str, text: &str) -> anyhow::Result<(String, u16)> {
    let (host, port) =
        text.rsplit_once(':').with_context(|| format!("{key} = {text:?}: expected host:port"))?;
    let port = port.parse().with_context(|| format!("{key} = {text:?}: the port is no number"))?;
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

    const CLUSTER: &str = "data_dir = 'd'\ncluster_id = 'MkU3OEVBNTcwNTJENDM2Qg'\nvoters = ['1@a:9193', '2@b:9093', '3@c:9093']\n";

    fn internal(text: &str) -> ListenerConfig {
        check(&format!("{CLUSTER}{text}")).expect("taken").internal.expect("an internal port")
    }

    #[test]
    fn the_list_of_voters_says_where_the_internal_port_is() {
        let own = internal("");
        assert_eq!(own.listen.to_string(), "0.0.0.0:9193");
        assert_eq!((own.advertised_host.as_deref(), own.advertised_port), (Some("a"), Some(9193)));
        let told = internal("[internal]\nlisten = '127.0.0.1:1'\nadvertised = 'h:2'");
        assert_eq!(told.listen.to_string(), "127.0.0.1:1");
        assert_eq!((told.advertised_host.as_deref(), told.advertised_port), (Some("h"), Some(2)));
        let broker = internal("node_id = 4\n[internal]\nadvertised = 'd:9093'");
        assert_eq!(broker.listen.to_string(), "0.0.0.0:9093");
        let error = check(&format!("{CLUSTER}node_id = 4")).expect_err("refused").to_string();
        assert!(error.starts_with("internal.advertised is missing"), "{error}");
        assert_eq!(check("data_dir = 'd'").expect("taken").internal, None);
    }

    #[test]
    fn a_controller_alone_serves_no_clients() {
        let config = check(&format!("{CLUSTER}roles = ['controller']\nrack = 'r1'")).expect("taken");
        assert!(!config.is_broker && config.is_voter() && config.listeners.is_empty());
        assert_eq!(config.rack.as_deref(), Some("r1"));
    }

    #[test]
    fn several_voters_need_the_id_of_their_cluster() {
        let error = check("data_dir = 'd'\nvoters = ['1@a:1', '2@b:1']").expect_err("refused").to_string();
        assert!(error.contains("highwater cluster new-id"), "{error}");
    }
}
