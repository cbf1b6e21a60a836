//! What a person sees when a spec is wrong: one table of edits to a good spec, each with the answer it gets.

use expect_test::{Expect, expect};
use isobar_engine_model::spec::{MachineCount, PortSpec, Publish, RestartPolicy, WorkloadKind, check, text};

const SHOP: &str = include_str!("../../../examples/shop.yaml");

const SMALL: &str = "\
cluster: shop
sites:
  north: {provider: local, region: north}
  south: {provider: local, region: south}
pools:
  general:
    machines: {min: 1, max: 3}
workloads:
  web:
    kind: {service: {replicas: 4, min_available: 3}}
    image: registry.example:5000/web:1
    resources: {cpu: 100m, memory: 32MiB}
    ports:
      http: {container: 8080, publish: auto}
    health:
      probe:
        http: {port: http, path: /}
    placement: {sites: [north]}
";

/// What an import writes.
const ADOPTED: &str = r#"
cluster: estate
sites:
  north: {provider: aws, region: eu-central-1}
pools: {}
adopted:
  web:
    site: north
    type: instance
    id: i-0abc
    from: {lineage: 1111-2222, address: 'aws_instance.web["a"]'}
    fields:
      instance_type: t3.small
      security_groups: [sg-1, sg-2]
      tags: {team: web}
    unmanaged: [user_data]
"#;

fn answer(text: &str) -> String {
    match text::read("shop.yaml", text) {
        Ok(_) => "accepted\n".into(),
        Err(errors) => format!("{errors}\n"),
    }
}

/// The answers to [`SMALL`] with `old` replaced by `new`, for each edit.
fn check(edits: &[(&str, &str)], expected: Expect) {
    let answers = edits.iter().map(|(old, new)| {
        assert_eq!(
            SMALL.matches(old).count(),
            1,
            "`{old}` must stand in the small spec exactly once"
        );
        format!(
            "# {}\n{}",
            new.trim_end().escape_debug(),
            answer(&SMALL.replace(old, new))
        )
    });
    expected.assert_eq(&answers.collect::<String>());
}

#[test]
fn the_example_is_accepted_and_means_what_it_says() {
    let spec = text::read("shop.yaml", SHOP).unwrap_or_else(|errors| panic!("{errors}"));
    let workload = |name: &str| {
        spec.workloads
            .iter()
            .find(|(n, _)| n.as_str() == name)
            .map(|(_, w)| w)
            .unwrap()
    };

    assert_eq!(
        workload("web").kind,
        WorkloadKind::Service {
            replicas: 4,
            min_available: Some(3)
        }
    );
    assert_eq!(workload("web").ports["http"].publish, Publish::Auto);
    assert_eq!(workload("web").restart_policy(), RestartPolicy::Always);
    assert_eq!(workload("migrate").restart_policy(), RestartPolicy::OnFailure);
}

