//! The decorators around a provider that answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{
    AttemptNo, ClusterName, Epoch, ImageId, MachineId, OfferingId, OperationId, ProviderId, ResourceHandle, SiteName,
    Zone,
};
use isobar_engine_model::quantity::Timestamp;
use tokio::time::Instant;

use super::*;
use crate::conformance::Heard;
use crate::error::Next;
use crate::{
    Adoption, Capabilities, Console, CreateResource, Created, Listing, MachineRequest, Networks, Owner, OwnerTags,
    Page, ProviderError, ResourceKind, ResourceSpec, ResourceState, Result, Secret, Site, Token,
};

/// Time as the paused runtime counts it.
struct PausedClock(Instant);

#[async_trait]
impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}

/// The same byte for ever: the shortest or the longest jitter.
struct OneByte(u8);

impl Entropy for OneByte {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

/// Fails as it is told, then answers; remembers when it was asked.
struct Told {
    id: ProviderId,
    clock: Arc<PausedClock>,
    errors: Mutex<VecDeque<ProviderError>>,
    takes_ms: u64,
    asked_ms: Mutex<Vec<u64>>,
    forgotten: AtomicU32,
}

impl Told {
    fn new(errors: impl IntoIterator<Item = ProviderError>) -> Arc<Self> {
        Arc::new(Self {
            id: ProviderId::new("told").unwrap(),
            clock: Arc::new(PausedClock(Instant::now())),
            errors: Mutex::new(errors.into_iter().collect()),
            takes_ms: 0,
            asked_ms: Mutex::new(Vec::new()),
            forgotten: AtomicU32::new(0),
        })
    }

    fn slow(takes_ms: u64) -> Arc<Self> {
        let told = Arc::into_inner(Self::new([])).unwrap();
        Arc::new(Self { takes_ms, ..told })
    }

    fn asked_ms(&self) -> Vec<u64> {
        self.asked_ms.lock().unwrap().clone()
    }

    /// How often it was told to forget its credentials.
    fn forgotten(&self) -> u32 {
        self.forgotten.load(Ordering::SeqCst)
    }

    async fn answer<T>(&self, answer: T) -> Result<T> {
        self.asked_ms.lock().unwrap().push(self.clock.now().0);
        self.clock.sleep(Duration::from_millis(self.takes_ms)).await;
        match self.errors.lock().unwrap().pop_front() {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }
}

#[async_trait]
impl KeepsCredentials for Told {
    async fn forget_credentials(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Provider for Told {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            token_validity_ms: 0,
            visibility_delay_max_ms: 0,
            identity_max_bytes: 0,
            account_settings: &["account"],
            network_token_validity_ms: 0,
            sees_engine_at: None,
        }
    }

    async fn catalog(&self, site: &Site) -> Result<SiteCatalog> {
        let catalog = SiteCatalog {
            site: site.name.clone(),
            as_of: self.clock.now(),
            offerings: vec![],
            images: vec![],
            machines_left: None,
        };
        self.answer(catalog).await
    }

    async fn create(&self, _request: &CreateResource) -> Result<Created> {
        self.answer(Created { handle: handle() }).await
    }

    async fn get(&self, _site: &Site, _handle: &ResourceHandle) -> Result<ResourceState> {
        self.answer(()).await.and(Err(ProviderError::NotFound))
    }

    async fn list(&self, _site: &Site, _kind: ResourceKind, _owner: &Owner, _page: Option<Page>) -> Result<Listing> {
        self.answer(Listing {
            items: vec![],
            next: None,
        })
        .await
    }

    async fn delete(&self, _site: &Site, _handle: &ResourceHandle, _token: &Token) -> Result<()> {
        self.answer(()).await
    }

    fn console(&self) -> Option<&dyn Console> {
        None
    }

    fn networks(&self) -> Option<&dyn Networks> {
        None
    }

