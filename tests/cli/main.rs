//! The command as a shell sees it: output, errors, exit codes. Engines in it are real ones, on a store of their own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod import;
mod serve;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use expect_test::{Expect, expect};
use serde_json::Value;

fn isobar(data: &Path, args: &[&str]) -> Output {
    command(data, args).output().unwrap()
}

fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isobar"));
    command
        .args(args)
        .env_clear()
        .env("ISOBAR_DATA", data)
        .current_dir(data)
        .stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn check(args: &[&str], expect: Expect) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.yaml"), BAD_SPEC).unwrap();
    let output = isobar(dir.path(), args);
    let folder = dir.path().display().to_string();
    let told = format!("{}{}", text(&output.stdout), text(&output.stderr)).replace(&folder, "DATA");
    expect.assert_eq(&format!("{told}[{}]\n", output.status.code().unwrap()));
}

const BAD_SPEC: &str = "\
cluster: shop
sites:
  north: { provider: local, regon: north }
pools:
  general: { machines: { min: 1, max: 0 } }
";

#[test]
fn help_names_every_command_and_every_exit_code() {
    check(
        &["--help"],
        expect![[r#"
            Provisions clusters of machines across sites and moves workloads between them

            Usage: isobar [OPTIONS] <COMMAND>

            Commands:
              serve        Start the engine and serve MCP
              bootstrap    Put an engine on a machine that is bought for it
              connect      Have the commands of this computer ask an engine on another one
              mcp          Serve MCP on standard input and output, for a client that starts its servers
              plan         Show what a spec would change and cost, without doing it
              apply        Show the plan for a spec, ask, and carry out that very plan
              status       Show clusters, their machines and replicas
              query        List things of a cluster
              move         Run a workload on other sites, without falling below its healthy replicas
              scale        Change how many replicas a service has
              drain        Replace a machine: its replicas move elsewhere first
              logs         Print the output of a replica, or a machine's serial console
              import       Take over what others made
              explain      Say why something is as it is
              leaks        List what clouds still have that the journal does not know, and what is done about it
              audit        List who changed what, newest first; `verify` finds tampering
              backup       Write everything in the store to a file, also while engines run
              restore      Fill an empty store from a backup; `isobar recover` goes on from there
              recover      After a restore: list what the backup does not know, adopt or release it, go on
              destroy      Stop everything of a cluster and release every machine
              operation    Look at an operation, stop it, or wait for its end
              terraform    Look at the states that Terraform keeps here, get a version, unlock
              schema       Print the JSON Schema of specs
              check        Check a spec; needs no engine
              completions  Print completions for a shell
              help         Print this message or the help of the given subcommand(s)

            Options:
                  --data <DIR>       The engine's data folder [default: isobar in the user's data folder] [env:
                                     ISOBAR_DATA]
              -o, --output <FORMAT>  Tables for people, or one JSON document for programs; errors too, on
                                     standard error [default: text] [possible values: text, json]
              -h, --help             Print help
              -V, --version          Print version

            Exit codes:
                0  done
                1  the operation failed or was cancelled by someone else
                2  wrong usage, or a spec with errors
                3  refused: a stale plan, a busy cluster, a limit, a missing thing, a second engine
                4  no engine answers, or its provider does not: try again
                5  a bug or an unexpected answer
               10  `plan --exit-code`: there is something to do
               11  `import`: an object is missing, drifted, not reached, or a question is open
              130  interrupted

            Getting started:
              isobar serve                      start the engine, in another terminal
              isobar apply examples/shop.yaml   show the plan, ask, carry it out
              isobar status --watch             look on
            [0]
        "#]],
    );
}

#[test]
fn help_of_a_command_has_examples() {
    check(
        &["move", "--help"],
        expect![[r#"
            Run a workload on other sites, without falling below its healthy replicas

            Usage: isobar move [OPTIONS] <WORKLOAD>

            Arguments:
              <WORKLOAD>  Which workload

            Options:
                  --data <DIR>              The engine's data folder [default: isobar in the user's data folder]
                                            [env: ISOBAR_DATA]
                  --from <SITE>             Away from this site; may be given more than once
              -o, --output <FORMAT>         Tables for people, or one JSON document for programs; errors too, on
                                            standard error [default: text] [possible values: text, json]
                  --to <SITE>               Only to this site; may be given more than once
              -c, --cluster <CLUSTER>       Of which cluster; may be left out when there is one
                  --max-dearer-percent <N>  The cluster may cost at most so many per cent more than now
              -y, --yes                     Carry out without asking
                  --detach                  Return as soon as the operation has begun
              -h, --help                    Print help

            Examples:
              isobar move web --from east --to west
              isobar move web --from east --max-dearer-percent 10
            [0]
        "#]],
    );
}

#[test]
fn wrong_usage_ends_with_2() {
    check(
        &["plam"],
        expect![[r#"
        error: unrecognized subcommand 'plam'

          tip: some similar subcommands exist: 'explain', 'plan'

        Usage: isobar [OPTIONS] <COMMAND>

        For more information, try '--help'.
        [2]
    "#]],
    );
    check(
        &["apply"],
        expect![[r#"
        error: the following required arguments were not provided:
          <FILE>

        Usage: isobar apply --data <DIR> <FILE>

        For more information, try '--help'.
        [2]
    "#]],
    );
    check(
        &["move", "web"],
        expect![[r#"
        error: the following required arguments were not provided:
          --to <SITE>

        Usage: isobar move --data <DIR> --to <SITE> <WORKLOAD>

        For more information, try '--help'.
        [2]
    "#]],
    );
    check(
        &["scale", "Web", "3"],
        expect![[r#"
        error: invalid value 'Web' for '<WORKLOAD>': `Web` is not a name: use 1 to 32 of a-z, 0-9 and `-`, starting with a letter and not ending with `-`

        For more information, try '--help'.
        [2]
    "#]],
    );
    check(
        &["logs", "web-1", "--follow", "--output", "json"],
        expect![[r#"
        {
          "error": {
            "code": "usage",
            "hint": "leave out --follow, and give `next` of one answer as `after` of the next call of the tool `logs`",
            "message": "--follow has no end, so it is no JSON document"
          }
        }
        [2]
    "#]],
    );
    check(
        &["serve", "--listen", "0.0.0.0:0"],
        expect![[r#"
            error: --listen 0.0.0.0:0 names no host that callers could know it by
              hint: name one with --advertise HOST:PORT, or listen on one address
            [2]
        "#]],
    );
}

#[test]
fn a_spec_is_checked_without_an_engine() {
    check(
        &["check", "bad.yaml"],
        expect![[r#"
        error: bad.yaml:3:29: sites.north.regon: unknown field
          hint: did you mean `region`? allowed: provider, region, settings
        bad.yaml:5:39: pools.general.machines.max: 0 is out of range: 1 to 10000 are allowed
        [2]
    "#]],
    );
    check(
        &["apply", "bad.yaml", "--yes"],
        expect![[r#"
        error: bad.yaml:3:29: sites.north.regon: unknown field
          hint: did you mean `region`? allowed: provider, region, settings
        bad.yaml:5:39: pools.general.machines.max: 0 is out of range: 1 to 10000 are allowed
        [2]
    "#]],
    );
    check(
        &["check", "absent.yaml"],
        expect![[r#"
        error: read absent.yaml
          caused by: No such file or directory (os error 2)
          hint: name a file with a spec, YAML or JSON
        [2]
    "#]],
    );
    let dir = tempfile::tempdir().unwrap();
    let output = isobar(dir.path(), &["check", "-o", "json", "/dev/null"]);
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(
        (error["error"]["code"].as_str(), output.status.code()),
        (Some("invalid_spec"), Some(2))
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn without_an_engine_the_error_says_how_to_start_one() {
    check(
        &["status"],
        expect![[r#"
        error: no engine runs with the data folder DATA
          hint: start one with `isobar serve`, or name its folder with --data
        [4]
    "#]],
    );
    check(
        &["status", "--output", "json"],
        expect![[r#"
        {
          "error": {
            "code": "unreachable",
            "hint": "start one with `isobar serve`, or name its folder with --data",
            "message": "no engine runs with the data folder DATA"
          }
        }
        [4]
    "#]],
    );
    check(
        &["destroy", "shop", "--yes"],
        expect![[r#"
        error: no engine runs with the data folder DATA
          hint: start one with `isobar serve`, or name its folder with --data
        [4]
    "#]],
    );
}

#[test]
fn the_schema_is_one_json_document() {
    let dir = tempfile::tempdir().unwrap();
    let output = isobar(dir.path(), &["schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["required"], serde_json::json!(["cluster", "sites", "pools"]));
}

#[test]
fn completions_know_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&isobar(dir.path(), &["completions", shell]).stdout);
        assert!(script.contains("destroy"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path(), &["schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}
