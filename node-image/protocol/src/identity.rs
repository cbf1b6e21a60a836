//! What a machine is given at birth, as JSON: where home is, whom to trust, and a one-time token. Read from the
//! provider's metadata channel, never from the kernel command line, which every container can read.

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
