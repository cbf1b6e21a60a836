//! What a restored backup does not know, as tables.

use std::collections::BTreeMap;

use isobar_engine_control::api::RecoverAnswer;
use isobar_engine_model::id::ClusterName;

use super::table::{Cell, Table};
use crate::output::DIM;

/// How each cluster's backup and the clouds differ, and what to do next.
pub(crate) fn answers(answers: &BTreeMap<ClusterName, RecoverAnswer>) -> String {
    if !answers.values().any(|answer| answer.recovering) {
        return "there is nothing to recover\n".to_owned();
    }
    let mut table = Table::new(["CLUSTER", "SITE", "KIND", "MACHINE", "HANDLE", "STANDS", "WHY"]);
    let (mut rows, mut undecided) = (0, 0);
    for (cluster, answer) in answers {
        for one in &answer.unknown {
            undecided += 1;
            let stands = match (&one.not_adoptable, one.releasing) {
                (_, true) => "being released",
                (None, false) => "unknown: adopt or release",
                (Some(_), false) => "unknown: release",
            };
            table.row([
                cluster.as_str().into(),
                one.site.as_str().into(),
                one.kind.as_str().into(),
                one.machine.as_str().into(),
                one.handle.as_str().into(),
                stands.into(),
                Cell::new(one.not_adoptable.as_deref().unwrap_or(&one.because), DIM),
            ]);
        }
        for one in &answer.missing {
            table.row([
                cluster.as_str().into(),
                one.site.as_str().into(),
                "machine".into(),
                one.machine.as_str().into(),
                one.handle.as_str().into(),
                "gone".into(),
                Cell::new("it is replaced when the recovery has ended", DIM),
            ]);
        }
        for one in &answer.unlisted {
            undecided += 1;
            table.row([
                cluster.as_str().into(),
                one.site.as_str().into(),
                "".into(),
                "".into(),
                "".into(),
                "cannot be listed".into(),
                Cell::new(one.error.as_str(), DIM),
            ]);
        }
        rows += answer.unknown.len() + answer.missing.len() + answer.unlisted.len();
    }
    let next = match undecided {
        0 => "nothing is undecided: isobar recover end\n".to_owned(),
        some => format!("{some} undecided: isobar recover adopt MACHINE, or isobar recover release MACHINE\n"),
    };
    if rows == 0 {
        next
    } else {
        format!("{}\n{next}", table.text())
    }
}
