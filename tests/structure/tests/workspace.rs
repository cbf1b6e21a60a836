//! The workspace as cargo sees it keeps the rules of the house.

use cargo_metadata::camino::Utf8Path;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use isobar_tests_structure::edges::{Edge, Kind, forbidden};
use isobar_tests_structure::{licence, links, manifest};
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn metadata() -> Metadata {
    MetadataCommand::new()
        .current_dir(ROOT)
        .exec()
        .expect("cargo metadata runs in the workspace")
}

fn folder<'a>(metadata: &'a Metadata, manifest_path: &'a Utf8Path) -> &'a str {
    let path = manifest_path
        .parent()
        .and_then(|dir| dir.strip_prefix(&metadata.workspace_root).ok());
    match path.expect("members are in the workspace").as_str() {
        "" => ".",
        folder => folder,
    }
}

fn edges_of(metadata: &Metadata, package: &Package) -> Vec<Edge> {
    let members = metadata.workspace_packages();
    let to = |name: &str| {
        members
            .iter()
            .find(|m| m.name.as_str() == name)
            .map(|m| folder(metadata, &m.manifest_path).to_owned())
    };
    let mut edges = Vec::new();
    for dependency in &package.dependencies {
        let kind = if dependency.kind == DependencyKind::Development {
            Kind::Dev
        } else if dependency.kind == DependencyKind::Build {
            Kind::Build
        } else {
            Kind::Normal
        };
        if let Some(to) = to(&dependency.name) {
            edges.push(Edge {
                from: folder(metadata, &package.manifest_path).to_owned(),
                to,
                kind,
            });
        }
    }
    edges
}

#[test]
fn crates_know_only_whom_the_architecture_lets_them_know() {
    let metadata = metadata();
    let edges: Vec<Edge> = metadata
        .workspace_packages()
        .iter()
        .flat_map(|p| edges_of(&metadata, p))
        .collect();
    assert!(
        edges.len() > 10,
        "cargo metadata shows too few edges to be right: {edges:?}"
    );
    let forbidden: Vec<String> = forbidden(&edges).iter().map(ToString::to_string).collect();
    assert!(forbidden.is_empty(), "ARCHITECTURE.md does not allow: {forbidden:#?}");
}

#[test]
fn manifests_follow_their_folder_and_inherit_from_the_workspace() {
    let metadata = metadata();
    let mut faults = Vec::new();
    for package in metadata.workspace_packages() {
        let text = std::fs::read_to_string(&package.manifest_path).expect("a member's manifest can be read");
        faults.extend(manifest::faults(
            folder(&metadata, &package.manifest_path),
            package.name.as_str(),
            &text,
        ));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn everything_linked_has_a_licence_that_deny_toml_allows() {
    let deny = std::fs::read_to_string(format!("{ROOT}/deny.toml")).expect("deny.toml can be read");
    let accepted = licence::allowed_by(&deny);
    assert!(
        accepted.len() > 3,
        "deny.toml shows too few licences to be right: {accepted:?}"
    );
    let metadata = metadata();
    let refused: Vec<String> = metadata
        .packages
        .iter()
        .filter_map(|package| {
            let (besides, clarified) = licence::about(&deny, package.name.as_str());
            let accepted: Vec<String> = accepted.iter().cloned().chain(besides).collect();
            let expression = package.license.clone().or(clarified).unwrap_or_default();
            let refused = !licence::is_accepted(&expression, &accepted);
            refused.then(|| format!("{} {}: `{expression}`", package.name, package.version))
        })
        .collect();
    assert!(refused.is_empty(), "not allowed by deny.toml: {refused:#?}");
}

#[test]
fn what_is_under_the_agpl_is_linked_only_by_the_feature_that_says_so() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let from = folder(&metadata, &package.manifest_path);
        for dependency in &package.dependencies {
            match dependency.name.as_str() {
                "distributed-scheduler" => assert_eq!(from, "spread"),
                "isobar-spread" => assert!(from == "." && dependency.optional, "{from} always links it"),
                _other => {}
            }
        }
        if from == "." {
            assert_eq!(package.features.get("default"), None, "no feature is on by default");
        }
    }
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of pages can be read") {
        let path = entry.expect("its entries as well").path();
        if path.is_dir() {
            pages.extend(pages_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages
}

/// Only `docs` has pages in folders: the workspace's other folders are code.
fn pages_below(folder: &Path) -> Vec<PathBuf> {
    let is_docs = folder.components().any(|part| part.as_os_str() == "docs");
    if is_docs { pages(folder) } else { Vec::new() }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let pages = pages(Path::new(ROOT));
    assert!(pages.len() > 10, "too few pages to be right: {pages:?}");
    let mut broken = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a page can be read");
        let folder = page.parent().expect("a page is in a folder");
        let lost = links::relative(&text)
            .into_iter()
            .filter(|target| !folder.join(target).exists());
        broken.extend(lost.map(|target| format!("{}: {target}", page.display())));
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
