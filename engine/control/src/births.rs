//! As what the machines of an engine are born: as nodes of its clusters, or as engines of their own.
//!
//! An engine's machine calls nobody, since who bought it may be where nothing reaches: it is up when its provider says so,
//! and nothing is done about it unasked, since what it holds is nowhere else.

use isobar_engine_model::id::MachineId;
use isobar_engine_model::spec::NODE_PORTS;
use isobar_node_image_protocol::identity::{Birth, ENGINE_MCP_PORT, ENGINE_NODE_PORT, EngineIdentity, Identity};

use crate::engine::Engine;

/// As what machines are born.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Births {
    /// As nodes, which call home.
    #[default]
    Nodes,
    /// As engines, each with its own name in this.
    Engines(EngineIdentity),
}

impl Births {
    /// Whether a machine's life shows in what it says, not only in what its provider says.
    pub(crate) fn call_home(&self) -> bool {
        match self {
            Self::Nodes => true,
            Self::Engines(_) => false,
        }
    }

    /// The ports at which others must reach them, first and last.
    pub(crate) fn open_ports(&self) -> (u16, u16) {
        match self {
            Self::Nodes => NODE_PORTS,
            Self::Engines(_) => (ENGINE_MCP_PORT, ENGINE_NODE_PORT),
        }
    }
}

/// What a machine reads first.
pub(crate) fn born(engine: &Engine, machine: &MachineId, join_token: &[u8]) -> Vec<u8> {
    let birth = match &engine.config.births {
        Births::Nodes => Birth::Node(Identity {
            engines: engine.homes(),
            ca_der_hex: hex::encode(engine.authority.certificate_der()),
            token_hex: hex::encode(join_token),
            machine: machine.to_string(),
            insecure_registries: engine.config.insecure_registries.clone(),
        }),
        Births::Engines(identity) => Birth::Engine(EngineIdentity {
            machine: machine.to_string(),
            ..identity.clone()
        }),
    };
    birth.to_json()
}
