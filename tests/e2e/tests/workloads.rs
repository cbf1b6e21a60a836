//! What containers do on booted machines and how it is told: health checks, output, ends of every kind, images that
//! cannot be pulled.

#![cfg(feature = "vm")]

use isobar_tests_e2e::engine::{Engine, Setup};
use isobar_tests_e2e::registry::Registry;
use isobar_tests_e2e::spec;
use isobar_tests_e2e::wait::{BOOT, within};
use serde_json::Value;

/// A service of one replica; `more` are further lines of it, indented by four spaces.
fn service(name: &str, image: &str, more: &str) -> String {
    format!(
        "  {name}:\n    kind: {{ service: {{ replicas: 1 }} }}\n    image: {image}\n    \
         resources: {{ cpu: 100m, memory: 32MiB }}\n{more}"
    )
}

/// The phase of a workload's replica that is there, with the fields of the phase.
fn phase(engine: &Engine, workload: &str) -> Value {
    let answer = engine.json(&["query", "replicas"]);
    let views = answer["replicas"].as_array().expect("a list");
    let of = |view: &&Value| view["replica"]["workload"] == workload && view["replica"]["phase"]["phase"] != "stopped";
    views
        .iter()
        .rev()
        .find(of)
        .map(|view| view["replica"]["phase"].clone())
        .unwrap_or_default()
}

fn until(engine: &Engine, workload: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    within(BOOT, &format!("{workload} {what}"), || {
        let phase = phase(engine, workload);
        if is_so(&phase) {
            Ok(phase)
        } else {
            Err(phase.to_string())
        }
    })
}

fn is_healthy(phase: &Value) -> bool {
    phase["phase"] == "running" && phase["healthy"] == true
}

/// The lines of a replica's output, with which of them went to standard error.
fn output(engine: &Engine, replica: &str) -> Vec<(String, bool)> {
    let answer = engine.json(&["logs", replica]);
    let lines = answer["lines"].as_array().expect("a list");
    let line = |line: &Value| (line["text"].as_str().expect("text").to_owned(), line["stderr"] == true);
    lines.iter().map(line).collect()
}

#[test]
fn health_output_and_each_way_to_end_are_told_as_they_are() {
    let registry = Registry::start();
    let image = registry.image();
    let http = "    ports: { http: { container: 8080, publish: auto } }\n";
    let probe = |probe: &str| format!("    health: {{ probe: {{ {probe} }}, interval_seconds: 1 }}\n");
    let says = |script: &str| format!("    command: [/bin/sh, -c, \"{script}\"]\n");
    let workloads = [
        service(
            "by-http",
            &image,
            &(http.to_owned() + &probe("http: { port: http, path: / }")),
        ),
        service("by-tcp", &image, &(http.to_owned() + &probe("tcp: { port: http }"))),
        service(
            "by-exec",
            &image,
            &probe("exec: { command: [/bin/busybox, test, -x, /bin/busybox] }"),
        ),
        service("crash", &image, &says("echo going down; sleep 1; exit 3")),
        service(
            "hog",
            &image,
            &says("sleep 1; exec /bin/busybox dd if=/dev/zero of=/dev/null bs=128M"),
        ),
        service("talk", &image, &says("echo to everyone; echo to operators >&2; exit 0"))
            .replace("service: { replicas: 1 }", "job: { attempts: 1 }"),
    ];
    let engine = Setup::with_machines().registry(&registry).start();
    let file = engine.keep_spec(&spec::one_site(1, &workloads.concat()));
    engine.run(&["apply", &file, "--yes"]).done();

    for workload in ["by-http", "by-tcp", "by-exec"] {
        let phase = phase(&engine, workload);
        assert!(is_healthy(&phase) && phase["restarts"] == 0, "{workload}: {phase}");
    }
    until(&engine, "talk", "has succeeded", |phase| phase["phase"] == "succeeded");
    let both = [("to everyone".to_owned(), false), ("to operators".to_owned(), true)];
    let mut told = output(&engine, "talk-1");
    told.sort();
    assert_eq!(told, both);

    let backs_off = |restarts: u64| {
        move |phase: &Value| phase["phase"] == "back_off" && phase["restarts"].as_u64() >= Some(restarts)
    };
    let crashed = until(&engine, "crash", "backs off", backs_off(1));
    assert_eq!(crashed["reason"], "exit code 3");
    let killed = until(&engine, "hog", "backs off", backs_off(0));
    assert_eq!(killed["reason"], "out of memory (limit 32MiB)");
    // It is tried again, and what the tries before said can still be read.
    until(&engine, "crash", "backs off again", backs_off(2));
    let lines = output(&engine, "crash-1");
    assert!(
        lines.iter().filter(|(line, _)| line == "going down").count() >= 2,
        "{lines:?}"
    );
    assert!(is_healthy(&phase(&engine, "by-http")), "the others are left alone");
}

#[test]
fn a_registry_that_is_away_is_named_and_waited_for() {
    let registry = Registry::start();
    let image = registry.image();
    registry.stop();
    let engine = Setup::with_machines().registry(&registry).start();
    let file = engine.keep_spec(&spec::one_site(1, &service("web", &image, "")));
    engine.json(&["apply", &file, "--yes", "--detach"]);
    let why = until(&engine, "web", "says why it does not start", |phase| {
        phase["reason"].is_string()
            || phase["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("10.0.2.2"))
    });
    assert!(why.to_string().contains(&registry.seen_by_machines()), "{why}");
    registry.start_again();
    until(&engine, "web", "is healthy", is_healthy);

    // An image that is not there is another matter: it is told, and what runs is left alone.
    let absent = image.replace("shop/web:1", "shop/absent:7");
    let file = engine.keep_spec(&spec::one_site(
        1,
        &(service("web", &image, "") + &service("new", &absent, "")),
    ));
    let failed = engine.run(&["apply", &file, "--yes"]).ended_with(1);
    let told = failed.stdout + &failed.stderr;
    assert!(
        told.contains("no such image") && told.contains("shop/absent:7"),
        "{told}"
    );
    assert!(is_healthy(&phase(&engine, "web")));
}
