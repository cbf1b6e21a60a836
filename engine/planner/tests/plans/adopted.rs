//! What others made: what is as the spec says needs no step, any field that is not needs one, and nothing is ever made or
//! deleted for it.

use std::collections::BTreeMap;

use isobar_engine_model::adopted::{Adopted, AdoptedFrom, AdoptedPhase, AdoptedSpec, AdoptedStatus, Sight};
use isobar_engine_model::id::{AdoptedName, Version};
use isobar_engine_model::intent::Intent;
use isobar_engine_model::object::{FieldValue, Fields, ObjectId, ObjectType};
use isobar_engine_model::plan::{Action, Plan, Risk};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_model::spec::Spec;
use isobar_engine_planner::is_converged;

use crate::support::{World, site, spec};

const SINCE: Timestamp = Timestamp(0);

fn name(text: &str) -> AdoptedName {
    AdoptedName::new(text).unwrap()
}

/// Objects of several types, with fields of every form.
fn fixture() -> Vec<(&'static str, Fields)> {
    let text = |value: &str| FieldValue::Text(value.to_owned());
    let set = |value: &str| FieldValue::Set([value.to_owned(), "kept".to_owned()].into());
    let map = |value: &str| FieldValue::Map([("team".to_owned(), value.to_owned())].into());
    let fields = |of: Vec<(&str, FieldValue)>| of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    vec![
        (
            "instance",
            fields(vec![
                ("image", text("ami-1")),
                ("instance_type", text("t3.small")),
                ("security_groups", set("sg-1")),
                ("tags", map("web")),
            ]),
        ),
        (
            "subnet",
            fields(vec![("cidr", text("10.0.0.0/24")), ("tags", map("net"))]),
        ),
        (
            "security-group",
            fields(vec![("rules", set("22/tcp")), ("description", text(""))]),
        ),
        (
            "volume",
            fields(vec![("size_gib", text("8")), ("encrypted", text("true"))]),
        ),
    ]
}

fn known(kind: &str, fields: Fields) -> Adopted {
    Adopted {
        name: name(kind),
        version: Version(1),
        site: site("north"),
        account: "1".to_owned(),
        kind: ObjectType(kind.to_owned()),
        id: ObjectId(format!("id-of-{kind}")),
        zone: None,
        from: AdoptedFrom {
            lineage: "l".to_owned(),
            address: format!("aws_{kind}.it"),
        },
        serial: Some(1),
        phase: AdoptedPhase::Observed { since: SINCE },
        named: true,
        seen: Sight::There {
            fields,
            status: AdoptedStatus::Running,
        },
        looked: SINCE,
    }
}

/// A cluster that has taken everything of the fixture over, as it is.
fn taken_over() -> (World, Spec) {
    let mut wanted = spec(0, 1, &[]);
    let mut world = World::of(&wanted);
    for (kind, fields) in fixture() {
        let object = known(kind, fields);
        wanted
            .adopted
            .insert(object.name.clone(), object.as_seen(Default::default()).unwrap());
        world.observed.adopted.push(object);
    }
    world.observed.adopted.sort_by(|a, b| a.name.cmp(&b.name));
    world.observed.spec = Some(wanted.clone());
    (world, wanted)
}

fn changed(value: &FieldValue) -> FieldValue {
    match value {
        FieldValue::Text(text) => FieldValue::Text(format!("{text}x")),
        FieldValue::Set(set) => FieldValue::Set(set.iter().skip(1).cloned().collect()),
        FieldValue::Map(map) => {
            let with = BTreeMap::from([("more".to_owned(), String::new())]);
            FieldValue::Map(map.clone().into_iter().chain(with).collect())
        }
    }
}

fn changes(plan: &Plan) -> Vec<(&AdoptedName, Vec<&str>)> {
    let changes = plan.body.steps.iter().filter_map(|step| match &step.action {
        Action::ChangeAdopted { object, changes } => {
            Some((object, changes.iter().map(|change| change.field.as_str()).collect()))
        }
        Action::BuyMachine { .. }
        | Action::ReleaseMachine { .. }
        | Action::RemoveNetwork { .. }
        | Action::StartReplica { .. }
        | Action::StopReplica { .. }
        | Action::DeleteOrphan { .. }
        | Action::ReleaseAdopted { .. } => None,
    });
    changes.collect()
}

/// For every field of every object of the fixture.
fn for_every_field(check: impl Fn(&AdoptedName, &str)) {
    let mut fields = 0;
    for (kind, of) in fixture() {
        for field in of.keys() {
            check(&name(kind), field);
            fields += 1;
        }
    }
    assert_eq!(fields, 10);
}

#[test]
fn what_is_as_the_spec_says_needs_nothing() {
    let (world, wanted) = taken_over();
    let plan = world.deploy(&wanted);
    assert!(is_converged(&plan, Some(&wanted)), "{:?}", plan.body);
    assert!(plan.body.risks.is_empty());
    assert_eq!(
        plan.body.base.adopted.len(),
        fixture().len(),
        "it is bound to what it saw"
    );
}

