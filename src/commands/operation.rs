//! Looking at operations, stopping them, waiting for their end.

use anyhow::Result;
use isobar_engine_control::api::OperationGet;
use isobar_engine_model::id::OperationId;

use crate::cli;
use crate::exit::Exit;
use crate::follow;
use crate::session::Context;
use crate::show::progress::standing;

pub(super) async fn operation(context: &Context<'_>, command: cli::Operation) -> Result<Exit> {
    let client = context.connect().await?;
    let now = |operation: OperationId| OperationGet {
        operation,
        seen: None,
        wait_ms: None,
    };
    match command {
        cli::Operation::Get { operation } => {
            let view = client.operation_get(&now(operation)).await?;
            context.output.result(&view, || standing(&view.operation))?;
            Ok(Exit::Done)
        }
        cli::Operation::Cancel { operation } => {
            let operation = client.operation_cancel(&operation).await?;
            context.output.result(&operation, || standing(&operation))?;
            Ok(Exit::Done)
        }
        cli::Operation::Wait { operation } => {
            let view = client.operation_get(&now(operation)).await?;
            let (view, exit) = follow::follow(&context.folder()?, view, context.output).await?;
            context.output.result(&view, || standing(&view.operation))?;
            Ok(exit)
        }
    }
}
