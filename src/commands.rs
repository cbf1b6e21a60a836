//! The commands. Each asks the engine through the typed client and prints what it says; decides nothing itself.

mod audit;
mod backup;
mod bootstrap;
mod change;
mod connect;
pub(crate) mod import;
mod logs;
mod look;
mod offline;
mod operation;
mod recover;
mod terraform;

use anyhow::Result;

use crate::cli::{Cli, Command};
use crate::exit::Exit;
use crate::output::Output;
use crate::session::Context;
use crate::{born, serve};

/// Runs a command.
pub(crate) async fn run(cli: Cli, output: &Output) -> Result<Exit> {
    let context = Context {
        data: cli.global.data,
        output,
    };
    match cli.command {
        Command::Serve(args) => serve::serve(context.folder()?, args, output).await,
        Command::Bootstrap(args) => bootstrap::bootstrap(&context, args).await,
        Command::Born(args) => born::born(context.folder()?, args).await,
        Command::Connect(args) => connect::connect(&context, args).await,
        Command::Mcp => {
            isobar_mcp::stdio::relay(context.folder()?).await?;
            Ok(Exit::Done)
        }
        Command::Plan(args) => change::plan(&context, args).await,
        Command::Apply(args) => change::apply(&context, args).await,
        Command::Move(args) => change::relocate(&context, args).await,
        Command::Scale(args) => change::scale(&context, args).await,
        Command::Drain(args) => change::drain(&context, args).await,
        Command::Destroy(args) => change::destroy(&context, args).await,
        Command::Status(args) => look::status(&context, args).await,
        Command::Query(args) => look::query(&context, args).await,
        Command::Explain(args) => look::explain(&context, args).await,
        Command::Import(args) => import::import(&context, args).await,
        Command::Leaks(args) => look::leaks(&context, args).await,
        Command::Audit(args) => audit::audit(&context, args).await,
        Command::Backup(args) => backup::backup(&context, args).await,
        Command::Restore(args) => backup::restore(&context, args).await,
        Command::Recover(args) => recover::recover(&context, args).await,
        Command::Logs(args) => logs::logs(&context, args).await,
        Command::Operation(args) => operation::operation(&context, args).await,
        Command::Terraform(command) => terraform::terraform(&context, command).await,
        Command::Schema => offline::schema(output),
        Command::Check(args) => offline::check(&args, output),
        Command::Completions { shell } => offline::completions(shell, output),
    }
}
