//! Looking at clusters and what is in them.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use isobar_engine_control::api::{
    ClusterSummary, EngineView, ExplainRequest, LeaksRequest, PAGE_MAX_ITEMS, QueryAnswer, QueryRequest, QueryWhat,
    ReplicaView,
};
use isobar_engine_model::id::ClusterName;
use isobar_engine_model::observed::Machine;
use isobar_mcp::client::Client;
use serde::Serialize;

use crate::cli;
use crate::exit::{Complaint, Exit};
use crate::output::{HEAD, SOME};
use crate::session::{self, Context};
use crate::show;

/// Between two looks of `status --watch`.
const WATCH_PAUSE: Duration = Duration::from_secs(2);
/// At most so many pages are put together.
const PAGES_MAX: usize = 100;

/// What `status` gives as a document.
#[derive(Debug, Serialize)]
struct Status {
    version: String,
    recovering: bool,
    engines: Vec<EngineView>,
    clusters: Vec<ClusterSummary>,
    /// By cluster.
    machines: BTreeMap<ClusterName, Vec<Machine>>,
    /// By cluster.
    replicas: BTreeMap<ClusterName, Vec<ReplicaView>>,
}

pub(super) async fn status(context: &Context<'_>, args: cli::Status) -> Result<Exit> {
    let output = context.output;
    if args.watch && output.is_json() {
        return Err(
            Complaint::new(Exit::Usage, "--watch has no end, so it is no JSON document")
                .hint("leave out --watch")
                .into(),
        );
    }
    let client = context.connect().await?;
    loop {
        let status = look(&client, args.cluster.as_ref()).await?;
        if args.watch && std::io::stdout().is_terminal() {
            // Home and clear: what is shown replaces what was.
            output.text("\u{1b}[H\u{1b}[2J")?;
        }
        output.result(&status, || status.in_words())?;
        if !args.watch {
            return Ok(Exit::Done);
        }
        tokio::select! {
            biased;
            pressed = tokio::signal::ctrl_c() => {
                pressed?;
                return Ok(Exit::Interrupted);
            }
            () = tokio::time::sleep(WATCH_PAUSE) => {}
        }
    }
}

async fn look(client: &Client, only: Option<&ClusterName>) -> Result<Status> {
    let discovery = client.discover().await?;
    let known: Vec<String> = discovery.clusters.iter().map(|one| one.cluster.to_string()).collect();
    let clusters: Vec<ClusterSummary> = discovery
        .clusters
        .into_iter()
        .filter(|one| only.is_none_or(|only| one.cluster == *only))
        .collect();
    if let Some(only) = only
        && clusters.is_empty()
    {
        return Err(Complaint::new(Exit::Refused, format!("there is no cluster `{only}`"))
            .hint(format!("clusters: {}", known.join(", ")))
            .into());
    }
    let mut status = Status {
        version: discovery.version,
        recovering: discovery.recovering,
        engines: discovery.engines,
        clusters,
        machines: BTreeMap::new(),
        replicas: BTreeMap::new(),
    };
    for summary in &status.clusters {
        let cluster = &summary.cluster;
        let (mut machines, mut replicas) = (Vec::new(), Vec::new());
        for_each_page(client, cluster, QueryWhat::Machines, |page| {
            machines.extend(page.machines.unwrap_or_default())
        })
        .await?;
        for_each_page(client, cluster, QueryWhat::Replicas, |page| {
            replicas.extend(page.replicas.unwrap_or_default())
        })
        .await?;
        status.machines.insert(cluster.clone(), machines);
        status.replicas.insert(cluster.clone(), replicas);
    }
    Ok(status)
}

async fn for_each_page(
    client: &Client,
    cluster: &ClusterName,
    what: QueryWhat,
    mut take: impl FnMut(QueryAnswer),
) -> Result<()> {
    let mut after = None;
    for _ in 0..PAGES_MAX {
        let request = QueryRequest {
            what,
            cluster: cluster.clone(),
            after,
            limit: Some(PAGE_MAX_ITEMS),
        };
        let mut answer = client.query(&request).await?;
        after = answer.next.take();
        take(answer);
        if after.is_none() {
            return Ok(());
        }
    }
    Err(
        Complaint::new(Exit::Refused, format!("cluster {cluster} has too much to show at once"))
            .hint("list it in pages: isobar query --limit N --after KEY")
            .into(),
    )
}

impl Status {
    fn in_words(&self) -> String {
        let now = session::now();
        let mut text = String::new();
        if self.recovering {
            text +=
                &format!("{SOME}restored from a backup{SOME:#}: nothing is changed unasked; see `isobar recover`\n\n");
        }
        text += &show::cluster::clusters(&self.clusters, now);
        for cluster in self.clusters.iter().map(|summary| &summary.cluster) {
            if self.clusters.len() > 1 {
                text += &format!("\n{HEAD}{cluster}{HEAD:#}");
            }
            text += "\n";
            text += &show::cluster::machines(self.machines.get(cluster).map_or(&[], Vec::as_slice), now);
            text += "\n";
            text += &show::cluster::replicas(self.replicas.get(cluster).map_or(&[], Vec::as_slice), now);
        }
        text
    }
}

pub(super) async fn query(context: &Context<'_>, args: cli::Query) -> Result<Exit> {
    let client = context.connect().await?;
    let cluster = session::cluster(&client, args.of.cluster).await?;
    let request = QueryRequest {
        what: args.what.into(),
        cluster,
        after: args.after,
        limit: args.limit,
    };
    let answer = client.query(&request).await?;
    context
        .output
        .result(&answer, || show::cluster::answer(&answer, session::now()))?;
    if let Some(next) = &answer.next {
        context.output.note(&format!("there is more: --after {next}"))?;
    }
    Ok(Exit::Done)
}

pub(super) async fn explain(context: &Context<'_>, args: cli::Explain) -> Result<Exit> {
    let client = context.connect().await?;
    let cluster = session::cluster(&client, args.of.cluster).await?;
    let explanation = client
        .explain(&ExplainRequest {
            cluster,
            about: args.about,
        })
        .await?;
    context.output.result(&explanation, || {
        show::cluster::explanation(&explanation, session::now())
    })?;
    Ok(Exit::Done)
}

pub(super) async fn leaks(context: &Context<'_>, args: cli::Leaks) -> Result<Exit> {
    let client = context.connect().await?;
    let cluster = session::cluster(&client, args.of.cluster).await?;
    let request = LeaksRequest {
        cluster,
        after: args.after,
        limit: args.limit,
    };
    let answer = client.leaks(&request).await?;
    context
        .output
        .result(&answer, || show::leaks::answer(&answer, session::now()))?;
    if let Some(next) = &answer.next {
        context.output.note(&format!("there is more: --after {next}"))?;
    }
    Ok(Exit::Done)
}
