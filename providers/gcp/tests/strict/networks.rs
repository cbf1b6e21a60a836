//! The network around machines: what is found, what is made, in which order it goes, and what the wire says.

mod lost;

use std::time::Duration;

use isobar_engine_model::id::{MachineId, ResourceHandle, Zone};
use isobar_engine_provider::conformance::TestBed as _;
use isobar_engine_provider::{
    CreateResource, Network, NetworkNeeds, NetworkPart, NetworkRequest, Owner, ProviderError, ResourceKind,
    ResourceSpec, ResourceState, Site, Token, list_all,
};
use isobar_tests_clouds::gcp::REGION;
use serde_json::{Value, json};

use crate::bed::GcpBed;
use crate::facts::{calls_since, of_names, owner, request_at};

const OVERLAY_PORT: u16 = 51_820;
const DEFAULT: &str = "global/networks/default";
/// Deleting is asked for again at most so often.
const DELETE_TRIES: u32 = 20;

fn part(kind: ResourceKind) -> NetworkPart {
    NetworkPart { kind, zone: None }
}

fn handles<const N: usize>(parts: [(ResourceKind, &str); N]) -> Network {
    let pairs = parts.map(|(kind, path)| (kind, ResourceHandle::new(path)));
    pairs.into_iter().collect()
}

/// One part as the engine asks for it: a name, a token and an id of its own.
fn part_request(bed: &GcpBed, site: &Site, kind: ResourceKind, within: &Network) -> CreateResource {
    let mut request = request_at(bed, site.clone(), 1);
    let word = kind.name();
    request.name = format!("isobar-shop-{word}");
    request.token = Token(format!("token-{word}"));
    request.tags.machine = MachineId::new(format!("network-{word}"));
    request.spec = ResourceSpec::Network(NetworkRequest {
        part: part(kind),
        within: within.clone(),
        open_ports: (30_000, 30_031),
        overlay_port: OVERLAY_PORT,
    });
    request
}

async fn needs(bed: &GcpBed, site: &Site) -> NetworkNeeds {
    let provider = bed.provider();
    let networks = provider.networks().expect("a network area");
    let needs = networks.needs(site, &Zone::new("europe-west1-b")).await;
    needs.unwrap()
}

async fn connect(bed: &GcpBed, request: &CreateResource, handle: &ResourceHandle) -> Result<(), ProviderError> {
    let ResourceSpec::Network(wanted) = &request.spec else {
        panic!("{request:?}")
    };
    let provider = bed.provider();
    let networks = provider.networks().expect("a network area");
    networks.connect(&request.site, handle, wanted).await
}

/// Makes all that a site needs, each in what stands before it, as the engine does.
async fn make_all(bed: &GcpBed, site: &Site) -> Network {
    let NetworkNeeds { found, make } = needs(bed, site).await;
    let mut network = found;
    for part in make {
        let request = part_request(bed, site, part.kind, &network);
        let created = bed.provider().create(&request).await.unwrap();
        connect(bed, &request, &created.handle).await.unwrap();
        network.insert(part.kind, created.handle);
    }
    network
}

async fn delete(bed: &GcpBed, handle: &ResourceHandle) -> Result<(), ProviderError> {
    let token = Token("delete".to_owned());
    bed.provider().delete(&bed.site(), handle, &token).await
}

/// Deletes as the engine does, until it is gone.
async fn delete_for_good(bed: &GcpBed, handle: &ResourceHandle) {
    for _ in 0..DELETE_TRIES {
        match delete(bed, handle).await {
            Err(gone) if gone.is_absent() => return,
            Ok(()) | Err(ProviderError::NotReady { .. }) => bed.clock().sleep(Duration::from_secs(30)).await,
            Err(other) => panic!("{handle}: {other}"),
        }
    }
    panic!("{handle} is still there");
}

async fn listed(bed: &GcpBed, kind: ResourceKind, owner: &Owner) -> Vec<ResourceState> {
    list_all(&*bed.provider(), &bed.site(), kind, owner).await.unwrap()
}

