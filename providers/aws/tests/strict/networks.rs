//! Networks: what is found and what is made, in which order it goes, and what gets in.

use std::collections::BTreeSet;

use isobar_engine_model::id::{MachineId, ResourceHandle, Zone};
use isobar_engine_provider::conformance::TestBed;
use isobar_engine_provider::{
    CreateResource, Network, NetworkNeeds, NetworkPart, NetworkRequest, ProviderError, ResourceKind, ResourceSpec,
    ResourceStatus, Site, list_all,
};
use isobar_providers_sim::{Fault, Operation};
use isobar_tests_clouds::aws::DEFAULT_VPC;

use crate::bed::StrictBed;
use crate::request;

const ALL: [ResourceKind; 4] = [
    ResourceKind::Network,
    ResourceKind::Gateway,
    ResourceKind::Subnet,
    ResourceKind::Firewall,
];

fn zone() -> Zone {
    Zone::new("eu-central-1a")
}

fn site(bed: &StrictBed, settings: &[(&str, &str)]) -> Site {
    let mut site = bed.site();
    let settings = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    site.settings.extend(settings);
    site
}

async fn needs(bed: &StrictBed, site: &Site) -> Result<NetworkNeeds, ProviderError> {
    bed.provider().networks().unwrap().needs(site, &zone()).await
}

fn part(bed: &StrictBed, site: &Site, (part, within): (&NetworkPart, &Network)) -> CreateResource {
    let mut request = request(bed);
    request.site = site.clone();
    request.name = format!("isobar-web-{}", part.kind.name());
    request.tags.machine = MachineId::new(format!("{}_1", part.kind.name()));
    request.spec = ResourceSpec::Network(NetworkRequest {
        part: part.clone(),
        within: within.clone(),
        open_ports: (30_000, 30_003),
        overlay_port: 51_820,
    });
    request
}

async fn connect(bed: &StrictBed, handle: &ResourceHandle, request: &CreateResource) -> Result<(), ProviderError> {
    let ResourceSpec::Network(wanted) = &request.spec else {
        panic!("a part of a network is asked for");
    };
    let provider = bed.provider();
    provider
        .networks()
        .unwrap()
        .connect(&request.site, handle, wanted)
        .await
}

/// Makes what is needed, as the engine does.
async fn make(bed: &StrictBed, site: &Site) -> Network {
    let needs = needs(bed, site).await.unwrap();
    let mut network = needs.found;
    for wanted in &needs.make {
        let request = part(bed, site, (wanted, &network));
        let made = bed.provider().create(&request).await.unwrap().handle;
        // The second time says the same.
        for _ in 0..2 {
            connect(bed, &made, &request).await.unwrap();
        }
        network.insert(wanted.kind, made);
    }
    network
}

async fn delete(bed: &StrictBed, handle: &ResourceHandle) -> Result<(), ProviderError> {
    let request = request(bed);
    bed.provider().delete(&request.site, handle, &request.token).await
}

#[tokio::test]
async fn in_the_default_vpc_only_a_group_is_made() {
    let bed = StrictBed::reliable().await;
    let needs = needs(&bed, &bed.site()).await.unwrap();
    assert_eq!(
        needs.found,
        Network::from([(ResourceKind::Network, ResourceHandle::new(DEFAULT_VPC))])
    );
    let kinds: Vec<_> = needs.make.iter().map(|part| part.kind).collect();
    assert_eq!(kinds, [ResourceKind::Firewall]);
    let network = make(&bed, &bed.site()).await;
    let rules = bed.ec2.rules(network[&ResourceKind::Firewall].as_str());
    let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
    let expected = private.iter().flat_map(|from| {
        [
            format!("tcp 30000-30003 from {from}"),
            format!("udp 51820-51820 from {from}"),
        ]
    });
    assert_eq!(rules, expected.collect::<BTreeSet<_>>());
}

