//! `kill -9` of a process in the middle of its commits: nothing that was acknowledged is lost, nothing is half there.
//!
//! Its `main` is its own, since it starts itself as the child. The child says on its standard output what was acknowledged.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use isobar_engine_store::conformance::{HOME, claimed, insert, update};
use isobar_engine_store::sql::SqlStore;
use isobar_engine_store::{Store, Table, Write};

/// Tells a child that it is one, and where its store is.
const CHILD_FOLDER: &str = "ISOBAR_TEST_KILL_FOLDER";
/// What a child says before it opens its store.
const STARTED: &str = "started";
/// How often a child is killed while it commits.
const KILLS: u64 = 12;
/// How often a child is killed while it makes its store.
const KILLS_WHILE_MADE: u64 = 12;
/// The key of the row that counts the commits.
const COUNTER: &str = "counter";

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match std::env::var_os(CHILD_FOLDER) {
        Some(folder) => runtime.block_on(commit_until_killed(Path::new(&folder))),
        None => {
            runtime.block_on(a_store_killed_while_it_is_made_is_whole_or_not_there());
            runtime.block_on(acknowledged_commits_outlive_their_process());
        }
    }
    ExitCode::SUCCESS
}

async fn acknowledged_commits_outlive_their_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut last_acknowledged = 0;
    let mut commits_cut_off = 0;
    for kill in 0..KILLS {
        let (mut child, mut lines) = start(folder.path());
        let wanted = last_acknowledged + 1 + kill % 5;
        while last_acknowledged < wanted {
            let line = lines.next().expect("the child goes on").expect("the child's output");
            last_acknowledged = line.parse().unwrap_or(last_acknowledged);
        }
        child.kill().expect("the child runs");
        child.wait().expect("the child ends");
        // What it said before it died counts, though nobody had read it yet.
        for line in lines.map_while(Result::ok) {
            last_acknowledged = line.parse().unwrap_or(last_acknowledged);
        }
        let found = commits(folder.path()).await;
        let acknowledged_or_next = last_acknowledged..=last_acknowledged + 1;
        assert!(
            acknowledged_or_next.contains(&found),
            "{found} commits, {last_acknowledged} acknowledged"
        );
        commits_cut_off += u64::from(found == last_acknowledged);
        last_acknowledged = found;
    }
    assert!(
        commits_cut_off > 0,
        "no kill hit a commit under way: the test proves nothing"
    );
    report(&format!(
        "{KILLS} kills, {commits_cut_off} in a commit, {last_acknowledged} commits, none lost"
    ));
}

async fn a_store_killed_while_it_is_made_is_whole_or_not_there() {
    for kill in 0..KILLS_WHILE_MADE {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut child, mut lines) = start(folder.path());
        assert_eq!(
            lines.next().expect("the child goes on").expect("the child's output"),
            STARTED
        );
        // Later by a little each time: through the folder, the tables, the new name.
        for _ in 0..kill {
            std::fs::read_dir("/proc").expect("linux").for_each(drop);
        }
        child.kill().expect("the child runs");
        child.wait().expect("the child ends");
        commits(folder.path()).await;
    }
}

/// How many commits a store holds, having checked that it holds each of them whole.
async fn commits(folder: &Path) -> u64 {
    let store = SqlStore::open(folder, "store").await.expect("a whole store");
    let counter = store.get(Table::Cluster, COUNTER).await.expect("an answer");
    let commits = counter.map_or(0, |row| row.revision);
    let mut expected = 0;
    for commit in 1..=commits {
        expected += batch(commit).len() - 1;
    }
    let rows = store
        .scan(None, Table::Attempt, None, u32::MAX)
        .await
        .expect("an answer");
    assert_eq!(rows.len(), expected, "rows of {commits} commits");
    store.close().await.expect("an end");
    commits
}

/// The child: commits until it is killed, and says so after each.
async fn commit_until_killed(folder: &Path) {
    report(STARTED);
    let store = SqlStore::open(folder, "store").await.expect("a whole store");
    let epoch = claimed(&store, HOME).await;
    let counter = store.get(Table::Cluster, COUNTER).await.expect("an answer");
    let mut commits = counter.map_or(0, |row| row.revision);
    loop {
        commits += 1;
        store.commit(HOME, epoch, &batch(commits)).await.expect("a commit");
        report(&commits.to_string());
    }
}

/// The writes of a commit: large enough that a kill after an acknowledgement meets the next one under way.
fn batch(commit: u64) -> Vec<Write> {
    let body = "x".repeat(500);
    let rows = 100 + commit % 7 * 300;
    let mut batch: Vec<Write> = (0..rows)
        .map(|row| insert(Table::Attempt, &format!("{commit:06}/{row:06}"), &body))
        .collect();
    batch.push(match commit {
        1 => insert(Table::Cluster, COUNTER, "{}"),
        later => update(Table::Cluster, COUNTER, later - 1, "{}"),
    });
    batch
}

fn start(folder: &Path) -> (Child, impl Iterator<Item = std::io::Result<String>>) {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    let mut child = command
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .expect("a child");
    let output = child.stdout.take().expect("it was piped");
    (child, BufReader::new(output).lines())
}

fn report(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")
        .and_then(|()| output.flush())
        .expect("somebody reads");
}