#[test]
fn the_published_schema_accepts_the_example_and_is_itself_valid() {
    let schema = text::schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let validator = jsonschema::draft202012::new(&schema).expect("a valid schema");
    let example: serde_json::Value = serde_saphyr::from_str(SHOP).unwrap();
    let errors: Vec<String> = validator.iter_errors(&example).map(|e| e.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn the_spec_in_the_documentation_is_accepted() {
    let page = include_str!("../../../docs/specs.md");
    let shown = page
        .split("```yaml\n")
        .map(|rest| rest.split("```").next().unwrap_or(""));
    let spec = shown.filter(|block| block.starts_with("cluster:")).collect::<String>();
    expect![[r#"
        accepted
    "#]]
    .assert_eq(&answer(&spec));
}

#[test]
fn an_error_is_flat_json_with_its_place() {
    let errors = text::read("shop.yaml", &SMALL.replace("image:", "imgae:")).unwrap_err();
    expect![[r#"
        {
          "file": "shop.yaml",
          "errors": [
            {
              "line": 11,
              "column": 5,
              "path": "workloads.web.imgae",
              "pointer": "/workloads/web/imgae",
              "message": "unknown field",
              "allowed": [
                "command",
                "env",
                "health",
                "image",
                "kind",
                "placement",
                "ports",
                "resources",
                "restart",
                "singleton",
                "stop_grace_seconds"
              ],
              "hint": "did you mean `image`?"
            }
          ],
          "more": 0
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&errors).unwrap());
}

#[test]
fn json_is_read_like_yaml() {
    let as_json: serde_json::Value = serde_saphyr::from_str(SMALL).unwrap();
    let pretty = serde_json::to_string_pretty(&as_json).unwrap();
    assert_eq!(text::read("a.yaml", SMALL), text::read("a.json", &pretty));
    assert_eq!(text::read("a.yaml", SMALL), text::read_json("a call", &as_json));

    let wrong = pretty.replace("\"replicas\"", "\"replcas\"");
    expect![[r#"
        shop.yaml:35:11: workloads.web.kind.service.replcas: unknown field
          hint: did you mean `replicas`? allowed: min_available, replicas
    "#]]
    .assert_eq(&answer(&wrong));
    let as_json = serde_json::from_str(&wrong).unwrap();
    expect![[r#"
        a call: workloads.web.kind.service.replcas: unknown field
          hint: did you mean `replicas`? allowed: min_available, replicas
    "#]]
    .assert_eq(&format!("{}\n", text::read_json("a call", &as_json).unwrap_err()));
}

#[test]
fn mistyped_and_misplaced_fields_name_the_right_one() {
    check(
        &[
            ("image:", "imgae:"),
            ("replicas: 4", "replcas: 4"),
            ("    image:", "    replicas: 4\n    image:"),
            ("machines: {min: 1, max: 3}", "machines: {min: 1, max: 3, mean: 2}"),
            (
                "kind: {service: {replicas: 4, min_available: 3}}",
                "kind: {daemon: {replicas: 4}}",
            ),
        ],
        expect![[r#"
            # imgae:
            shop.yaml:11:5: workloads.web.imgae: unknown field
              hint: did you mean `image`? allowed: command, env, health, image, kind, placement, ports, resources, restart, singleton, stop_grace_seconds
            # replcas: 4
            shop.yaml:10:22: workloads.web.kind.service.replcas: unknown field
              hint: did you mean `replicas`? allowed: min_available, replicas
            #     replicas: 4\n    image:
            shop.yaml:11:5: workloads.web.replicas: unknown field
              hint: write it as `kind.service.replicas`
            # machines: {min: 1, max: 3, mean: 2}
            shop.yaml:7:32: pools.general.machines.mean: unknown field
              hint: allowed: max, min
            # kind: {daemon: {replicas: 4}}
            shop.yaml:10:21: workloads.web.kind.daemon.replicas: unknown field
              hint: nothing goes in here: write `{}`
        "#]],
    );
}

#[test]
fn every_error_is_reported_at_once_in_the_texts_order() {
    let text = SMALL
        .replace("cluster: shop", "cluster: Shop")
        .replace("container", "contaner")
        .replace("32MiB", "32MB");
    expect![[r#"
        shop.yaml:1:10: cluster: `Shop` is not a name: use 1 to 32 of a-z, 0-9 and `-`, starting with a letter and not ending with `-`
        shop.yaml:12:36: workloads.web.resources.memory: `32MB` is not an amount of memory: write `64MiB` or `2GiB`
        shop.yaml:14:14: workloads.web.ports.http.contaner: unknown field
          hint: did you mean `container`? allowed: container, publish
    "#]].assert_eq(&answer(&text));
}

#[test]
fn missing_fields_say_what_they_are() {
    check(
        &[
            ("    image: registry.example:5000/web:1\n", ""),
            ("cluster: shop\n", ""),
            ("{container: 8080, publish: auto}", "{}"),
        ],
        expect![[r#"
            # 
            shop.yaml:9:3: workloads.web: missing field `image`
              hint: `image`: the OCI image: `registry[:port]/repository[:tag|@digest]`
            # 
            shop.yaml:1:1: missing field `cluster`
              hint: `cluster`: the cluster's name
            # {}
            shop.yaml:14:7: workloads.web.ports.http: missing field `container`
              hint: `container`: inside the container
        "#]],
    );
}

#[test]
fn wrong_types_say_what_was_expected_and_found() {
    check(
        &[
            ("replicas: 4", "replicas: four"),
            ("replicas: 4", "replicas: '4'"),
            ("replicas: 4", "replicas: -1"),
            ("replicas: 4", "replicas: 4.5"),
            ("replicas: 4", "replicas: 5000000000"),
            ("container: 8080", "container: 80800"),
            ("container: 8080", "container: 08080"),
            ("cpu: 100m", "cpu: 0.5"),
            ("cpu: 100m", "cpu: 0m"),
            ("region: north", "region: 1"),
            ("sites: [north]", "sites: north"),
            ("machines: {min: 1, max: 3}", "machines:"),
            ("{port: http, path: /}", "[http]"),
        ],
        expect![[r##"
            # replicas: four
            shop.yaml:10:32: workloads.web.kind.service.replicas: expected a whole number, found the text `four`
            # replicas: \'4\'
            shop.yaml:10:32: workloads.web.kind.service.replicas: expected a whole number, found the text `4`
              hint: remove the quotes and leading zeros: 4
            # replicas: -1
            shop.yaml:10:32: workloads.web.kind.service.replicas: -1 is out of range: 0 to 100000 are allowed
            # replicas: 4.5
            shop.yaml:10:32: workloads.web.kind.service.replicas: expected a whole number, found the number 4.5
              hint: 4.5 is not whole
            # replicas: 5000000000
            shop.yaml:10:32: workloads.web.kind.service.replicas: 5000000000 is out of range: 0 to 100000 are allowed
            # container: 80800
            shop.yaml:14:25: workloads.web.ports.http.container: 80800 is out of range: 1 to 65535 are allowed
            # container: 08080
            shop.yaml:14:25: workloads.web.ports.http.container: expected a whole number, found the text `08080`
              hint: remove the quotes and leading zeros: 8080
            # cpu: 0.5
            shop.yaml:12:22: workloads.web.resources.cpu: expected a whole number or text, found the number 0.5
              hint: thousandths of a CPU are written `250m`
            # cpu: 0m
            shop.yaml:12:22: workloads.web.resources.cpu: `0m` is not a processor share: write `250m` or `2`
            # region: 1
            shop.yaml:3:36: sites.north.region: expected text, found the number 1
              hint: put it in quotes: "1"
            # sites: north
            shop.yaml:18:24: workloads.web.placement.sites: expected a list, found the text `north`
              hint: write `[north]`
            # machines:
            shop.yaml:7:5: pools.general.machines: expected a map, found nothing
              hint: give it a value or remove it
            # [http]
            shop.yaml:17:9: workloads.web.health.probe.http: expected a map, found a list
        "##]],
    );
}

#[test]
fn unknown_words_list_the_known_ones() {
    check(
        &[
            ("publish: auto", "publish: atuo"),
            ("publish: auto", "publish: 30001"),
            ("publish: auto", "publish: port"),
            (
                "kind: {service: {replicas: 4, min_available: 3}}",
                "kind: {servce: {replicas: 4}}",
            ),
            ("kind: {service: {replicas: 4, min_available: 3}}", "kind: job"),
            ("kind: {service: {replicas: 4, min_available: 3}}", "kind: {}"),
            (
                "kind: {service: {replicas: 4, min_available: 3}}",
                "kind: {job: {}, daemon: {}}",
            ),
            ("placement: {sites: [north]}", "restart: allways"),
        ],
        expect![[r#"
            # publish: atuo
            shop.yaml:14:40: workloads.web.ports.http.publish: unknown word `atuo`
              hint: did you mean `auto`? allowed: no, auto, port
            # publish: 30001
            shop.yaml:14:40: workloads.web.ports.http.publish: expected one of the allowed forms, found the number 30001
              hint: write `{port: ...}` with 30000 to 30031; allowed: no, auto, port
            # publish: port
            shop.yaml:14:40: workloads.web.ports.http.publish: `port` needs a value
              hint: write `{port: ...}` with 30000 to 30031
            # kind: {servce: {replicas: 4}}
            shop.yaml:10:12: workloads.web.kind.servce: unknown field
              hint: did you mean `service`? allowed: service, job, daemon
            # kind: job
            shop.yaml:10:11: workloads.web.kind: `job` needs a value
              hint: write `job: {}`
            # kind: {}
            shop.yaml:10:5: workloads.web.kind: expected exactly one entry, found 0
              hint: allowed: service, job, daemon
            # kind: {job: {}, daemon: {}}
            shop.yaml:10:5: workloads.web.kind: expected exactly one entry, found 2
              hint: allowed: service, job, daemon
            # restart: allways
            shop.yaml:18:14: workloads.web.restart: unknown word `allways`
              hint: did you mean `always`? allowed: always, on_failure, never
        "#]],
    );
}

#[test]
fn names_must_exist_where_they_are_used() {
    check(
        &[
            ("sites: [north]", "sites: [nroth]"),
            ("sites: [north]", "sites: [north, north]"),
            ("sites: [north]", "sites: []"),
            ("sites: [north]", "pools: [big]"),
            ("{port: http, path: /}", "{port: htpp, path: /}"),
            ("{port: http, path: /}", "{port: http, path: healthz}"),
            ("    machines:", "    sites: [south]\n    machines:"),
            ("  web:", "  Web_1:"),
        ],
        expect![[r#"
            # sites: [nroth]
            shop.yaml:18:25: workloads.web.placement.sites[0]: the cluster has no site `nroth`
              hint: did you mean `north`? allowed: north, south
            # sites: [north, north]
            shop.yaml:18:32: workloads.web.placement.sites[1]: `north` is given twice
              hint: remove one
            # sites: []
            shop.yaml:18:17: workloads.web.placement.sites: an empty list allows nothing
              hint: remove it to allow all, or name some
            # pools: [big]
            shop.yaml:18:25: workloads.web.placement.pools[0]: the cluster has no pool `big`
              hint: allowed: general
            # {port: htpp, path: /}
            shop.yaml:17:22: workloads.web.health.probe.http.port: the workload has no port `htpp`
              hint: did you mean `http`? allowed: http
            # {port: http, path: healthz}
            shop.yaml:17:34: workloads.web.health.probe.http.path: `healthz` is not a path
              hint: start it with `/`, and write no spaces
            #     sites: [south]\n    machines:
            shop.yaml:19:5: workloads.web.placement: no allowed pool has machines in an allowed site
              hint: allow another pool or site here, or add the site to the pool's `sites`
            #   Web_1:
            shop.yaml:9:3: workloads.Web_1: `Web_1` is not a name: use 1 to 32 of a-z, 0-9 and `-`, starting with a letter and not ending with `-`
        "#]],
    );
}

#[test]
fn numbers_must_agree() {
    check(
        &[
            ("{min: 1, max: 3}", "{min: 4, max: 3}"),
            ("{min: 1, max: 3}", "{min: 0, max: 0}"),
            ("{min: 1, max: 3}", "{min: 1, max: 10001}"),
            ("min_available: 3", "min_available: 5"),
            ("replicas: 4", "replicas: 100001"),
            ("    image:", "    singleton: true\n    image:"),
            ("publish: auto", "publish: {port: 8080}"),
            (
                "http: {container: 8080, publish: auto}",
                "{http: {container: 1, publish: {port: 30000}}, b: {container: 2, publish: {port: 30000}}}",
            ),
        ],
        expect![[r#"
            # {min: 4, max: 3}
            shop.yaml:7:21: pools.general.machines.min: min 4 is more than max 3
            # {min: 0, max: 0}
            shop.yaml:7:29: pools.general.machines.max: 0 is out of range: 1 to 10000 are allowed
            # {min: 1, max: 10001}
            shop.yaml:7:29: pools.general.machines.max: 10001 is out of range: 1 to 10000 are allowed
            # min_available: 5
            shop.yaml:10:50: workloads.web.kind.service.min_available: min_available 5 is more than replicas 4
            # replicas: 100001
            shop.yaml:10:32: workloads.web.kind.service.replicas: 100001 is out of range: 0 to 100000 are allowed
            #     singleton: true\n    image:
            shop.yaml:10:32: workloads.web.kind.service.replicas: a singleton asks for 1 replica, not 4
              hint: write `replicas: 1`, or remove `singleton`
            shop.yaml:10:50: workloads.web.kind.service.min_available: a singleton stops before it starts elsewhere
              hint: remove `min_available`, or remove `singleton`
            # publish: {port: 8080}
            shop.yaml:14:47: workloads.web.ports.http.publish.port: 8080 is out of range: 30000 to 30031 are allowed
            # {http: {container: 1, publish: {port: 30000}}, b: {container: 2, publish: {port: 30000}}}
            shop.yaml:14:45: workloads.web.ports.http.publish.port: port 30000 of the node is taken by `b` of the same workload
        "#]],
    );
}

#[test]
fn a_job_is_not_restarted_however_it_ended() {
    check(
        &[(
            "kind: {service: {replicas: 4, min_available: 3}}",
            "kind: {job: {attempts: 2}}\n    restart: always",
        )],
        expect![[r#"
            # kind: {job: {attempts: 2}}\n    restart: always
            shop.yaml:11:14: workloads.web.restart: a job ends: it cannot be started again however it ended
              hint: allowed: on_failure, never
        "#]],
    );
}

#[test]
fn an_image_names_its_registry() {
    check(
        &[
            ("registry.example:5000/web:1", "web:1"),
            ("registry.example:5000/web:1", "registry.example/Web:1"),
        ],
        expect![[r#"
            # web:1
            shop.yaml:11:12: workloads.web.image: `web:1` names no registry
              hint: write `docker.io/library/web:1`
            # registry.example/Web:1
            shop.yaml:11:12: workloads.web.image: `registry.example/Web:1` is not an image: a repository is lower-case letters, digits, `.`, `_`, `-`, with `/` between its parts
        "#]],
    );
}

#[test]
fn text_that_is_no_document_is_refused_with_its_place() {
    let texts = [
        "cluster:\n\tname: shop\n",
        "cluster: a\ncluster: b\n",
        "cluster: a\n---\ncluster: b\n",
        "cluster: [a\n",
        "cluster: !name shop\n",
        "# later\n",
        "- cluster\n",
    ];
    let answers = texts.map(|text| format!("# {}\n{}", text.escape_debug(), answer(text)));
    expect![[r#"
        # cluster:\n\tname: shop\n
        shop.yaml:2:2: tabs disallowed within this context (block indentation)
          hint: indent with spaces
        # cluster: a\ncluster: b\n
        shop.yaml:2:1: `cluster` is given twice
          hint: keep one of the two
        # cluster: a\n---\ncluster: b\n
        shop.yaml:3:1: more than one document
          hint: one file holds one spec: remove the `---`
        # cluster: [a\n
        shop.yaml:1:10: unclosed bracket '['
        # cluster: !name shop\n
        shop.yaml:1:16: unsupported tag `!name`
        # # later\n
        shop.yaml:2:1: expected a map, found nothing
          hint: give it a value or remove it
        # - cluster\n
        shop.yaml:1:1: expected a map, found a list
    "#]]
    .assert_eq(&answers.concat());
}

#[test]
fn an_anchor_may_be_used_and_an_alias_bomb_may_not() {
    let sites = "  north: {provider: local, region: north}\n  south: {provider: local, region: south}\n";
    check(
        &[(sites, "  north: &here {provider: local, region: x}\n  south: *here\n")],
        expect![[r#"
            #   north: &here {provider: local, region: x}\n  south: *here
            accepted
        "#]],
    );

    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..9 {
        let alias = format!("*a{}", i - 1);
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", [alias.as_str(); 10].join(", ")));
    }
    expect![[r#"
        shop.yaml:5:20: the document is too large or too deeply nested
          hint: aliases count as often as they are used
    "#]]
    .assert_eq(&answer(&bomb));
    expect![[r#"
        shop.yaml:1:33: the document is too large or too deeply nested
          hint: aliases count as often as they are used
    "#]]
    .assert_eq(&answer(&"[".repeat(10_000)));
    expect![[r#"
        shop.yaml: the text has 1048577 bytes; a spec has at most 1048576
    "#]]
    .assert_eq(&answer(&" ".repeat(text::TEXT_MAX_BYTES + 1)));
}

#[test]
fn the_rules_hold_for_a_spec_that_never_was_text() {
    let mut spec = text::read("shop.yaml", SMALL).unwrap();
    spec.sites.clear();
    for pool in spec.pools.values_mut() {
        pool.machines = MachineCount { min: 0, max: 0 };
    }
    for workload in spec.workloads.values_mut() {
        workload.kind = WorkloadKind::Job { attempts: 0 };
        workload.command = vec![String::new(), "\0".into()];
        workload
            .env
            .insert("A=B".into(), "x".repeat(check::ARGUMENTS_MAX_BYTES));
        workload.ports.insert(
            "a".into(),
            PortSpec {
                container: 0,
                publish: Publish::Port(80),
            },
        );
    }
    let problems = check::check(&spec)
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect::<String>();
    expect![[r#"
        sites: at least one site is needed
        pools.general.machines.max: a pool of no machine (remove the pool)
        workloads.web.kind.job.attempts: a job that is never tried (write at least 1)
        workloads.web.command[0]: the program to run has no name
        workloads.web.command[1]: an argument cannot hold a zero byte
        workloads.web.env.A=B: a variable's name is not empty and holds no `=`
        workloads.web: command and env have 65544 bytes; at most 65536 are allowed
        workloads.web.ports.a.container: 0 is not a port: 1 to 65535 are
        workloads.web.ports.a.publish.port: a node does not publish on 80: only on 30000 to 30031
        workloads.web.placement.sites[0]: the cluster has no site `north`
    "#]]
    .assert_eq(&problems);
}

#[test]
fn a_flood_of_errors_is_counted_not_shown() {
    let flood: String = (0..text::ERRORS_MAX + 7)
        .map(|i| format!("  Wrong{i}: {{provider: local, region: x}}\n"))
        .collect();
    let errors = text::read("f", &SMALL.replace("sites:\n", &format!("sites:\n{flood}"))).unwrap_err();
    assert_eq!((errors.errors.len(), errors.more), (text::ERRORS_MAX, 7));
}

#[test]
fn what_others_made_is_read_and_what_is_wrong_with_it_has_its_place() {
    let answers = [
        ("north: {", "north: {"),
        ("site: north", "site: nroth"),
        ("id: i-0abc", "id: ''"),
        ("type: instance", "kind: instance"),
        ("address: 'aws_instance.web[\"a\"]'", "address: ' '"),
        ("instance_type: t3.small", "instance_type: {size: [1]}"),
        ("    id: i-0abc", "    labels: {team: web, '': x}\n    id: i-0abc"),
        ("  web:", "  Web.1:"),
        (
            "adopted:\n  web:",
            "adopted:\n  twin: {site: north, type: instance, id: i-0abc, from: {lineage: '', address: a.b}}\n  web:",
        ),
    ]
    .map(|(old, new)| {
        assert_eq!(ADOPTED.matches(old).count(), 1, "`{old}` must stand in there once");
        answer(&ADOPTED.replace(old, new))
    });
    expect![[r#"
        accepted
        shop.yaml:8:11: adopted.web.site: the cluster has no site `nroth`
          hint: did you mean `north`? allowed: north
        shop.yaml:10:9: adopted.web.id: the id is empty
          hint: `isobar import terraform --write-spec` writes it as the provider spells it
        shop.yaml:7:3: adopted.web: missing field `type`
          hint: `type`: its type, in the provider's words
        shop.yaml:9:5: adopted.web.kind: unknown field
          hint: allowed: fields, from, id, labels, site, type, unmanaged, zone
        shop.yaml:11:41: adopted.web.from.address: the address is empty
          hint: write the address that the state has: `aws_instance.web`
        shop.yaml:13:23: adopted.web.fields.instance_type.size: expected text, found a list
        shop.yaml:10:29: adopted.web.labels.: a label and its value have at most 256 letters, and the label at least one
        shop.yaml:7:3: adopted.Web.1: `Web.1` is not a name: use 1 to 32 of a-z, 0-9 and `-`, starting with a letter and not ending with `-`
        shop.yaml:11:9: adopted.web.id: `twin` is the same object
          hint: an object has one name: remove one of the two
    "#]].assert_eq(&answers.concat());
}

#[test]
fn a_cluster_of_nothing_but_what_others_made_needs_no_pool() {
    assert_eq!(answer(ADOPTED), "accepted\n");
    let nothing = ADOPTED.split("adopted:").next().expect("the head");
    assert!(answer(nothing).contains("at least one pool is needed"));
}