    fn adoption(&self) -> Option<&dyn Adoption> {
        None
    }
}

fn site() -> Site {
    Site {
        name: SiteName::new("here").unwrap(),
        provider: ProviderId::new("told").unwrap(),
        region: "here".to_owned(),
        settings: BTreeMap::new(),
    }
}

fn handle() -> ResourceHandle {
    ResourceHandle::new("one")
}

fn request() -> CreateResource {
    CreateResource {
        site: site(),
        name: "iso-web-1".to_owned(),
        token: Token("create-token".to_owned()),
        tags: OwnerTags {
            owner: Owner {
                store: "store".to_owned(),
                cluster: ClusterName::new("shop").unwrap(),
            },
            machine: MachineId::new("web-1"),
            operation: OperationId::new("op-1"),
            attempt: AttemptNo(1),
            epoch: Epoch(1),
        },
        spec: ResourceSpec::Machine(MachineRequest {
            zone: Zone::new("here-a"),
            offering: OfferingId::new("small"),
            image: ImageId::new("image"),
            identity: Secret(b"join-token".to_vec()),
            open_ports: (1, 2),
            network: Default::default(),
        }),
    }
}

fn words() -> String {
    "in the provider's words".to_owned()
}

async fn delete(provider: &dyn Provider) -> Result<()> {
    provider.delete(&site(), &handle(), &Token("t".to_owned())).await
}

fn retry(told: &Arc<Told>, jitter: u8, bounds: RetryBounds) -> impl Provider + use<> {
    Retry::around(told.clone(), told.clock.clone(), Arc::new(OneByte(jitter)), bounds)
}

#[tokio::test(start_paused = true)]
async fn only_what_may_be_sent_again_is_sent_again() {
    let message = words();
    let rows = [
        (ProviderError::RateLimited { after: None }, 2),
        (
            ProviderError::NotReady {
                message: message.clone(),
            },
            2,
        ),
        (
            ProviderError::Unavailable {
                message: message.clone(),
            },
            2,
        ),
        (
            ProviderError::OutcomeUnknown {
                message: message.clone(),
            },
            1,
        ),
        (
            ProviderError::Conflict {
                message: message.clone(),
            },
            1,
        ),
        (
            ProviderError::QuotaExceeded {
                message: message.clone(),
            },
            1,
        ),
        (
            ProviderError::InsufficientCapacity {
                message: message.clone(),
            },
            1,
        ),
        (
            ProviderError::InvalidSpec {
                message: message.clone(),
            },
            1,
        ),
        (
            ProviderError::Unauthorized {
                message: message.clone(),
            },
            1,
        ),
        (
            ProviderError::Unsupported {
                message: message.clone(),
            },
            1,
        ),
        (ProviderError::Unexpected { message }, 1),
        (ProviderError::NotFound, 1),
    ];
    for (error, sendings) in rows {
        let told = Told::new([error.clone()]);
        let answer = delete(&retry(&told, 0, RetryBounds::default())).await;
        assert_eq!(told.asked_ms().len(), sendings, "{error}");
        assert_eq!(answer, if sendings == 2 { Ok(()) } else { Err(error) });
    }
}

#[tokio::test(start_paused = true)]
async fn pauses_double_up_to_a_bound_with_jitter_between_half_and_all() {
    let away = || ProviderError::Unavailable { message: words() };
    let bounds = RetryBounds {
        attempts: 6,
        total_ms: 60_000,
        first_pause_ms: 100,
        longest_pause_ms: 400,
    };
    let shortest = Told::new(std::iter::repeat_with(away).take(10));
    let answer = delete(&retry(&shortest, 0, bounds)).await;
    assert_eq!(answer, Err(away()), "the last error is what the caller sees");
    assert_eq!(shortest.asked_ms(), [0, 50, 150, 350, 550, 750]);

    let mut second_sendings = std::collections::BTreeSet::new();
    for jitter in 0..=u8::MAX {
        let other = Told::new(std::iter::repeat_with(away).take(10));
        let _failed = delete(&retry(&other, jitter, bounds)).await;
        let asked = other.asked_ms();
        for (pair, bound) in asked.windows(2).zip([100, 200, 400, 400, 400]) {
            let pause = pair[1] - pair[0];
            assert!(bound / 2 <= pause && pause <= bound, "{pause} of {bound}");
        }
        second_sendings.insert(asked[1]);
    }
    assert!(
        second_sendings.len() > 10,
        "callers who failed together come back together: {second_sendings:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_provider_s_own_pause_is_kept_and_too_long_a_one_ends_it() {
    let after = |ms| ProviderError::RateLimited {
        after: Some(Duration::from_millis(ms)),
    };
    let told = Told::new([after(7_000)]);
    assert_eq!(delete(&retry(&told, 0, RetryBounds::default())).await, Ok(()));
    assert_eq!(told.asked_ms(), [0, 7_000]);

    let told = Told::new([after(61_000)]);
    assert_eq!(
        delete(&retry(&told, 0, RetryBounds::default())).await,
        Err(after(61_000))
    );
    assert_eq!(
        told.clock.now(),
        Timestamp(0),
        "nobody waits for what is over the bound"
    );
}

#[tokio::test(start_paused = true)]
async fn slow_failures_use_up_the_total_time() {
    let told = Arc::into_inner(Told::slow(25_000)).unwrap();
    let away = ProviderError::Unavailable { message: words() };
    told.errors
        .lock()
        .unwrap()
        .extend(std::iter::repeat_n(away.clone(), 10));
    let told = Arc::new(told);
    assert_eq!(delete(&retry(&told, 0, RetryBounds::default())).await, Err(away));
    assert_eq!(told.asked_ms().len(), 3, "the third failure comes after 60 s");
}

#[tokio::test(start_paused = true)]
async fn a_write_cut_off_is_unknown_and_a_read_is_not() {
    let told = Told::slow(1_000);
    let bounds = DeadlineBounds {
        read_ms: 999,
        write_ms: 999,
    };
    let provider = Deadline::around(told.clone(), told.clock.clone(), bounds);
    let kind = |error: ProviderError| error.kind();
    assert_eq!(delete(&provider).await.map_err(kind), Err("outcome_unknown"));
    assert_eq!(provider.catalog(&site()).await.map_err(kind), Err("unavailable"));
    assert_eq!(told.clock.now(), Timestamp(2 * 999));

    let in_time = Deadline::around(
        told.clone(),
        told.clock.clone(),
        DeadlineBounds {
            read_ms: 1,
            write_ms: 1_001,
        },
    );
    assert_eq!(delete(&in_time).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_burst_goes_through_at_once_and_the_rest_at_the_rate() {
    let told = Told::new([]);
    let bounds = RateBounds {
        calls_per_second: 10,
        burst_calls: 3,
        queue_calls: 100,
    };
    let provider = RateLimit::around(told.clone(), told.clock.clone(), bounds);
    join_all((0..6).map(|_| delete(&provider))).await;
    assert_eq!(told.asked_ms(), [0, 0, 0, 100, 200, 300]);

    tokio::time::sleep(Duration::from_secs(60)).await;
    join_all((0..4).map(|_| delete(&provider))).await;
    assert_eq!(
        told.asked_ms()[6..],
        [60_300, 60_300, 60_300, 60_400],
        "a rest fills the bucket, and no more than that"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_says_for_how_long() {
    let told = Told::new([]);
    let bounds = RateBounds {
        calls_per_second: 10,
        burst_calls: 1,
        queue_calls: 2,
    };
    let provider = RateLimit::around(told.clone(), told.clock.clone(), bounds);
    let answers = join_all((0..5).map(|_| delete(&provider))).await;
    assert_eq!(answers[..3], [Ok(()), Ok(()), Ok(())]);
    let refused = Err(ProviderError::RateLimited {
        after: Some(Duration::from_millis(100)),
    });
    assert_eq!(
        answers[3..],
        [refused.clone(), refused],
        "a refused call takes no place"
    );
    assert_eq!(told.asked_ms(), [0, 100, 200]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_an_account_s_whatever_its_sites_are_called() {
    let told = Told::new([]);
    let bounds = RateBounds {
        calls_per_second: 1,
        burst_calls: 1,
        queue_calls: 10,
    };
    let provider = RateLimit::around(told.clone(), told.clock.clone(), bounds);
    let of = |name: &str, account: &str| Site {
        name: SiteName::new(name).unwrap(),
        settings: BTreeMap::from([("account".to_owned(), account.to_owned())]),
        ..site()
    };
    let sites = [of("one", "a"), of("two", "a"), of("three", "b")];
    let answers = join_all(sites.iter().map(|site| provider.catalog(site))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(
        told.asked_ms(),
        [0, 0, 1_000],
        "the second site of account `a` waits for the first, `b` for nobody"
    );
}

#[tokio::test(start_paused = true)]
async fn credentials_that_counted_are_looked_for_anew_once_and_then_refused() {
    let refused = || ProviderError::Unauthorized { message: words() };
    let told = Told::new([]);
    let provider = Renew::around(told.clone(), told.clock.clone());
    let told_next = |errors: &[ProviderError]| told.errors.lock().unwrap().extend(errors.iter().cloned());

    told_next(&[refused()]);
    assert_eq!(delete(&provider).await, Err(refused()), "these never counted");
    assert_eq!(delete(&provider).await, Ok(()));
    told_next(&[refused(), refused()]);
    let first = delete(&provider).await.map_err(|error| error.next());
    assert_eq!((first, told.forgotten()), (Err(Next::Again), 1));
    assert_eq!(delete(&provider).await, Err(refused()), "others do not count either");
    assert_eq!(told.forgotten(), 1);

    told.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!(delete(&provider).await, Ok(()));
    told_next(&[refused()]);
    let later = delete(&provider).await.map_err(|error| error.next());
    assert_eq!((later, told.forgotten()), (Err(Next::Again), 2));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_of_one_sending_and_waiting_in_the_queue_is_not_part_of_it() {
    let told = Told::slow(900);
    let bounds = Bounds {
        deadline: DeadlineBounds {
            read_ms: 1_000,
            write_ms: 1_000,
        },
        rate: RateBounds {
            calls_per_second: 1,
            burst_calls: 1,
            queue_calls: 10,
        },
        retry: RetryBounds::default(),
    };
    let provider = bounded(told.clone(), told.clock.clone(), Arc::new(OneByte(0)), bounds);
    let answers = join_all((0..5).map(|_| delete(&*provider))).await;
    assert_eq!(answers, vec![Ok(()); 5]);
    assert_eq!(told.asked_ms(), [0, 1_000, 2_000, 3_000, 4_000]);
}

#[tokio::test(start_paused = true)]
async fn a_trace_names_the_call_and_the_kind_of_its_end_and_no_secret() {
    let written = Heard::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let told = Told::new([ProviderError::Conflict { message: words() }]);
    let provider = standard(told.clone(), told.clock.clone(), Arc::new(OneByte(0)));
    let watched = tracing::subscriber::set_default(subscriber);
    provider.create(&request()).await.unwrap_err();
    delete(&*provider).await.unwrap();
    drop(watched);

    let text = written.text();
    for wanted in [
        "provider=told",
        "region=here",
        "operation=\"create\"",
        "machine=web-1",
        "outcome=\"conflict\"",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    for wanted in ["operation=\"delete\"", "handle=one", "outcome=\"ok\""] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    for secret in ["join-token", "words", "create-token"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[test]
fn a_provider_without_a_console_has_none_behind_the_decorators() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let told = Told::new([]);
    let provider = standard(told.clone(), told.clock.clone(), Arc::new(OneByte(0)));
    assert!(provider.console().is_none());
    assert_eq!(provider.id(), told.id());
}
