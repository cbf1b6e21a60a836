//! Any spec that keeps the rules reads back equal from what it is written as, and agrees with the published schema.

use std::collections::BTreeMap;

use isobar_engine_model::adopted::{AdoptedFrom, AdoptedSpec};
use isobar_engine_model::catalog::{Architecture, Purchase};
use isobar_engine_model::id::{
    AdoptedName, ClusterName, OfferingId, PoolName, ProviderId, SiteName, WorkloadName, Zone,
};
use isobar_engine_model::object::{FieldValue, ObjectId, ObjectType};
use isobar_engine_model::quantity::{Mebibytes, MilliCpus, Resources};
use isobar_engine_model::spec::*;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

const NAME: &str = "[a-z]([a-z0-9-]{0,6}[a-z0-9])?";
/// Words that YAML readers like to take for something else.
const AWKWARD: [&str; 12] = [
    "",
    "no",
    "true",
    "null",
    "~",
    "1.0",
    "0x10",
    "- a",
    "a: b",
    "#",
    "line\nline\t",
    "é\u{1f980}'\"",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![select(&AWKWARD[..]).prop_map(str::to_owned), "[ -~]{0,12}"]
}

fn requirements() -> impl Strategy<Value = Requirements> {
    (
        option::of((1..64_000_u32).prop_map(MilliCpus)),
        option::of((1..1_000_000_u32).prop_map(Mebibytes)),
        option::of(select(&[Architecture::X86_64, Architecture::Arm64][..])),
        option::of(vec(word().prop_map(Zone::new), 1..3)),
        option::of(vec(word().prop_map(OfferingId::new), 1..3)),
        option::of(vec(select(&[Purchase::OnDemand, Purchase::Spot][..]), 1..3)),
    )
        .prop_map(|(cpu, memory, architecture, zones, offerings, purchase)| Requirements {
            cpu,
            memory,
            architecture,
            zones,
            offerings,
            purchase,
        })
}

fn pool() -> impl Strategy<Value = PoolSpec> {
    (0..=3_u32, 3..=10_000_u32, requirements()).prop_map(|(min, max, requirements)| PoolSpec {
        sites: None,
        machines: MachineCount { min, max },
        requirements,
    })
}

fn site() -> impl Strategy<Value = SiteSpec> {
    (NAME, "[!-~]{1,9}", btree_map(word(), word(), 0..3)).prop_map(|(provider, region, settings)| SiteSpec {
        provider: ProviderId::new(provider).expect("a name"),
        region,
        settings,
    })
}

fn kind() -> impl Strategy<Value = WorkloadKind> {
    prop_oneof![
        (5..=100_000_u32, option::of(0..=5_u32)).prop_map(|(replicas, min_available)| WorkloadKind::Service {
            replicas,
            min_available
        }),
        (1..=1_000_u32).prop_map(|attempts| WorkloadKind::Job { attempts }),
        Just(WorkloadKind::Daemon {}),
    ]
}

fn health(port: &'static str) -> impl Strategy<Value = HealthCheck> {
    let probe = prop_oneof![
        "/[a-z/]{0,9}".prop_map(move |path| Probe::Http {
            port: port.into(),
            path
        }),
        Just(Probe::Tcp { port: port.into() }),
        vec("[!-~]{1,9}", 1..3).prop_map(|command| Probe::Exec { command }),
    ];
    (probe, 1..=3600_u32, 1..=300_u32, 1..=100_u32).prop_map(|(probe, interval_seconds, timeout_seconds, failures)| {
        HealthCheck {
            probe,
            interval_seconds,
            timeout_seconds,
            failures,
        }
    })
}

fn publish() -> impl Strategy<Value = Publish> {
    prop_oneof![
        Just(Publish::No),
        Just(Publish::Auto),
        (30_000..=30_031_u16).prop_map(Publish::Port)
    ]
}

