//! Handing over, confirming by a fresh state, and the way back: pages of names for the engine.

use std::collections::BTreeSet;

use anyhow::Result;
use isobar_engine_control::api::{
    HAND_OVER_MAX_OBJECTS, HandOverAnswer, HandOverRequest, HandOverStep, PAGE_MAX_ITEMS, QueryRequest, QueryWhat,
};
use isobar_engine_model::adopted::{Adopted, AdoptedPhase};
use isobar_engine_model::id::{AdoptedName, ClusterName};
use isobar_mcp::client::Client;
use isobar_terraform_compat::account::{Account, Told};

use super::{handed, source};
use crate::cli;
use crate::exit::{Complaint, Exit};
use crate::session::Context;
use crate::show;

/// So many pages of objects are asked for at most.
const PAGES_MAX: usize = 100;

pub(super) async fn hand_over(context: &Context<'_>, args: cli::HandOver) -> Result<Exit> {
    let client = context.connect().await?;
    let all = adopted(&client, &args.cluster).await?;
    let named: Vec<AdoptedName> = match args.objects.as_slice() {
        [] => {
            let observed = all
                .iter()
                .filter(|object| matches!(object.phase, AdoptedPhase::Observed { .. }));
            observed.map(|object| object.name.clone()).collect()
        }
        [_, ..] => args.objects,
    };
    if let (Some(into), Some(state)) = (&args.write, &args.state) {
        let wanted = all.iter().filter(|object| named.contains(&object.name));
        let addresses = wanted.map(|object| object.from.address.clone()).collect();
        for (address, why) in handed::write(into, (state, &args.config), &addresses)? {
            context.output.note(&format!("{address}: {why}"))?;
        }
        let readme = into.join("README.md");
        context
            .output
            .note(&format!("what to run, in its order: {}", readme.display()))?;
    }
    let answer = step(&client, &args.cluster, (named, &HandOverStep::Begin)).await?;
    context.output.result(&answer, || show::import::handed_over(&answer))?;
    context
        .output
        .note("let Terraform forget them and delete their resource blocks; then `isobar import confirm`")?;
    Ok(end(&answer))
}

pub(super) async fn confirm(context: &Context<'_>, args: cli::Confirm) -> Result<Exit> {
    let accounts = source::accounts(&args.path, &Told::default())?;
    let [account] = accounts.as_slice() else {
        return Err(Complaint::new(Exit::Usage, "more than one state")
            .hint("give the one state that the objects came from, as it is now")
            .into());
    };
    let Some(serial) = account.header.serial else {
        return Err(Complaint::new(Exit::Refused, "the state has no serial")
            .hint("give what `terraform state pull` prints")
            .into());
    };
    let client = context.connect().await?;
    let waiting = adopted(&client, &args.cluster).await?.into_iter().filter(|object| {
        matches!(object.phase, AdoptedPhase::HandingOver { .. }) && object.from.lineage == account.header.lineage
    });
    let there = addresses(account);
    let (still, gone): (Vec<Adopted>, Vec<Adopted>) = waiting.partition(|object| there.contains(&object.from.address));
    let lineage = account.header.lineage.clone();
    let names = gone.into_iter().map(|object| object.name).collect();
    let answer = step(
        &client,
        &args.cluster,
        (names, &HandOverStep::Confirm { lineage, serial }),
    )
    .await?;
    context.output.result(&answer, || show::import::handed_over(&answer))?;
    for object in &still {
        let address = &object.from.address;
        context
            .output
            .note(&format!("{}: the state still has {address}", object.name))?;
    }
    Ok(if still.is_empty() {
        end(&answer)
    } else {
        Exit::Unaccounted
    })
}

pub(super) async fn release(context: &Context<'_>, args: cli::HandBack) -> Result<Exit> {
    let client = context.connect().await?;
    let answer = step(&client, &args.cluster, (args.objects, &HandOverStep::TakeBack)).await?;
    context.output.result(&answer, || show::import::handed_over(&answer))?;
    Ok(end(&answer))
}

fn end(answer: &HandOverAnswer) -> Exit {
    let refused = answer.lines.iter().any(|line| line.refused.is_some());
    if refused { Exit::Unaccounted } else { Exit::Done }
}

/// Every address of a state, old copies included.
fn addresses(account: &Account) -> BTreeSet<String> {
    account.lines.iter().map(|line| line.address.to_string()).collect()
}

async fn step(
    client: &Client,
    cluster: &ClusterName,
    (names, step): (Vec<AdoptedName>, &HandOverStep),
) -> Result<HandOverAnswer> {
    let mut lines = Vec::new();
    for page in names.chunks(HAND_OVER_MAX_OBJECTS) {
        let request = HandOverRequest {
            cluster: cluster.clone(),
            objects: page.to_vec(),
            step: step.clone(),
        };
        lines.extend(client.import_hand_over(&request).await?.lines);
    }
    Ok(HandOverAnswer { lines })
}

async fn adopted(client: &Client, cluster: &ClusterName) -> Result<Vec<Adopted>> {
    let (mut objects, mut after) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let request = QueryRequest {
            what: QueryWhat::Adopted,
            cluster: cluster.clone(),
            after,
            limit: Some(PAGE_MAX_ITEMS),
        };
        let answer = client.query(&request).await?;
        objects.extend(answer.adopted.unwrap_or_default().into_iter().map(|view| view.object));
        after = answer.next;
        if after.is_none() {
            return Ok(objects);
        }
    }
    Err(
        Complaint::new(Exit::Refused, format!("cluster {cluster} has too many adopted objects"))
            .hint("name some of them")
            .into(),
    )
}
