//! The agent of a guest finds out by itself on which cloud it is, and who it is: a node, or the machine of an engine. These
//! boot machines.
#![cfg(feature = "vm")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use isobar_engine_model::id::{
    AttemptNo, ClusterName, Epoch, ImageId, MachineId, OperationId, ProviderId, ResourceHandle, SiteName,
};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{
    CreateResource, MachineRequest, Owner, OwnerTags, Provider, ResourceSpec, Secret, Site, Token,
};
use isobar_node_image_protocol::identity::{Birth, ENGINE_MCP_PORT, ENGINE_NODE_PORT, EngineIdentity, Identity};
use isobar_providers_aws::{AwsConfig, AwsProvider, Keys};
use isobar_providers_sim::{SIM_IMAGE, SimProvider, TokioClock};
use isobar_tests_cloudbox::booted::Booted;
use isobar_tests_cloudbox::{Cloudbox, HOST_SEEN_BY_GUESTS, Image, Images};
use isobar_tests_clouds::aws;
use isobar_tests_clouds::world::{Cloud, Pages, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A guest calls home within this time, and is gone within it.
const PATIENCE: Duration = Duration::from_secs(120);
/// An engine answers within this time: its image is large, and it makes a file system and a store first.
const ENGINE_PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

fn image(variable: &str) -> Image {
    let folder = std::env::var_os(variable).map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| panic!("{variable} names no image"));
    Image::of(&folder).unwrap_or_else(|error| panic!("{}: {error}: `./dev image` makes it", folder.display()))
}

fn images() -> Images {
    Images {
        node: image("ISOBAR_IMAGE"),
        engine: None,
    }
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

/// A machine of AWS for an engine, asked for as an engine asks.
fn engine_machine(world: &World) -> (AwsProvider, CreateResource) {
    let endpoint = world.endpoint(Cloud::Aws).to_owned();
    let birth = Birth::Engine(EngineIdentity {
        machine: "engine-1".to_owned(),
        claim_hash_hex: "11".repeat(32),
        proof_key_hex: "22".repeat(32),
        insecure_registries: Vec::new(),
        allowed_endpoints: Vec::new(),
    });
    let settings = [
        ("image", aws::ENGINE_AMI),
        ("data_disk_gib", "10"),
        ("public_address", "true"),
        ("endpoint", &endpoint),
    ];
    let mut request = machine(world, Cloud::Aws, 0);
    request.site.provider = ProviderId::new("aws").expect("a name");
    request.site.settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let asked = request.spec.machine_mut().expect("a machine");
    asked.image = ImageId::new(aws::ENGINE_AMI);
    asked.identity = Secret(birth.to_json());
    asked.open_ports = (ENGINE_MCP_PORT, ENGINE_NODE_PORT);
    let config = AwsConfig {
        id: request.site.provider.clone(),
        allowed_endpoints: vec![endpoint],
        keys: Keys::Given {
            id: aws::KEY_ID.to_owned(),
            secret: Secret(aws::KEY_SECRET.as_bytes().to_vec()),
        },
    };
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = u64::try_from(since.expect("it is after 1970").as_millis()).expect("it is before the end of time");
    let clock = Arc::new(TokioClock::starting_at(Timestamp(now)));
    (AwsProvider::new(config, clock), request)
}

/// Whether somebody behind the forwarded port says anything to what is no TLS: QEMU itself accepts whoever calls.
async fn answers(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return false;
    };
    let mut byte = [0];
    stream.write_all(b"who is there?\r\n\r\n").await.is_ok() && matches!(stream.read(&mut byte).await, Ok(1))
}

#[tokio::test]
async fn an_engine_s_machine_answers_where_its_cloud_says_that_it_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let images = Images {
        engine: Some(image("ISOBAR_ENGINE_IMAGE")),
        ..images()
    };
    let clouds = Booted::open(&images, folder.path())
        .await
        .expect("loopback has free ports");
    let (provider, request) = engine_machine(&clouds.world);
    let made = provider.create(&request).await.expect("the cloud never fails");
    let answering = async {
        loop {
            let seen = provider.get(&request.site, &made.handle).await.expect("it is there");
            match seen.endpoints.get(&ENGINE_MCP_PORT) {
                Some(address) if answers(address).await => return,
                Some(_) | None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    };
    let answered = tokio::time::timeout(ENGINE_PATIENCE, answering).await;
    let guest = clouds.machines(Cloud::Aws).remove(0);
    let console = clouds.console(Cloud::Aws, &guest.handle).unwrap_or_default();
    assert!(answered.is_ok(), "nobody answers:\n{console}");
    assert!(console.contains("makes a file system on a blank disk"), "{console}");
}
