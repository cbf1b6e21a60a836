//! Somebody with the store's file and without its key changes the audit log: `isobar audit verify` finds it, and says
//! where. No machine boots in these.

use isobar_tests_e2e::engine::{Engine, Setup};
use isobar_tests_e2e::spec;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// How often the cluster is changed: each time is one entry for the acceptance and one for the end.
const CHANGES: u32 = 3;
/// The log's entries, oldest first: a head's key sorts after every number.
const ENTRIES: &str = "SELECT key, body FROM audit WHERE key NOT LIKE '%head%' ORDER BY key";

/// The store's file, opened beside the engine.
struct Intruder {
    runtime: tokio::runtime::Runtime,
    store: DatabaseConnection,
}

impl Intruder {
    fn of(engine: &Engine) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let file = engine.data().join("isobar.db");
        let store = runtime.block_on(Database::connect(format!("sqlite://{}", file.display())));
        Self {
            runtime,
            store: store.expect("the file is SQLite's"),
        }
    }

    fn entries(&self) -> Vec<(String, String)> {
        let all = Statement::from_string(DbBackend::Sqlite, ENTRIES);
        let rows = self.runtime.block_on(self.store.query_all_raw(all)).expect("a table");
        let text = |row: &sea_orm::QueryResult, column: &str| row.try_get::<String>("", column).expect("text");
        rows.iter().map(|row| (text(row, "key"), text(row, "body"))).collect()
    }

    fn put(&self, key: &str, body: &str) {
        let values = [body.into(), key.into()];
        self.run(Statement::from_sql_and_values(
            DbBackend::Sqlite,
            "UPDATE audit SET body = ? WHERE key = ?",
            values,
        ));
    }

    fn remove(&self, key: &str) {
        let values = [key.into()];
        self.run(Statement::from_sql_and_values(
            DbBackend::Sqlite,
            "DELETE FROM audit WHERE key = ?",
            values,
        ));
    }

    fn run(&self, statement: Statement) {
        let done = self
            .runtime
            .block_on(self.store.execute_raw(statement))
            .expect("it is written");
        assert_eq!(done.rows_affected(), 1);
    }
}

/// An engine that has changed a cluster a few times.
fn changed_cluster() -> Engine {
    let engine = Setup::without_machines().start();
    for tag in 1..=CHANGES {
        engine.json(&["apply", &engine.keep_spec(&spec::idle(tag)), "--yes"]);
    }
    engine
}

fn verdict(engine: &Engine, code: i32) -> Value {
    let ended = engine.run(&["audit", "verify", "--output", "json"]).ended_with(code);
    serde_json::from_str(&ended.stdout).expect("JSON")
}

#[test]
fn a_log_that_nobody_touched_is_intact_also_after_a_restart() {
    let mut engine = changed_cluster();
    let before = verdict(&engine, 0);
    assert_eq!(
        (&before["intact"], &before["checked"]),
        (&true.into(), &(2 * CHANGES).into())
    );
    engine.kill();
    engine.start_again();
    assert_eq!(verdict(&engine, 0), before);
}

#[test]
fn an_entry_that_was_changed_is_named() {
    let engine = changed_cluster();
    let intruder = Intruder::of(&engine);
    let (key, body) = intruder.entries().swap_remove(1);
    intruder.put(&key, &body.replace("succeeded", "cancelled"));
    let found = verdict(&engine, 3);
    assert_eq!(
        (&found["intact"], &found["first_bad"]["sequence"]),
        (&false.into(), &2.into()),
        "{found}"
    );
    let told = engine.run(&["audit", "verify"]).ended_with(3);
    assert!(told.stdout.contains("tampered with: entry"), "{}", told.stdout);
    intruder.put(&key, &body);
    assert_eq!(verdict(&engine, 0)["intact"], true);
}

#[test]
fn an_entry_that_was_removed_is_missed() {
    let engine = changed_cluster();
    let intruder = Intruder::of(&engine);
    let entries = intruder.entries();
    intruder.remove(&entries[2].0);
    assert_eq!(verdict(&engine, 3)["first_bad"]["sequence"], 3);
}

#[test]
fn the_newest_entries_are_missed_too() {
    let engine = changed_cluster();
    let intruder = Intruder::of(&engine);
    for (key, _) in intruder.entries().iter().rev().take(2) {
        intruder.remove(key);
    }
    let found = verdict(&engine, 3);
    assert_eq!(found["first_bad"]["sequence"], 2 * CHANGES - 1, "{found}");
}

#[test]
fn a_chain_that_was_recomputed_without_the_key_is_not_believed() {
    let engine = changed_cluster();
    let intruder = Intruder::of(&engine);
    let mut previous = String::new();
    for (key, body) in intruder.entries() {
        let mut row: Value = serde_json::from_str(&body).expect("JSON");
        row["entry"]["why"] = "nothing to see here".into();
        previous = hex::encode(Sha256::digest(format!("{previous}{}", row["entry"])));
        row["mac"] = previous.clone().into();
        intruder.put(&key, &row.to_string());
    }
    assert_eq!(verdict(&engine, 3)["first_bad"]["sequence"], 1);
}