#[test]
fn any_field_that_is_wanted_otherwise_is_a_step_of_its_object() {
    for_every_field(|object, field| {
        let (world, mut wanted) = taken_over();
        let fields = &mut wanted.adopted.get_mut(object).unwrap().fields;
        let other = changed(&fields[field]);
        fields.insert(field.to_owned(), other);
        assert_eq!(changes(&world.deploy(&wanted)), [(object, vec![field])]);
    });
}

#[test]
fn any_field_that_others_changed_is_a_step_of_its_object() {
    for_every_field(|object, field| {
        let (mut world, wanted) = taken_over();
        let found = world
            .observed
            .adopted
            .iter_mut()
            .find(|known| known.name == *object)
            .unwrap();
        let Sight::There { fields, .. } = &mut found.seen else {
            panic!("it is there");
        };
        let other = changed(&fields[field]);
        fields.insert(field.to_owned(), other);
        assert_eq!(changes(&world.deploy(&wanted)), [(object, vec![field])]);
        let unasked = world.reconcile();
        assert!(unasked.body.steps.is_empty(), "nobody asked for it");
        let expected = Risk::AdoptedDiffers {
            object: object.clone(),
            fields: vec![field.to_owned()],
        };
        assert_eq!(unasked.body.risks, [expected]);
    });
}

#[test]
fn a_field_that_is_not_managed_or_not_known_is_never_a_step() {
    for_every_field(|object, field| {
        let (world, mut wanted) = taken_over();
        let entry = wanted.adopted.get_mut(object).unwrap();
        let other = changed(&entry.fields[field]);
        entry.fields.insert(field.to_owned(), other);
        entry.unmanaged.insert(field.to_owned());
        entry
            .fields
            .insert("user_data".to_owned(), FieldValue::Text("unknown".to_owned()));
        assert_eq!(changes(&world.deploy(&wanted)), []);
    });
}

#[test]
fn what_is_missing_is_said_and_never_made() {
    let (mut world, wanted) = taken_over();
    world.observed.adopted[0].seen = Sight::Missing { since: SINCE };
    let plan = world.deploy(&wanted);
    assert!(plan.body.steps.is_empty() && plan.body.unmet.is_empty());
    let object = world.observed.adopted[0].name.clone();
    assert_eq!(plan.body.risks, [Risk::AdoptedMissing { object, since: SINCE }]);
}

#[test]
fn what_the_spec_forgets_is_forgotten_and_an_end_of_the_cluster_forgets_all() {
    let (world, mut wanted) = taken_over();
    let (gone, _) = wanted.adopted.pop_first().unwrap();
    let released = |plan: &Plan| -> Vec<AdoptedName> {
        let released = plan.body.steps.iter().filter_map(|step| match &step.action {
            Action::ReleaseAdopted { object } => Some(object.clone()),
            Action::BuyMachine { .. }
            | Action::ReleaseMachine { .. }
            | Action::RemoveNetwork { .. }
            | Action::StartReplica { .. }
            | Action::StopReplica { .. }
            | Action::DeleteOrphan { .. }
            | Action::ChangeAdopted { .. } => None,
        });
        released.collect()
    };
    assert_eq!(released(&world.deploy(&wanted)), [gone]);
    let end = world.ask(&Intent::Destroy {
        cluster: wanted.cluster.clone(),
    });
    assert_eq!(released(&end).len(), fixture().len());
}

#[test]
fn an_import_that_no_spec_has_named_yet_waits() {
    let (mut world, mut wanted) = taken_over();
    for object in &mut world.observed.adopted {
        object.named = false;
    }
    wanted.adopted.clear();
    world.observed.spec = Some(wanted.clone());
    assert!(world.deploy(&wanted).body.steps.is_empty());
    assert!(world.reconcile().body.steps.is_empty());
}

#[test]
fn what_was_not_imported_cannot_be_wished_for() {
    let (world, mut wanted) = taken_over();
    let entry = wanted.adopted.values().next().unwrap().clone();
    let other = AdoptedSpec {
        id: ObjectId("i-9".to_owned()),
        ..entry.clone()
    };
    wanted.adopted.insert(name("another"), other.clone());
    let plan = world.deploy(&wanted);
    assert_eq!(
        (plan.body.steps.len(), plan.body.unmet.len()),
        (0, 1),
        "{:?}",
        plan.body.unmet
    );
    wanted.adopted.remove(&name("another"));
    wanted.adopted.insert(name("instance"), other);
    let plan = world.deploy(&wanted);
    assert_eq!(
        plan.body.unmet.len(),
        1,
        "a name stays with its object: {:?}",
        plan.body.unmet
    );
}

#[test]
fn an_owned_object_cannot_be_changed_yet_and_the_plan_says_so() {
    let (mut world, mut wanted) = taken_over();
    for object in &mut world.observed.adopted {
        object.phase = AdoptedPhase::Owned { since: SINCE };
    }
    let fields = &mut wanted.adopted.get_mut(&name("volume")).unwrap().fields;
    fields.insert("size_gib".to_owned(), FieldValue::Text("16".to_owned()));
    let plan = world.deploy(&wanted);
    assert_eq!(plan.body.unmet.len(), 1);
    assert!(
        plan.body.unmet[0].requirement.contains("size_gib"),
        "{:?}",
        plan.body.unmet
    );
}
