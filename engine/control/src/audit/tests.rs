use std::sync::Arc;

use isobar_engine_model::id::{ClusterName, OperationId, PlanId};
use isobar_engine_model::operation::Operation;
use isobar_engine_store::Write;
use isobar_engine_store::memory::MemoryStore;
use tokio_util::sync::CancellationToken;

use super::verify::verify;
use super::*;
use crate::api::{AuditRequest, AuditVerdict};
use crate::ledger::Ledger;
use crate::tenure::Tenure;

const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];
const ENTRIES: u64 = 5;

/// A store with a log of some entries, and whoever can write it beside the engine.
struct Log {
    store: Arc<MemoryStore>,
    tenure: Tenure,
}

impl Log {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new("test", Arc::new(|| Timestamp(0))));
        let tenure = Tenure::sole(&*store, "engine:1").await.unwrap();
        let log = Self { store, tenure };
        log.write(1..=ENTRIES).await;
        log
    }

    /// Adds an entry per number, by an engine that starts and stops.
    async fn write(&self, numbers: impl Iterator<Item = u64>) {
        let stop = CancellationToken::new();
        let (ledger, writer) = Ledger::open(self.store.clone(), self.tenure.clone(), Seals::new(&KEY), stop.clone())
            .await
            .unwrap();
        let writing = tokio::spawn(writer);
        for number in numbers {
            ledger
                .write(move |draft| {
                    let record = operation(number);
                    note(draft, &record, Timestamp(number), AuditWho::Client, AuditWhat::Accepted);
                    draft.put(record);
                })
                .await
                .unwrap();
        }
        stop.cancel();
        writing.await.unwrap();
    }

    async fn verdict(&self) -> AuditVerdict {
        verify(&*self.store, &Seals::new(&KEY)).await.unwrap()
    }

    async fn body(&self, key: &str) -> String {
        self.store.get(Table::Audit, key).await.unwrap().unwrap().body
    }

    /// As somebody who can write the database and has no key.
    async fn tamper(&self, key: &str, body: Option<String>) {
        let (table, key) = (Table::Audit, key.to_owned());
        let row = self.store.get(table, &key).await.unwrap();
        let write = match (row, body) {
            (Some(row), Some(body)) => Write::Update {
                table,
                key,
                expect: row.revision,
                body,
            },
            (Some(row), None) => Write::Delete {
                table,
                key,
                expect: row.revision,
            },
            (None, body) => Write::Insert {
                table,
                key,
                body: body.unwrap(),
            },
        };
        let (shard, epoch) = (self.tenure.shard, self.tenure.epoch);
        self.store.commit(shard, epoch, &[write]).await.unwrap();
    }

    fn key(&self, sequence: u64) -> String {
        entry_key(self.tenure.shard, sequence)
    }

    fn head(&self) -> String {
        head_key(self.tenure.shard)
    }

    /// That the log is found bad at an entry, for a reason; and still is once an engine has gone on with it.
    async fn is_bad(&self, sequence: u64, why: &str) {
        let verdict = self.verdict().await;
        let bad = verdict.first_bad.expect("it was tampered with");
        assert!(!verdict.intact);
        assert_eq!(bad.sequence, sequence, "{}", bad.why);
        assert!(bad.why.contains(why), "{}", bad.why);
        self.write(101..=102).await;
        assert!(
            !self.verdict().await.intact,
            "an engine must not heal what was tampered with"
        );
    }
}

fn operation(number: u64) -> OperationRecord {
    OperationRecord {
        operation: Operation {
            id: OperationId::new(format!("op-{number}")),
            plan: PlanId::new(format!("plan-{number}")),
            cluster: ClusterName::new("shop").unwrap(),
            started: Timestamp(number),
            state: OperationState::Running,
            steps: Vec::new(),
        },
        idempotency_key: format!("key-{number}"),
        why: Some(format!("because {number}")),
    }
}

/// As version 0.1 wrote it: the MACs of stored entries cover this text.
const WRITTEN: &str = r#"{"shard":3,"sequence":7,"at":5,"who":{"who":"client"},"what":{"what":"accepted"},"cluster":"shop","plan":"plan-1","plan_hash":null,"operation":"op-1","idempotency_key":"k","why":null}"#;

#[test]
fn an_entry_that_is_stored_keeps_its_text() {
    let entry: AuditEntry = serde_json::from_str(WRITTEN).unwrap();
    assert_eq!(serde_json::to_string(&entry).unwrap(), WRITTEN);
}

#[tokio::test]
async fn a_log_stays_intact_from_engine_to_engine() {
    let log = Log::new().await;
    log.write(6..=8).await;
    let verdict = log.verdict().await;
    assert_eq!(
        verdict,
        AuditVerdict {
            intact: true,
            checked: 8,
            first_bad: None
        }
    );
    let other = verify(&*log.store, &Seals::new(&[8; KEY_BYTES])).await.unwrap();
    assert!(!other.intact, "another key makes other MACs");
}

#[tokio::test]
async fn a_changed_entry_is_found() {
    let log = Log::new().await;
    let body = log.body(&log.key(3)).await.replace("because 3", "because I may");
    log.tamper(&log.key(3), Some(body)).await;
    log.is_bad(3, "was changed").await;
}

#[tokio::test]
async fn a_field_that_no_engine_wrote_is_found() {
    let log = Log::new().await;
    let body = log.body(&log.key(3)).await.replacen('{', "{\"note\":1,", 1);
    log.tamper(&log.key(3), Some(body)).await;
    log.is_bad(3, "cannot be read").await;
}

