//! Cases about a machine's life: it shows up, runs, prints, is listed, dies and goes.

use std::collections::BTreeSet;

use super::client::{Client, ensure};
use super::{Broken, Verdict};
use crate::resource::CONSOLE_CHUNK_MAX_BYTES;
use crate::{ConsoleChunk, ProviderError, ResourceState, ResourceStatus};

/// So far may the provider's clock be off, and its times be rounded.
const SKEW_MAX_MS: u64 = 5_000;

pub(super) async fn catalog_is_of_the_site_and_names_what_the_bed_asks_for(client: &Client<'_>) -> Verdict {
    let site = client.bed.site();
    let catalog = client.insist(|| async { client.provider().catalog(&site).await }).await;
    let catalog = catalog.map_err(|error| Broken(format!("catalog failed: {error}")))?;
    ensure(catalog.site == site.name, || {
        format!("the catalog is of {}", catalog.site)
    })?;

    let ids: BTreeSet<_> = catalog.offerings.iter().map(|offering| &offering.id).collect();
    ensure(ids.len() == catalog.offerings.len(), || {
        "two offerings with one id".to_owned()
    })?;
    for offering in &catalog.offerings {
        ensure(offering.total.fits(&offering.allocatable), || {
            format!("{} allocates more than it has", offering.id)
        })?;
        ensure(offering.price.0 >= 0, || {
            format!("{} costs less than nothing", offering.id)
        })?;
    }

    let machine = client.bed.machine();
    let offered = catalog
        .offerings
        .iter()
        .any(|o| o.id == machine.offering && o.zone == machine.zone);
    ensure(offered, || {
        format!("no offering {} in {}", machine.offering, machine.zone)
    })?;
    let bootable = catalog.images.iter().any(|image| image.id == machine.image);
    ensure(bootable, || format!("no image {}", machine.image))
}

pub(super) async fn created_machine_is_visible_in_time_with_its_tags(client: &Client<'_>) -> Verdict {
    let request = client.request();
    let before = client.bed.clock().now();
    let handle = client.create_visible(&request).await?;

    let seen = client
        .get(&handle)
        .await
        .map_err(|error| Broken(format!("get after the delay: {error}")))?;
    ensure(seen.handle == handle, || {
        format!("asked for {handle}, got {}", seen.handle)
    })?;
    ensure(seen.name == request.name, || {
        format!("named {}, shown as {}", request.name, seen.name)
    })?;
    ensure(seen.tags.as_ref() == Some(&request.tags), || {
        format!("other tags: {:?}", seen.tags)
    })?;
    ensure(
        matches!(seen.status, ResourceStatus::Pending | ResourceStatus::Running),
        || format!("{:?}", seen.status),
    )?;
    let after = client.bed.clock().now();
    let in_time = before <= seen.created.plus_ms(SKEW_MAX_MS) && seen.created <= after.plus_ms(SKEW_MAX_MS);
    ensure(in_time, || {
        format!("made at {:?}, asked for at {before:?}", seen.created)
    })?;

    let listed = client.list(&client.owner()).await?;
    ensure(matches!(&listed[..], [one] if one.handle == handle), || {
        format!("the list after the delay: {listed:?}")
    })?;
    ensure(listed[0].tags == seen.tags && listed[0].name == seen.name, || {
        format!("listed as {:?}", listed[0])
    })
}

pub(super) async fn booted_machine_runs_and_has_its_endpoints(client: &Client<'_>) -> Verdict {
    if !client.bed.boots() {
        return Ok(());
    }
    let request = client.request();
    let handle = client.create_visible(&request).await?;
    let running = |answer: &crate::Result<ResourceState>| is(answer, |status| *status == ResourceStatus::Running);
    let state = client
        .eventually("the machine runs", || client.get(&handle), running)
        .await;
    let state = state?.map_err(|error| Broken(error.to_string()))?;
    let (first, last) = client.bed.machine().open_ports;
    for port in first..=last {
        ensure(state.endpoints.contains_key(&port), || {
            format!("no endpoint for port {port}")
        })?;
    }
    let others = state.endpoints.values().collect::<BTreeSet<_>>().len();
    ensure(others == state.endpoints.len(), || {
        format!("two ports share an endpoint: {:?}", state.endpoints)
    })
}

