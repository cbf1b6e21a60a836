//! What others made in EC2, as it is: asked for by filters, so that what is not there is not in the answer and spoils no
//! other's. Reads only. Never takes user data, and never an object of another account that is shared with ours.

mod firewall;
mod machine;
mod network;
mod rest;
mod routes;

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::Client;
use isobar_engine_model::object::ObjectType;
use isobar_engine_provider::adoption::{
    ObjectRef, ObjectState, of_another, refuse_too_many, unless_all_failed, unsupported,
};
use isobar_engine_provider::{ProviderError, Result, Site};

use crate::client::{Clients, quiet};
use crate::errors::{Call, kind_of};

/// An answer to filters for at most a hundred ids has one page; EC2 may give more, of which some are empty.
const PAGES_MAX: usize = 100;

/// An object as EC2 describes it.
pub(super) struct Described {
    /// What EC2 calls it.
    pub(super) id: String,
    /// Whose it is, where EC2 says so.
    pub(super) account: Option<String>,
    pub(super) state: ObjectState,
}

/// All pages of what is described by a filter of ids.
macro_rules! described {
    ($client:expr, $describe:ident, $filters:ident($name:literal, $ids:expr), $items:ident, $one:expr) => {{
        let mut found = Vec::new();
        let mut page = None;
        for _ in 0..$crate::adoption::PAGES_MAX {
            let filter = $crate::tags::filter($name, $ids);
            let ask = $client.$describe().$filters(filter).set_next_token(page);
            let answer = $crate::client::quiet(ask.send()).await;
            let answer = answer.map_err(|error| $crate::errors::kind_of(&error, $crate::errors::Call::Read))?;
            found.extend(answer.$items().iter().filter_map($one));
            page = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if page.is_none() {
                break;
            }
        }
        found
    }};
}
pub(super) use described;

/// Whose credentials a site's are.
pub(crate) async fn account(clients: &Clients, site: &Site) -> Result<String> {
    let client = clients.identity_of(site).await?;
    let answer = quiet(client.get_caller_identity().send()).await;
    let answer = answer.map_err(|error| kind_of(&error, Call::Read))?;
    let account = answer.account().map(str::to_owned);
    account.ok_or_else(|| ProviderError::Unexpected {
        message: "STS says who asks, and not of which account".to_owned(),
    })
}

/// Objects in the order of the question. Each type is asked for at once.
pub(crate) async fn read(clients: &Clients, site: &Site, objects: &[ObjectRef]) -> Result<Vec<Result<ObjectState>>> {
    refuse_too_many(objects)?;
    let (_, client) = clients.of(site).await?;
    let mut of_kinds: BTreeMap<&ObjectType, BTreeSet<&str>> = BTreeMap::new();
    for object in objects {
        of_kinds.entry(&object.kind).or_default().insert(&object.id.0);
    }
    let mut read = BTreeMap::new();
    for (kind, ids) in of_kinds {
        let ids: Vec<&str> = ids.into_iter().collect();
        read.insert(kind, of_kind(&client, kind, &ids).await);
    }
    let shared = read.values().flatten().flatten().any(|found| found.account.is_some());
    let own = match shared {
        true => Some(account(clients, site).await?),
        false => None,
    };
    let answer = |object: &ObjectRef| {
        let found = read.get(&object.kind).ok_or(ProviderError::NotFound)?;
        let found = found.as_ref().map_err(Clone::clone)?;
        let found = found.iter().find(|found| found.id == object.id.0);
        let found = found.ok_or(ProviderError::NotFound)?;
        match (&found.account, &own) {
            (Some(account), Some(own)) if account != own => Err(of_another(account, site, own)),
            (_, _) => Ok(found.state.clone()),
        }
    };
    unless_all_failed(objects.iter().map(answer).collect())
}

/// What there is of one type.
async fn of_kind(client: &Client, kind: &ObjectType, ids: &[&str]) -> Result<Vec<Described>> {
    match kind.0.as_str() {
        "instance" => machine::instances(client, ids).await,
        "launch_template" => machine::templates(client, ids).await,
        "vpc" => network::vpcs(client, ids).await,
        "subnet" => network::subnets(client, ids).await,
        "security_group" => firewall::groups(client, ids).await,
        "route_table" => routes::tables(client, ids).await,
        "route" => routes::routes(client, ids).await,
        "internet_gateway" => network::gateways(client, ids).await,
        "nat_gateway" => network::nat_gateways(client, ids).await,
        "network_interface" => network::interfaces(client, ids).await,
        "address" => rest::addresses(client, ids).await,
        "volume" => rest::volumes(client, ids).await,
        "key_pair" => rest::keys(client, ids).await,
        _ => Err(unsupported("AWS", kind)),
    }
}
