//! Everything that changes a cluster goes the same way: a wish becomes a plan, the plan is shown, a person agrees, that
//! very plan is carried out and followed.

use anyhow::Result;
use isobar_engine_control::api::{ApplyRequest, OperationView, PlanAnswer, PlanRequest};
use isobar_engine_model::id::PlanId;
use isobar_engine_model::intent::{Intent, Limits};
use isobar_mcp::client::Client;
use isobar_mcp::folder::DataFolder;
use serde::Serialize;

use super::offline::read_spec;
use crate::cli::{self, Go, LimitArgs};
use crate::exit::{Complaint, Exit};
use crate::follow;
use crate::output::Output;
use crate::session::{self, Context};
use crate::show;

/// What a change gives as a document.
#[derive(Debug, Serialize)]
pub(super) struct Changed {
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PlanAnswer>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    operation: Option<OperationView>,
    #[serde(skip)]
    end: End,
}

/// How far it went.
#[derive(Debug)]
enum End {
    /// There was nothing to do.
    Nothing,
    /// It goes on by itself.
    Detached,
    /// To its end, and the command ends like this.
    Followed(Exit),
}

pub(super) async fn plan(context: &Context<'_>, args: cli::Plan) -> Result<Exit> {
    let intent = Intent::Deploy {
        spec: Box::new(read_spec(&args.file)?),
    };
    let answer = context.connect().await?.plan(&request(intent, args.limits)).await?;
    context
        .output
        .result(&answer, || show::plan::plan(&answer, session::now()))?;
    if !answer.converged {
        context
            .output
            .note(&format!("carry it out: isobar apply --plan {}", answer.plan.id))?;
    }
    Ok(if args.exit_code && !answer.converged {
        Exit::ChangesPlanned
    } else {
        Exit::Done
    })
}

pub(super) async fn apply(context: &Context<'_>, args: cli::Apply) -> Result<Exit> {
    match (args.plan, args.file) {
        (Some(plan), _) => {
            let client = context.connect().await?;
            let folder = context.folder()?;
            let changed = carry_out(&folder, (&client, context.output), (plan, None), args.go).await?;
            changed.told(context.output)
        }
        (None, Some(file)) => {
            let intent = Intent::Deploy {
                spec: Box::new(read_spec(&file)?),
            };
            let client = context.connect().await?;
            change(context, &client, request(intent, args.limits), args.go).await
        }
        (None, None) => Err(Complaint::new(Exit::Usage, "neither a spec nor a plan is named").into()),
    }
}

pub(super) async fn relocate(context: &Context<'_>, args: cli::Move) -> Result<Exit> {
    let client = context.connect().await?;
    let cluster = session::cluster(&client, args.of.cluster).await?;
    let intent = Intent::Move {
        cluster,
        workload: args.workload,
        to: args.to,
        from: args.from,
    };
    change(context, &client, request(intent, args.limits), args.go).await
}

pub(super) async fn scale(context: &Context<'_>, args: cli::Scale) -> Result<Exit> {
    let client = context.connect().await?;
    let cluster = session::cluster(&client, args.of.cluster).await?;
    let intent = Intent::Scale {
        cluster,
        workload: args.workload,
        replicas: args.replicas,
    };
    change(context, &client, request(intent, args.limits), args.go).await
}

pub(super) async fn drain(context: &Context<'_>, args: cli::Drain) -> Result<Exit> {
    let client = context.connect().await?;
    let cluster = session::cluster(&client, args.of.cluster).await?;
    let intent = Intent::Drain {
        cluster,
        machine: args.machine,
    };
    change(context, &client, request(intent, args.limits), args.go).await
}

pub(super) async fn destroy(context: &Context<'_>, args: cli::Destroy) -> Result<Exit> {
    let client = context.connect().await?;
    let cluster = session::cluster(&client, args.cluster).await?;
    let request = PlanRequest {
        intent: Intent::Destroy { cluster },
        limits: Limits::default(),
    };
    change(context, &client, request, args.go).await
}

fn request(intent: Intent, limits: LimitArgs) -> PlanRequest {
    PlanRequest {
        intent,
        limits: Limits {
            max_dearer_percent: limits.max_dearer_percent,
            ..Limits::default()
        },
    }
}

/// Plans, shows, asks, carries out, and says how it ended.
async fn change(context: &Context<'_>, client: &Client, request: PlanRequest, go: Go) -> Result<Exit> {
    carried(&context.folder()?, (client, context.output), request, go)
        .await?
        .told(context.output)
}

/// Plans, shows, asks, carries out.
pub(super) async fn carried(
    folder: &DataFolder,
    (client, output): (&Client, &Output),
    request: PlanRequest,
    go: Go,
) -> Result<Changed> {
    if !go.yes && !output.can_ask() {
        return Err(Complaint::new(Exit::Usage, "there is nobody to ask whether to carry out the plan")
            .hint("give --yes, or look at a plan with `isobar plan` and carry it out with `isobar apply --plan PLAN_ID`")
            .into());
    }
    let answer = client.plan(&request).await?;
    if !output.is_json() {
        output.text(&show::plan::plan(&answer, session::now()))?;
    }
    if answer.converged {
        return Ok(Changed {
            plan: Some(answer),
            operation: None,
            end: End::Nothing,
        });
    }
    if !go.yes && !output.ask(&format!("carry out {}?", answer.plan.id))? {
        return Err(Complaint::new(Exit::Refused, "nothing was changed")
            .hint(format!("to carry it out later: isobar apply --plan {}", answer.plan.id))
            .into());
    }
    let plan = answer.plan.id.clone();
    carry_out(folder, (client, output), (plan, Some(answer)), go).await
}

/// Accepts a plan and follows it. The plan's id is the idempotency key: accepting it twice is accepting it once.
async fn carry_out(
    folder: &DataFolder,
    (client, output): (&Client, &Output),
    (plan, shown): (PlanId, Option<PlanAnswer>),
    go: Go,
) -> Result<Changed> {
    let request = ApplyRequest {
        idempotency_key: format!("plan:{plan}"),
        plan,
        why: None,
    };
    let begun = client.apply(&request).await?;
    let id = begun.operation.id.clone();
    if go.detach {
        return Ok(Changed {
            plan: shown,
            operation: Some(begun),
            end: End::Detached,
        });
    }
    output.note(&format!("operation {id}"))?;
    let (view, exit) = follow::follow(folder, begun, output).await?;
    Ok(Changed {
        plan: shown,
        operation: Some(view),
        end: End::Followed(exit),
    })
}

impl Changed {
    /// How the command ends.
    pub(super) fn exit(&self) -> Exit {
        match self.end {
            End::Nothing | End::Detached => Exit::Done,
            End::Followed(exit) => exit,
        }
    }

    /// Prints it as the result.
    pub(super) fn told(self, output: &Output) -> Result<Exit> {
        match (&self.end, &self.operation) {
            (End::Followed(_), Some(view)) => output.result(&self, || show::progress::standing(&view.operation))?,
            (End::Detached, Some(view)) => {
                let id = &view.operation.id;
                output.result(&self, || {
                    format!("operation {id} has begun: isobar operation wait {id}")
                })?;
            }
            // The plan, which says so, is shown.
            (End::Nothing, _) | (_, None) if !output.is_json() => {}
            (End::Nothing, _) | (_, None) => output.document(&self)?,
        }
        Ok(self.exit())
    }
}
