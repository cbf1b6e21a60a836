//! What machines need around them: made, used and removed in order, found where the site names it.

use std::time::Duration;

use isobar_engine_model::id::{MachineId, ResourceHandle, Zone};
use isobar_engine_provider::conformance::TestBed;
use isobar_engine_provider::{
    CreateResource, Network, NetworkNeeds, NetworkPart, NetworkRequest, ProviderError, ResourceKind, ResourceSpec,
    ResourceStatus, Site, Token, list_all,
};
use isobar_providers_sim::{Fault, Operation};
use isobar_tests_clouds::azure::{REGION, SUBNET};
use serde_json::json;

use crate::bed::{AzureBed, owner};

const GROUP: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/n";

fn site(bed: &AzureBed, settings: &[(&str, &str)]) -> Site {
    let mut site = bed.site();
    site.settings.remove("subnet");
    for (key, value) in settings {
        site.settings.insert((*key).to_owned(), (*value).to_owned());
    }
    site
}

async fn needs(bed: &AzureBed, site: &Site) -> NetworkNeeds {
    let provider = bed.provider();
    let networks = provider.networks().expect("a network area");
    networks.needs(site, &Zone::new(format!("{REGION}-1"))).await.unwrap()
}

fn request(bed: &AzureBed, site: &Site, part: NetworkPart, within: &Network) -> CreateResource {
    let name = format!("isobar-shop-{}", part.kind.name());
    let mut request = bed.request(1);
    request.site = site.clone();
    request.token = Token(format!("token-{name}"));
    request.tags.machine = MachineId::new(name.clone());
    request.name = name;
    request.spec = ResourceSpec::Network(NetworkRequest {
        part,
        within: within.clone(),
        open_ports: (30_000, 30_031),
        overlay_port: 51_820,
    });
    request
}

