//! What others made is taken over by one owner, seen as it is, and never made, changed or deleted by anybody of ours.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use isobar_engine_control::api::{
    ApiError, ApplyRequest, ErrorCode, HandOverRequest, HandOverStep, ImportFound, ImportObject, ImportRequest,
    ImportSource, ImportStanding, PlanAnswer, QueryWhat, Taken,
};
use isobar_engine_control::{Bounds, Engine};
use isobar_engine_model::adopted::{Adopted, Sight};
use isobar_engine_model::catalog::Purchase;
use isobar_engine_model::id::{ClusterName, ProviderId, SiteName};
use isobar_engine_model::intent::Intent;
use isobar_engine_model::object::{FieldValue, Fields, ObjectId, ObjectType};
use isobar_engine_model::operation::OperationState;
use isobar_engine_model::plan::{Action, Risk};
use isobar_engine_model::spec::{SiteSpec, Spec};
use isobar_engine_provider::adoption::{ObjectRef, ObjectState};
use isobar_engine_provider::{Owner, ResourceStatus};
use isobar_tests_sim::World;
use isobar_tests_sim::life::Life;

const LINEAGE: &str = "11111111-2222-3333-4444-555555555555";

fn text(value: &str) -> FieldValue {
    FieldValue::Text(value.to_owned())
}

fn fields() -> Fields {
    BTreeMap::from([
        ("type".to_owned(), text("small")),
        (
            "groups".to_owned(),
            FieldValue::Set(["sg-1".to_owned(), "sg-2".to_owned()].into()),
        ),
        (
            "tags".to_owned(),
            FieldValue::Map([("team".to_owned(), "web".to_owned())].into()),
        ),
    ])
}

fn reference(id: &str) -> ObjectRef {
    ObjectRef {
        kind: ObjectType("instance".to_owned()),
        id: ObjectId(id.to_owned()),
        zone: None,
    }
}

fn state(fields: Fields) -> ObjectState {
    ObjectState {
        fields,
        status: ResourceStatus::Running,
        owner: None,
    }
}

/// Puts an object of others into the region `north`.
fn put(world: &World, id: &str, fields: Fields) {
    world.cloud.put_object("north", reference(id), state(fields));
}

fn object(address: &str, id: &str) -> ImportObject {
    ImportObject {
        address: address.to_owned(),
        standing: ImportStanding::Current,
        provider: ProviderId::new("sim").expect("a name"),
        kind: ObjectType("instance".to_owned()),
        id: ObjectId(id.to_owned()),
        zone: None,
        account: Some("sim".to_owned()),
        region: Some("north".to_owned()),
        fields: fields(),
        unmanaged: ["user_data".to_owned()].into(),
    }
}

fn north() -> SiteSpec {
    SiteSpec {
        provider: ProviderId::new("sim").expect("a name"),
        region: "north".to_owned(),
        settings: BTreeMap::new(),
    }
}

fn sites() -> BTreeMap<SiteName, SiteSpec> {
    BTreeMap::from([(SiteName::new("north").expect("a name"), north())])
}

fn cluster(name: &str) -> ClusterName {
    ClusterName::new(name).expect("a name")
}

fn request(of: &str, objects: Vec<ImportObject>) -> ImportRequest {
    ImportRequest {
        cluster: cluster(of),
        sites: sites(),
        source: ImportSource {
            name: "terraform.tfstate".to_owned(),
            lineage: LINEAGE.to_owned(),
            serial: Some(4),
        },
        objects,
    }
}

async fn import(engine: &Arc<Engine>, request: ImportRequest) -> Vec<ImportFound> {
    let answer = engine.import_terraform(request).await.expect("a good page");
    answer.lines.into_iter().map(|line| line.found).collect()
}

fn taken(found: &ImportFound) -> &Taken {
    found.taken().unwrap_or_else(|| panic!("{found:?}"))
}

/// The spec that an import writes.
fn spec_of(of: &str, found: &[ImportFound]) -> Spec {
    let adopted = found.iter().map(taken);
    Spec {
        cluster: cluster(of),
        sites: sites(),
        pools: BTreeMap::new(),
        workloads: BTreeMap::new(),
        adopted: adopted.map(|taken| (taken.name.clone(), taken.spec.clone())).collect(),
    }
}

async fn deploy(world: &World, engine: &Engine, spec: &Spec) -> PlanAnswer {
    let intent = Intent::Deploy {
        spec: Box::new(spec.clone()),
    };
    world.plan(engine, intent).await.expect("a good spec")
}

