//! What a wish means for objects that others made: nothing is ever made or deleted in a cloud. What differs from the spec
//! is a step only in a plan that somebody asked for with a spec; every other plan says so and leaves it.

use std::collections::BTreeMap;

use isobar_engine_model::adopted::{Adopted, AdoptedPhase, AdoptedSpec, Sight};
use isobar_engine_model::id::AdoptedName;
use isobar_engine_model::intent::Intent;
use isobar_engine_model::object::FieldDrift;
use isobar_engine_model::observed::Observed;
use isobar_engine_model::plan::{Action, Reason, Risk, Unmet};
use isobar_engine_model::spec::Spec;

use crate::Wish;

/// What becomes of the objects.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) actions: Vec<Action>,
    pub(crate) risks: Vec<Risk>,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) unmet: Vec<Unmet>,
}

/// Compares the objects of the spec with those that are known.
pub(crate) fn settle(wish: &Wish<'_>, spec: Option<&Spec>, observed: &Observed) -> Outcome {
    let mut outcome = Outcome::default();
    let nothing = BTreeMap::new();
    let wanted = spec.map_or(&nothing, |spec| &spec.adopted);
    for known in &observed.adopted {
        match wanted.get(&known.name) {
            Some(entry) if entry.is_of(known) => outcome.compare(wish, entry, known),
            Some(_) => outcome.unmet.push(another(&known.name)),
            // What no spec has named yet waits for the spec that its import wrote.
            None if known.named || spec.is_none() => outcome.release(known),
            None => {}
        }
    }
    let is_known = |name: &AdoptedName| observed.adopted.iter().any(|known| known.name == *name);
    let unknown = wanted.keys().filter(|name| !is_known(name));
    outcome.unmet.extend(unknown.map(not_imported));
    outcome
}

impl Outcome {
    fn compare(&mut self, wish: &Wish<'_>, entry: &AdoptedSpec, known: &Adopted) {
        let found = match &known.seen {
            Sight::There { fields, .. } => fields,
            Sight::Missing { since } => {
                let (object, since) = (known.name.clone(), *since);
                return self.risks.push(Risk::AdoptedMissing { object, since });
            }
        };
        let changes = entry.differences(found);
        if changes.is_empty() {
            return;
        }
        if is_asked_with_a_spec(wish) {
            self.change(known, changes);
        } else {
            let fields = changes.into_iter().map(|change| change.field).collect();
            let object = known.name.clone();
            self.risks.push(Risk::AdoptedDiffers { object, fields });
        }
    }

    fn change(&mut self, known: &Adopted, changes: Vec<FieldDrift>) {
        if matches!(known.phase, AdoptedPhase::Owned { .. }) {
            let fields: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
            self.unmet.push(Unmet {
                about: format!("adopted {}", known.name),
                missing: 1,
                requirement: format!("a provider that changes {}", fields.join(", ")),
                nearest: Some(
                    "no provider changes fields of adopted objects yet: change it in its cloud, or write its fields as they are".into(),
                ),
            });
        }
        self.actions.push(Action::ChangeAdopted {
            object: known.name.clone(),
            changes,
        });
    }

    fn release(&mut self, known: &Adopted) {
        self.reasons.push(Reason {
            about: known.name.to_string(),
            because: format!(
                "forgotten: the spec does not have it; {} stays in its cloud as it is",
                known.id.0
            ),
        });
        self.actions.push(Action::ReleaseAdopted {
            object: known.name.clone(),
        });
    }
}

/// A plan that somebody makes for something else is not held up by what others changed.
fn is_asked_with_a_spec(wish: &Wish<'_>) -> bool {
    match wish {
        Wish::Asked(Intent::Deploy { .. }) => true,
        Wish::Asked(Intent::Move { .. } | Intent::Scale { .. } | Intent::Drain { .. } | Intent::Destroy { .. })
        | Wish::Reconcile => false,
    }
}

fn another(name: &AdoptedName) -> Unmet {
    Unmet {
        about: format!("adopted {name}"),
        missing: 1,
        requirement: "the object that was imported by this name".into(),
        nearest: Some("the spec names another site, type or id: give the other object a name of its own".into()),
    }
}

fn not_imported(name: &AdoptedName) -> Unmet {
    Unmet {
        about: format!("adopted {name}"),
        missing: 1,
        requirement: "an import: nothing is known of it, and nothing is made in its place".into(),
        nearest: Some("`isobar import terraform PATH` first, or remove it from the spec".into()),
    }
}
