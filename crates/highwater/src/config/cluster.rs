//! What the configuration file says of the node's cluster: its roles, the voters, the internal port.

use super::FileConfig;
use highwater_broker::VoterConfig;
use highwater_types::BrokerId;
use serde::Deserialize;

/// A word of `roles`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RoleName {
    /// Keeps partitions and serves clients.
    Broker,
    /// Votes on the cluster's metadata.
    Controller,
}

/// `[internal]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct InternalSection {
    /// The address that is listened on. None: every address of the machine, at the port that `voters` gives the node.
    pub listen: Option<String>,
    /// The address that the other nodes connect to. None: the one that `voters` gives the node, else the one listened
    /// on.
    pub advertised: Option<String>,
}

/// Where the internal port is if nothing says so.
pub const DEFAULT_INTERNAL_PORT: u16 = 9093;

impl FileConfig {
    /// The voters.
    pub fn parsed_voters(&self) -> Result<Vec<VoterConfig>, String> {
        self.voters.iter().map(|text| voter(text)).collect()
    }

    /// Whether the node keeps partitions.
    pub fn is_broker(&self) -> bool {
        self.roles.as_ref().is_none_or(|roles| roles.contains(&RoleName::Broker))
    }

    /// Checks what needs no look at the machine.
    pub(super) fn check_cluster(&self) -> Result<(), String> {
        let voters = self.parsed_voters()?;
        let node = self.node_id;
        let is_voter = voters.iter().any(|voter| voter.id.0 == node);
        if let Some(roles) = &self.roles {
            if roles.is_empty() {
                return Err("roles is empty: a node is a broker, a controller, or both".to_owned());
            }
            let is_controller = roles.contains(&RoleName::Controller);
            if is_controller && !is_voter && !voters.is_empty() {
                return Err(format!(
                    "roles makes node {node} a controller, and voters does not name it; \
                     a node that shall become a voter starts as a broker (highwater cluster add-voter)"
                ));
            }
            if !is_controller && is_voter {
                return Err(format!("voters names node {node}, and roles does not make it a controller"));
            }
            if voters.is_empty() && *roles != [RoleName::Broker, RoleName::Controller] {
                return Err("voters is missing: only a node that is both broker and controller can be alone"
                    .to_owned());
            }
        }
        if self.listener.is_some() && !self.is_broker() {
            return Err(
                "[listener] is given to a controller alone, which serves no clients: take it out".to_owned()
            );
        }
        if self.internal.is_some() && voters.is_empty() {
            return Err(
                "[internal] is given and voters is not: a node that is alone has no internal port".to_owned()
            );
        }
        if let Some(rack) = &self.rack
            && rack.is_empty()
        {
            return Err("rack is empty: leave it out, or name the rack".to_owned());
        }
        Ok(())
    }
}

/// A word of `voters`.
fn voter(text: &str) -> Result<VoterConfig, String> {
    let malformed =
        |what: &str| format!("voters: {text:?}: {what}; a voter is ID@HOST:PORT, such as 1@broker-1:9093");
    let (id, address) = text.trim().split_once('@').ok_or_else(|| malformed("there is no @"))?;
    let id = id.parse().map_err(|_| malformed("the id is no number"))?;
    let (host, port) = address.rsplit_once(':').ok_or_else(|| malformed("there is no port"))?;
    let port = port.parse().map_err(|_| malformed("the port is no number"))?;
    let host = host.trim_matches(['[', ']']).to_owned();
    if host.is_empty() {
        return Err(malformed("there is no host"));
    }
    Ok(VoterConfig { id: BrokerId(id), host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTERS: &str = "voters = ['1@a:9093', '2@b:9093', '3@[::1]:9093']\n";

    fn parse(text: &str) -> Result<FileConfig, String> {
        FileConfig::parse(&format!("data_dir = 'd'\n{text}")).map_err(|error| error.to_string())
    }

    #[test]
    fn voters_are_read() {
        let voters = parse(VOTERS).unwrap().parsed_voters().unwrap();
        assert_eq!(voters[2], VoterConfig { id: BrokerId(3), host: "::1".to_owned(), port: 9093 });
        assert!(parse("roles = ['broker', 'controller']").unwrap().is_broker());
        assert!(!parse(&format!("roles = ['controller']\n{VOTERS}")).unwrap().is_broker());
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (text, part) in [
            ("voters = ['1@host']", "\"1@host\": there is no port"),
            ("voters = ['host:9093']", "there is no @"),
            ("voters = ['one@host:9093']", "the id is no number"),
            ("voters = ['1@host:many']", "the port is no number"),
            ("voters = ['1@:9093']", "there is no host"),
            ("roles = []", "roles is empty"),
            ("roles = ['borker']", "did you mean `broker`?"),
            ("roles = ['controller']", "voters is missing"),
            ("roles = ['broker']", "voters is missing"),
            (&format!("roles = ['broker']\n{VOTERS}"), "roles does not make it a controller"),
            (&format!("node_id = 4\nroles = ['broker', 'controller']\n{VOTERS}"), "voters does not name it"),
            (&format!("roles = ['controller']\n{VOTERS}[listener]\n"), "serves no clients"),
            ("[internal]\n", "has no internal port"),
            ("rack = ''", "rack is empty"),
            (&format!("{VOTERS}[internal]\nlistne = ''"), "did you mean `listen`?"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
