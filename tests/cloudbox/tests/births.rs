//! The agent of a guest finds out by itself on which cloud it is, and who it is. These boot machines.
#![cfg(feature = "vm")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use isobar_engine_model::id::{
    AttemptNo, ClusterName, Epoch, ImageId, MachineId, OperationId, ProviderId, ResourceHandle, SiteName,
};
use isobar_engine_provider::{
    CreateResource, MachineRequest, Owner, OwnerTags, Provider, ResourceSpec, Secret, Site, Token,
};
use isobar_node_image_protocol::identity::Identity;
use isobar_providers_sim::{SIM_IMAGE, SimProvider};
use isobar_tests_cloudbox::{Cloudbox, HOST_SEEN_BY_GUESTS, Image, Images};
use isobar_tests_clouds::world::{Cloud, Pages, World};
use tokio::net::TcpListener;

/// A guest calls home within this time, and is gone within it.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

fn images() -> Images {
    let folder = std::env::var_os("ISOBAR_IMAGE")
        .map(PathBuf::from)
        .expect("ISOBAR_IMAGE names the node image");
    let node = Image::of(&folder).expect("a node image: `./dev image` makes it");
    Images { node, engine: None }
}

/// A machine of a cloud whose node calls home at this port of its host.
fn machine(world: &World, cloud: Cloud, port: u16) -> CreateResource {
    let identity = Identity {
        engines: vec![format!("{HOST_SEEN_BY_GUESTS}:{port}")],
        ca_der_hex: "3082".to_owned(),
        token_hex: "00112233445566778899aabbccddeeff".to_owned(),
        machine: "general-1".to_owned(),
        insecure_registries: Vec::new(),
    };
    let offering = world.cloud(cloud).offerings(cloud.region()).remove(0);
    CreateResource {
        site: Site {
            name: SiteName::new("here").expect("a name"),
            provider: ProviderId::new("sim").expect("a name"),
            region: cloud.region().to_owned(),
            settings: BTreeMap::new(),
        },
        name: "general-1".to_owned(),
        token: Token("token-1".to_owned()),
        tags: OwnerTags {
            owner: Owner {
                store: "store".to_owned(),
                cluster: ClusterName::new("box").expect("a name"),
            },
            machine: MachineId::new("general-1"),
            operation: OperationId::new("op-1"),
            attempt: AttemptNo(1),
            epoch: Epoch(1),
        },
        spec: ResourceSpec::Machine(MachineRequest {
            zone: offering.zone,
            offering: offering.id,
            image: ImageId::new(SIM_IMAGE),
            identity: Secret(serde_json::to_vec(&identity).expect("text")),
            open_ports: (30_000, 30_001),
            network: Default::default(),
        }),
    }
}

async fn until(what: &str, cloudbox: &Cloudbox, handle: &ResourceHandle, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("{what}: {}", cloudbox.console(handle).unwrap_or_default());
    }
}

/// A machine of this cloud calls home where its user data says, and goes with its machine.
async fn is_born(kind: Cloud) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let world = World::serve(folder.path(), Pages::Small, |_, config| config).await;
    let world = world.expect("loopback has free ports");
    let cloud = world.cloud(kind).clone();
    let provider = SimProvider::new(ProviderId::new("sim").expect("a name"), cloud.clone());
    let cloudbox = Cloudbox::open(cloud, world.machines(kind), images(), folder.path());
    let home = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let request = machine(&world, kind, home.local_addr().expect("it is bound").port());
    let made = provider.create(&request).await.expect("the cloud never fails");

    let called = tokio::time::timeout(PATIENCE, home.accept()).await;
    let console = || cloudbox.console(&made.handle).unwrap_or_default();
    assert!(called.is_ok(), "{kind:?}: nobody called home:\n{}", console());

    let process = cloudbox.guests()[&made.handle].pid;
    provider
        .delete(&request.site, &made.handle, &request.token)
        .await
        .expect("it is there");
    until("it runs on", &cloudbox, &made.handle, || cloudbox.guests().is_empty()).await;
    let proc = format!("/proc/{process}");
    until("its process runs on", &cloudbox, &made.handle, || {
        !Path::new(&proc).exists()
    })
    .await;
}

#[tokio::test]
async fn on_aws() {
    is_born(Cloud::Aws).await;
}

#[tokio::test]
async fn on_azure() {
    is_born(Cloud::Azure).await;
}

#[tokio::test]
async fn on_gcp() {
    is_born(Cloud::Gcp).await;
}
