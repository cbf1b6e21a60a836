//! What needs no engine: the schema, checking a spec, completions.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;
use isobar_engine_model::spec::Spec;
use isobar_engine_model::spec::text::{self, TEXT_MAX_BYTES};
use serde_json::json;

use crate::cli;
use crate::exit::{Complaint, Exit};
use crate::output::{GOOD, Output};

/// Reads a spec from a file, or from standard input if it is called `-`.
pub(super) fn read_spec(file: &Path) -> Result<Spec> {
    let (name, text) = if file == Path::new("-") {
        ("standard input".to_owned(), bounded(io::stdin().lock()))
    } else {
        (file.display().to_string(), fs::File::open(file).and_then(bounded))
    };
    let text = text.map_err(|error| {
        Complaint::new(Exit::Usage, format!("read {name}"))
            .hint("name a file with a spec, YAML or JSON")
            .because(error)
    })?;
    Ok(text::read(&name, &text)?)
}

/// One byte more than a spec may have, so that its reader says that it is too long.
fn bounded(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    source
        .take(u64::try_from(TEXT_MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1))
        .read_to_string(&mut text)?;
    Ok(text)
}

pub(super) fn schema(output: &Output) -> Result<Exit> {
    output.document(&text::schema())?;
    Ok(Exit::Done)
}

pub(super) fn check(args: &cli::Check, output: &Output) -> Result<Exit> {
    let spec = read_spec(&args.file)?;
    let counts = json!({
        "cluster": spec.cluster,
        "sites": spec.sites.len(),
        "pools": spec.pools.len(),
        "workloads": spec.workloads.len(),
    });
    output.result(&counts, || {
        format!(
            "{GOOD}fine{GOOD:#}: cluster {} with {} sites, {} pools, {} workloads",
            spec.cluster,
            spec.sites.len(),
            spec.pools.len(),
            spec.workloads.len()
        )
    })?;
    Ok(Exit::Done)
}

pub(super) fn completions(shell: Shell, output: &Output) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::Cli::command(), "isobar", &mut script);
    output.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