pub(super) async fn console_is_read_in_parts(client: &Client<'_>) -> Verdict {
    if !client.bed.boots() || client.provider().console().is_none() {
        return Ok(());
    }
    let handle = client.create_visible(&client.request()).await?;
    let site = client.bed.site();
    let read = |offset| {
        let (client, site, handle) = (&client, &site, &handle);
        client.insist(move || async move {
            let provider = client.provider();
            let console = provider.console().ok_or(ProviderError::NotFound)?;
            console.read(site, handle, offset).await
        })
    };
    let printed = |answer: &crate::Result<ConsoleChunk>| answer.as_ref().is_ok_and(|chunk| !chunk.bytes.is_empty());
    let chunk = client.eventually("the console prints", || read(0), printed).await?;
    let chunk = chunk.map_err(|error| Broken(error.to_string()))?;
    ensure(chunk.bytes.len() <= CONSOLE_CHUNK_MAX_BYTES, || {
        format!("a chunk of {} bytes", chunk.bytes.len())
    })?;
    let length = u64::try_from(chunk.bytes.len()).unwrap_or(u64::MAX);
    ensure(chunk.next_offset == length, || {
        format!("{length} bytes, and the next at {}", chunk.next_offset)
    })?;

    let middle = length / 2;
    let tail = read(middle).await.map_err(|error| Broken(error.to_string()))?;
    let expected = &chunk.bytes[usize::try_from(middle).unwrap_or(0)..];
    ensure(tail.bytes.starts_with(expected), || {
        format!("other bytes from {middle} on")
    })?;

    let beyond = read(u64::MAX / 2)
        .await
        .map_err(|error| Broken(format!("past the end: {error}")))?;
    ensure(beyond.bytes.is_empty(), || "bytes past the end".to_owned())
}

pub(super) async fn list_shows_only_the_owners_machines_in_order(client: &Client<'_>) -> Verdict {
    let (ours, theirs) = (client.owner(), client.owner_named("conformance-other"));
    let mut restored = client.owner();
    restored.store.push_str("-restored");
    let mut wanted = BTreeSet::new();
    for owner in [&ours, &theirs, &ours] {
        let handle = client.create(&client.request_of(owner.clone())).await?;
        if *owner == ours {
            wanted.insert(handle);
        }
    }
    client.let_it_show().await;

    let listed = client.list(&ours).await?;
    let handles: Vec<_> = listed.iter().map(|state| state.handle.clone()).collect();
    let in_order: Vec<_> = wanted.into_iter().collect();
    ensure(handles == in_order, || format!("listed {handles:?}, not {in_order:?}"))?;
    let others = client.list(&theirs).await?;
    ensure(others.len() == 1, || format!("the other owner's list: {others:?}"))?;
    let strangers = client.list(&restored).await?;
    ensure(strangers.is_empty(), || {
        format!("another store of the same cluster lists {strangers:?}")
    })
}

pub(super) async fn deletion_is_repeated_until_not_found(client: &Client<'_>) -> Verdict {
    let handle = client.create_visible(&client.request()).await?;
    client
        .get(&handle)
        .await
        .map_err(|error| Broken(format!("get before the deletion: {error}")))?;
    let first = client.delete(&handle).await;
    // The answer to a first call may have been lost, and the machine may be gone before the next.
    ensure(first.as_ref().err().is_none_or(ProviderError::is_absent), || {
        format!("the first deletion: {first:?}")
    })?;
    client.delete_until_gone(&handle).await?;

    let gone = |answer: &crate::Result<ResourceState>| answer.as_ref().is_err_and(ProviderError::is_absent);
    let _gone = client
        .eventually(
            "`get` of a deleted machine ends in `not found`",
            || client.get(&handle),
            gone,
        )
        .await?;
    let empty = |listed: &Result<Vec<ResourceState>, Broken>| matches!(listed, Ok(listed) if listed.is_empty());
    let owner = client.owner();
    client
        .eventually("the list forgets a deleted machine", || client.list(&owner), empty)
        .await??;
    let again = client.delete(&handle).await;
    ensure(again.as_ref().is_err_and(ProviderError::is_absent), || {
        format!("a deletion of what is gone: {again:?}")
    })
}

pub(super) async fn unknown_handle_is_not_found(client: &Client<'_>) -> Verdict {
    let handle = client.bed.unknown_handle();
    let got = client.get(&handle).await;
    ensure(got == Err(ProviderError::NotFound), || format!("get: {got:?}"))?;
    let deleted = client.delete(&handle).await;
    ensure(deleted == Err(ProviderError::NotFound), || {
        format!("delete: {deleted:?}")
    })?;

    let provider = client.provider();
    let Some(console) = provider.console() else {
        return Ok(());
    };
    let site = client.bed.site();
    let read = client.insist(|| async { console.read(&site, &handle, 0).await }).await;
    ensure(read == Err(ProviderError::NotFound), || format!("console: {read:?}"))
}

pub(super) async fn machine_killed_outside_is_seen_and_can_be_deleted(client: &Client<'_>) -> Verdict {
    let handle = client.create_visible(&client.request()).await?;
    client.bed.kill(&handle).await;
    let dead = |answer: &crate::Result<ResourceState>| {
        answer.as_ref().is_err_and(ProviderError::is_absent)
            || is(answer, |s| matches!(s, ResourceStatus::Stopped { .. }))
    };
    let _dead = client
        .eventually(
            "a machine killed outside is seen as stopped or gone",
            || client.get(&handle),
            dead,
        )
        .await?;
    client.delete_until_gone(&handle).await
}

fn is(answer: &crate::Result<ResourceState>, wanted: impl Fn(&ResourceStatus) -> bool) -> bool {
    answer.as_ref().is_ok_and(|state| wanted(&state.status))
}
