//! What a user asks of an engine, and waits for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use isobar_engine_control::Engine;
use isobar_engine_control::api::{
    ApiError, ApplyRequest, Condition, OperationGet, OperationView, PlanAnswer, PlanRequest, QueryAnswer, QueryRequest,
    QueryWhat,
};
use isobar_engine_control::fleet::Route;
use isobar_engine_model::id::{ClusterName, MachineId, OperationId};
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::observed::MachinePhase;
use isobar_engine_model::operation::OperationState;

use super::{PATIENCE, World};
use crate::life::Life;
use crate::process::Process;
use crate::shop::shop;

impl World {
    /// The engine of a cluster, asked for through a process, and how long it answers; or why there is none now.
    pub async fn through(&self, process: &Process, cluster: &ClusterName) -> Result<(Arc<Engine>, Life), String> {
        let member = match process.route(cluster).await {
            Ok(Route::Here(engine)) => return Ok((engine, process.life.clone())),
            Ok(Route::There(member)) => member,
            Err(error) => return Err(error.to_string()),
        };
        let there = self.living().borrow().get(&member.peers).cloned();
        let there = there
            .filter(Process::runs)
            .ok_or("the process it is at does not answer")?;
        match there.responsible(cluster) {
            Some(Route::Here(engine)) => Ok((engine, there.life)),
            Some(Route::There(_)) | None => Err("the cluster is changing hands".to_owned()),
        }
    }

    /// The engine of a cluster, through whichever process answers.
    pub async fn engine_of(&self, cluster: &ClusterName) -> Result<Arc<Engine>, String> {
        let processes = self.living().borrow().clone();
        for process in processes.values().filter(|process| process.runs()) {
            if let Ok((engine, _)) = self.through(process, cluster).await {
                return Ok(engine);
            }
        }
        Err("no process answers for it".to_owned())
    }

    /// Deploys the shop, waits until it is as its spec says, and checks every machine.
    ///
    /// # Panics
    ///
    /// If it does not come to that.
    pub async fn deploy_shop(&self, engine: &Arc<Engine>) {
        let shop = shop();
        let cluster = shop.cluster.clone();
        let deploy = Intent::Deploy { spec: Box::new(shop) };
        let applied = self.apply(engine, deploy).await.expect("a good spec");
        let end = self.wait(engine, &applied.operation.id).await;
        assert!(matches!(end, OperationState::Succeeded { .. }), "{end:?}");
        self.converge(engine, &cluster).await;
        self.check(engine, &cluster).await;
    }

    /// Plans and applies; gives the operation.
    pub async fn apply(&self, engine: &Arc<Engine>, intent: Intent) -> Result<OperationView, ApiError> {
        let answer = self.plan(engine, intent).await?;
        let plan = answer.plan.id;
        self.witness.accepts(&plan);
        engine
            .apply(ApplyRequest {
                idempotency_key: plan.to_string(),
                plan,
                why: None,
            })
            .await
    }

    /// Plans.
    pub async fn plan(&self, engine: &Engine, intent: Intent) -> Result<PlanAnswer, ApiError> {
        engine
            .plan(PlanRequest {
                intent,
                limits: Limits::default(),
            })
            .await
    }

    /// Waits for an operation's end.
    pub async fn wait(&self, engine: &Engine, operation: &OperationId) -> OperationState {
        let waiting = async {
            let mut seen = None;
            loop {
                let get = OperationGet {
                    operation: operation.clone(),
                    seen,
                    wait_ms: Some(20_000),
                };
                let view = engine.operation_get(get).await.expect("it was accepted");
                if view.operation.state.is_final() {
                    return view.operation.state;
                }
                seen = Some(view.revision);
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("every operation ends")
    }

    /// Lists.
    pub async fn query(&self, engine: &Engine, cluster: &ClusterName, what: QueryWhat) -> QueryAnswer {
        self.try_query(engine, cluster, what)
            .await
            .expect("the cluster is known")
    }

    /// Lists, where there may be no such cluster.
    pub async fn try_query(
        &self,
        engine: &Engine,
        cluster: &ClusterName,
        what: QueryWhat,
    ) -> Result<QueryAnswer, ApiError> {
        let request = QueryRequest {
            what,
            cluster: cluster.clone(),
            after: None,
            limit: Some(500),
        };
        engine.query(request).await
    }

    /// Waits until a cluster is as its spec says.
    pub async fn converge(&self, engine: &Engine, cluster: &ClusterName) {
        let converging = async {
            loop {
                if self.is_converged(engine, cluster).await {
                    tokio::time::sleep(Duration::from_millis(self.bounds.tick_ms * 2 + 100)).await;
                    if self.is_converged(engine, cluster).await {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::time::timeout(PATIENCE, converging)
            .await
            .expect("every cluster converges");
    }

    async fn is_converged(&self, engine: &Engine, cluster: &ClusterName) -> bool {
        let answer = self.query(engine, cluster, QueryWhat::Cluster).await;
        let summary = answer.cluster.expect("asked for");
        summary.condition == Condition::Converged && summary.machines_ready == summary.machines
    }

    /// Panics unless what the cloud has is what the journal and the machines' records say, each machine once.
    pub async fn check(&self, engine: &Engine, cluster: &ClusterName) {
        let machines = self
            .query(engine, cluster, QueryWhat::Machines)
            .await
            .machines
            .expect("asked for");
        let mut kept: BTreeMap<MachineId, String> = BTreeMap::new();
        for machine in &machines {
            let MachinePhase::Ready { handle, .. } = &machine.phase else {
                panic!("{} is {:?} in a converged cluster", machine.id, machine.phase);
            };
            kept.insert(machine.id.clone(), handle.to_string());
        }
        let mut living: BTreeMap<MachineId, String> = BTreeMap::new();
        for machine in self.cloud.machines() {
            let Some(tags) = machine.tags() else { continue };
            let twin = living.insert(tags.machine.clone(), machine.handle.to_string());
            assert_eq!(twin, None, "two resources of {}", tags.machine);
        }
        assert_eq!(living, kept, "the cloud has what the engine knows");
        let attempts = self
            .query(engine, cluster, QueryWhat::Attempts)
            .await
            .attempts
            .expect("asked for");
        let journaled: BTreeMap<MachineId, String> = attempts
            .into_iter()
            .filter(|attempt| attempt.state == "accepted" && attempt.kind == "machine")
            .map(|attempt| (attempt.machine, attempt.handle.unwrap_or_default()))
            .collect();
        assert_eq!(journaled, kept, "the journal has what the engine knows");
    }
}
