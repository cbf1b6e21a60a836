//! Who changed what, and whether the log of it is as it was written.

use anyhow::Result;
use isobar_engine_control::api::AuditRequest;

use crate::cli;
use crate::exit::Exit;
use crate::session::{self, Context};
use crate::show;

/// A verdict needs no entries: the answer's shortest page.
const VERIFY_PAGE_ITEMS: u32 = 1;

pub(super) async fn audit(context: &Context<'_>, args: cli::Audit) -> Result<Exit> {
    let client = context.connect().await?;
    if let Some(cli::AuditCheck::Verify) = args.check {
        let request = AuditRequest {
            verify: true,
            after: None,
            limit: Some(VERIFY_PAGE_ITEMS),
        };
        let verdict = client.audit(&request).await?.verdict;
        context
            .output
            .result(&verdict, || show::audit::verdict(verdict.as_ref()))?;
        let intact = verdict.is_some_and(|verdict| verdict.intact);
        return Ok(if intact { Exit::Done } else { Exit::Refused });
    }
    let request = AuditRequest {
        verify: false,
        after: args.after,
        limit: args.limit,
    };
    let answer = client.audit(&request).await?;
    context
        .output
        .result(&answer, || show::audit::entries(&answer.entries, session::now()))?;
    if let Some(next) = &answer.next {
        context.output.note(&format!("there is more: --after {next}"))?;
    }
    Ok(Exit::Done)
}
