//! What a provider's tests give the suite: a provider, what to ask of it, and the hooks behind its back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::id::ResourceHandle;

use crate::{Clock, MachineRequest, Provider, Site};

/// A provider under test with its backing state.
#[async_trait]
pub trait TestBed: Send + Sync {
    /// The provider as it is now: another one after [`Self::restart`].
    fn provider(&self) -> Arc<dyn Provider>;

    /// Throws the provider away without a word, as a crash of its process would, and makes a new one over the same
    /// backing state.
    async fn restart(&self);

    /// Stops a machine behind the provider's back, as a crash of its host would.
    async fn kill(&self, handle: &ResourceHandle);

    /// The time that the provider lives in.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Where the machines are made. Room for four at a time is enough.
    fn site(&self) -> Site;

    /// A small machine that the site can make. The suite replaces its identity.
    fn machine(&self) -> MachineRequest;

    /// A well-formed handle of a machine that never was.
    fn unknown_handle(&self) -> ResourceHandle;

    /// Differs from every earlier run on the same backing state: at most 16 of a-z and 0-9.
    fn run_id(&self) -> String;

    /// The longest that a boot, a deletion or the discovery of a death may take.
    fn patience(&self) -> Duration;

    /// Whether machines come to run by themselves; a bed without a bootable image says no.
    fn boots(&self) -> bool {
        true
    }

    /// Whether the cloud refuses a name that is in use. Where it knows no unique names the token alone makes a create
    /// idempotent, and the name is only shown.
    fn names_are_unique(&self) -> bool {
        true
    }
}