fn workload() -> impl Strategy<Value = WorkloadSpec> {
    let spread = select(vec![vec![], vec![Spread::Machine], vec![Spread::Site, Spread::Zone]]);
    let process = (vec("[!-~]{1,9}", 0..3), btree_map("[A-Z_]{1,9}", word(), 0..4));
    let restart = option::of(select(&[RestartPolicy::OnFailure, RestartPolicy::Never][..]));
    let port = (1..=65_535_u16, publish()).prop_map(|(container, publish)| PortSpec { container, publish });
    (
        kind(),
        process,
        (1..9_000_u32, 1..9_000_u32),
        port,
        option::of(health("main")),
        restart,
        spread,
        0..=3_600_u32,
    )
        .prop_map(
            |(kind, (command, env), (cpu, memory), port, health, restart, spread, grace)| WorkloadSpec {
                kind,
                image: "registry.example:5000/a/b:1".into(),
                command,
                env,
                resources: Resources {
                    cpu: MilliCpus(cpu),
                    memory: Mebibytes(memory),
                },
                ports: BTreeMap::from([("main".to_owned(), port)]),
                health,
                restart,
                placement: PlacementSpec {
                    sites: None,
                    pools: None,
                    spread,
                },
                stop_grace_seconds: grace,
                singleton: false,
            },
        )
}

fn field() -> impl Strategy<Value = FieldValue> {
    let text = "[ -~]{0,12}";
    prop_oneof![
        text.prop_map(FieldValue::Text),
        btree_set(text, 0..3).prop_map(FieldValue::Set),
        btree_map(text, text, 0..3).prop_map(FieldValue::Map),
    ]
}

fn adopted() -> impl Strategy<Value = AdoptedSpec> {
    let address = r#"[a-z]{1,5}\.[a-z]{1,5}(\["[a-z$%{}.]{0,5}"\])?"#;
    (
        address,
        "[a-f0-9-]{0,12}",
        proptest::option::of("[a-z]{1,3}".prop_map(Zone::new)),
        btree_map("[a-z_]{1,8}", field(), 0..4),
        btree_set("[a-z_]{1,8}", 0..3),
        btree_map("[a-z]{1,8}", "[a-z0-9 ]{0,8}", 0..3),
    )
        .prop_map(|(address, lineage, zone, fields, unmanaged, labels)| AdoptedSpec {
            site: SiteName::new("replaced").expect("a name"),
            kind: ObjectType("instance".to_owned()),
            id: ObjectId("replaced".to_owned()),
            zone,
            from: AdoptedFrom { lineage, address },
            fields,
            labels,
            unmanaged,
        })
}

fn spec() -> impl Strategy<Value = Spec> {
    (
        NAME.prop_map(|n| ClusterName::new(n).expect("a name")),
        btree_map(NAME.prop_map(|n| SiteName::new(n).expect("a name")), site(), 1..4),
        btree_map(NAME.prop_map(|n| PoolName::new(n).expect("a name")), pool(), 1..4),
        btree_map(
            NAME.prop_map(|n| WorkloadName::new(n).expect("a name")),
            workload(),
            0..4,
        ),
        btree_map(NAME.prop_map(|n| AdoptedName::new(n).expect("a name")), adopted(), 0..4),
    )
        .prop_map(|(cluster, sites, pools, workloads, mut adopted)| {
            let site = sites.keys().next().expect("one at least");
            for (name, object) in &mut adopted {
                object.site = site.clone();
                object.id = ObjectId(format!("id-of-{name}"));
            }
            Spec {
                cluster,
                sites,
                pools,
                workloads,
                adopted,
            }
        })
}

proptest! {
    #[test]
    fn a_spec_reads_back_equal_from_yaml_and_json(spec in spec()) {
        let yaml = serde_saphyr::to_string(&spec).expect("a spec is YAML");
        prop_assert_eq!(text::read("a.yaml", &yaml), Ok(spec.clone()), "{}", yaml);
        let json = serde_json::to_string(&spec).expect("a spec is JSON");
        prop_assert_eq!(text::read("a.json", &json), Ok(spec.clone()), "{}", json);
    }

    #[test]
    fn the_published_schema_accepts_every_spec(spec in spec()) {
        let validator = jsonschema::draft202012::new(&text::schema()).expect("a valid schema");
        let value = serde_json::to_value(&spec).expect("a spec is JSON");
        let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        prop_assert!(errors.is_empty(), "{errors:?}\n{value}");
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a-z0-9:{}\\[\\]&*!|>'\" \n\t#,?]{0,200}") {
        let _ = text::read("a.yaml", &text);
    }
}
