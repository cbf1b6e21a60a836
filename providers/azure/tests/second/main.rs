//! A second opinion on what we send: prism, which others wrote, holds our calls against Microsoft's OpenAPI. It keeps no
//! state and answers with examples, so only that it takes a call is looked at, never what it says.
//!
//! The specification is Microsoft's own, reduced to the operations used. Where we differ from prism: it lets unknown
//! fields pass, since Microsoft's schemas do not close them; the strict Azure of tests/clouds does not.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::sync::Arc;

use isobar_engine_model::id::{
    AttemptNo, ClusterName, Epoch, ImageId, MachineId, OfferingId, OperationId, ProviderId, ResourceHandle, SiteName,
    Zone,
};
use isobar_engine_model::object::{ObjectId, ObjectType};
use isobar_engine_provider::adoption::ObjectRef;
use isobar_engine_provider::{
    CreateResource, MachineRequest, Owner, OwnerTags, Provider, ProviderError, ResourceKind, ResourceSpec, Secret,
    Site, Token,
};
use isobar_providers_azure::{AzureConfig, AzureProvider, Credentials};
use isobar_providers_sim::{SimCloud, TokioClock};
use isobar_tests_clouds::azure::{self, AzureCloud, GROUP, IMAGE, REGION, SUBNET, SUBSCRIPTION, TOKEN, openapi};
use isobar_tests_clouds::program::Program;

/// Among the sizes that the specification names. Prism takes no other, though they are only examples (`modelAsString`; the
/// list is called deprecated in the specification itself).
const SIZE: &str = "Standard_D2s_v3";

/// As what programs on machines may call Azure.
const IDENTITY: &str =
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/engine";

/// One of each type that others made and we read.
const OBJECTS: [(&str, &str); 13] = [
    ("virtual_machine", "Microsoft.Compute/virtualMachines/web"),
    ("scale_set", "Microsoft.Compute/virtualMachineScaleSets/pool"),
    ("disk", "Microsoft.Compute/disks/data"),
    ("ssh_key", "Microsoft.Compute/sshPublicKeys/deploy"),
    ("virtual_network", "Microsoft.Network/virtualNetworks/main"),
    ("subnet", "Microsoft.Network/virtualNetworks/main/subnets/a"),
    ("network_interface", "Microsoft.Network/networkInterfaces/web"),
    ("security_group", "Microsoft.Network/networkSecurityGroups/web"),
    (
        "security_rule",
        "Microsoft.Network/networkSecurityGroups/web/securityRules/ssh",
    ),
    ("route_table", "Microsoft.Network/routeTables/out"),
    ("route", "Microsoft.Network/routeTables/out/routes/all"),
    ("nat_gateway", "Microsoft.Network/natGateways/out"),
    ("public_address", "Microsoft.Network/publicIPAddresses/web"),
];

/// Prism with Microsoft's specification.
async fn prism() -> (Program, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let specification = folder.path().join("azure.json");
    std::fs::write(&specification, openapi()).unwrap();
    (Program::prism(specification).await, folder)
}

fn site(url: &str) -> Site {
    let settings = [
        ("subscription", SUBSCRIPTION),
        ("resource_group", "isobar"),
        ("image", IMAGE),
        ("subnet", SUBNET),
        ("zones", "1"),
        ("disk_gib", "64"),
        ("public_address", "true"),
        ("data_disk_gib", "20"),
        ("machine_identity", IDENTITY),
        ("endpoint", url),
    ];
    let settings = settings
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    Site {
        name: SiteName::new("azure-west").unwrap(),
        provider: ProviderId::new("azure").unwrap(),
        region: REGION.to_owned(),
        settings: settings.collect(),
    }
}

fn owner() -> Owner {
    Owner {
        store: "0123456789abcdef".to_owned(),
        cluster: ClusterName::new("shop").unwrap(),
    }
}

fn request(url: &str, suffix: &str) -> CreateResource {
    CreateResource {
        site: site(url),
        name: format!("isobar-shop-m-1{suffix}"),
        token: Token("token".to_owned()),
        tags: OwnerTags {
            owner: owner(),
            machine: MachineId::new("m-1"),
            operation: OperationId::new("op-00000000c0f02a9c"),
            attempt: AttemptNo(1),
            epoch: Epoch(1),
        },
        spec: ResourceSpec::Machine(MachineRequest {
            zone: Zone::new(format!("{REGION}-1")),
            offering: OfferingId::new(format!("{SIZE}@{REGION}-1{suffix}")),
            image: ImageId::new(IMAGE),
            identity: Secret(b"a join token".to_vec()),
            open_ports: (30_000, 30_031),
            network: Default::default(),
        }),
    }
}

