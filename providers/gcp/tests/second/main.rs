//! Second opinions: the provider's calls against programs that others wrote.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod adoption;
mod networks;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use isobar_engine_model::id::{
    AttemptNo, ClusterName, Epoch, ImageId, MachineId, OfferingId, OperationId, ProviderId, ResourceHandle, SiteName,
    Zone,
};
use isobar_engine_provider::{
    CreateResource, MachineRequest, Owner, OwnerTags, Provider, ProviderError, ResourceKind, ResourceSpec,
    ResourceStatus, Secret, Site, Token,
};
use isobar_providers_gcp::{GcpConfig, GcpProvider};
use isobar_providers_sim::TokioClock;
use isobar_tests_clouds::program::{Program, installed};

/// What prism's answers may come to. Refused is `invalid_spec` (by 422) or `unauthorized`; examples that Google's client cannot
/// read are the rest.
const FINE: [&str; 4] = ["ok", "conflict", "outcome_unknown", "unexpected"];
const IMAGE: &str = "projects/shop-1/global/images/node";

/// A provider whose credentials are exchanged for a token at `tokens`.
fn provider(url: &str, tokens: &str) -> (GcpProvider, tempfile::NamedTempFile) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        r#"{{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r","token_uri":"{tokens}/token"}}"#
    );
    file.write_all(text.as_bytes()).unwrap();
    let config = GcpConfig {
        id: ProviderId::new("gcp").unwrap(),
        allowed_endpoints: vec![url.to_owned()],
        credentials: Some(file.path().to_owned()),
    };
    (GcpProvider::new(config, Arc::new(TokioClock::new())), file)
}

fn site(url: &str) -> Site {
    let settings = [
        ("project", "shop-1"),
        ("image", IMAGE),
        ("endpoint", url),
        ("public_address", "true"),
        ("data_disk_gib", "20"),
        ("machine_identity", "engine@shop-1.iam.gserviceaccount.com"),
    ];
    Site {
        name: SiteName::new("gcp-eu").unwrap(),
        provider: ProviderId::new("gcp").unwrap(),
        region: "europe-west1".to_owned(),
        settings: settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
    }
}

fn request(url: &str, offering: &str) -> CreateResource {
    CreateResource {
        site: site(url),
        name: "iso-shop-1".to_owned(),
        token: Token("token-1".to_owned()),
        tags: OwnerTags {
            owner: Owner {
                store: "0123456789abcdef".to_owned(),
                cluster: ClusterName::new("shop").unwrap(),
            },
            machine: MachineId::new("web-1"),
            operation: OperationId::new("op-1"),
            attempt: AttemptNo(1),
            epoch: Epoch(1),
        },
        spec: ResourceSpec::Machine(MachineRequest {
            zone: Zone::new("europe-west1-b"),
            offering: OfferingId::new(offering),
            image: ImageId::new(IMAGE),
            identity: Secret(b"identity".to_vec()),
            open_ports: (30_000, 30_001),
            network: Default::default(),
        }),
    }
}

/// gcplocal takes a machine through its life as far as it goes. It has no `aggregatedList`, no `zoneOperations.wait`, no
/// machine types, no regions and no serial port; its operations are done at once, and it ignores `requestId`.
#[tokio::test]
async fn gcplocal_makes_shows_and_deletes_a_machine() {
    let gcplocal = Program::gcplocal().await;
    let (provider, _credentials) = provider(&gcplocal.url, &gcplocal.url);
    let request = request(&gcplocal.url, "e2-small@europe-west1-b");
    let site = site(&gcplocal.url);

    // It numbers operations in hex; the discovery document says `uint64`, and Google's own client reads such an answer only
    // where the number happens to have no letters. The provider says that it does not know what became of it.
    let created = provider.create(&request).await;
    assert!(created.is_ok() || is_unread(&created), "{created:?}");
    let handle = ResourceHandle::new("europe-west1-b/instances/iso-shop-1");
    let seen = provider.get(&site, &handle).await.unwrap();
    assert_eq!((seen.tags, seen.status), (Some(request.tags), ResourceStatus::Running));

    let token = Token("delete".to_owned());
    let deleted = provider.delete(&site, &handle, &token).await;
    assert!(deleted.is_ok() || is_unread(&deleted), "{deleted:?}");
    assert_eq!(provider.get(&site, &handle).await, Err(ProviderError::NotFound));
    assert_eq!(
        provider.delete(&site, &handle, &token).await,
        Err(ProviderError::NotFound)
    );
}

fn is_unread<T>(answer: &Result<T, ProviderError>) -> bool {
    let said = answer.as_ref().err().map(ToString::to_string);
    said.is_some_and(|said| said.contains("not as Google describes it"))
}

/// Prism with Google's own discovery document.
async fn prism() -> Program {
    Program::prism(installed("compute.swagger.json")).await
}

/// Prism answers with examples, which say nothing; it refuses what is not as Google describes, with 422.
#[tokio::test]
async fn prism_finds_nothing_wrong_with_any_call() {
    let (tokens, prism) = (Program::gcplocal().await, prism().await);
    let (provider, _credentials) = provider(&prism.url, &tokens.url);
    let site = site(&prism.url);
    let owner = request(&prism.url, "").tags.owner;
    let machine = ResourceHandle::new("europe-west1-b/instances/iso-shop-1");
    let disk = ResourceHandle::new("europe-west1-b/disks/iso-shop-1");
    let token = Token("delete".to_owned());
    let mut judged = Vec::new();

    for offering in ["e2-small@europe-west1-b", "e2-small@europe-west1-b+spot"] {
        judged.push(kind(provider.create(&request(&prism.url, offering)).await));
    }
    for handle in [&machine, &disk] {
        judged.push(kind(provider.get(&site, handle).await));
        judged.push(kind(provider.delete(&site, handle, &token).await));
    }
    for of in [ResourceKind::Machine, ResourceKind::Disk] {
        judged.push(kind(provider.list(&site, of, &owner, None).await));
    }
    judged.push(kind(provider.catalog(&site).await));
    judged.push(kind(provider.console().unwrap().read(&site, &machine, 5).await));

    assert!(judged.iter().all(|kind| FINE.contains(kind)), "{judged:?}");
}

fn kind<T>(answer: Result<T, ProviderError>) -> &'static str {
    answer.map_or_else(|error| error.kind(), |_| "ok")
}

/// Else its silence would say nothing.
#[tokio::test]
async fn prism_refuses_what_is_not_as_described() {
    let prism = prism().await;
    let what = "POST /compute/v1/projects/shop-1/zones/europe-west1-b/instances";
    for (body, status) in [
        (r#"{"name":"a","labels":{"x":"y"}}"#, 200),
        (r#"{"name":"a","nmae":"b"}"#, 422),
        (r#"{"name":1}"#, 422),
        (r#"{"name":"a","disks":[{"boot":"yes"}]}"#, 422),
    ] {
        assert_eq!(prism.status(what, body).await, status, "{body}");
    }
}
