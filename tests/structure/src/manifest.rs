//! What every manifest of the workspace keeps: its name follows its folder, it inherits the lints and the package's
//! fields, and each dependency comes from the workspace's one list.

/// What is wrong with the manifest of the crate in `folder` (`.` for the root), an item a fault.
pub fn faults(folder: &str, name: &str, manifest: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let expected = crate_name(folder);
    if name != expected {
        faults.push(format!(
            "{folder}: the crate is called `{name}`, and by its folder should be `{expected}`"
        ));
    }
    let mut section = "";
    let mut inherits_lints = false;
    for line in manifest
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            if is_dependencies(parent(section)) {
                faults.push(format!(
                    "{folder}: [{section}] is written out: use one line with `workspace = true`"
                ));
            }
        } else if section == "lints" {
            inherits_lints |= line == "workspace = true";
        } else if is_dependencies(section) && !from_workspace(line) {
            let dependency = line.split(['=', '.']).next().unwrap_or(line).trim();
            faults.push(format!(
                "{folder}: `{dependency}` does not come from [workspace.dependencies]"
            ));
        }
    }
    if !inherits_lints {
        faults.push(format!("{folder}: no `[lints] workspace = true`"));
    }
    for field in ["version", "edition", "rust-version", "license", "publish"] {
        if !manifest.contains(&format!("\n{field}.workspace = true")) {
            faults.push(format!("{folder}: `{field}` is not the workspace's"));
        }
    }
    faults
}

fn crate_name(folder: &str) -> String {
    if folder == "." {
        "isobar".into()
    } else {
        format!("isobar-{}", folder.replace('/', "-"))
    }
}

fn from_workspace(line: &str) -> bool {
    line.contains(".workspace = true") || line.contains("workspace = true,") || line.contains("workspace = true }")
}

fn is_dependencies(section: &str) -> bool {
    let last = section.rsplit('.').next().unwrap_or(section);
    section != "workspace.dependencies" && matches!(last, "dependencies" | "dev-dependencies" | "build-dependencies")
}

fn parent(section: &str) -> &str {
    section.rsplit_once('.').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::faults;

    const GOOD: &str = "[package]\nname = \"isobar-engine-model\"\nversion.workspace = true\nedition.workspace = true
rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n[lints]\nworkspace = true
[dependencies]\nserde.workspace = true\ntokio = { workspace = true, features = [\"rt\"] }\n";

    #[test]
    fn a_manifest_that_inherits_everything_has_no_fault() {
        assert_eq!(
            faults("engine/model", "isobar-engine-model", GOOD),
            Vec::<String>::new()
        );
    }

    #[test]
    fn each_departure_is_one_fault() {
        for (old, new) in [
            ("serde.workspace = true", "serde = \"1\""),
            ("serde.workspace = true", "serde = { path = \"../serde\" }"),
            ("[lints]\nworkspace = true", ""),
            ("edition.workspace = true", "edition = \"2021\""),
            (
                "[dependencies]",
                "[dependencies.libc]\nversion = \"0.2\"\n[dependencies]",
            ),
            (
                "[dependencies]",
                "[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n[dependencies]",
            ),
        ] {
            let found = faults("engine/model", "isobar-engine-model", &GOOD.replace(old, new));
            assert_eq!(found.len(), 1, "{new}: {found:?}");
        }
    }

    #[test]
    fn a_crate_is_named_after_its_folder() {
        assert_eq!(faults("engine/store", "isobar-engine-model", GOOD).len(), 1);
    }
}
