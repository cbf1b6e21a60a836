//! A store that is put back from a backup, by the commands that a person has for it. Machines are processes that boot
//! nothing; the test speaks in the place of the first one.

use std::fs;
use std::path::{Path, PathBuf};

use isobar_tests_e2e::engine::{Engine, Setup};
use isobar_tests_e2e::node::{Node, identity_of};
use isobar_tests_e2e::spec;
use isobar_tests_e2e::wait::{SOON, within};

/// An engine with one machine that has joined, and a backup of that.
fn backed_up() -> (Engine, PathBuf) {
    let engine = Setup::without_machines().with_machines_that_boot_nothing().start();
    engine.json(&["apply", &engine.keep_spec(&spec::one_site(1, "")), "--yes", "--detach"]);
    let folder = within(SOON, "the machine runs", || {
        engine
            .machine_folders()
            .into_iter()
            .next()
            .ok_or_else(|| "none".to_owned())
    });
    let mut home = identity_of(&folder);
    home.engines = vec![engine.at().nodes.clone()];
    let node = Node::new();
    let certificate = node.join(&home).expect("the token is the machine's").certificate_der;
    node.first_word(&home, &certificate)
        .expect("the certificate is the machine's");
    within(SOON, "the operation has ended", || {
        let operations = engine.json(&["query", "operations"]);
        let state = operations["operations"][0]["state"]["state"].clone();
        (state == "succeeded").then_some(()).ok_or_else(|| state.to_string())
    });
    let backup = engine.home().join("isobar.backup");
    let written = engine.json(&["backup", &backup.display().to_string()]);
    assert!(written["rows"].as_u64().is_some_and(|rows| rows > 0), "{written}");
    (engine, backup)
}

/// Buys a second machine, loses the store, and puts it back.
fn put_back(engine: &mut Engine, backup: &Path) {
    engine.json(&["apply", &engine.keep_spec(&spec::one_site(2, "")), "--yes", "--detach"]);
    within(SOON, "the second machine runs", || {
        let count = engine.vms().len();
        (count == 2).then_some(()).ok_or_else(|| format!("{count} run"))
    });
    engine.kill();
    for file in ["isobar.db", "isobar.db-wal", "isobar.db-shm"] {
        // There is no log where the last one who had it open has put it away.
        let _gone = fs::remove_file(engine.data().join(file));
    }
    engine.run(&["restore", &backup.display().to_string()]).done();
    engine.start_again();
}

#[test]
fn a_machine_bought_since_the_backup_is_released_only_when_somebody_says_so() {
    let (mut engine, backup) = backed_up();
    put_back(&mut engine, &backup);
    let spec = engine.keep_spec(&spec::one_site(3, ""));
    engine
        .run(&["apply", &spec, "--yes"])
        .ended_with(3)
        .says(&["restored from a backup", "isobar recover"]);
    engine
        .run(&["recover", "end"])
        .ended_with(3)
        .says(&["undecided", "hint: "]);
    let listed = engine.json(&["recover"]);
    assert_eq!(listed["box"]["unknown"][0]["machine"], "general-2", "{listed}");
    assert_eq!(listed["box"]["missing"], serde_json::json!([]), "{listed}");
    assert_eq!(engine.vms().len(), 2, "nothing is deleted unasked");

    engine
        .run(&["recover", "release", "general-2"])
        .ended_with(2)
        .says(&["--yes"]);
    engine.run(&["recover", "release", "general-2", "--yes"]).done();
    assert_eq!(engine.vms().len(), 1);
    engine.run(&["recover", "end"]).done();
    within(SOON, "the engine goes on", || {
        let told = engine.run(&["recover"]).done().stdout;
        told.contains("nothing to recover").then_some(()).ok_or(told)
    });
}

#[test]
fn a_machine_bought_since_the_backup_is_kept_when_somebody_says_so() {
    let (mut engine, backup) = backed_up();
    put_back(&mut engine, &backup);
    engine.json(&["recover"]);
    let adopted = engine.json(&["recover", "adopt", "--all"]);
    assert_eq!(adopted["machines"], serde_json::json!(["general-2"]));
    engine.run(&["recover", "end"]).done();
    // The backup's spec wants one machine: the other goes when somebody says so, and not before.
    within(SOON, "the engine goes on", || {
        let condition = engine.json(&["status"])["clusters"][0]["condition"].clone();
        (condition["condition"] == "held")
            .then_some(())
            .ok_or_else(|| condition.to_string())
    });
    assert_eq!(engine.vms().len(), 2);
    let machines = engine.json(&["query", "machines"]);
    assert_eq!(machines["machines"].as_array().map(Vec::len), Some(2), "{machines}");
    let audit = engine.run(&["audit"]).done();
    assert!(audit.stdout.contains("adopted general-2"), "{}", audit.stdout);
    engine.run(&["audit", "verify"]).done();
}

#[test]
fn a_backup_is_never_written_over_and_never_half_written() {
    let (engine, backup) = backed_up();
    let path = backup.display().to_string();
    engine
        .run(&["backup", &path])
        .ended_with(3)
        .says(&["is there already", "--force"]);
    engine.run(&["backup", &path, "--force"]).done();
    let nowhere = engine.home().join("absent/isobar.backup").display().to_string();
    engine.run(&["backup", &nowhere]).ended_with(5).says(&["absent"]);
    let left: Vec<String> = fs::read_dir(engine.home())
        .expect("the folder can be read")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn what_cannot_be_restored_is_refused_with_its_reason() {
    let (mut engine, backup) = backed_up();
    engine.stop();
    let path = backup.display().to_string();
    engine
        .run(&["restore", &path])
        .ended_with(3)
        .says(&["is not empty", "hint: "]);

    let empty = engine.home().join("empty").display().to_string();
    let whole = fs::read(&backup).expect("the backup can be read");
    let cut = engine.home().join("cut");
    fs::write(&cut, &whole[..whole.len() / 2]).expect("the folder can be written");
    let cut = cut.display().to_string();
    engine
        .run(&["restore", &cut, "--data", &empty])
        .ended_with(2)
        .says(&["cut short"]);
    let spec = engine.keep_spec(&spec::idle(1));
    engine
        .run(&["restore", &spec, "--data", &empty])
        .ended_with(2)
        .says(&["no backup"]);
    // A refused one leaves the store empty.
    engine.run(&["restore", &path, "--data", &empty]).done();
}
