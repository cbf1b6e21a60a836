//! The Engine's face.

use std::sync::Arc;

use isobar_engine_model::operation::Operation;
use isobar_engine_provider::{Clock, Entropy, Provider};
use isobar_engine_store::Store;

use crate::api::*;

/// What an Engine is given besides its boundaries.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where nodes reach the engine: `host:port`, put into every machine's identity.
    pub advertise: String,
}

/// Why an Engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store refused.
    #[error("open the store")]
    Store(#[from] isobar_engine_store::StoreError),
}

/// See the crate's documentation.
pub struct Engine {}

impl Engine {
    /// Takes the store over, resumes what was under way.
    pub async fn start(
        _config: Config,
        _store: Arc<dyn Store>,
        _providers: Vec<Arc<dyn Provider>>,
        _clock: Arc<dyn Clock>,
        _entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<Self>, StartError> {
        todo!()
    }

    /// What this engine is and has.
    pub async fn discover(&self) -> Result<Discovery, ApiError> {
        todo!()
    }
    /// Lists things.
    pub async fn query(&self, _request: QueryRequest) -> Result<QueryAnswer, ApiError> {
        todo!()
    }
    /// Makes a plan and keeps it. Changes nothing else.
    pub async fn plan(&self, _request: PlanRequest) -> Result<PlanAnswer, ApiError> {
        todo!()
    }
    /// Accepts a plan and starts to carry it out.
    pub async fn apply(&self, _request: ApplyRequest) -> Result<OperationView, ApiError> {
        todo!()
    }
    /// How far an operation is.
    pub async fn operation_get(&self, _request: OperationGet) -> Result<OperationView, ApiError> {
        todo!()
    }
    /// Stops an operation after the steps that are under way.
    pub async fn operation_cancel(&self, _request: OperationCancel) -> Result<Operation, ApiError> {
        todo!()
    }
    /// Why something is as it is.
    pub async fn explain(&self, _request: ExplainRequest) -> Result<Explanation, ApiError> {
        todo!()
    }
    /// Output of a replica or a machine's console.
    pub async fn logs(&self, _request: LogsRequest) -> Result<LogsAnswer, ApiError> {
        todo!()
    }
}
