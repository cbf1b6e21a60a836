//! `isobar bootstrap`, booted: the engine runs on a machine of a cloud, from the engine image, with what that cloud's metadata
//! service gives it and no key; it buys machines that boot and serve. Its machine is deleted with its disk, and it comes back on
//! another one from a backup: the machines that it had bought serve on, find it, and are given back.

#![cfg(feature = "vm")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::path::PathBuf;

use isobar_node_image_protocol::identity::ENGINE_NODE_PORT;
use isobar_tests_cloudbox::booted::Machine;
use isobar_tests_cloudbox::{Boots, HOST_SEEN_BY_GUESTS};
use isobar_tests_clouds::world::Cloud;
use isobar_tests_e2e::command::{self, Ended};
use isobar_tests_e2e::guests::{Guests, page};
use isobar_tests_e2e::lead::Lead;
use isobar_tests_e2e::registry::Registry;
use isobar_tests_e2e::wait::{BOOT, SOON, within};
use isobar_tests_e2e::{apart, spec};
use serde_json::{Value, json};

/// Whose machines they are: a machine that is gone is missed there soonest.
const CLOUD: Cloud = Cloud::Gcp;
const ACCOUNT: &str = "engine@shop-1.iam.gserviceaccount.com";

struct Owner {
    home: tempfile::TempDir,
    registry: Registry,
    clouds: Guests,
    /// How nodes find the engine.
    name: Lead,
}

impl Owner {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            registry: Registry::start(),
            clouds: Guests::with_engines(),
            name: Lead::from(apart::ELSEWHERE),
        }
    }

    fn data(&self) -> PathBuf {
        let data = self.home.path().join("owner");
        std::fs::create_dir_all(&data).unwrap();
        data
    }

    fn run(&self, args: &[&str]) -> Ended {
        let mut command = command::command(&self.data(), args);
        Ended::of(&command.envs(self.clouds.world().environment()).output().unwrap())
    }

    fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--output", "json"]).collect();
        self.run(&args).done().json()
    }

    /// Where the cloud answers machines of its own.
    fn endpoint_inside(&self) -> String {
        self.clouds
            .world()
            .endpoint(CLOUD)
            .replace("127.0.0.1", HOST_SEEN_BY_GUESTS)
    }

    /// Puts the engine on a machine, and leads its name there.
    fn bootstrap(&self, more: &[&str]) -> Value {
        let site = json!({ "cluster": "any", "sites": { "fra": self.clouds.world().site(CLOUD) }, "pools": {
            "any": { "machines": { "min": 0, "max": 1 } },
        } });
        let spec = spec::keep(self.home.path(), &site.to_string());
        let name = format!("{}:{}", apart::ELSEWHERE, self.name.port());
        let (registry, inside) = (self.registry.seen_by_machines(), self.endpoint_inside());
        let mut args = vec!["bootstrap", &spec, "--site", "fra", "--image", CLOUD.engine_image()];
        args.extend(["--machine-identity", ACCOUNT, "--public-address", "--advertise", &name]);
        args.extend(["--insecure-registry", &registry, "--allow-endpoint", &inside]);
        args.extend(["--allow-endpoint", self.clouds.world().endpoint(CLOUD), "--yes"]);
        args.extend(more);
        let done = self.json(&args);
        let engine = self.machine(Boots::Engine).expect("it runs").guest.unwrap();
        self.name.to((engine.host_address, ENGINE_NODE_PORT).into());
        done
    }

    fn machine(&self, boots: Boots) -> Option<Machine> {
        let is_one = |machine: &Machine| machine.guest.is_some_and(|guest| guest.boots == boots);
        self.clouds.machines(CLOUD).into_iter().find(is_one)
    }

    /// One machine, with a service.
    fn apply_shop(&self) {
        let mut site = self.clouds.world().site(CLOUD);
        site["settings"]["endpoint"] = json!(self.endpoint_inside());
        let shop = json!({
            "cluster": "shop",
            "sites": { "fra": site },
            "pools": { "general": { "machines": { "min": 1, "max": 1 } } },
            "workloads": { "web": {
                "kind": { "service": { "replicas": 1 } },
                "image": self.registry.image(),
                "resources": { "cpu": "100m", "memory": "64MiB" },
                "ports": { "http": { "container": 8080, "publish": "auto" } },
                "health": { "probe": { "http": { "port": "http", "path": "/" } }, "interval_seconds": 1 },
            } },
        });
        let file = spec::keep(self.home.path(), &shop.to_string());
        self.json(&["apply", &file, "--yes"]);
    }

    /// Where this computer reaches the service, once the engine has heard that it is well.
    fn service(&self) -> SocketAddr {
        let inside: SocketAddr = within(BOOT, "the service is well", || {
            let answer = self.json(&["query", "replicas"]);
            let view = &answer["replicas"][0];
            let is_well = view["replica"]["phase"]["healthy"] == true;
            let address = view["addresses"]["http"].as_str().filter(|_| is_well);
            address
                .and_then(|address| address.parse().ok())
                .ok_or_else(|| view.to_string())
        });
        let guest = self.machine(Boots::Node).expect("it runs").guest.unwrap();
        (guest.host_address, inside.port()).into()
    }
}

#[test]
fn an_engine_on_a_machine_of_its_own_is_lost_with_it_and_comes_back_on_another_one() {
    let this = "an_engine_on_a_machine_of_its_own_is_lost_with_it_and_comes_back_on_another_one";
    apart::run(this, there_and_back_again);
}

fn there_and_back_again() {
    let owner = Owner::new();
    let first = owner.bootstrap(&[]);
    assert!(first["token"].is_string(), "{first}");
    owner.apply_shop();
    let service = owner.service();
    assert!(page(service).unwrap().contains("hello from web-1"));
    let backup = owner.home.path().join("isobar.backup").display().to_string();
    owner.json(&["backup", &backup]);

    // Somebody deletes the engine's machine; what it has bought serves on.
    let engine = owner.machine(Boots::Engine).unwrap();
    owner.clouds.world().cloud(CLOUD).remove(&engine.handle);
    within(SOON, "its guest has ended", || match owner.machine(Boots::Engine) {
        None => Ok(()),
        Some(_) => Err("it runs".to_owned()),
    });
    assert!(page(service).unwrap().contains("hello from web-1"));
    owner.run(&["status"]).ended_with(4);

    let back = owner.bootstrap(&["--restore", &backup]);
    assert_eq!(back["restored"], true);
    owner.run(&["recover", "end"]).done();
    assert_eq!(owner.service(), service, "the same machine, untouched");
    assert!(page(service).unwrap().contains("hello from web-1"));

    owner.run(&["destroy", "shop", "--yes"]).done();
    let endpoint = owner.clouds.world().endpoint(CLOUD);
    owner
        .run(&["bootstrap", "--destroy", "--yes", "--allow-endpoint", endpoint])
        .done();
    let cloud = owner.clouds.world().cloud(CLOUD);
    assert_eq!(
        (cloud.machines().len(), cloud.parts().len(), cloud.networks().len()),
        (0, 0, 0)
    );
}
