//! Cases about what a request is: tokens, names, and what can never work.

use futures_util::future::join_all;
use isobar_engine_model::id::{ImageId, OfferingId, ResourceHandle, Zone};

use super::client::{Client, ensure};
use super::{Broken, Verdict};
use crate::{CreateResource, MachineRequest, ProviderError, ResourceState, Secret, Token};

/// So many callers send the same create at once.
const DUPLICATES: usize = 8;

pub(super) async fn same_request_gives_the_same_machine(client: &Client<'_>) -> Verdict {
    let request = client.request();
    let first = client.create(&request).await?;
    let second = client.create(&request).await?;
    ensure(first == second, || format!("first {first}, then {second}"))?;
    client.let_it_show().await;
    let third = client.create(&request).await?;
    ensure(first == third, || format!("first {first}, after the delay {third}"))?;
    only(client, &first).await
}

pub(super) async fn same_request_gives_the_same_machine_after_a_restart(client: &Client<'_>) -> Verdict {
    let request = client.request();
    let first = client.create(&request).await?;
    client.bed.restart().await;
    let second = client.create(&request).await?;
    ensure(first == second, || format!("first {first}, after the restart {second}"))?;
    client.let_it_show().await;
    let seen = client
        .get(&first)
        .await
        .map_err(|error| Broken(format!("get after the restart: {error}")))?;
    ensure(seen.tags.as_ref() == Some(&request.tags), || {
        format!("tags after the restart: {:?}", seen.tags)
    })?;
    only(client, &first).await
}

pub(super) async fn concurrent_duplicates_make_one_machine(client: &Client<'_>) -> Verdict {
    let request = client.request();
    let answers = join_all((0..DUPLICATES).map(|_| client.create(&request))).await;
    let mut handles = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    handles.sort();
    handles.dedup();
    ensure(handles.len() == 1, || format!("one request made {handles:?}"))?;
    client.let_it_show().await;
    only(client, &handles[0]).await
}

pub(super) async fn token_with_another_request_is_a_conflict(client: &Client<'_>) -> Verdict {
    let request = client.request();
    let made = client.create(&request).await?;

    let identity = with(&request, |machine| machine.identity = Secret(b"another node".to_vec()));
    expect_conflict(client, "another identity", &identity).await?;
    let mut tags = request.clone();
    tags.tags.attempt.0 += 1;
    expect_conflict(client, "another attempt", &tags).await?;
    let renamed = CreateResource {
        name: client.request().name,
        ..request
    };
    expect_conflict(client, "another name", &renamed).await?;

    client.let_it_show().await;
    only(client, &made).await
}

pub(super) async fn name_under_another_token_is_a_conflict(client: &Client<'_>) -> Verdict {
    if !client.bed.names_are_unique() {
        return Ok(());
    }
    let request = client.request();
    let made = client.create(&request).await?;
    let other = CreateResource {
        token: Token(format!("{}-other", request.token.0)),
        ..request
    };
    expect_conflict(client, "another token", &other).await?;
    client.let_it_show().await;
    only(client, &made).await
}

pub(super) async fn token_of_a_deleted_machine_makes_no_second_one(client: &Client<'_>) -> Verdict {
    let request = client.request();
    let made = client.create_visible(&request).await?;
    client.delete_until_gone(&made).await?;
    let owner = client.owner();
    let empty = |listed: &Result<Vec<ResourceState>, Broken>| matches!(listed, Ok(listed) if listed.is_empty());
    client
        .eventually("the list forgets a deleted machine", || client.list(&owner), empty)
        .await??;

    match client.attempt(&request).await {
        Ok(created) => ensure(created.handle == made, || {
            format!("{made} was deleted, then {}", created.handle)
        })?,
        Err(ProviderError::Conflict { .. }) => {}
        Err(error) => {
            return Err(Broken(format!(
                "neither the machine made first nor a conflict: {error}"
            )));
        }
    }
    client.let_it_show().await;
    let listed = client.list(&owner).await?;
    ensure(listed.is_empty(), || format!("a late duplicate made {listed:?}"))
}

pub(super) async fn unknown_offering_is_an_invalid_spec(client: &Client<'_>) -> Verdict {
    expect_invalid(client, |machine| machine.offering = OfferingId::new("no-such-offering")).await
}

pub(super) async fn unknown_zone_is_an_invalid_spec(client: &Client<'_>) -> Verdict {
    expect_invalid(client, |machine| machine.zone = Zone::new("no-such-zone")).await
}

pub(super) async fn unknown_image_is_an_invalid_spec(client: &Client<'_>) -> Verdict {
    expect_invalid(client, |machine| machine.image = ImageId::new("no-such-image")).await
}

pub(super) async fn identity_is_bounded(client: &Client<'_>) -> Verdict {
    let bound = client.provider().capabilities().identity_max_bytes;
    expect_invalid(client, |machine| machine.identity = Secret(vec![b'x'; bound + 1])).await?;
    let largest = with(&client.request(), |machine| {
        machine.identity = Secret(vec![b'x'; bound])
    });
    client.create(&largest).await?;
    Ok(())
}

/// The owner's list holds this machine and no other.
async fn only(client: &Client<'_>, handle: &ResourceHandle) -> Verdict {
    let listed = client.list(&client.owner()).await?;
    ensure(matches!(&listed[..], [one] if one.handle == *handle), || {
        format!("not {handle} alone: {listed:?}")
    })
}

async fn expect_conflict(client: &Client<'_>, what: &str, request: &CreateResource) -> Verdict {
    match client.attempt(request).await {
        Err(ProviderError::Conflict { .. }) => Ok(()),
        other => Err(Broken(format!("{what}: not a conflict but {other:?}"))),
    }
}

/// The changed request is refused, and leaves no machine behind.
async fn expect_invalid(client: &Client<'_>, change: impl Fn(&mut MachineRequest)) -> Verdict {
    match client.attempt(&with(&client.request(), change)).await {
        Err(ProviderError::InvalidSpec { .. }) => {}
        other => return Err(Broken(format!("not an invalid spec but {other:?}"))),
    }
    client.let_it_show().await;
    let listed = client.list(&client.owner()).await?;
    ensure(listed.is_empty(), || format!("a refused request made {listed:?}"))
}

fn with(request: &CreateResource, change: impl Fn(&mut MachineRequest)) -> CreateResource {
    let mut changed = request.clone();
    let machine = changed.spec.machine_mut().expect("a machine");
    change(machine);
    changed
}