async fn apply(engine: &Arc<Engine>, plan: &PlanAnswer) -> Result<(), ApiError> {
    let request = ApplyRequest {
        plan: plan.plan.id.clone(),
        idempotency_key: plan.plan.id.to_string(),
        why: None,
    };
    engine.apply(request).await.map(drop)
}

async fn carry_out(world: &World, engine: &Arc<Engine>, intent: Intent) {
    let applied = world.apply(engine, intent).await.expect("a good wish");
    let end = world.wait(engine, &applied.operation.id).await;
    assert!(matches!(end, OperationState::Succeeded { .. }), "{end:?}");
}

async fn adopted(world: &World, engine: &Engine, of: &str) -> Vec<Adopted> {
    let answer = world.query(engine, &cluster(of), QueryWhat::Adopted).await;
    let views = answer.adopted.expect("that was asked");
    views.into_iter().map(|view| view.object).collect()
}

/// Long enough for the watch to look again.
async fn a_look() {
    tokio::time::sleep(Duration::from_millis(Bounds::default().adopted_look_ms * 2)).await;
}

async fn started() -> (World, Arc<Engine>) {
    let world = World::new(1);
    let engine = world.start(Life::long()).await.expect("it lives long");
    (world, engine)
}

#[tokio::test(start_paused = true)]
async fn the_first_plan_of_what_was_imported_is_empty_and_a_change_makes_it_not() {
    let (world, engine) = started().await;
    put(&world, "i-1", fields());
    put(&world, "i-2", fields());
    let objects = vec![
        object("aws_instance.web", "i-1"),
        object(r#"module.a.aws_instance.web["x"]"#, "i-2"),
    ];
    let found = import(&engine, request("estate", objects)).await;
    assert!(
        found.iter().all(|line| matches!(line, ImportFound::Adopted(_))),
        "{found:?}"
    );
    let spec = spec_of("estate", &found);
    let names: Vec<&str> = spec.adopted.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["a-web-x", "web"]);

    let first = deploy(&world, &engine, &spec).await;
    assert_eq!((first.plan.body.steps.len(), first.plan.body.unmet.len()), (0, 0));
    carry_out(
        &world,
        &engine,
        Intent::Deploy {
            spec: Box::new(spec.clone()),
        },
    )
    .await;
    assert!(deploy(&world, &engine, &spec).await.converged);

    let mut changed = spec.clone();
    let web = changed.adopted.values_mut().last().expect("two of them");
    web.fields.insert("type".to_owned(), text("large"));
    let plan = deploy(&world, &engine, &changed).await;
    let [step] = plan.plan.body.steps.as_slice() else {
        panic!("{:?}", plan.outline);
    };
    assert!(matches!(&step.action, Action::ChangeAdopted { object, .. } if object.as_str() == "web"));
    let refused = apply(&engine, &plan).await.expect_err("it is Terraform's");
    assert_eq!(refused.code, ErrorCode::Refused);
    assert!(
        refused.hint.is_some() && refused.message.contains("observed"),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn every_object_of_a_page_has_a_line_that_says_what_was_found() {
    let (world, engine) = started().await;
    for id in ["i-1", "i-2", "i-3", "i-4"] {
        put(&world, id, fields());
    }
    let ours = ObjectState {
        owner: Some(Owner {
            store: "another".to_owned(),
            cluster: cluster("shop"),
        }),
        ..state(fields())
    };
    world.cloud.put_object("north", reference("i-5"), ours);
    let with = |address: &str, id: &str, change: fn(&mut ImportObject)| {
        let mut object = object(address, id);
        change(&mut object);
        object
    };
    let objects = vec![
        object("a.as_it_is", "i-1"),
        with("a.drifted", "i-2", |o| {
            drop(o.fields.insert("type".to_owned(), text("large")))
        }),
        with("a.tainted", "i-3", |o| o.standing = ImportStanding::Tainted),
        with("a.deposed", "i-4", |o| {
            o.standing = ImportStanding::Deposed("00000001".to_owned())
        }),
        object("a.ours", "i-5"),
        object("a.missing", "i-6"),
        object("a.twice", "i-1"),
        with("a.elsewhere", "i-7", |o| o.account = Some("other".to_owned())),
        with("a.nobodys", "i-8", |o| o.account = None),
        with("a.nowhere", "i-9", |o| o.region = None),
    ];
    let found = import(&engine, request("estate", objects)).await;
    let ImportFound::Drifted(drifted) = &found[1] else {
        panic!("{:?}", found[1]);
    };
    assert_eq!(drifted.drift.len(), 1);
    assert_eq!(
        drifted.spec.fields,
        fields(),
        "the spec says what is, not what the state says"
    );
    assert!(matches!(found[0], ImportFound::Adopted(_)), "{:?}", found[0]);
    assert!(matches!(found[2], ImportFound::Tainted(_)), "{:?}", found[2]);
    assert_eq!(found[3], ImportFound::Deposed);
    assert!(
        matches!(&found[4], ImportFound::AlreadyOwned { by } if by.contains("isobar made it")),
        "{:?}",
        found[4]
    );
    assert!(matches!(found[5], ImportFound::Missing { .. }), "{:?}", found[5]);
    assert!(
        matches!(&found[6], ImportFound::AlreadyOwned { by } if by.contains("a.as_it_is")),
        "{:?}",
        found[6]
    );
    assert!(
        matches!(&found[7], ImportFound::Unreachable { because, .. } if because.contains("no site is in sim other")),
        "{:?}",
        found[7]
    );
    assert!(matches!(found[8], ImportFound::Asked { .. }) && matches!(found[9], ImportFound::Asked { .. }));
    assert_eq!(adopted(&world, &engine, "estate").await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_comes_again_after_a_death_finds_what_it_made() {
    let (world, engine) = started().await;
    put(&world, "i-1", fields());
    let page = || request("estate", vec![object("aws_instance.web", "i-1")]);
    let first = import(&engine, page()).await;
    assert_eq!(import(&engine, page()).await, first);
    drop(engine);
    let engine = world.start(Life::long()).await.expect("it lives long");
    assert_eq!(import(&engine, page()).await, first, "another engine finds it too");
    assert_eq!(adopted(&world, &engine, "estate").await.len(), 1);

    let mut old = page();
    old.source.serial = Some(3);
    let refused = engine.import_terraform(old).await.expect_err("an old copy");
    assert_eq!(refused.code, ErrorCode::Refused);
}

#[tokio::test(start_paused = true)]
async fn one_object_has_one_owner_over_all_clusters_and_states() {
    let (world, engine) = started().await;
    put(&world, "i-1", fields());
    let mut other = request("second", vec![object("aws_instance.db", "i-1")]);
    other.source.lineage = "another".to_owned();
    let (one, two) = tokio::join!(
        import(&engine, request("first", vec![object("aws_instance.web", "i-1")])),
        import(&engine, other.clone()),
    );
    let took = [&one[0], &two[0]].map(|found| matches!(found, ImportFound::Adopted(_)));
    assert_eq!(took, [true, false], "{one:?} {two:?}");
    assert!(
        matches!(&two[0], ImportFound::AlreadyOwned { by } if by.contains("cluster first as web")),
        "{two:?}"
    );

    carry_out(
        &world,
        &engine,
        Intent::Deploy {
            spec: Box::new(spec_of("first", &one)),
        },
    )
    .await;
    carry_out(
        &world,
        &engine,
        Intent::Destroy {
            cluster: cluster("first"),
        },
    )
    .await;
    let found = import(&engine, other).await;
    assert!(
        matches!(found[0], ImportFound::Adopted(_)),
        "what is forgotten is free again: {found:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_others_change_shows_by_itself_and_nothing_is_done_about_it() {
    let (world, engine) = started().await;
    put(&world, "i-1", fields());
    put(&world, "i-2", fields());
    let objects = vec![object("aws_instance.a", "i-1"), object("aws_instance.b", "i-2")];
    let found = import(&engine, request("estate", objects)).await;
    let spec = spec_of("estate", &found);
    carry_out(
        &world,
        &engine,
        Intent::Deploy {
            spec: Box::new(spec.clone()),
        },
    )
    .await;

    let mut others = fields();
    others.insert("type".to_owned(), text("huge"));
    put(&world, "i-1", others.clone());
    assert!(world.cloud.take_object("north", &ObjectId("i-2".to_owned())));
    a_look().await;
    let known = adopted(&world, &engine, "estate").await;
    assert!(
        matches!(&known[0].seen, Sight::There { fields, .. } if *fields == others),
        "{known:?}"
    );
    assert!(matches!(known[1].seen, Sight::Missing { .. }), "{known:?}");
    let machines = world.cloud.machines();
    assert!(machines.is_empty(), "nothing is made in its place");

    let plan = deploy(&world, &engine, &spec).await;
    assert_eq!(plan.plan.body.steps.len(), 1, "{:?}", plan.outline);
    assert!(
        plan.plan
            .body
            .risks
            .iter()
            .any(|risk| matches!(risk, Risk::AdoptedMissing { .. })),
        "{:?}",
        plan.plan.body.risks
    );
}

#[tokio::test(start_paused = true)]
async fn neither_a_sweep_nor_an_end_of_the_cluster_touches_what_others_made() {
    let (world, engine) = started().await;
    put(&world, "i-1", fields());
    put(&world, "i-2", fields());
    let objects = vec![object("aws_instance.a", "i-1"), object("aws_instance.b", "i-2")];
    let found = import(&engine, request("estate", objects)).await;
    let mut spec = spec_of("estate", &found);
    carry_out(
        &world,
        &engine,
        Intent::Deploy {
            spec: Box::new(spec.clone()),
        },
    )
    .await;
    let bounds = Bounds::default();
    tokio::time::sleep(Duration::from_millis(bounds.orphan_grace_ms + 3 * bounds.sweep_ms)).await;
    assert_eq!(adopted(&world, &engine, "estate").await.len(), 2);

    spec.adopted.pop_first();
    let plan = deploy(&world, &engine, &spec).await;
    assert!(
        matches!(plan.plan.body.steps[0].action, Action::ReleaseAdopted { .. }),
        "{:?}",
        plan.outline
    );
    carry_out(&world, &engine, Intent::Deploy { spec: Box::new(spec) }).await;
    assert_eq!(adopted(&world, &engine, "estate").await.len(), 1);
    carry_out(
        &world,
        &engine,
        Intent::Destroy {
            cluster: cluster("estate"),
        },
    )
    .await;
    for id in ["i-1", "i-2"] {
        assert!(
            world.cloud.take_object("north", &ObjectId(id.to_owned())),
            "{id} is still there"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_is_handed_over_by_a_newer_state_without_it_and_never_owned_by_both() {
    let (world, engine) = started().await;
    put(&world, "i-1", fields());
    let page = request("estate", vec![object("aws_instance.web", "i-1")]);
    let found = import(&engine, page.clone()).await;
    let name = taken(&found[0]).name.clone();
    let step = async |step: HandOverStep| {
        let request = HandOverRequest {
            cluster: cluster("estate"),
            objects: vec![name.clone()],
            step,
        };
        let answer = engine.import_hand_over(request).await.expect("it is there");
        (answer.lines[0].phase.word(), answer.lines[0].refused.is_some())
    };
    let confirm = |serial: u64| HandOverStep::Confirm {
        lineage: LINEAGE.to_owned(),
        serial,
    };
    assert_eq!(step(confirm(5)).await, ("observed", true));
    assert_eq!(step(HandOverStep::Begin).await, ("handing over", false));
    assert_eq!(
        step(confirm(4)).await,
        ("handing over", true),
        "the state that it came from"
    );
    assert_eq!(step(confirm(5)).await, ("owned", false));
    let again = import(&engine, page).await;
    assert!(
        matches!(again[0], ImportFound::AlreadyOwned { .. }),
        "Terraform may not have it too: {again:?}"
    );
    assert_eq!(step(HandOverStep::TakeBack).await, ("observed", false));
}

#[tokio::test(start_paused = true)]
async fn what_users_say_of_an_object_and_what_it_costs_is_listed_and_no_cloud_hears_of_it() {
    let world = World::new(1);
    let engine = world.start(Life::long()).await.expect("it lives long");
    let offered = world.cloud.offerings("north");
    let like_it = offered
        .iter()
        .find(|offering| offering.purchase == Purchase::OnDemand)
        .expect("one at least");
    let mut rented = fields();
    rented.insert("type".to_owned(), text(&like_it.instance_type));
    rented.insert("zone".to_owned(), text(like_it.zone.as_str()));
    put(&world, "i-1", rented.clone());
    put(&world, "i-2", fields());
    let objects = ["i-1", "i-2"]
        .map(|id| object(&format!("aws_instance.{}", &id[2..]), id))
        .into();
    let found = import(&engine, request("estate", objects)).await;
    let mut spec = spec_of("estate", &found);
    let label = ("team".to_owned(), "web".to_owned());
    for entry in spec.adopted.values_mut() {
        if entry.id == ObjectId("i-1".to_owned()) {
            entry.fields.clone_from(&rented);
            entry.labels.extend([label.clone()]);
        }
    }
    let plan = deploy(&world, &engine, &spec).await;
    assert!(plan.plan.body.steps.is_empty() && !plan.converged, "{:?}", plan.outline);
    apply(&engine, &plan).await.expect("nothing is in its way");

    let answer = world.query(&engine, &cluster("estate"), QueryWhat::Adopted).await;
    let views = answer.adopted.expect("that was asked");
    let told: Vec<_> = views.iter().map(|view| (view.labels.clone(), view.price)).collect();
    assert_eq!(
        told,
        [([label].into(), Some(like_it.price)), (BTreeMap::new(), None)],
        "a type that is not offered has no price"
    );
    assert!(deploy(&world, &engine, &spec).await.converged);
}
