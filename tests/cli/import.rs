//! Importing states over a real engine: what is found, how the command ends, and that no secret leaves its process.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::serve::Engine;
use crate::{command, isobar, text};

/// In every place of a state that may hold one.
const SECRET: &str = "hunter2-a-planted-secret";

fn state() -> String {
    let instance = json!({
        "schema_version": 1,
        "attributes": {
            "id": "i-0abc", "arn": "arn:aws:ec2:eu-central-1:123456789012:instance/i-0abc",
            "availability_zone": "eu-central-1a", "user_data": SECRET, "password_data": SECRET,
            "tags": {"secret": SECRET},
        },
        "sensitive_attributes": [], "private": SECRET,
    });
    let state = json!({
        "version": 4, "terraform_version": "1.11.4", "serial": 7, "lineage": "0000-1111",
        "outputs": {"password": {"value": SECRET, "type": "string", "sensitive": true}},
        "resources": [
            {"mode": "managed", "type": "aws_instance", "name": "web",
             "provider": "provider[\"registry.terraform.io/hashicorp/aws\"]", "instances": [instance]},
            {"mode": "managed", "type": "random_password", "name": "db",
             "provider": "provider[\"registry.terraform.io/hashicorp/random\"]",
             "instances": [{"schema_version": 3, "attributes": {"id": "none", "result": SECRET}}]},
        ],
    });
    state.to_string()
}

const SITES: &str = "\
cluster: estate
sites:
  frankfurt: {provider: aws, region: eu-central-1}
pools:
  none: {machines: {min: 0, max: 1}}
";

fn import(data: &Path, more: &[&str]) -> Output {
    let args = [
        "import",
        "terraform",
        "web.tfstate",
        "--cluster",
        "estate",
        "-o",
        "json",
    ];
    isobar(data, &[&args, more].concat())
}

fn has_secret(folder: &Path) -> bool {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let kept = files.filter(|file| file.is_file() && file.extension().is_none_or(|ending| ending != "tfstate"));
    let mut kept = kept.map(|file| fs::read(file).unwrap_or_default());
    kept.any(|bytes| bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()))
}

#[test]
fn every_object_of_a_state_is_accounted_for_and_no_secret_leaves_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    fs::write(data.join("web.tfstate"), state()).unwrap();
    fs::write(data.join("sites.yaml"), SITES).unwrap();
    let mut engine = Engine::start(data);

    let output = import(data, &[]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(11), "{told}{}", text(&output.stderr));
    let report: Value = serde_json::from_str(&told).unwrap();
    let found = &report["states"][0]["found"];
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(found[0]["found"], "unreachable");
    assert!(
        found[0]["because"]
            .as_str()
            .unwrap()
            .contains("aws 123456789012, region eu-central-1")
    );
    let left = &report["states"][0]["left"];
    assert_eq!(left[0]["address"], "random_password.db");

    for kept in [&output.stdout, &output.stderr] {
        assert!(!text(kept).contains(SECRET));
    }
    assert_eq!(engine.stop(), Some(0));
    assert!(!has_secret(data), "a secret is in the engine's folder");
}

#[test]
fn what_is_no_state_is_refused_and_a_spec_that_somebody_wrote_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    fs::write(data.join("web.tfstate"), "<!doctype html><html></html>").unwrap();
    let output = import(data, &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(error["error"]["hint"].is_string(), "{error}");

    fs::write(data.join("web.tfstate"), state()).unwrap();
    fs::write(data.join("sites.yaml"), SITES).unwrap();
    let _engine = Engine::start(data);
    let output = import(data, &["--write-spec", "sites.yaml"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(data.join("sites.yaml")).unwrap(), SITES);
}

#[test]
fn a_key_stands_in_the_environment_and_never_in_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("web.tfstate"), state()).unwrap();
    let args = ["import", "terraform", "web.tfstate", "--cluster", "estate"];
    let output = command(dir.path(), &args)
        .env("ISOBAR_STATE_KEY", SECRET)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(
        told.contains("ISOBAR_STATE_KEY is no key") && !told.contains(SECRET),
        "{told}"
    );
}
