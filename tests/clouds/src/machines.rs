//! What the strict clouds know of their machines beyond the simulated cloud under them, for whoever boots these. A value holds
//! no cloud open.

use std::net::Ipv4Addr;

use isobar_providers_sim::SimMachine;
use serde_json::Value;

use crate::asked::Asked;
use crate::world::Cloud;
use crate::{aws, azure, gcp};

/// The machines of one cloud. A clone is of the same cloud.
#[derive(Clone)]
pub enum Machines {
    /// Amazon EC2's.
    Aws(aws::Machines),
    /// Microsoft Azure's.
    Azure(azure::Machines),
    /// Google Compute Engine's.
    Gcp(gcp::Machines),
}

impl Machines {
    /// Whose they are.
    pub fn cloud(&self) -> Cloud {
        match self {
            Self::Aws(_) => Cloud::Aws,
            Self::Azure(_) => Cloud::Azure,
            Self::Gcp(_) => Cloud::Gcp,
        }
    }

    /// What the call that made a machine asked for; absent where none did.
    pub fn asked(&self, machine: &SimMachine) -> Option<Asked> {
        match self {
            Self::Aws(machines) => machines.asked(&machine.handle),
            Self::Azure(machines) => machines.asked(&machine.state.name),
            Self::Gcp(machines) => machines.asked(&machine.state.name),
        }
    }

    /// From now on the cloud says that a machine is there on the internet, if it asked for an address.
    pub fn reached_at(&self, machine: &SimMachine, address: Ipv4Addr) {
        match self {
            Self::Aws(machines) => machines.reached_at(machine.handle.clone(), address),
            Self::Azure(machines) => machines.reached_at(&machine.state.name, address),
            Self::Gcp(machines) => machines.reached_at(&machine.state.name, address),
        }
    }

    /// What a machine's metadata service gives to programs that may call the cloud, in the cloud's own words: it counts now.
    pub fn credentials(&self) -> Value {
        match self {
            Self::Aws(machines) => machines.keys_of_a_role(),
            Self::Azure(machines) => machines.token_of_an_identity(),
            Self::Gcp(machines) => machines.token_of_an_account(),
        }
    }
}