#[tokio::test]
async fn everything_is_made_in_order_and_goes_in_the_other() {
    let bed = GcpBed::plain().await;
    let site = bed.site_with(&[("network", "own")]);
    let parts = [
        (ResourceKind::Network, "global/networks/isobar-shop-network"),
        (
            ResourceKind::Subnet,
            "regions/europe-west1/subnetworks/isobar-shop-subnet",
        ),
        (
            ResourceKind::Gateway,
            "regions/europe-west1/routers/isobar-shop-gateway",
        ),
        (ResourceKind::Firewall, "global/firewalls/isobar-shop-firewall"),
    ];
    let NetworkNeeds { found, make } = needs(&bed, &site).await;
    assert_eq!(found, Network::new());
    assert_eq!(make, parts.map(|(kind, _)| part(kind)));
    let network = make_all(&bed, &site).await;
    assert_eq!(network, handles(parts));

    let mut machine = request_at(&bed, site.clone(), 1);
    machine.spec.machine_mut().unwrap().network = network;
    let machine = bed.provider().create(&machine).await.unwrap().handle;
    let body = bed.gcp.asked("iso-shop-1").unwrap();
    let card = &body["networkInterfaces"][0];
    assert_eq!(
        (&card["network"], &card["subnetwork"]),
        (&json!(parts[0].1), &json!(parts[1].1))
    );
    assert_eq!(body["tags"]["items"], json!(["isobar-shop-firewall"]));

    for (kind, path) in parts {
        let state = bed.provider().get(&site, &ResourceHandle::new(path)).await.unwrap();
        let asked = part_request(&bed, &site, kind, &Network::new());
        assert_eq!((state.tags.as_ref(), &state.name), (Some(&asked.tags), &asked.name));
        assert_eq!(listed(&bed, kind, &owner()).await, [state]);
    }
    for (_, path) in &parts[..2] {
        let used = delete(&bed, &ResourceHandle::new(*path)).await;
        assert!(matches!(used, Err(ProviderError::NotReady { .. })), "{path}: {used:?}");
    }
    delete_for_good(&bed, &machine).await;
    for (kind, path) in parts.into_iter().rev() {
        let handle = ResourceHandle::new(path);
        assert_eq!(delete(&bed, &handle).await, Err(ProviderError::Gone), "{path}");
        assert_eq!(bed.provider().get(&site, &handle).await, Err(ProviderError::NotFound));
        let request = part_request(&bed, &site, kind, &Network::new());
        assert_eq!(connect(&bed, &request, &handle).await, Err(ProviderError::NotFound));
        assert_eq!(delete(&bed, &handle).await, Err(ProviderError::NotFound), "{path}");
        assert_eq!(listed(&bed, kind, &owner()).await, []);
    }
    assert!(bed.cloud.networks().is_empty());
}

#[tokio::test]
async fn each_part_is_as_asked() {
    let bed = GcpBed::plain().await;
    let site = bed.site_with(&[("network", "own")]);
    make_all(&bed, &site).await;
    let body = |path: &str| {
        let mut body = bed.gcp.part(path).unwrap();
        let said = body.as_object_mut().unwrap().remove("description").unwrap();
        let said: Value = serde_json::from_str(said.as_str().unwrap()).unwrap();
        assert_eq!(said["isobar-cluster"], "shop");
        body
    };
    let network = "global/networks/isobar-shop-network";
    assert_eq!(
        body(network),
        json!({ "name": "isobar-shop-network", "autoCreateSubnetworks": false })
    );
    let within = format!("projects/shop-1/{network}");
    assert_eq!(
        body("regions/europe-west1/subnetworks/isobar-shop-subnet"),
        json!({
            "name": "isobar-shop-subnet",
            "network": within,
            "ipCidrRange": "10.77.0.0/17",
            "privateIpGoogleAccess": true,
        })
    );
    assert_eq!(
        body("regions/europe-west1/routers/isobar-shop-gateway"),
        json!({
            "name": "isobar-shop-gateway",
            "network": within,
            "nats": [{
                "name": "nat",
                "natIpAllocateOption": "AUTO_ONLY",
                "sourceSubnetworkIpRangesToNat": "ALL_SUBNETWORKS_ALL_IP_RANGES",
            }],
        })
    );
    assert_eq!(
        body("global/firewalls/isobar-shop-firewall"),
        json!({
            "name": "isobar-shop-firewall",
            "network": within,
            "direction": "INGRESS",
            "sourceRanges": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
            "allowed": [
                { "IPProtocol": "udp", "ports": ["51820"] },
                { "IPProtocol": "tcp", "ports": ["30000-30031"] },
            ],
            "targetTags": ["isobar-shop-firewall"],
        })
    );
}

