//! The spec of what was taken over: what the cluster's own spec says already, and an entry an object as it is now.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use isobar_engine_model::id::SiteName;
use isobar_engine_model::spec::{SiteSpec, Spec};

use super::Report;
use crate::exit::{Complaint, Exit};

/// That a file is new: a spec that somebody has written is never replaced.
pub(super) fn is_new(file: &Path) -> Result<()> {
    if file.exists() {
        let message = format!("{} is there already", file.display());
        return Err(Complaint::new(Exit::Usage, message).hint("name a new file").into());
    }
    Ok(())
}

/// Writes it to a new file.
pub(super) fn write(
    file: &Path,
    report: &Report,
    stored: Option<Spec>,
    sites: BTreeMap<SiteName, SiteSpec>,
) -> Result<()> {
    let spec = spec(report, stored, sites);
    let text = serde_saphyr::to_string(&spec)?;
    let written = File::create_new(file).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        Complaint::new(Exit::Usage, format!("write {}", file.display()))
            .hint("name a new file: what was imported is kept, and importing again writes the same")
            .because(error)
            .into()
    })
}

fn spec(report: &Report, stored: Option<Spec>, sites: BTreeMap<SiteName, SiteSpec>) -> Spec {
    let mut spec = stored.unwrap_or_else(|| Spec {
        cluster: report.cluster.clone(),
        sites: BTreeMap::new(),
        pools: BTreeMap::new(),
        workloads: BTreeMap::new(),
        adopted: BTreeMap::new(),
    });
    for (name, site) in sites {
        spec.sites.entry(name).or_insert(site);
    }
    let lines = report.states.iter().flat_map(|state| &state.found);
    for taken in lines.filter_map(|line| line.found.taken()) {
        // An entry that somebody has changed is theirs.
        spec.adopted
            .entry(taken.name.clone())
            .or_insert_with(|| taken.spec.clone());
    }
    spec
}
