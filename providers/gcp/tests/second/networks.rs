//! Second opinions on the network area.

use isobar_engine_model::id::MachineId;
use isobar_engine_provider::{Network, NetworkPart, NetworkRequest};

use super::*;

const KINDS: [ResourceKind; 4] = [
    ResourceKind::Network,
    ResourceKind::Subnet,
    ResourceKind::Gateway,
    ResourceKind::Firewall,
];
const NETWORK: &str = "global/networks/isobar-shop-network";

fn part_request(url: &str, kind: ResourceKind) -> CreateResource {
    let machine = request(url, "");
    let word = kind.name();
    let mut tags = machine.tags;
    tags.machine = MachineId::new(format!("network-{word}"));
    CreateResource {
        site: site(url),
        name: format!("isobar-shop-{word}"),
        token: Token(format!("token-{word}")),
        tags,
        spec: ResourceSpec::Network(NetworkRequest {
            part: NetworkPart { kind, zone: None },
            within: Network::from([(ResourceKind::Network, ResourceHandle::new(NETWORK))]),
            open_ports: (30_000, 30_031),
            overlay_port: 51_820,
        }),
    }
}

fn handle(kind: ResourceKind) -> ResourceHandle {
    let collection = match kind {
        ResourceKind::Network => "global/networks",
        ResourceKind::Subnet => "regions/europe-west1/subnetworks",
        ResourceKind::Gateway => "regions/europe-west1/routers",
        ResourceKind::Firewall => "global/firewalls",
        ResourceKind::Machine | ResourceKind::Disk | ResourceKind::Interface | ResourceKind::Address => {
            panic!("{kind:?} is no part of a network")
        }
    };
    ResourceHandle::new(format!("{collection}/isobar-shop-{}", kind.name()))
}

/// gcplocal takes a firewall through its life. It has no default network, no routers and no operations to wait for (they are done
/// at once); it drops the descriptions of networks and subnetworks, so that these are nobody's, and its subnetworks have a
/// fingerprint that is no base64, which Google's own client does not read.
#[tokio::test]
async fn gcplocal_makes_lists_and_deletes_a_firewall() {
    let gcplocal = Program::gcplocal().await;
    let (provider, _credentials) = provider(&gcplocal.url, &gcplocal.url);
    let site = site(&gcplocal.url);
    let networks = provider.networks().unwrap();

    let needs = networks.needs(&site, &Zone::new("europe-west1-b")).await.unwrap();
    assert_eq!(needs.found, Network::new(), "no default network");
    let network = part_request(&gcplocal.url, ResourceKind::Network);
    let created = provider.create(&network).await;
    assert!(
        matches!(created, Err(ProviderError::Conflict { .. })) || is_unread(&created),
        "{created:?}"
    );
    let seen = provider.get(&site, &handle(ResourceKind::Network)).await.unwrap();
    assert_eq!((seen.name, seen.tags), (network.name, None));

    let firewall = part_request(&gcplocal.url, ResourceKind::Firewall);
    let there = handle(ResourceKind::Firewall);
    let created = provider.create(&firewall).await;
    assert!(created.is_ok() || is_unread(&created), "{created:?}");
    let seen = provider.get(&site, &there).await.unwrap();
    assert_eq!(seen.tags.as_ref(), Some(&firewall.tags));
    let listed = provider
        .list(&site, ResourceKind::Firewall, &firewall.tags.owner, None)
        .await
        .unwrap();
    assert_eq!(listed.items, [seen]);

    let token = Token("delete".to_owned());
    for handle in [&there, &handle(ResourceKind::Network)] {
        let deleted = provider.delete(&site, handle, &token).await;
        assert!(
            deleted == Err(ProviderError::Gone) || is_unread(&deleted),
            "{deleted:?}"
        );
        assert_eq!(
            provider.delete(&site, handle, &token).await,
            Err(ProviderError::NotFound)
        );
    }
}

#[tokio::test]
async fn prism_finds_nothing_wrong_with_any_call_about_networks() {
    let (tokens, prism) = (Program::gcplocal().await, prism().await);
    let (provider, _credentials) = provider(&prism.url, &tokens.url);
    let site = site(&prism.url);
    let token = Token("delete".to_owned());
    let mut judged = Vec::new();
    let networks = provider.networks().unwrap();
    judged.push(kind(networks.needs(&site, &Zone::new("europe-west1-b")).await));
    for part in KINDS {
        let request = part_request(&prism.url, part);
        judged.push(kind(provider.create(&request).await));
        judged.push(kind(provider.get(&site, &handle(part)).await));
        judged.push(kind(provider.list(&site, part, &request.tags.owner, None).await));
        judged.push(kind(provider.delete(&site, &handle(part), &token).await));
    }
    // The site of these tests has public addresses, and no gateway by itself.
    let mut machine = request(&prism.url, "e2-small@europe-west1-b");
    let network = KINDS.map(|part| (part, handle(part)));
    machine.spec.machine_mut().unwrap().network = Network::from(network);
    judged.push(kind(provider.create(&machine).await));
    assert!(judged.iter().all(|kind| FINE.contains(kind)), "{judged:?}");
}

/// Else its silence would say nothing.
#[tokio::test]
async fn prism_refuses_parts_that_are_not_as_described() {
    let prism = prism().await;
    let firewalls = "POST /compute/v1/projects/shop-1/global/firewalls";
    for (body, status) in [
        (r#"{"name":"a","targetTags":["a"]}"#, 200),
        (r#"{"name":"a","labels":{"x":"y"}}"#, 422),
        (r#"{"name":"a","allowed":[{"IPProtocol":"udp","ports":[1]}]}"#, 422),
        (r#"{"name":"a","priority":"high"}"#, 422),
    ] {
        assert_eq!(prism.status(firewalls, body).await, status, "{body}");
    }
}
