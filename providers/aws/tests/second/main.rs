//! A second opinion: the suite of all providers against moto, whose authors never saw our code. It checks signatures and
//! permissions. Where moto is not EC2 the case is named with what moto does, and has to go on failing.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod adoption;
#[path = "../strict/clock.rs"]
mod clock;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use isobar_engine_model::id::{
    AttemptNo, ClusterName, Epoch, ImageId, MachineId, OfferingId, OperationId, ProviderId, ResourceHandle, SiteName,
    Zone,
};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::conformance::{CASES, TestBed};
use isobar_engine_provider::{
    Clock, CreateResource, MachineRequest, Network, NetworkPart, NetworkRequest, Owner, OwnerTags, Provider,
    ProviderError, ResourceKind, ResourceSpec, Secret, Site, Token, list_all,
};
use isobar_providers_aws::{AwsConfig, AwsProvider, Keys};

use clock::JumpingClock;
use isobar_tests_clouds::program::moto::Moto;

/// Where moto 5.2 is wrong.
const MOTO_IS_WRONG: [(&str, &str); 5] = [
    ("same_request_gives_the_same_machine", "ClientToken is ignored"),
    (
        "same_request_gives_the_same_machine_after_a_restart",
        "ClientToken is ignored",
    ),
    ("concurrent_duplicates_make_one_machine", "ClientToken is ignored"),
    (
        "token_with_another_request_is_a_conflict",
        "ClientToken is ignored: no IdempotentParameterMismatch",
    ),
    (
        "token_of_a_deleted_machine_makes_no_second_one",
        "ClientToken is ignored: no IdempotentInstanceTerminated",
    ),
];

struct MotoBed<'a> {
    moto: &'a Moto,
    clock: Arc<JumpingClock>,
    provider: Mutex<Arc<dyn Provider>>,
    run: usize,
}

impl<'a> MotoBed<'a> {
    /// A case has a time of its own, which begins now: moto's own goes on beside it.
    fn new(moto: &'a Moto, run: usize) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let clock = Arc::new(JumpingClock::at(Timestamp(u64::try_from(now.as_millis()).unwrap())));
        let provider = Mutex::new(client(moto, &clock));
        Self {
            moto,
            clock,
            provider,
            run,
        }
    }
}

fn client(moto: &Moto, clock: &Arc<JumpingClock>) -> Arc<dyn Provider> {
    let keys = Keys::Given {
        id: moto.keys.id.clone(),
        secret: Secret(moto.keys.secret.clone().into_bytes()),
    };
    let id = ProviderId::new("aws").unwrap();
    let allowed_endpoints = vec![moto.url().to_owned()];
    Arc::new(AwsProvider::new(
        AwsConfig {
            id,
            allowed_endpoints,
            keys,
        },
        clock.clone(),
    ))
}

#[async_trait]
impl TestBed for MotoBed<'_> {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider.lock().unwrap().clone()
    }

    async fn restart(&self) {
        *self.provider.lock().unwrap() = client(self.moto, &self.clock);
    }

    async fn kill(&self, handle: &ResourceHandle) {
        let somebody = client(self.moto, &self.clock);
        somebody
            .delete(&self.site(), handle, &Token(String::new()))
            .await
            .unwrap();
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn site(&self) -> Site {
        // moto wants a size beside the root disk's name, where EC2 takes the image's own.
        let settings = [
            ("image", self.moto.image.as_str()),
            ("endpoint", self.moto.url()),
            ("disk_gib", "8"),
            ("data_disk_gib", "10"),
        ];
        Site {
            name: SiteName::new("aws-iad").unwrap(),
            provider: ProviderId::new("aws").unwrap(),
            region: "us-east-1".to_owned(),
            settings: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        }
    }

    fn machine(&self) -> MachineRequest {
        MachineRequest {
            zone: Zone::new("us-east-1a"),
            offering: OfferingId::new("m5.large@us-east-1a"),
            image: ImageId::new(&self.moto.image),
            identity: Secret(Vec::new()),
            open_ports: (30_000, 30_003),
            network: Default::default(),
        }
    }

    fn unknown_handle(&self) -> ResourceHandle {
        ResourceHandle::new("i-0fffffffffffffff0")
    }

    fn run_id(&self) -> String {
        format!("run{}", self.run)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(600)
    }

    fn names_are_unique(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn moto_agrees_but_where_it_is_not_ec2() {
    let moto = Moto::start().await;
    let mut surprises = Vec::new();
    for (run, case) in CASES.iter().enumerate() {
        let verdict = case.run(&MotoBed::new(&moto, run)).await;
        let excused = MOTO_IS_WRONG.iter().find(|(name, _)| *name == case.name);
        match (verdict, excused) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Ok(()), Some((_, why))) => surprises.push(format!("{} passes, so this is over: {why}", case.name)),
            (Err(broken), None) => surprises.push(format!("{}: {broken}", case.name)),
        }
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
}

#[tokio::test]
async fn moto_makes_connects_and_removes_a_network() {
    let moto = Moto::start().await;
    let bed = MotoBed::new(&moto, 0);
    let provider = bed.provider();
    let mut site = bed.site();
    site.settings.insert("network".to_owned(), "own".to_owned());
    let networks = provider.networks().unwrap();
    let needs = networks.needs(&site, &bed.machine().zone).await.unwrap();
    let mut network = Network::new();
    for part in needs.make {
        let request = request(&site, (&part, &network));
        let made = provider
            .create(&request)
            .await
            .unwrap_or_else(|error| panic!("{part:?}: {error}"))
            .handle;
        let ResourceSpec::Network(wanted) = &request.spec else {
            panic!("a part of a network");
        };
        for _ in 0..2 {
            networks.connect(&site, &made, wanted).await.unwrap();
        }
        let listed = list_all(&*provider, &site, part.kind, &request.tags.owner)
            .await
            .unwrap();
        assert_eq!(listed.len(), 1, "{part:?}");
        assert_eq!(listed[0].tags.as_ref(), Some(&request.tags));
        network.insert(part.kind, made);
    }
    let kinds: Vec<_> = network.keys().copied().collect();
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    for kind in [
        ResourceKind::Firewall,
        ResourceKind::Subnet,
        ResourceKind::Gateway,
        ResourceKind::Network,
    ] {
        let token = Token(String::new());
        let delete = || provider.delete(&site, &network[&kind], &token);
        assert_eq!(delete().await, Err(ProviderError::Gone), "{kind:?}");
        assert_eq!(delete().await, Err(ProviderError::NotFound), "{kind:?}");
    }
}

fn request(site: &Site, (part, within): (&NetworkPart, &Network)) -> CreateResource {
    CreateResource {
        site: site.clone(),
        name: format!("isobar-web-{}", part.kind.name()),
        token: Token(String::new()),
        tags: OwnerTags {
            owner: Owner {
                store: "s1".to_owned(),
                cluster: ClusterName::new("web").unwrap(),
            },
            machine: MachineId::new(format!("{}_1", part.kind.name())),
            operation: OperationId::new("op-1"),
            attempt: AttemptNo(1),
            epoch: Epoch(1),
        },
        spec: ResourceSpec::Network(NetworkRequest {
            part: part.clone(),
            within: within.clone(),
            open_ports: (30_000, 30_003),
            overlay_port: 51_820,
        }),
    }
}