#[tokio::test]
async fn machines_that_the_internet_sees_are_reached_from_anywhere_and_need_no_gateway() {
    let bed = GcpBed::plain().await;
    let site = bed.site_with(&[("network", "own"), ("public_address", "true")]);
    let kinds: Vec<ResourceKind> = make_all(&bed, &site).await.into_keys().collect();
    assert!(!kinds.contains(&ResourceKind::Gateway), "{kinds:?}");
    let firewall = bed.gcp.part("global/firewalls/isobar-shop-firewall").unwrap();
    assert_eq!(firewall["sourceRanges"], json!(["0.0.0.0/0"]));
}

#[tokio::test]
async fn what_a_site_names_or_its_project_has_is_found() {
    let bed = GcpBed::plain().await;
    let (network, subnetwork) = ("global/networks/nodes", "regions/europe-west1/subnetworks/nodes");
    let shared = "projects/host-1/regions/europe-west1/subnetworks/nodes";
    bed.gcp.add(network, json!({ "autoCreateSubnetworks": false }));
    bed.gcp.add(subnetwork, json!({ "network": network }));
    let linked = "https://www.googleapis.com/compute/v1/projects/shop-1/global/networks/nodes";
    for (settings, found, firewall) in [
        (vec![], handles([(ResourceKind::Network, DEFAULT)]), true),
        (
            vec![("firewall", "none")],
            handles([(ResourceKind::Network, DEFAULT)]),
            false,
        ),
        (
            vec![("network", network)],
            handles([(ResourceKind::Network, network)]),
            true,
        ),
        (
            vec![("network", network), ("subnetwork", subnetwork)],
            handles([(ResourceKind::Network, network), (ResourceKind::Subnet, subnetwork)]),
            true,
        ),
        (
            vec![("subnetwork", subnetwork)],
            handles([(ResourceKind::Network, linked), (ResourceKind::Subnet, subnetwork)]),
            true,
        ),
        (
            vec![("subnetwork", subnetwork), ("firewall", "none")],
            handles([(ResourceKind::Subnet, subnetwork)]),
            false,
        ),
        // Another project's: its firewalls are there.
        (
            vec![("subnetwork", shared)],
            handles([(ResourceKind::Subnet, shared)]),
            false,
        ),
    ] {
        let site = bed.site_with(&settings);
        let make = firewall.then(|| part(ResourceKind::Firewall)).into_iter().collect();
        assert_eq!(needs(&bed, &site).await, NetworkNeeds { found, make }, "{settings:?}");
    }
    let nowhere = bed.site_with(&[("subnetwork", "regions/europe-west1/subnetworks/nobody-s")]);
    let provider = bed.provider();
    let refused = provider
        .networks()
        .unwrap()
        .needs(&nowhere, &Zone::new("europe-west1-b"))
        .await;
    assert!(matches!(refused, Err(ProviderError::InvalidSpec { .. })), "{refused:?}");
    assert!(bed.cloud.networks().is_empty(), "asking makes nothing");

    bed.gcp.remove(DEFAULT);
    let kinds: Vec<ResourceKind> = needs(&bed, &bed.site())
        .await
        .make
        .iter()
        .map(|part| part.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            ResourceKind::Network,
            ResourceKind::Subnet,
            ResourceKind::Gateway,
            ResourceKind::Firewall
        ]
    );
}