#[tokio::test]
async fn a_removed_entry_is_found() {
    let log = Log::new().await;
    log.tamper(&log.key(3), None).await;
    log.is_bad(3, "missing: the next one is 4").await;
}

#[tokio::test]
async fn removed_newest_entries_are_found() {
    let log = Log::new().await;
    log.tamper(&log.key(4), None).await;
    log.tamper(&log.key(5), None).await;
    log.is_bad(4, "the newest entries are missing: there were 5").await;
}

#[tokio::test]
async fn a_head_made_to_fit_what_is_left_is_found() {
    let log = Log::new().await;
    log.tamper(&log.key(5), None).await;
    let mut head: AuditHead = serde_json::from_str(&log.body(&log.head()).await).unwrap();
    let row: AuditRow = serde_json::from_str(&log.body(&log.key(4)).await).unwrap();
    (head.sequence, head.last) = (4, row.mac);
    log.tamper(&log.head(), Some(serde_json::to_string(&head).unwrap()))
        .await;
    log.is_bad(5, "head was changed").await;
}

#[tokio::test]
async fn a_removed_head_is_found() {
    let log = Log::new().await;
    log.tamper(&log.head(), None).await;
    log.is_bad(6, "head is missing").await;
}

#[tokio::test]
async fn an_older_head_is_found() {
    let log = Log::new().await;
    let older = log.body(&log.head()).await;
    log.write(6..=6).await;
    log.tamper(&log.head(), Some(older)).await;
    log.is_bad(7, "head is an older one, of entry 5").await;
}

#[tokio::test]
async fn entries_made_anew_without_the_key_are_found() {
    let log = Log::new().await;
    let forger = Seals::new(&[0; KEY_BYTES]);
    let mut head = None;
    for sequence in 1..=ENTRIES {
        let mut row: AuditRow = serde_json::from_str(&log.body(&log.key(sequence)).await).unwrap();
        row.entry.why = Some("nothing to see".into());
        let (row, next) = forger.append(head.as_ref(), row.entry);
        log.tamper(&log.key(sequence), Some(serde_json::to_string(&row).unwrap()))
            .await;
        head = Some(next);
    }
    log.tamper(&log.head(), Some(serde_json::to_string(&head).unwrap()))
        .await;
    log.is_bad(1, "was changed").await;
}

#[tokio::test]
async fn swapped_entries_are_found() {
    let log = Log::new().await;
    let (two, three) = (log.body(&log.key(2)).await, log.body(&log.key(3)).await);
    log.tamper(&log.key(2), Some(three.clone())).await;
    log.tamper(&log.key(3), Some(two.clone())).await;
    assert_eq!(log.verdict().await.first_bad.unwrap().why, "the entry is 3 of shard 0");
    // Renumbered, too.
    let renumber =
        |body: &str, from: u64, to: u64| body.replace(&format!("\"sequence\":{from}"), &format!("\"sequence\":{to}"));
    log.tamper(&log.key(2), Some(renumber(&three, 3, 2))).await;
    log.tamper(&log.key(3), Some(renumber(&two, 2, 3))).await;
    log.is_bad(2, "was changed").await;
}

#[tokio::test]
async fn an_added_entry_is_found() {
    let log = Log::new().await;
    let body = log.body(&log.key(5)).await.replace("\"sequence\":5", "\"sequence\":6");
    log.tamper(&log.key(6), Some(body)).await;
    log.is_bad(6, "was changed").await;
}

#[tokio::test]
async fn a_refused_change_leaves_no_entry() {
    let log = Log::new().await;
    let stop = CancellationToken::new();
    let (ledger, writer) = Ledger::open(log.store.clone(), log.tenure.clone(), Seals::new(&KEY), stop.clone())
        .await
        .unwrap();
    let refused = ledger.change(|draft| {
        note(
            draft,
            &operation(6),
            Timestamp(6),
            AuditWho::Client,
            AuditWhat::Accepted,
        );
        Err::<(), _>("refused")
    });
    let made = ledger.write(|draft| {
        note(
            draft,
            &operation(7),
            Timestamp(7),
            AuditWho::Client,
            AuditWhat::Accepted,
        );
        note(
            draft,
            &operation(7),
            Timestamp(8),
            AuditWho::Engine,
            AuditWhat::Succeeded,
        );
    });
    // Both wait before the writer runs: one commit.
    let (refused, made, ()) = tokio::join!(refused, made, async {
        tokio::spawn(writer);
    });
    assert_eq!((refused.unwrap(), made.unwrap()), (Err("refused"), ()));
    stop.cancel();
    assert_eq!(log.verdict().await.checked, ENTRIES + 2);
    assert!(log.verdict().await.intact);
}

#[tokio::test]
async fn every_entry_is_listed_once_newest_first() {
    let log = Log::new().await;
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let request = AuditRequest {
            verify: false,
            after,
            limit: Some(2),
        };
        let answer = list::answer(&*log.store, &Seals::new(&KEY), request).await.unwrap();
        listed.extend(answer.entries.iter().map(|entry| entry.sequence));
        after = answer.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, [5, 4, 3, 2, 1]);
    let request = AuditRequest {
        after: Some("x".into()),
        ..AuditRequest::default()
    };
    let refused = list::answer(&*log.store, &Seals::new(&KEY), request).await;
    assert!(refused.is_err(), "no such place was ever given");
}
