//! The provider against a strict EC2: the suite of all providers, on good days and bad; what it costs in calls; what it
//! never says aloud.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod bed;
mod clock;
mod extras;
mod networks;
mod told;

use std::collections::BTreeMap;

use isobar_engine_model::id::{AttemptNo, ClusterName, Epoch, ImageId, MachineId, OfferingId, OperationId, Zone};
use isobar_engine_provider::conformance::{self, Heard, TestBed};
use isobar_engine_provider::{
    Clock, CreateResource, Owner, OwnerTags, Provider, ProviderError, ResourceKind, ResourceSpec, ResourceStatus,
    Secret, Token, list_all,
};
use isobar_providers_sim::{Fault, Operation};
use isobar_tests_clouds::aws::{KEY_ID, KEY_SECRET};

use bed::{StrictBed, chained, client};

#[tokio::test]
async fn a_reliable_ec2_conforms() {
    let bed = StrictBed::reliable().await;
    conformance::run(&bed)
        .await
        .unwrap_or_else(|failures| panic!("{failures}"));
    assert_eq!(bed.cloud.machines().len(), 0, "the suite leaves nothing behind");
}

#[tokio::test]
async fn a_rough_ec2_conforms_behind_retries() {
    for seed in 0..5 {
        let bed = StrictBed::rough(seed).await;
        conformance::run(&bed)
            .await
            .unwrap_or_else(|failures| panic!("seed {seed}: {failures}"));
        assert_eq!(
            bed.cloud.machines().len(),
            0,
            "seed {seed}: the suite leaves nothing behind"
        );
        let counters = bed.cloud.counters();
        assert!(
            counters.of(Fault::LostAnswer) > 0 && counters.of(Fault::Throttled) > 0,
            "seed {seed}: {counters:?}"
        );
    }
}

fn request(bed: &StrictBed) -> CreateResource {
    let mut machine = bed.machine();
    machine.identity = Secret(b"join-me-once".to_vec());
    CreateResource {
        site: bed.site(),
        name: "iso-web-1".to_owned(),
        token: Token("token-of-web-1".to_owned()),
        tags: OwnerTags {
            owner: Owner {
                store: "s1".to_owned(),
                cluster: ClusterName::new("web").unwrap(),
            },
            machine: MachineId::new("web-1"),
            operation: OperationId::new("op-00000000c0f02a9c"),
            attempt: AttemptNo(1),
            epoch: Epoch(1),
        },
        spec: ResourceSpec::Machine(machine),
    }
}

#[tokio::test]
async fn a_machine_costs_one_call_to_make_and_two_to_delete_to_the_end() {
    let bed = StrictBed::reliable().await;
    let (provider, request) = (bed.provider(), request(&bed));
    let first = provider.create(&request).await.unwrap();
    let calls = |bed: &StrictBed| bed.ec2.front.calls.all();
    let once = |names: &[(&str, u64)]| {
        names
            .iter()
            .map(|(name, times)| ((*name).to_owned(), *times))
            .collect::<BTreeMap<_, _>>()
    };
    // The image is asked for once a process.
    assert_eq!(calls(&bed), once(&[("DescribeImages", 1), ("RunInstances", 1)]));
    let mut second = request.clone();
    second.token = Token("token-of-web-2".to_owned());
    provider.create(&second).await.unwrap();
    assert_eq!(calls(&bed), once(&[("DescribeImages", 1), ("RunInstances", 2)]));

    provider
        .delete(&request.site, &first.handle, &request.token)
        .await
        .unwrap();
    bed.clock.sleep(std::time::Duration::from_secs(5)).await;
    let gone = provider.delete(&request.site, &first.handle, &request.token).await;
    assert_eq!(gone, Err(ProviderError::Gone));
    assert_eq!(bed.ec2.front.calls.of("TerminateInstances"), 2);
    assert_eq!(calls(&bed).len(), 3, "nothing else is asked: {:?}", calls(&bed));
}

#[tokio::test]
async fn a_part_that_was_left_behind_is_listed_and_deleted() {
    let bed = StrictBed::reliable().await;
    let (provider, request) = (bed.provider(), request(&bed));
    for fault in [Fault::LeftBehind; 12] {
        let made = CreateResource {
            token: Token(format!("token-{}", bed.cloud.counters().machines_made)),
            ..request.clone()
        };
        let made = provider.create(&made).await.unwrap();
        bed.cloud.fail_next(Operation::Delete, fault);
        provider
            .delete(&request.site, &made.handle, &request.token)
            .await
            .unwrap();
        bed.clock.sleep(std::time::Duration::from_secs(5)).await;
    }
    for kind in [ResourceKind::Disk, ResourceKind::Interface] {
        let left = list_all(&*provider, &request.site, kind, &request.tags.owner)
            .await
            .unwrap();
        assert!(!left.is_empty(), "no {} was left in 12 deletions", kind.name());
        for part in left {
            assert_eq!(part.tags.as_ref(), Some(&request.tags));
            provider
                .delete(&request.site, &part.handle, &request.token)
                .await
                .unwrap();
            bed.clock.sleep(std::time::Duration::from_secs(5)).await;
            let gone = provider.delete(&request.site, &part.handle, &request.token).await;
            assert_eq!(gone, Err(ProviderError::NotFound));
        }
    }
}

