//! Why a wish cannot be planned at all, and what to do next.

use isobar_engine_model::id::{ClusterName, MachineId, SiteName, WorkloadName};

/// Why a wish cannot be planned. What cannot be *met* is not an error: see the plan's `unmet`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is no such cluster: deploy it first.
    #[error("there is no cluster {cluster}")]
    UnknownCluster {
        /// Which was named.
        cluster: ClusterName,
    },
    /// The cluster has no such workload: take one that it has.
    #[error("cluster has no workload {workload}")]
    UnknownWorkload {
        /// Which was named.
        workload: WorkloadName,
        /// The one that was probably meant.
        nearest: Option<String>,
        /// All there are.
        known: Vec<String>,
    },
    /// The cluster has no such site: take one that it has, or deploy a spec with it.
    #[error("cluster has no site {site}")]
    UnknownSite {
        /// Which was named.
        site: SiteName,
        /// The one that was probably meant.
        nearest: Option<String>,
        /// All there are.
        known: Vec<String>,
    },
    /// The cluster has no such machine: take one that it has.
    #[error("cluster has no machine {machine}")]
    UnknownMachine {
        /// Which was named.
        machine: MachineId,
        /// The one that was probably meant.
        nearest: Option<String>,
        /// All there are.
        known: Vec<String>,
    },
    /// A move that leaves the workload no site: name one to move to.
    #[error("no site is left for {workload}")]
    NothingLeft {
        /// Which workload.
        workload: WorkloadName,
    },
    /// A move that says neither where to nor where from: name a site.
    #[error("the move of {workload} names no site")]
    NoSiteNamed {
        /// Which workload.
        workload: WorkloadName,
    },
    /// Only services are scaled: change the spec of anything else.
    #[error("{workload} is not a service")]
    NotAService {
        /// Which was named.
        workload: WorkloadName,
    },
    /// A singleton has one replica: do not scale it.
    #[error("{workload} is a singleton: it has one replica at most")]
    Singleton {
        /// Which was named.
        workload: WorkloadName,
    },
}

impl PlanError {
    /// One word for tables and for callers that branch.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownCluster { .. } => "unknown_cluster",
            Self::UnknownWorkload { .. } => "unknown_workload",
            Self::UnknownSite { .. } => "unknown_site",
            Self::UnknownMachine { .. } => "unknown_machine",
            Self::NothingLeft { .. } => "nothing_left",
            Self::NoSiteNamed { .. } => "no_site_named",
            Self::NotAService { .. } => "not_a_service",
            Self::Singleton { .. } => "singleton",
        }
    }

    /// What to do next; none where there is nothing to choose from.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownCluster { .. } => Some("deploy it first, or list the clusters there are".into()),
            Self::UnknownWorkload { nearest, known, .. }
            | Self::UnknownSite { nearest, known, .. }
            | Self::UnknownMachine { nearest, known, .. } => match nearest {
                Some(name) => Some(format!("did you mean `{name}`?")),
                None => (!known.is_empty()).then(|| format!("there is {}", known.join(", "))),
            },
            Self::NothingLeft { .. } => Some("move it to a site by name, or destroy the cluster".into()),
            Self::NoSiteNamed { .. } => Some("say where to or where from".into()),
            Self::NotAService { .. } => Some("deploy a changed spec instead".into()),
            Self::Singleton { .. } => Some("deploy a spec in which it is none".into()),
        }
    }

    /// What would have been allowed in the place of what was named.
    pub fn allowed(&self) -> &[String] {
        match self {
            Self::UnknownWorkload { known, .. }
            | Self::UnknownSite { known, .. }
            | Self::UnknownMachine { known, .. } => known,
            Self::UnknownCluster { .. }
            | Self::NothingLeft { .. }
            | Self::NoSiteNamed { .. }
            | Self::NotAService { .. }
            | Self::Singleton { .. } => &[],
        }
    }
}
