//! What the container runtime is told once, by whoever wires the agent.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::net::Subnet;

/// Where the runtime keeps its things and what it may use.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Folder for bundles, logs and libcontainer's state. Emptied at the start.
    pub state_dir: PathBuf,
    /// Folder for layers; it bounds them, so it has a file system of its own. Emptied at the start.
    pub images_dir: PathBuf,
    /// Control group that the containers' groups are made in, relative to the mount.
    pub cgroup_parent: String,
    /// `host:port` of the registries to speak plain HTTP with.
    pub insecure_registries: Vec<String>,
    /// Certificates to trust for the others, in PEM. Without the file no TLS registry is trusted.
    pub ca_file: Option<PathBuf>,
    /// The containers' addresses; the first is the bridge's. Each node can have the same.
    pub subnet: Subnet,
    /// Networks that no container may reach.
    pub blocked: Vec<Subnet>,
    /// Ports of the node that cannot be published.
    pub reserved_ports: Vec<u16>,
    /// The program that answers `ctr`: this very one, but in tests.
    pub helper: PathBuf,
    /// How strict to be about what the kernel offers.
    pub isolation: Isolation,
}

/// How strict to be about what the kernel offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// A container that cannot have all of its limits does not start.
    Required,
    /// Limits that this kernel cannot enforce are left out, all of them if it cannot restrict devices. For tests on
    /// hosts that are no nodes.
    WhereAvailable {
        /// Whether the kernel takes a program that restricts devices.
        devices: bool,
    },
}

impl RuntimeConfig {
    /// What a node uses; the fields are there to be changed.
    pub fn node() -> Self {
        Self {
            state_dir: "/run/isobar".into(),
            images_dir: "/run/isobar/images".into(),
            cgroup_parent: "isobar".into(),
            insecure_registries: Vec::new(),
            ca_file: Some("/etc/ssl/certs/ca-certificates.crt".into()),
            subnet: Subnet {
                address: Ipv4Addr::new(10, 88, 0, 0),
                prefix: 16,
            },
            // Link-local: the metadata services of clouds live there.
            blocked: vec![Subnet {
                address: Ipv4Addr::new(169, 254, 0, 0),
                prefix: 16,
            }],
            reserved_ports: Vec::new(),
            helper: "/proc/self/exe".into(),
            isolation: Isolation::Required,
        }
    }

    pub(super) fn containers(&self) -> PathBuf {
        self.state_dir.join("containers")
    }

    pub(super) fn state_root(&self) -> PathBuf {
        self.state_dir.join("libcontainer")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.state_dir.join("output")
    }
}