#[tokio::test]
async fn in_the_default_network_a_firewall_is_made_and_nothing_else() {
    let bed = GcpBed::plain().await;
    let network = make_all(&bed, &bed.site()).await;
    let mut machine = request_at(&bed, bed.site(), 1);
    machine.spec.machine_mut().unwrap().network = network.clone();
    let machine = bed.provider().create(&machine).await.unwrap().handle;
    let body = bed.gcp.asked("iso-shop-1").unwrap();
    assert_eq!(body["networkInterfaces"][0], json!({ "network": DEFAULT }));
    assert_eq!(body["tags"]["items"], json!(["isobar-shop-firewall"]));
    let made: Vec<_> = bed.cloud.networks().iter().map(|part| part.kind).collect();
    assert_eq!(made, [ResourceKind::Firewall]);
    delete_for_good(&bed, &machine).await;
    delete_for_good(&bed, &network[&ResourceKind::Firewall]).await;
    assert!(bed.gcp.part(DEFAULT).is_some(), "what was found stays");
}

#[tokio::test]
async fn a_part_takes_the_fewest_calls_there_are() {
    let bed = GcpBed::plain().await;
    // The first call of all asks for a token.
    needs(&bed, &bed.site()).await;
    let before = bed.gcp.front.calls.all();
    let network = make_all(&bed, &bed.site()).await;
    assert_eq!(
        calls_since(&bed, &before),
        of_names(&[
            ("firewalls.get", 1),
            ("firewalls.insert", 1),
            ("globalOperations.wait", 1),
            ("networks.get", 1)
        ])
    );
    let before = bed.gcp.front.calls.all();
    delete_for_good(&bed, &network[&ResourceKind::Firewall]).await;
    assert_eq!(
        calls_since(&bed, &before),
        of_names(&[("firewalls.delete", 1), ("globalOperations.wait", 1)])
    );
}

#[tokio::test]
async fn a_list_shows_ours_and_nobody_else_s_on_all_pages() {
    let bed = GcpBed::plain().await;
    let firewall = |number: u32, cluster: Owner| {
        let within = handles([(ResourceKind::Network, DEFAULT)]);
        let mut request = part_request(&bed, &bed.site(), ResourceKind::Firewall, &within);
        request.name = format!("isobar-shop-{number}");
        request.token = Token(format!("token-{number}"));
        request.tags.owner = cluster;
        request
    };
    let other = Owner {
        store: "fedcba9876543210".to_owned(),
        ..owner()
    };
    for number in 0..5 {
        bed.provider().create(&firewall(number, owner())).await.unwrap();
    }
    bed.provider().create(&firewall(5, other.clone())).await.unwrap();
    // Somebody's own, whose name begins like ours; and one of ours in another region of the project.
    bed.gcp
        .add("global/firewalls/isobar-rules", json!({ "description": "for isobar" }));
    let said = bed.gcp.part("global/firewalls/isobar-shop-0").unwrap()["description"].clone();
    let elsewhere = said.as_str().unwrap().replace(REGION, "us-east1");
    bed.gcp
        .add("global/firewalls/isobar-us", json!({ "description": elsewhere }));
    let ours = listed(&bed, ResourceKind::Firewall, &owner()).await;
    let names: Vec<_> = ours.iter().map(|state| state.handle.as_str()).collect();
    let expected: Vec<_> = (0..5)
        .map(|number| format!("global/firewalls/isobar-shop-{number}"))
        .collect();
    assert_eq!(names, expected);
    assert_eq!(listed(&bed, ResourceKind::Firewall, &other).await.len(), 1);

    bed.gcp.lose(REGION);
    for kind in ResourceKind::ALL.into_iter().filter(|kind| kind.is_network()) {
        let listed = list_all(&*bed.provider(), &bed.site(), kind, &owner()).await;
        assert!(matches!(listed, Err(ProviderError::Unavailable { .. })), "{listed:?}");
    }
}

#[tokio::test]
async fn a_machine_of_an_own_network_is_not_made_without_one() {
    let bed = GcpBed::plain().await;
    let site = bed.site_with(&[("network", "own")]);
    let refused = bed.provider().create(&request_at(&bed, site, 1)).await;
    assert!(matches!(refused, Err(ProviderError::InvalidSpec { .. })), "{refused:?}");
    let gateway = part_request(&bed, &bed.site(), ResourceKind::Gateway, &Network::new());
    let refused = bed.provider().create(&gateway).await;
    assert!(matches!(refused, Err(ProviderError::InvalidSpec { .. })), "{refused:?}");
    assert_eq!(bed.gcp.front.calls.of("routers.insert"), 0);
}
