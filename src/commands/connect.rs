//! `connect`: a data folder by which the commands of this computer find an engine on another one, and know it.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Result;
use isobar_mcp::client::Client;
use isobar_mcp::folder::{DataFolder, Token};
use isobar_mcp::http;
use serde_json::json;

use crate::cli;
use crate::exit::{Complaint, Exit};
use crate::output::GOOD;
use crate::session::Context;

/// Neither a token nor a certificate is longer than this.
const FILE_MAX_BYTES: u64 = 16 * 1024;
/// One of these is in the folder of every engine, and in no other.
const OF_AN_ENGINE: [&str; 2] = ["isobar.db", "key"];

/// Writes the folder once the engine has answered.
pub(super) async fn connect(context: &Context<'_>, args: cli::Connect) -> Result<Exit> {
    let folder = client_folder(context)?;
    let authority = read(
        &args.authority,
        "give the file authority.pem of the engine's data folder",
    )?;
    let hint = "give the file token of the engine's data folder with --token-file, or on standard input";
    let token = match &args.token_file {
        Some(file) => read(file, hint)?,
        None => text(io::stdin().lock()).map_err(|error| unreadable("standard input", hint, error))?,
    };
    let token = Token::parse(token.trim()).ok_or_else(|| Complaint::new(Exit::Usage, "that is no token").hint(hint))?;
    let endpoint = format!("https://{}{}", args.engine, http::PATH);
    let found = Client::to(endpoint.clone(), Some(&authority), &token)
        .await?
        .discover()
        .await?;
    folder.point_to(&endpoint, &authority, &token)?;
    let connected = json!({ "mcp": endpoint, "data": folder.path(), "version": found.version });
    context.output.result(&connected, || {
        format!(
            "{GOOD}connected{GOOD:#} to isobar {} at {endpoint}\n  commands with --data {} ask it",
            found.version,
            folder.path().display()
        )
    })?;
    Ok(Exit::Done)
}

/// Whether a data folder is of no engine of this computer, and points to one of another.
pub(super) fn points_elsewhere(folder: &DataFolder) -> bool {
    !is_of_an_engine(folder) && folder.endpoint().is_ok()
}

fn is_of_an_engine(folder: &DataFolder) -> bool {
    OF_AN_ENGINE.iter().any(|file| folder.path().join(file).exists())
}

/// The data folder that was named, if it can point to an engine elsewhere.
pub(super) fn client_folder(context: &Context<'_>) -> Result<DataFolder> {
    let folder = context.folder()?;
    if is_of_an_engine(&folder) {
        return Err(Complaint::new(
            Exit::Usage,
            format!(
                "{} is the data folder of an engine of this computer",
                folder.path().display()
            ),
        )
        .hint("name another folder with --data, here and in the commands that are to ask the other engine")
        .into());
    }
    Ok(folder)
}

fn read(file: &Path, hint: &'static str) -> Result<String> {
    let text = fs::File::open(file).and_then(text);
    text.map_err(|error| unreadable(&file.display().to_string(), hint, error))
}

fn text(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(FILE_MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn unreadable(name: &str, hint: &'static str, error: io::Error) -> anyhow::Error {
    Complaint::new(Exit::Usage, format!("read {name}"))
        .hint(hint)
        .because(error)
        .into()
}