#[tokio::test]
async fn who_has_a_public_address_is_reached_from_everywhere() {
    let bed = StrictBed::reliable().await;
    let network = make(&bed, &site(&bed, &[("public_address", "true")])).await;
    let rules = bed.ec2.rules(network[&ResourceKind::Firewall].as_str());
    let expected = ["tcp 30000-30003 from 0.0.0.0/0", "udp 51820-51820 from 0.0.0.0/0"];
    assert_eq!(rules, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn without_a_default_vpc_all_of_it_is_made_and_goes_the_other_way_round() {
    let bed = StrictBed::reliable().await;
    bed.ec2.take_default_vpc();
    let network = make(&bed, &bed.site()).await;
    assert_eq!(network.keys().copied().collect::<BTreeSet<_>>(), ALL.into());
    assert!(bed.ec2.is_routed(network[&ResourceKind::Network].as_str()));
    for kind in ALL {
        let listed = list_all(&*bed.provider(), &bed.site(), kind, &request(&bed).tags.owner).await;
        let handles: Vec<_> = listed
            .unwrap()
            .into_iter()
            .map(|state| (state.handle, state.status))
            .collect();
        assert_eq!(handles, [(network[&kind].clone(), ResourceStatus::Running)]);
    }

    let mut machine = request(&bed);
    machine.spec.machine_mut().unwrap().network = network.clone();
    let made = bed.provider().create(&machine).await.unwrap();
    for kind in ALL {
        let refused = delete(&bed, &network[&kind]).await;
        assert!(
            matches!(refused, Err(ProviderError::NotReady { .. })) || kind == ResourceKind::Gateway,
            "{kind:?}: {refused:?}"
        );
    }
    delete(&bed, &made.handle).await.unwrap();
    bed.clock().sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(delete(&bed, &made.handle).await, Err(ProviderError::Gone));
    for kind in [
        ResourceKind::Firewall,
        ResourceKind::Subnet,
        ResourceKind::Gateway,
        ResourceKind::Network,
    ] {
        let gone = delete(&bed, &network[&kind]).await;
        // Nothing used the gateway when it was deleted before, since machines had no public address.
        let expected = if kind == ResourceKind::Gateway {
            ProviderError::NotFound
        } else {
            ProviderError::Gone
        };
        assert_eq!(gone, Err(expected), "{kind:?}");
        assert_eq!(
            delete(&bed, &network[&kind]).await,
            Err(ProviderError::NotFound),
            "{kind:?}"
        );
    }
    assert!(bed.cloud.networks().is_empty());
}

#[tokio::test]
async fn an_own_network_is_made_beside_the_default_one() {
    let bed = StrictBed::reliable().await;
    let needs = needs(&bed, &site(&bed, &[("network", "own")])).await.unwrap();
    assert_eq!(needs.found, Network::new());
    assert_eq!(needs.make.iter().map(|part| part.kind).collect::<Vec<_>>(), ALL);
    assert_eq!(needs.make[2].zone, Some(zone()));
    let mixed = site(&bed, &[("network", "own"), ("security_groups", "sg-0123")]);
    let refused = self::needs(&bed, &mixed).await.unwrap_err();
    assert!(refused.to_string().contains("sg-0123"), "{refused}");
}

#[tokio::test]
async fn where_subnet_and_group_are_named_nothing_is_made_and_nobody_asked() {
    let bed = StrictBed::reliable().await;
    let named = [("subnets", "eu-central-1a=subnet-0123"), ("security_groups", "sg-0123")];
    assert_eq!(needs(&bed, &site(&bed, &named)).await, Ok(NetworkNeeds::default()));
    assert!(bed.ec2.front.calls.all().is_empty());
}

#[tokio::test]
async fn a_lost_answer_leaves_a_part_that_is_found_by_its_tags() {
    let bed = StrictBed::reliable().await;
    let request = part(
        &bed,
        &bed.site(),
        (
            &NetworkPart {
                kind: ResourceKind::Network,
                zone: None,
            },
            &Network::new(),
        ),
    );
    bed.cloud.fail_next(Operation::Create, Fault::LostAnswer);
    let lost = bed.provider().create(&request).await;
    assert!(matches!(lost, Err(ProviderError::OutcomeUnknown { .. })), "{lost:?}");
    let listed = list_all(
        &*bed.provider(),
        &request.site,
        ResourceKind::Network,
        &request.tags.owner,
    )
    .await;
    let listed = listed.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].tags.as_ref(), Some(&request.tags));
    assert_eq!(
        bed.provider().get(&request.site, &listed[0].handle).await.unwrap(),
        listed[0]
    );
}