/// Connects once Azure is done with it.
async fn connect(bed: &AzureBed, request: &CreateResource, handle: &ResourceHandle) {
    let ResourceSpec::Network(part) = &request.spec else {
        panic!("a part of a network");
    };
    let provider = bed.provider();
    loop {
        match provider.networks().unwrap().connect(&request.site, handle, part).await {
            Ok(()) => return,
            Err(ProviderError::NotReady { .. } | ProviderError::NotFound) => {
                bed.clock().sleep(Duration::from_secs(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Makes what a site needs, in order.
async fn make_all(bed: &AzureBed, site: &Site) -> Network {
    let needs = needs(bed, site).await;
    let mut network = needs.found;
    for part in needs.make {
        let kind = part.kind;
        let request = request(bed, site, part, &network);
        let made = bed.provider().create(&request).await.unwrap();
        connect(bed, &request, &made.handle).await;
        assert_eq!(bed.provider().create(&request).await.unwrap(), made, "the same again");
        network.insert(kind, made.handle);
    }
    network
}

pub(crate) async fn delete_to_the_end(bed: &AzureBed, site: &Site, handle: &ResourceHandle) {
    let token = Token("delete".to_owned());
    loop {
        match bed.provider().delete(site, handle, &token).await {
            Ok(()) => bed.clock().sleep(Duration::from_secs(5)).await,
            Err(error) => return assert_eq!(error, ProviderError::NotFound),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_made_in_a_network_of_its_own_and_all_of_it_goes_in_reverse_order() {
    let bed = AzureBed::plain().await;
    let site = site(&bed, &[]);
    let network = make_all(&bed, &site).await;
    let kinds: Vec<_> = network.keys().copied().collect();
    assert_eq!(kinds, [ResourceKind::Network, ResourceKind::Firewall]);

    let mut wanted = bed.request(1);
    wanted.site = site.clone();
    wanted.spec.machine_mut().unwrap().network = network.clone();
    let machine = bed.provider().create(&wanted).await.unwrap();
    bed.clock().sleep(Duration::from_secs(10)).await;
    let state = bed.provider().get(&site, &machine.handle).await.unwrap();
    assert_eq!(state.status, ResourceStatus::Running);
    let there = bed.cloud.machines();
    let asked = bed.cloud.request_of(&there[0].handle).unwrap();
    assert_eq!(asked.spec.machine().unwrap().network.len(), 2, "it is in both");

    let (firewall, vnet) = (&network[&ResourceKind::Firewall], &network[&ResourceKind::Network]);
    let token = Token("delete".to_owned());
    for handle in [firewall, vnet] {
        let error = bed.provider().delete(&site, handle, &token).await.unwrap_err();
        assert_eq!(error.kind(), "not_ready", "{handle} holds a machine: {error}");
    }
    delete_to_the_end(&bed, &site, &machine.handle).await;
    let error = bed.provider().delete(&site, firewall, &token).await.unwrap_err();
    assert_eq!(error.kind(), "not_ready", "its subnet is there: {error}");
    delete_to_the_end(&bed, &site, vnet).await;
    delete_to_the_end(&bed, &site, firewall).await;
    assert_eq!(bed.cloud.networks().len(), 0);
    assert_eq!(bed.azure.violations(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_the_site_names_is_found_and_the_rest_is_made() {
    let bed = AzureBed::plain().await;
    let whole = |kind| NetworkPart { kind, zone: None };
    let firewall = whole(ResourceKind::Firewall);
    let network = whole(ResourceKind::Network);
    for (settings, found, make) in [
        (vec![], vec![], vec![firewall.clone(), network.clone()]),
        (
            vec![("subnet", SUBNET)],
            vec![(ResourceKind::Subnet, SUBNET)],
            vec![firewall.clone()],
        ),
        (
            vec![("subnet", SUBNET), ("network", "own")],
            vec![],
            vec![firewall, network.clone()],
        ),
        (
            vec![("security_group", GROUP)],
            vec![(ResourceKind::Firewall, GROUP)],
            vec![network],
        ),
        (
            vec![("subnet", SUBNET), ("security_group", GROUP)],
            vec![(ResourceKind::Subnet, SUBNET), (ResourceKind::Firewall, GROUP)],
            vec![],
        ),
    ] {
        let found = found
            .into_iter()
            .map(|(kind, id)| (kind, ResourceHandle::new(id)))
            .collect();
        assert_eq!(
            needs(&bed, &site(&bed, &settings)).await,
            NetworkNeeds { found, make },
            "{settings:?}"
        );
    }
    assert_eq!(bed.azure.front.calls.all().len(), 0, "nothing was asked or changed");
    for id in [SUBNET, GROUP] {
        let handle = ResourceHandle::new(id);
        let refused = bed
            .provider()
            .delete(&bed.site(), &handle, &Token("d".to_owned()))
            .await;
        assert_eq!(refused, Err(ProviderError::NotFound), "not ours to delete");
    }
}

#[tokio::test(start_paused = true)]
async fn ports_are_open_to_private_ranges_and_to_all_only_with_public_addresses() {
    let private = json!(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]);
    for (public, key, source) in [
        ("false", "sourceAddressPrefixes", private),
        ("true", "sourceAddressPrefix", json!("*")),
    ] {
        let bed = AzureBed::plain().await;
        make_all(&bed, &site(&bed, &[("public_address", public)])).await;
        let shown = bed.azure.networks();
        let group = shown.iter().find(|part| part["properties"]["securityRules"].is_array());
        let rules = group.unwrap()["properties"]["securityRules"].as_array().unwrap();
        let rule = |number: usize| &rules[number]["properties"];
        let said = |number: usize| {
            let keys = ["direction", "access", "protocol", "destinationPortRange"];
            keys.map(|key| rule(number)[key].as_str().unwrap())
        };
        assert_eq!(rules.len(), 3);
        assert_eq!(said(0), ["Inbound", "Allow", "Tcp", "30000-30031"]);
        assert_eq!(said(1), ["Inbound", "Allow", "Udp", "51820"]);
        assert_eq!(said(2), ["Inbound", "Deny", "*", "*"]);
        assert_eq!((&rule(0)[key], &rule(1)[key]), (&source, &source), "{public}");
        let network = shown.iter().find(|part| part["properties"]["subnets"].is_array());
        let subnet = &network.unwrap()["properties"]["subnets"][0]["properties"];
        assert_eq!(subnet["addressPrefix"], "10.77.0.0/17");
        assert_eq!(subnet["networkSecurityGroup"]["id"], group.unwrap()["id"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_ends_with_one_part_and_a_deleted_one_does_not_come_again() {
    let bed = AzureBed::plain().await;
    let site = site(&bed, &[]);
    let part = needs(&bed, &site).await.make.remove(0);
    let wanted = request(&bed, &site, part, &Network::new());
    bed.cloud.fail_next(Operation::Create, Fault::LostAnswer);
    let lost = bed.provider().create(&wanted).await.unwrap_err();
    assert_eq!(lost.kind(), "outcome_unknown");
    bed.clock().sleep(Duration::from_secs(60)).await;
    let made = bed.provider().create(&wanted).await.unwrap();
    assert_eq!(bed.cloud.networks().len(), 1);
    let calls = bed.azure.front.calls.all();
    assert_eq!(
        calls["NetworkSecurityGroups_CreateOrUpdate"], 1,
        "the second time it was found"
    );

    let mut other = wanted.clone();
    other.token = Token("another".to_owned());
    assert_eq!(bed.provider().create(&other).await.unwrap_err().kind(), "conflict");
    delete_to_the_end(&bed, &site, &made.handle).await;
    assert_eq!(bed.provider().create(&wanted).await.unwrap_err().kind(), "conflict");
    assert_eq!(bed.cloud.networks().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_list_shows_exactly_ours_over_all_pages() {
    let bed = AzureBed::plain().await;
    let site = site(&bed, &[]);
    let part = needs(&bed, &site).await.make.remove(0);
    let mut ours = Vec::new();
    for number in 0..5 {
        let mut wanted = request(&bed, &site, part.clone(), &Network::new());
        wanted.name = format!("isobar-shop-firewall-{number}");
        wanted.token = Token(format!("token-{number}"));
        // Every other one is another store's.
        if number % 2 == 1 {
            wanted.tags.owner.store = "fedcba9876543210".to_owned();
        }
        let made = bed.provider().create(&wanted).await.unwrap();
        if number % 2 == 0 {
            ours.push((made.handle, wanted.name, Some(wanted.tags)));
        }
    }
    bed.clock().sleep(Duration::from_secs(120)).await;
    let provider = bed.provider();
    let listed = list_all(&*provider, &site, ResourceKind::Firewall, &owner()).await;
    let listed = listed.unwrap().into_iter();
    let listed: Vec<_> = listed.map(|state| (state.handle, state.name, state.tags)).collect();
    assert_eq!(listed, ours);
    assert_eq!(bed.azure.violations(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_any_subnet_is_refused_before_anything_is_sent() {
    let bed = AzureBed::plain().await;
    let mut wanted = bed.request(1);
    wanted.site = site(&bed, &[]);
    let error = bed.provider().create(&wanted).await.unwrap_err();
    assert_eq!(error.kind(), "invalid_spec");
    assert!(error.to_string().contains("no subnet"), "{error}");
    wanted.site = site(&bed, &[("network", "other")]);
    let error = bed.provider().create(&wanted).await.unwrap_err().to_string();
    assert!(error.contains("`network` is own or left out"), "{error}");
    assert_eq!(bed.azure.front.calls.all().len(), 0);
}