#[tokio::test]
async fn prism_takes_every_call_of_ours_and_refuses_others() {
    let (prism, _folder) = prism().await;
    // It does look.
    let put = "PUT /subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v";
    let versioned = format!("{put}?api-version=2024-07-01");
    let body = r#"{"location": "westeurope"}"#;
    assert_eq!(prism.status(&versioned, body).await, 200);
    assert_eq!(
        prism.status(&versioned, r#"{"location": 1}"#).await,
        422,
        "a wrong type"
    );
    assert_eq!(prism.status(put, body).await, 422, "no version");

    let url = prism.url.clone();
    let config = AzureConfig {
        id: ProviderId::new("azure").unwrap(),
        allowed_endpoints: vec![url.clone()],
        credentials: Credentials::Token("t".to_owned()),
    };
    let azure = AzureProvider::new(config, Arc::new(TokioClock::new())).unwrap();
    let made = azure.create(&request(&url, "")).await.unwrap();
    azure.create(&request(&url, "+spot")).await.unwrap();
    // Its examples are another machine's.
    let site = site(&url);
    assert_eq!(azure.get(&site, &made.handle).await, Err(ProviderError::NotFound));
    azure.delete(&site, &made.handle, &Token("d".to_owned())).await.unwrap();
    for kind in ResourceKind::ALL {
        taken(kind.name(), azure.list(&site, kind, &owner(), None).await);
    }
    for part in [
        "disks/d",
        "networkInterfaces/n",
        "publicIPAddresses/p",
        "networkSecurityGroups/g",
        "virtualNetworks/v",
    ] {
        let handle = ResourceHandle::new(part);
        taken(part, azure.get(&site, &handle).await);
        taken(part, azure.delete(&site, &handle, &Token("d".to_owned())).await);
    }
    taken("catalog", azure.catalog(&site).await);
    for (kind, rest) in OBJECTS {
        let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/others");
        let object = ObjectRef {
            kind: ObjectType(kind.to_owned()),
            id: ObjectId(format!("{group}/providers/{rest}")),
            zone: None,
        };
        // A call of one object fails as a whole where nothing could be read.
        let read = azure.adoption().unwrap().read(&site, &[object]).await;
        taken(kind, read.and_then(|mut found| found.remove(0)));
    }
}

/// What the strict Azure shows of what others made is as Microsoft describes it, as far as the specification is in the
/// document: that of the network has its answers left out.
#[tokio::test]
async fn prism_finds_nothing_wrong_with_what_the_strict_azure_shows_of_others() {
    let clock = Arc::new(TokioClock::new());
    let cloud = AzureCloud::serve(SimCloud::new(azure::config(1), clock.clone()))
        .await
        .unwrap();
    let built: Vec<serde_json::Value> = serde_json::from_str(include_str!("../strict/built.json")).unwrap();
    for resource in built {
        cloud.put_resource(resource);
    }
    let folder = tempfile::tempdir().unwrap();
    let specification = folder.path().join("azure.json");
    std::fs::write(&specification, openapi()).unwrap();
    let prism = Program::prism_before(&cloud.front.url, specification).await;
    let config = AzureConfig {
        id: ProviderId::new("azure").unwrap(),
        allowed_endpoints: vec![prism.url.clone()],
        credentials: Credentials::Token(TOKEN.to_owned()),
    };
    let provider = AzureProvider::new(config, clock).unwrap();
    for (kind, rest) in OBJECTS {
        let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}");
        let object = ObjectRef {
            kind: ObjectType(kind.to_owned()),
            id: ObjectId(format!("{group}/providers/{rest}")),
            zone: None,
        };
        let read = provider.adoption().unwrap().read(&site(&prism.url), &[object]).await;
        let read = read.and_then(|mut found| found.remove(0));
        assert!(read.is_ok(), "{kind}: {read:?}");
    }
    assert_eq!(cloud.violations(), Vec::<String>::new());
}

/// A call that prism took. Its answers are nothing to read: empty for the network, and a list's next link is `string`.
fn taken<T>(what: &str, answer: Result<T, ProviderError>) {
    match answer {
        Ok(_) | Err(ProviderError::Unexpected { .. }) => {}
        Err(error) => panic!("{what}: {error}"),
    }
}
