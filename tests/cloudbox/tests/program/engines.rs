//! A machine that asks for the engine image boots that, with its data disk, and is where its cloud says that it is.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;

use isobar_engine_model::id::{AttemptNo, ClusterName, Epoch, ImageId, MachineId, OperationId};
use isobar_engine_provider::{
    CreateResource, MachineRequest, Owner, OwnerTags, Provider, ResourceSpec, Secret, Site, Token,
};
use isobar_tests_clouds::aws;
use serde_json::Value;

use crate::callers::{Callers, site};
use crate::running::Program;

const GIB: u64 = 1 << 30;

async fn request(provider: &dyn Provider, site: Site, image: &str) -> CreateResource {
    let catalog = provider.catalog(&site).await.expect("the cloud never fails");
    let offering = catalog.offerings.into_iter().next().expect("there is some");
    CreateResource {
        site,
        name: "iso-engine-1".to_owned(),
        token: Token("token-1".to_owned()),
        tags: OwnerTags {
            owner: Owner {
                store: "0123456789abcdef".to_owned(),
                cluster: ClusterName::new("engine").expect("a name"),
            },
            machine: MachineId::new("engine-1"),
            operation: OperationId::new("op-00000000c0f02a9c"),
            attempt: AttemptNo(1),
            epoch: Epoch(1),
        },
        spec: ResourceSpec::Machine(MachineRequest {
            zone: offering.zone,
            offering: offering.id,
            image: ImageId::new(image),
            identity: Secret(b"who I am".to_vec()),
            open_ports: (7_420, 7_421),
            network: Default::default(),
        }),
    }
}

fn runs(machine: Option<&Value>) -> bool {
    machine.is_some_and(|machine| machine["pid"].is_u64())
}

/// What follows an option.
fn after<'a>(arguments: &'a [String], option: &str) -> Option<&'a str> {
    let place = arguments.iter().position(|argument| argument == option)?;
    arguments.get(place + 1).map(String::as_str)
}

async fn an_engine_s_machine(cloud: &str, own: &[(&str, &str)]) {
    let mut program = Program::start_for_engines();
    let told = program.hear();
    let image = told["engine_images"][cloud].as_str().expect("there is one").to_owned();
    let asked = [
        ("image", image.as_str()),
        ("data_disk_gib", "10"),
        ("public_address", "true"),
    ];
    let site = site(&told["sites"][cloud], &[&asked, own].concat());
    let provider = Callers::of_the_account(&told["environment"]).provider(&site);
    let request = request(&*provider, site, &image).await;
    let made = provider.create(&request).await.expect("the cloud never fails");
    let machine = program.machine(runs).expect("it was made");
    assert_eq!(
        (&machine["cloud"], &machine["boots"]),
        (&cloud.into(), &"engine".into())
    );

    let arguments = program.arguments(machine["pid"].as_u64().expect("it runs"));
    let host = machine["host_address"].as_str().expect("it runs");
    assert_eq!(after(&arguments, "-m"), Some("1024M"));
    let kernel = program.folder("engine").join("vmlinux");
    assert_eq!(after(&arguments, "-kernel"), kernel.to_str());
    let network = after(&arguments, "-netdev").expect("it has one");
    for port in [7_420, 7_421] {
        assert!(network.contains(&format!(",hostfwd=tcp:{host}:{port}-")), "{network}");
    }
    let drive = after(&arguments, "-drive").expect("it has a data disk");
    let disk = PathBuf::from(drive.split_once("file=").expect("it is a file").1);
    let facts = std::fs::metadata(&disk).expect("it is there");
    assert_eq!((facts.len(), facts.blocks()), (10 * GIB, 0), "it is blank");

    let seen = provider.get(&request.site, &made.handle).await.expect("it is there");
    assert_eq!(seen.endpoints[&7_420], format!("{host}:7420"));

    // It turns itself off.
    let pid = machine["pid"].to_string();
    assert!(Command::new("kill").arg(&pid).status().expect("a shell's").success());
    program.machine(|machine| machine.is_some_and(|machine| !runs(Some(machine))));
    assert!(disk.exists(), "it is there until its machine is gone");
    let deleted = provider.delete(&request.site, &made.handle, &request.token).await;
    deleted.expect("it is there");
    program.machine(|machine| machine.is_none());
    assert!(program.ends().success());
    assert!(!disk.exists());
}

#[tokio::test]
async fn on_aws() {
    an_engine_s_machine("aws", &[("machine_identity", "isobar-engine")]).await;
}

#[tokio::test]
async fn on_azure() {
    an_engine_s_machine("azure", &[]).await;
}

#[tokio::test]
async fn on_gcp() {
    an_engine_s_machine("gcp", &[("machine_identity", "engine@shop-1.iam.gserviceaccount.com")]).await;
}

#[tokio::test]
async fn any_other_machine_boots_the_node_image_and_has_nothing_that_it_did_not_ask_for() {
    let mut program = Program::start_for_engines();
    let told = program.hear();
    let site = site(&told["sites"]["aws"], &[]);
    let provider = Callers::of_the_account(&told["environment"]).provider(&site);
    let request = request(&*provider, site, aws::AMI).await;
    let made = provider.create(&request).await.expect("the cloud never fails");
    let machine = program.machine(runs).expect("it was made");
    assert_eq!(machine["boots"], "node");
    let arguments = program.arguments(machine["pid"].as_u64().expect("it runs"));
    assert_eq!(after(&arguments, "-m"), Some("512M"));
    assert_eq!(after(&arguments, "-drive"), None);
    let network = after(&arguments, "-netdev").expect("it has one");
    assert!(network.contains(":30000-") && !network.contains(":7420-"), "{network}");
    let seen = provider.get(&request.site, &made.handle).await.expect("it is there");
    let endpoints: Vec<&String> = seen.endpoints.values().collect();
    assert!(endpoints.iter().all(|at| at.starts_with("10.")), "{endpoints:?}");
    assert!(program.ends().success());
}
