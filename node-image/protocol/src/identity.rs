//! What a machine is given at birth, as JSON. A node: where home is, whom to trust, and a one-time token. An engine's
//! machine, which has no home: by what it knows who bought it. Read from the provider's metadata channel, never from the
//! kernel command line, which every container can read.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A machine's identity before it has joined.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The engines' node endpoints as this machine reaches them: `host:port`. Any of them knows who is responsible.
    pub engines: Vec<String>,
    /// Certificate of the CA of the engines' store, DER in hex: an engine's certificate must come from it.
    pub ca_der_hex: String,
    /// One-time token, in hex.
    pub token_hex: String,
    /// The machine's name, for its console only: who it is, the engine decides from the token.
    pub machine: String,
    /// Registries that are spoken to over plain HTTP: `host:port`.
    pub insecure_registries: Vec<String>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("engines", &self.engines)
            .field("machine", &self.machine)
            .field("token_hex", &"***")
            .finish_non_exhaustive()
    }
}

/// What a machine is that runs an engine instead of containers, under [`Birth::Engine`]. It calls nobody: whoever bought it
/// calls it, and they prove themselves to each other by what was derived from one token that never travels with it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineIdentity {
    /// The machine's name, for its console only.
    pub machine: String,
    /// SHA-256 of what its owner shows to it, in hex.
    pub claim_hash_hex: String,
    /// The key with which it shows its owner that it is the machine that was bought, in hex.
    pub proof_key_hex: String,
    /// Registries that its nodes speak to over plain HTTP: `host:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub insecure_registries: Vec<String>,
    /// Addresses besides the clouds' own that its sites may name as their endpoint: URLs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_endpoints: Vec<String>,
}

impl fmt::Debug for EngineIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineIdentity")
            .field("machine", &self.machine)
            .field("proof_key_hex", &"***")
            .finish_non_exhaustive()
    }
}

/// As what a machine is born.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Birth {
    /// A node of a cluster.
    Node(Identity),
    /// The machine of an engine.
    Engine(EngineIdentity),
}

/// The only field of an engine's identity on the wire; a node's has none of that name.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped<E> {
    engine: E,
}

impl Birth {
    /// From its JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Either {
            engine: Option<serde::de::IgnoredAny>,
        }
        if serde_json::from_slice::<Either>(bytes)?.engine.is_some() {
            let wrapped: Wrapped<EngineIdentity> = serde_json::from_slice(bytes)?;
            return Ok(Self::Engine(wrapped.engine));
        }
        serde_json::from_slice(bytes).map(Self::Node)
    }

    /// As JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let written = match self {
            Self::Node(identity) => serde_json::to_vec(identity),
            Self::Engine(engine) => serde_json::to_vec(&Wrapped { engine }),
        };
        written.expect("text fields")
    }
}

/// Where an engine that was bought serves MCP on its machine.
pub const ENGINE_MCP_PORT: u16 = 7420;

/// Where its nodes call home.
pub const ENGINE_NODE_PORT: u16 = 7421;

/// Whether this is `host:port`, as engines are called: no URL, and no list.
pub fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let alone = !host.is_empty() && !host.contains(['/', '@', ',', ' ']);
        alone && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// Where QEMU shows the identity to the guest, under `/sys/firmware/qemu_fw_cfg/by_name/`.
pub const FW_CFG_NAME: &str = "opt/isobar/identity";

/// Under which name Google's metadata service serves the identity: an attribute of the instance. AWS and Azure have one
/// place for it, the user data.
pub const METADATA_ATTRIBUTE: &str = "isobar-identity";

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Identity {
        Identity {
            engines: vec!["10.0.2.2:7421".to_owned()],
            ca_der_hex: "3082".to_owned(),
            token_hex: "00".repeat(16),
            machine: "general-1".to_owned(),
            insecure_registries: Vec::new(),
        }
    }

    fn engine() -> EngineIdentity {
        EngineIdentity {
            machine: "engine-1".to_owned(),
            claim_hash_hex: "11".repeat(32),
            proof_key_hex: "22".repeat(32),
            insecure_registries: Vec::new(),
            allowed_endpoints: vec!["http://10.0.2.2:4566".to_owned()],
        }
    }

    #[test]
    fn each_birth_is_read_as_what_it_was_written() {
        for birth in [Birth::Node(node()), Birth::Engine(engine())] {
            assert_eq!(Birth::parse(&birth.to_json()).unwrap(), birth);
        }
        let earlier = serde_json::to_vec(&node()).unwrap();
        assert_eq!(Birth::parse(&earlier).unwrap(), Birth::Node(node()));
    }

    #[test]
    fn what_is_no_birth_is_refused() {
        for wrong in [
            "#cloud-config",
            "{}",
            r#"{"engine":{}}"#,
            r#"{"engine":{"machine":"m"}}"#,
        ] {
            assert!(Birth::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let mut both: serde_json::Value = serde_json::from_slice(&Birth::Engine(engine()).to_json()).unwrap();
        both["engines"] = "10.0.2.2:7421".into();
        assert!(Birth::parse(both.to_string().as_bytes()).is_err());
    }

    #[test]
    fn what_proves_an_engine_is_never_printed() {
        assert!(!format!("{:?}", Birth::Engine(engine())).contains("2222"));
    }
}
