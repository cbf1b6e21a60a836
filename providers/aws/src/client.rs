//! The SDK's client for a site: its credentials, its address, and a call that prints nothing. Used by every area.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use isobar_engine_provider::{Clock, ProviderError, Result, Site};
use tokio::sync::Mutex;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use crate::config::{AwsConfig, Keys};
use crate::settings::Settings;

/// A connection is there after so long, or the cloud is away.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// No call takes longer; the engine's own deadline is sooner.
const CALL_MAX: Duration = Duration::from_secs(60);
/// One process uses at most so many profiles.
const PROFILES_MAX: usize = 64;

/// Makes clients. Credentials are looked up once a profile, and renewed by the SDK.
pub(crate) struct Clients {
    config: AwsConfig,
    clock: Arc<dyn Clock>,
    http: SharedHttpClient,
    profiles: Mutex<BTreeMap<Option<String>, SdkConfig>>,
}

/// The engine's clock as the SDK reads it: for signatures, and for when credentials expire.
struct Time(Arc<dyn Clock>);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

impl aws_smithy_async::time::TimeSource for Time {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.now().0)
    }
}

impl Clients {
    pub(crate) fn new(config: AwsConfig, clock: Arc<dyn Clock>) -> Self {
        let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        Self {
            config,
            clock,
            http: Builder::new().tls_provider(ring).build_https(),
            profiles: Mutex::default(),
        }
    }

    pub(crate) fn config(&self) -> &AwsConfig {
        &self.config
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// A site's settings, and a client that calls where they say.
    pub(crate) async fn of(&self, site: &Site) -> Result<(Settings, Client)> {
        let settings = Settings::of(site, &self.config.allowed_endpoints)?;
        let profile = self.profile(settings.profile.clone(), &site.region).await?;
        let mut builder = aws_sdk_ec2::config::Builder::from(&profile).region(Region::new(site.region.clone()));
        builder.set_endpoint_url(settings.endpoint.clone());
        Ok((settings, Client::from_conf(builder.build())))
    }

    /// A client that says who a site's credentials are. A site's endpoint stands for all services.
    pub(crate) async fn identity_of(&self, site: &Site) -> Result<aws_sdk_sts::Client> {
        let settings = Settings::of(site, &self.config.allowed_endpoints)?;
        let profile = self.profile(settings.profile.clone(), &site.region).await?;
        let mut builder = aws_sdk_sts::config::Builder::from(&profile).region(Region::new(site.region.clone()));
        builder.set_endpoint_url(settings.endpoint);
        Ok(aws_sdk_sts::Client::from_conf(builder.build()))
    }

    /// The next call of every profile looks for its credentials anew.
    pub(crate) async fn forget(&self) {
        self.profiles.lock().await.clear();
    }

    pub(crate) async fn profile(&self, name: Option<String>, region: &str) -> Result<SdkConfig> {
        let mut profiles = self.profiles.lock().await;
        if let Some(known) = profiles.get(&name) {
            return Ok(known.clone());
        }
        if profiles.len() >= PROFILES_MAX {
            return Err(ProviderError::Unsupported {
                message: format!("more than {PROFILES_MAX} profiles in one engine"),
            });
        }
        let limits = TimeoutConfig::builder()
            .connect_timeout(CONNECT_MAX)
            .operation_timeout(CALL_MAX)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .http_client(self.http.clone())
            .retry_config(RetryConfig::disabled())
            .timeout_config(limits)
            .time_source(Time(Arc::clone(&self.clock)));
        if let Keys::Given { id, secret } = &self.config.keys {
            let secret = String::from_utf8_lossy(&secret.0).into_owned();
            loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "given"));
        }
        if let Some(name) = &name {
            loader = loader.profile_name(name);
        }
        let loaded = quiet(loader.load()).await;
        profiles.insert(name, loaded.clone());
        Ok(loaded)
    }
}

/// Runs a call of the SDK without its own log, which at the finest level holds whole requests, user data and all.
pub(crate) async fn quiet<T>(call: impl Future<Output = T>) -> T {
    call.with_subscriber(NoSubscriber::default()).await
}