#[tokio::test]
async fn what_ec2_refuses_says_what_to_do_next() {
    let bed = StrictBed::reliable().await;
    let request = request(&bed);
    for (fault, kind) in [
        (Fault::NoCapacity, "insufficient_capacity"),
        (Fault::OverQuota, "quota_exceeded"),
        (Fault::Throttled, "rate_limited"),
        (Fault::Unauthorized, "unauthorized"),
        (Fault::Refused, "outcome_unknown"),
        (Fault::LostAnswer, "outcome_unknown"),
    ] {
        let token = Token(format!("token-{kind}-{fault:?}"));
        // The image is known from here on, so that the fault meets the create.
        bed.provider().catalog(&request.site).await.unwrap();
        bed.cloud.fail_next(Operation::Create, fault);
        let refused = bed
            .provider()
            .create(&CreateResource {
                token,
                ..request.clone()
            })
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), kind, "{fault:?}: {refused}");
    }
}

#[tokio::test]
async fn nobody_who_listens_is_taken_for_an_answer() {
    let bed = StrictBed::reliable().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{closed}");
    let mut request = request(&bed);
    request.site.settings.insert("endpoint".to_owned(), url.clone());
    let refused = client(&bed.clock, &url, KEY_SECRET).create(&request).await.unwrap_err();
    assert_eq!(refused.kind(), "unavailable", "{refused}");
}

#[tokio::test]
async fn a_wrong_secret_is_found_by_the_signature() {
    let bed = StrictBed::reliable().await;
    let stranger = client(&bed.clock, &bed.ec2.front.url, "another secret");
    let refused = stranger.create(&request(&bed)).await.unwrap_err();
    assert!(
        matches!(&refused, ProviderError::Unauthorized { message } if message.contains("SignatureDoesNotMatch")),
        "{refused}"
    );
}

/// Runs a test of this program in an environment of its own, since the chain reads the environment.
fn in_environment(test: &str, environment: &[(&str, &str)]) {
    let program = std::env::current_exe().unwrap();
    let child = std::process::Command::new(program)
        .args(["--exact", test, "--ignored"])
        .env_clear()
        .envs(environment.iter().copied())
        .output();
    let output = child.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn the_ordinary_chain_takes_credentials_from_the_environment_or_says_where_it_looked() {
    let nowhere = ("AWS_EC2_METADATA_DISABLED", "true");
    let keys = [("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", KEY_SECRET)];
    in_environment("chain_without_credentials", &[nowhere]);
    in_environment("chain_with_an_environment", &keys);
}

#[tokio::test]
#[ignore = "run by another test, in an environment without credentials"]
async fn chain_without_credentials() {
    let bed = StrictBed::reliable().await;
    let refused = chained(&bed.clock, &bed.ec2.front.url).create(&request(&bed)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), "unauthorized", "{refused}");
    assert!(
        refused
            .to_string()
            .contains("environment, profile, web identity, container, instance metadata"),
        "{refused}"
    );
    assert_eq!(bed.ec2.front.calls.all().len(), 0, "nothing is sent unsigned");
}

#[tokio::test]
#[ignore = "run by another test, in an environment with credentials"]
async fn chain_with_an_environment() {
    let bed = StrictBed::reliable().await;
    chained(&bed.clock, &bed.ec2.front.url)
        .create(&request(&bed))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_spot_machine_is_asked_for_as_one_and_shown_like_any_other() {
    let bed = StrictBed::reliable().await;
    let mut request = request(&bed);
    let machine = request.spec.machine_mut().expect("a machine");
    machine.zone = Zone::new("eu-central-1b");
    machine.offering = OfferingId::new("m7i.large@eu-central-1b+spot");
    let made = bed.provider().create(&request).await.unwrap();
    let seen = bed.provider().get(&request.site, &made.handle).await.unwrap();
    assert_eq!(
        (seen.status, seen.name.as_str()),
        (ResourceStatus::Pending, "iso-web-1")
    );
    assert_eq!(bed.cloud.machines()[0].price.0, 50_000, "the price of spot");
}

#[tokio::test]
async fn the_catalog_has_what_the_site_shows_at_both_prices() {
    let bed = StrictBed::reliable().await;
    let mut site = bed.site();
    site.settings.insert("instance_types".to_owned(), "m7i.*".to_owned());
    let catalog = bed.provider().catalog(&site).await.unwrap();
    let ids: Vec<&str> = catalog.offerings.iter().map(|offering| offering.id.as_str()).collect();
    let wanted = [
        "m7i.large@eu-central-1a",
        "m7i.large@eu-central-1a+spot",
        "m7i.large@eu-central-1b",
        "m7i.large@eu-central-1b+spot",
    ];
    assert_eq!(ids, wanted);
    assert_eq!(catalog.offerings[1].price.0, 50_000, "spot is of this moment");
    assert!(catalog.offerings[0].price.0 > 50_000, "on demand is of the price list");
    assert_eq!(catalog.images[0].id, ImageId::new(isobar_tests_clouds::aws::AMI));
}

#[tokio::test]
async fn no_secret_is_ever_logged_or_shown() {
    let log = Heard::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || sink.clone())
        .finish();
    let _listening = tracing::subscriber::set_default(subscriber);
    tracing::info!("the log is read");
    let bed = StrictBed::reliable().await;
    let provider = client(&bed.clock, &bed.ec2.front.url, KEY_SECRET);
    let mut request = request(&bed);
    provider.create(&request).await.unwrap();
    let machine = request.spec.machine_mut().expect("a machine");
    machine.identity = Secret(b"another-join".to_vec());
    let conflict = provider.create(&request).await.unwrap_err();
    assert_eq!(conflict.kind(), "conflict");
    let logged = log.text();
    assert!(logged.contains("the log is read"));
    // As they are, and as user data carries them.
    let said = format!("{logged}{conflict}{conflict:?}{provider:?}");
    for secret in [
        "join-me-once",
        "am9pbi1tZS1vbmNl",
        "another-join",
        "YW5vdGhlci1qb2lu",
        KEY_SECRET,
    ] {
        assert!(!said.contains(secret), "{secret} was said");
    }
}
