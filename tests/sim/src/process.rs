//! What runs as one process: an engine that is alone, or a fleet's part of the shards; and where nodes and users find it.

use std::collections::BTreeMap;
use std::sync::Arc;

use isobar_engine_control::api::ApiError;
use isobar_engine_control::fleet::{Route, Subject};
use isobar_engine_control::{Engine, Fleet};
use isobar_engine_model::id::ClusterName;
use isobar_node_image_protocol::watch;

use crate::faulty::Reach;
use crate::life::Life;

/// Where processes listen, `host:port`, and which one does there now.
pub type Processes = BTreeMap<String, Process>;
/// The processes that nodes and users reach.
pub type Living = watch::Receiver<Processes>;

/// See the module. A clone is the same process.
#[derive(Clone)]
pub struct Process {
    /// Which of the run, from 1.
    pub number: u64,
    /// How long it answers.
    pub life: Life,
    serves: Serves,
    /// Absent: it always does.
    reach: Option<Reach>,
}

#[derive(Clone)]
enum Serves {
    Alone(Arc<Engine>),
    Shards(Arc<Fleet>),
}

impl Process {
    /// An engine without neighbours.
    pub fn alone((number, life): (u64, Life), engine: Arc<Engine>) -> Self {
        Self {
            number,
            life,
            serves: Serves::Alone(engine),
            reach: None,
        }
    }

    /// One process of several.
    pub fn of_fleet((number, life): (u64, Life), fleet: Arc<Fleet>, reach: Reach) -> Self {
        Self {
            number,
            life,
            serves: Serves::Shards(fleet),
            reach: Some(reach),
        }
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        !self.life.is_over() && !self.life.is_frozen()
    }

    /// Whether it runs and reaches the store.
    pub fn is_well(&self) -> bool {
        self.runs() && !self.reach.as_ref().is_some_and(Reach::is_cut)
    }

    /// Whether it does the work of a cluster's shard.
    pub fn works_for(&self, cluster: &ClusterName) -> bool {
        match self.responsible(cluster) {
            Some(Route::Here(engine)) => self.is_well() && !engine.has_stopped(),
            Some(Route::There(_)) | None => false,
        }
    }

    /// Who is responsible for a cluster now, as far as this process knows.
    pub fn responsible(&self, cluster: &ClusterName) -> Option<Route> {
        match &self.serves {
            Serves::Alone(engine) => Some(Route::Here(engine.clone())),
            Serves::Shards(fleet) => fleet.responsible(cluster),
        }
    }

    /// Who answers a call about a cluster; waits for a while where it is changing hands.
    pub async fn route(&self, cluster: &ClusterName) -> Result<Route, ApiError> {
        match &self.serves {
            Serves::Alone(engine) => Ok(Route::Here(engine.clone())),
            Serves::Shards(fleet) => fleet.route(Subject::Cluster(cluster)).await,
        }
    }
}
