//! An engine on a machine that was bought for it: by the real command, on strict clouds, up to the boot, in whose place the
//! program runs that the machine's agent would start. Its machine is lost, and it comes back on another one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use isobar_tests_clouds::world::{Cloud, Pages};
use isobar_tests_clouds::{aws, azure, gcp};
use isobar_tests_e2e::command::{self, Ended};
use isobar_tests_e2e::emulated::Emulated;
use isobar_tests_e2e::engines::EngineMachines;
use isobar_tests_e2e::wait::{SOON, within};
use isobar_tests_e2e::{apart, shop, spec};
use serde_json::{Value, json};

/// How nodes find the engine, on whichever machine it is: everything of 10.0.0.0/8 is here.
const NAME: &str = "10.0.2.2:7421";

/// Somebody who bootstraps engines, and the clouds.
struct Owner {
    home: tempfile::TempDir,
    cloud: Cloud,
    environment: BTreeMap<&'static str, String>,
    endpoint: String,
    spec: String,
    // Before the clouds.
    _machines: EngineMachines,
    clouds: Emulated,
}

impl Owner {
    fn of(cloud: Cloud) -> Self {
        let home = tempfile::tempdir().unwrap();
        let clouds = Emulated::open(Pages::Small, |_, config| config);
        let environment = clouds.world.environment();
        let machines = home.path().join("machines");
        let site = |name: &str| (name.to_owned(), clouds.world.site(cloud));
        let sites = serde_json::Map::from_iter(["fra", "ams"].map(site));
        let site = shop::anywhere(&sites, 0);
        Self {
            spec: spec::keep(home.path(), &site.to_string()),
            _machines: EngineMachines::of(clouds.world.cloud(cloud).clone(), machines, environment.clone()),
            endpoint: clouds.world.endpoint(cloud).to_owned(),
            environment,
            cloud,
            clouds,
            home,
        }
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("owner")
    }

    fn run(&self, args: &[&str]) -> Ended {
        fs::create_dir_all(self.data()).unwrap();
        let mut command = command::command(&self.data(), args);
        Ended::of(&command.envs(&self.environment).output().unwrap())
    }

    fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--output", "json"]).collect();
        self.run(&args).done().json()
    }

    fn bootstrap_args<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let image = match self.cloud {
            Cloud::Aws => aws::ENGINE_AMI,
            Cloud::Azure => azure::ENGINE_IMAGE,
            Cloud::Gcp => gcp::ENGINE_IMAGE,
        };
        let args = [
            "bootstrap",
            &self.spec,
            "--site",
            "fra",
            "--image",
            image,
            "--allow-endpoint",
            &self.endpoint,
            "--advertise",
            NAME,
            "--yes",
        ];
        args.into_iter().chain(more.iter().copied()).collect()
    }

    fn bootstrap(&self, more: &[&str]) -> Value {
        self.json(&self.bootstrap_args(more))
    }

    /// The engine's machines that run now.
    fn engines(&self) -> usize {
        let machines = self.clouds.world.cloud(self.cloud).machines();
        let is_ours = |tags: &isobar_engine_provider::OwnerTags| tags.owner.cluster.as_str() == "engine";
        machines
            .iter()
            .filter(|machine| machine.tags().is_some_and(is_ours))
            .count()
    }

    /// Gives a cluster to the engine, with a service.
    fn apply_shop(&self) {
        let sites = serde_json::Map::from_iter([("fra".to_owned(), self.clouds.world.site(self.cloud))]);
        let file = spec::keep(self.home.path(), &shop::everywhere(&sites, 2, 2).to_string());
        self.json(&["apply", &file, "--yes"]);
    }

    /// Gives the engine's machine back: nothing is left.
    fn destroy(&self) {
        let args = ["bootstrap", "--destroy", "--yes", "--allow-endpoint", &self.endpoint];
        self.run(&args).done();
        self.clouds.are_empty();
    }

    fn healthy(&self) -> usize {
        let answer = self.json(&["query", "replicas"]);
        let is_healthy = |view: &&Value| view["replica"]["phase"]["healthy"] == true;
        answer["replicas"]
            .as_array()
            .map_or(0, |all| all.iter().filter(is_healthy).count())
    }

    /// The engine's machine, with all that is on it, is no more.
    fn lose_the_machine(&self) {
        let cloud = self.clouds.world.cloud(self.cloud);
        let machines = cloud.machines();
        let engine = machines.iter().find(|machine| {
            machine
                .tags()
                .is_some_and(|tags| tags.owner.cluster.as_str() == "engine")
        });
        cloud.remove(&engine.unwrap().handle);
        within(SOON, "nothing answers", || match self.run(&["status"]).code {
            Some(4) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
}

#[test]
fn an_engine_is_put_on_a_machine_and_comes_back_on_another_when_that_is_lost() {
    let this = "an_engine_is_put_on_a_machine_and_comes_back_on_another_when_that_is_lost";
    apart::run(this, || {
        let owner = Owner::of(Cloud::Gcp);
        let first = owner.bootstrap(&[]);
        let token = first["token"].as_str().expect("it is new").to_owned();
        assert_eq!(first["nodes"], json!([NAME]));
        assert_eq!(owner.engines(), 1);
        let machine = owner.clouds.world.cloud(Cloud::Gcp).machines().remove(0);
        let asked = owner.clouds.world.asked(Cloud::Gcp, &machine).unwrap();
        assert_eq!(
            (asked.image.as_str(), asked.data_disk_gib),
            (gcp::ENGINE_IMAGE, Some(20))
        );
        let birth = String::from_utf8(machine.identity.0).unwrap();
        assert!(
            !birth.contains(&token),
            "whoever reads what it was born with cannot command it"
        );

        // Again: nothing more is bought, and the token is not shown a second time.
        let again = owner.bootstrap(&[]);
        assert_eq!((owner.engines(), &again["token"]), (1, &Value::Null));
        assert_eq!(again["mcp"], first["mcp"]);

        // Nor is it moved: its machine would go.
        let mut elsewhere = owner.bootstrap_args(&[]);
        let site = elsewhere.iter_mut().find(|arg| **arg == "fra").unwrap();
        *site = "ams";
        let refused = owner.run(&elsewhere).ended_with(3);
        refused.says(&["runs in fra", "--restore"]);

        owner.apply_shop();
        assert_eq!(owner.healthy(), 2);
        let backup = owner.home.path().join("isobar.backup").display().to_string();
        let taken = owner.json(&["backup", &backup]);
        assert!(taken["rows"].as_u64().is_some_and(|rows| rows > 0), "{taken}");

        owner.lose_the_machine();
        let refused = owner.run(&owner.bootstrap_args(&[])).ended_with(3);
        refused.says(&["its store with it", "--restore"]);
        let back = owner.bootstrap(&["--restore", &backup]);
        assert_eq!((&back["restored"], owner.engines()), (&json!(true), 1));
        assert_ne!(back["mcp"], first["mcp"], "another machine has another address");
        owner.run(&["recover", "end"]).done();
        within(SOON, "its nodes have found it", || match owner.healthy() {
            2 => Ok(()),
            other => Err(format!("{other} healthy")),
        });

        let refused = owner.run(&["bootstrap", "--destroy", "--yes"]).ended_with(3);
        refused.says(&["looks after shop", "isobar destroy shop"]);
        owner.run(&["destroy", "shop", "--yes"]).done();
        owner
            .run(&["bootstrap", "--destroy", "--yes", "--allow-endpoint", &owner.endpoint])
            .done();
        owner.clouds.are_empty();
    });
}

/// Bought with a disk and an identity in its cloud, asked, and given back.
fn there_and_back(cloud: Cloud, identity: &str) {
    let owner = Owner::of(cloud);
    owner.bootstrap(&["--machine-identity", identity, "--disk", "32"]);
    let machine = owner.clouds.world.cloud(cloud).machines().remove(0);
    let asked = owner.clouds.world.asked(cloud, &machine).unwrap();
    assert_eq!(
        (asked.identity.as_deref(), asked.data_disk_gib),
        (Some(identity), Some(32))
    );
    owner.run(&["status"]).done();
    owner.destroy();
}

#[test]
fn in_azure_too() {
    let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/isobar";
    apart::run("in_azure_too", || there_and_back(Cloud::Azure, id));
}

#[test]
fn in_amazon_s_cloud_too() {
    apart::run("in_amazon_s_cloud_too", || there_and_back(Cloud::Aws, "isobar-engine"));
}

#[test]
fn killed_anywhere_it_goes_on_with_the_machine_that_it_has() {
    apart::run("killed_anywhere_it_goes_on_with_the_machine_that_it_has", || {
        let owner = Owner::of(Cloud::Gcp);
        for point in ["after-send", "before-outcome"] {
            let mut command = command::command(&made(&owner.data()), owner.bootstrap_args(&[]));
            let ended = command
                .envs(&owner.environment)
                .env("ISOBAR_TEST_CRASH_AT", point)
                .output();
            let ended = Ended::of(&ended.unwrap());
            assert_eq!(ended.code, None, "{point}: it was not killed: {}", ended.stderr);
        }
        // And once it waits for the engine.
        let mut command = command::command(&owner.data(), owner.bootstrap_args(&[]));
        command
            .envs(&owner.environment)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut waiting = command.spawn().unwrap();
        within(SOON, "the machine is bought", || match owner.engines() {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        });
        waiting.kill().unwrap();
        waiting.wait().unwrap();

        owner.bootstrap(&[]);
        assert_eq!(owner.engines(), 1);
        owner.run(&["status"]).done();
        owner
            .run(&["bootstrap", "--destroy", "--yes", "--allow-endpoint", &owner.endpoint])
            .done();
        owner.clouds.are_empty();
    });
}

fn made(folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    folder.to_owned()
}
