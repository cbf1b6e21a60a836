//! The rules for what a spec says of objects that others made. Called by [`super::check`] only.

use std::collections::BTreeMap;

use super::super::problem::{Pointer, Problem};
use crate::adopted::AdoptedSpec;
use crate::id::{AdoptedName, SiteName};
use crate::object::{ObjectId, ObjectType};
use crate::spec::Spec;

/// Of one object.
const LABELS_MAX: usize = 64;
/// Of a label, and of its value.
const LABEL_MAX_CHARS: usize = 256;

pub(super) fn check(spec: &Spec, problems: &mut Vec<Problem>) {
    let root = Pointer::root().to("adopted");
    let mut known: BTreeMap<(&SiteName, &ObjectType, &ObjectId), &AdoptedName> = BTreeMap::new();
    for (name, object) in &spec.adopted {
        let at = root.to(name);
        if !spec.sites.contains_key(&object.site) {
            let problem = Problem::value(at.to("site"), format!("the cluster has no site `{}`", object.site));
            problems.push(problem.instead_of(object.site.as_str(), spec.sites.keys().map(SiteName::as_str)));
        }
        check_words(object, &at, problems);
        check_labels(object, &at.to("labels"), problems);
        if let Some(first) = known.insert((&object.site, &object.kind, &object.id), name) {
            let problem = Problem::value(at.to("id"), format!("`{first}` is the same object"));
            problems.push(problem.hint("an object has one name: remove one of the two"));
        }
    }
}

fn check_labels(object: &AdoptedSpec, at: &Pointer, problems: &mut Vec<Problem>) {
    if object.labels.len() > LABELS_MAX {
        let many = format!("{} labels: at most {LABELS_MAX} are kept", object.labels.len());
        problems.push(Problem::value(at.clone(), many));
    }
    for (key, value) in &object.labels {
        if key.is_empty() || key.chars().count() > LABEL_MAX_CHARS || value.chars().count() > LABEL_MAX_CHARS {
            let long =
                format!("a label and its value have at most {LABEL_MAX_CHARS} letters, and the label at least one");
            problems.push(Problem::value(at.to(key), long));
        }
    }
}

fn check_words(object: &AdoptedSpec, at: &Pointer, problems: &mut Vec<Problem>) {
    let words = [("type", object.kind.0.as_str()), ("id", object.id.0.as_str())];
    for (field, _) in words.iter().filter(|(_, text)| text.trim().is_empty()) {
        problems.push(
            Problem::value(at.to(field), format!("the {field} is empty"))
                .hint("`isobar import terraform --write-spec` writes it as the provider spells it"),
        );
    }
    if object.from.address.trim().is_empty() {
        problems.push(
            Problem::value(at.to("from").to("address"), "the address is empty")
                .hint("write the address that the state has: `aws_instance.web`"),
        );
    }
}
