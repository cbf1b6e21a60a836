//! Starting processes: what each one gets as its way to the world.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use isobar_engine_control::authority::Authority;
use isobar_engine_control::{Boundaries, Config, Engine, Fleet, Pacing, Tenure};
use isobar_engine_model::id::{MemberId, ProviderId};
use isobar_engine_provider::{Provider, decorate};
use isobar_engine_store::{Member, StoreError};
use isobar_providers_sim::{SeededEntropy, SimProvider};

use super::{KEY, World};
use crate::around::Around;
use crate::clock::{HostClock, Skew};
use crate::faulty::{CutOff, Faulty, Reach};
use crate::life::Life;
use crate::mortal::Mortal;
use crate::mutation::{FlawedProvider, FlawedStore, Mutation};
use crate::process::Process;
use crate::watched::Watched;

/// Where an engine without neighbours listens.
const ALONE_AT: &str = "engine:7421";

/// Where and how a process of a fleet runs.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where nodes and other processes reach it: `host:port`.
    pub address: String,
    /// How wrong its clock is.
    pub skew: Skew,
    /// When it does not reach the store.
    pub cut: Option<CutOff>,
}

/// What a start came to. None: the process stopped while it started.
pub type Started<T> = Option<Result<T, StoreError>>;

impl World {
    /// Starts an engine without neighbours that lives as long as `life`. None: it died while starting.
    ///
    /// # Panics
    ///
    /// If the store does not answer.
    pub async fn start(&self, life: Life) -> Option<Arc<Engine>> {
        let number = self.next_process();
        let reach = Reach::new(self.store_faults.clone(), None);
        let (config, boundaries) = self.equip((number, Skew::NONE), &reach, &life);
        let starting = async {
            let tenure = Tenure::sole(&*boundaries.store, ALONE_AT).await?;
            Engine::start(config, boundaries, tenure).await
        };
        let started = self.started(number, &life, starting).await?;
        let engine = started.expect("the store answers");
        let process = Process::alone((number, life), engine.clone());
        self.listen(ALONE_AT.to_owned(), process);
        Some(engine)
    }

    /// Starts a process of a fleet that lives as long as `life`.
    pub async fn start_fleet(&self, number: u64, place: &Place, life: &Life) -> Started<Arc<Fleet>> {
        self.witness.needs_lease(number);
        let reach = Reach::new(self.store_faults.clone(), place.cut);
        let (config, boundaries) = self.equip((number, place.skew), &reach, life);
        let me = Member {
            // Others in each run, so that shards fall otherwise.
            id: MemberId::new(format!("engine-{number}-{:x}", self.seed)),
            peers: place.address.clone(),
            nodes: vec![place.address.clone()],
        };
        let starting = Fleet::start(config, boundaries, me);
        let fleet = match self.started(number, life, starting).await? {
            Ok(fleet) => fleet,
            Err(error) => return Some(Err(error)),
        };
        let process = Process::of_fleet((number, life.clone()), fleet.clone(), reach);
        self.listen(place.address.clone(), process);
        Some(Ok(fleet))
    }

    /// Nobody listens there any more. Gives who did.
    pub fn hang_up(&self, address: &str) -> Option<Process> {
        let mut did = None;
        self.living.send_modify(|living| did = living.remove(address));
        did
    }

    fn listen(&self, address: String, process: Process) {
        self.living.send_modify(|living| {
            living.insert(address, process);
        });
    }

    /// The number of the next process to start.
    pub fn next_process(&self) -> u64 {
        let number = self.engines.fetch_add(1, Ordering::SeqCst) + 1;
        self.witness
            .note(format_args!("engine {number}"), format_args!("starts"));
        number
    }

    async fn started<T>(
        &self,
        number: u64,
        life: &Life,
        starting: impl Future<Output = Result<T, StoreError>>,
    ) -> Started<T> {
        let started = tokio::select! {
            biased;
            () = life.ended() => return None,
            started = starting => started,
        };
        if let Err(error) = &started {
            self.witness
                .note(format_args!("engine {number}"), format_args!("cannot start: {error}"));
            life.end();
        }
        Some(started)
    }

    fn equip(&self, (number, skew): (u64, Skew), reach: &Reach, life: &Life) -> (Config, Boundaries) {
        let entropy = Arc::new(SeededEntropy::new(self.seed ^ (number << 32)));
        let slow = self.mutation == Some(Mutation::SlowHost);
        let clock = Arc::new(Mortal {
            inner: HostClock {
                inner: self.clock.clone(),
                skew: if slow { skew.halved() } else { skew },
            },
            life: life.clone(),
        });
        let id = ProviderId::new("sim").expect("a name");
        let sim = Around(Watched {
            inner: SimProvider::new(id, self.cloud.clone()),
            engine: number,
            witness: self.witness.clone(),
        });
        let sim = Around(Mortal {
            inner: Around(FlawedProvider::new(sim, self.mutation, self.cloud.clone())),
            life: life.clone(),
        });
        let sim: Arc<dyn Provider> = Arc::new(sim);
        let store = Around(Watched {
            inner: self.store.clone(),
            engine: number,
            witness: self.witness.clone(),
        });
        let store = Around(Faulty {
            inner: store,
            faults: self.store_faults.clone(),
            reach: reach.clone(),
        });
        let store = Around(Mortal {
            inner: Around(FlawedStore::new(store, self.mutation)),
            life: life.clone(),
        });
        let config = Config {
            insecure_registries: Vec::new(),
            proven_for: BTreeSet::new(),
            key: KEY,
            authority: Arc::new(Authority::open(&KEY, &self.authority).expect("our own")),
            births: self.births.clone(),
            bounds: self.bounds,
            pacing: Pacing::Interval,
            at_crash_point: None,
        };
        let boundaries = Boundaries {
            store: Arc::new(store),
            providers: vec![decorate::standard(sim, clock.clone(), entropy.clone())],
            clock,
            entropy,
        };
        (config, boundaries)
    }
}
