//! Which crate of the workspace may depend on which. `ARCHITECTURE.md` says why; this says no.

use std::fmt;

/// One crate of the workspace depends on another, for its library, its tests or its build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// Who depends: its folder, `.` for the root.
    pub from: String,
    /// On whom: its folder.
    pub to: String,
    /// What for.
    pub kind: Kind,
}

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The crate itself.
    Normal,
    /// Its tests.
    Dev,
    /// Its build script.
    Build,
}

/// Who may use whom: a folder, or every folder directly in it when it ends in `/*`.
const ALLOWED: &[(&str, &[&str])] = &[
    ("engine/model", &[]),
    ("engine/scheduler", &["engine/model"]),
    ("engine/provider", &["engine/model"]),
    ("engine/store", &["engine/model"]),
    ("terraform-compat", &["engine/model"]),
    ("node-image/protocol", &["engine/model"]),
    ("engine/planner", &["engine/scheduler", "engine/model"]),
    ("providers/*", &["engine/provider", "engine/model"]),
    // Sees providers as `dyn Provider` and nodes as `Channel`: no provider and no agent.
    // Of Terraform's states it asks pure rules, as it asks the planner.
    (
        "engine/control",
        &["engine/*", "node-image/protocol", "terraform-compat"],
    ),
    ("mcp", &["engine/control", "engine/model", "terraform-compat"]),
    // Only the command uses it, behind a feature: what it links is under the AGPL.
    ("spread", &["engine/control", "engine/model"]),
    ("node-image/agent", &["node-image/protocol", "engine/model"]),
    ("node-image/image", &["node-image/protocol", "engine/model"]),
];

/// What tests may use on top: simulated parts, which stand in for the boundaries.
const ALLOWED_IN_TESTS: &[(&str, &[&str])] = &[
    // The harness that starts a server; it knows nothing of ours.
    ("engine/store", &["tests/postgres"]),
    ("engine/control", &["providers/sim"]),
    ("mcp", &["providers/sim", "engine/*"]),
    // Strict clouds, and what they are made of.
    ("providers/*", &["node-image/protocol", "tests/clouds", "providers/sim"]),
    ("spread", &["providers/sim", "engine/*"]),
];

/// The edges that the house forbids.
pub fn forbidden(edges: &[Edge]) -> Vec<&Edge> {
    edges.iter().filter(|edge| !is_allowed(edge)).collect()
}

fn is_allowed(edge: &Edge) -> bool {
    let listed = |rules: &[(&str, &[&str])]| {
        rules
            .iter()
            .any(|(from, to)| matches(from, &edge.from) && to.iter().any(|to| matches(to, &edge.to)))
    };
    let (from_tests, to_tests) = (matches("tests/*", &edge.from), matches("tests/*", &edge.to));
    // Nobody builds on the command, and only tests build on tests: those of a crate on a harness that is listed.
    if edge.to == "." {
        return false;
    }
    if to_tests && !from_tests {
        return edge.kind == Kind::Dev && listed(ALLOWED_IN_TESTS);
    }
    let wires_everything = edge.from == "." || from_tests;
    match edge.kind {
        Kind::Normal | Kind::Build => wires_everything || listed(ALLOWED),
        Kind::Dev => wires_everything || listed(ALLOWED) || listed(ALLOWED_IN_TESTS),
    }
}

fn matches(pattern: &str, folder: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(parent) => folder
            .strip_prefix(parent)
            .is_some_and(|rest| !rest.is_empty() && !rest.contains('/')),
        None => pattern == folder,
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what_for = match self.kind {
            Kind::Normal => "",
            Kind::Dev => " (tests)",
            Kind::Build => " (build)",
        };
        write!(f, "{} -> {}{what_for}", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, kind: Kind) -> Edge {
        Edge {
            from: from.into(),
            to: to.into(),
            kind,
        }
    }

    #[test]
    fn edges_of_the_design_are_allowed() {
        for (from, to) in [
            ("engine/planner", "engine/scheduler"),
            ("engine/control", "engine/store"),
            ("engine/control", "node-image/protocol"),
            ("engine/control", "terraform-compat"),
            ("providers/aws", "engine/provider"),
            ("mcp", "engine/control"),
            (".", "providers/local"),
            ("tests/e2e", "mcp"),
            ("tests/bench", "tests/sim"),
        ] {
            assert!(is_allowed(&edge(from, to, Kind::Normal)), "{from} -> {to}");
        }
    }

    #[test]
    fn edges_against_the_design_are_forbidden() {
        for (from, to) in [
            ("engine/model", "engine/provider"),
            ("engine/scheduler", "engine/store"),
            ("engine/planner", "engine/provider"),
            ("engine/control", "providers/local"),
            ("engine/control", "providers/sim"),
            ("engine/control", "node-image/agent"),
            ("engine/control", "mcp"),
            ("engine/control", "spread"),
            ("mcp", "spread"),
            ("providers/aws", "providers/gcp"),
            ("providers/local", "engine/control"),
            ("node-image/agent", "engine/control"),
            ("mcp", "engine/store"),
            ("mcp", "."),
            (".", "tests/e2e"),
            ("engine/control", "tests/sim"),
            ("tests/e2e", "."),
            ("a/new/crate", "engine/model"),
        ] {
            assert!(!is_allowed(&edge(from, to, Kind::Normal)), "{from} -> {to}");
        }
    }

    #[test]
    fn only_tests_may_use_the_simulated_cloud() {
        assert!(is_allowed(&edge("engine/control", "providers/sim", Kind::Dev)));
        assert!(!is_allowed(&edge("engine/control", "providers/sim", Kind::Build)));
        assert!(!is_allowed(&edge("engine/control", "providers/local", Kind::Dev)));
    }

    #[test]
    fn only_tests_build_on_tests() {
        assert!(is_allowed(&edge("engine/store", "tests/postgres", Kind::Dev)));
        assert!(is_allowed(&edge("tests/e2e", "tests/postgres", Kind::Normal)));
        for kind in [Kind::Normal, Kind::Build] {
            assert!(!is_allowed(&edge("engine/store", "tests/postgres", kind)));
            assert!(!is_allowed(&edge(".", "tests/postgres", kind)));
        }
        assert!(!is_allowed(&edge("engine/control", "tests/postgres", Kind::Dev)));
        assert!(!is_allowed(&edge(".", "tests/e2e", Kind::Dev)));
    }

    #[test]
    fn forbidden_edges_are_named() {
        let edges = [
            edge("mcp", "engine/model", Kind::Normal),
            edge("engine/model", "mcp", Kind::Dev),
        ];
        let shown: Vec<String> = forbidden(&edges).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["engine/model -> mcp (tests)"]);
    }
}
