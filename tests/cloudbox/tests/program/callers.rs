//! The providers, as an engine would have them call a site of the clouds.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use isobar_engine_model::id::{ProviderId, SiteName};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{Clock, Provider, Secret, Site};
use isobar_providers_aws::{AwsConfig, AwsProvider, Keys};
use isobar_providers_azure::{AzureConfig, AzureProvider, Credentials};
use isobar_providers_gcp::{GcpConfig, GcpProvider};
use isobar_providers_sim::TokioClock;
use isobar_tests_clouds::{aws, azure};
use serde_json::Value;

/// Whom providers call as.
pub(crate) struct Callers {
    pub(crate) aws: Keys,
    pub(crate) azure: Credentials,
    pub(crate) gcp: Option<PathBuf>,
}

impl Callers {
    /// Whom they find by themselves.
    pub(crate) fn found() -> Self {
        Self {
            aws: Keys::Chain,
            azure: Credentials::Chain,
            gcp: None,
        }
    }

    /// The clouds' own account, in the environment that the program tells.
    pub(crate) fn of_the_account(environment: &Value) -> Self {
        let keys = Keys::Given {
            id: aws::KEY_ID.to_owned(),
            secret: Secret(aws::KEY_SECRET.as_bytes().to_vec()),
        };
        Self {
            aws: keys,
            azure: Credentials::Token(azure::TOKEN.to_owned()),
            gcp: environment["GOOGLE_APPLICATION_CREDENTIALS"]
                .as_str()
                .map(PathBuf::from),
        }
    }

    /// The provider of a site.
    pub(crate) fn provider(self, site: &Site) -> Arc<dyn Provider> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = u64::try_from(since.expect("it is after 1970").as_millis()).expect("it is before the end of time");
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(Timestamp(now)));
        let (id, allowed_endpoints) = (site.provider.clone(), vec![site.settings["endpoint"].clone()]);
        match id.as_str() {
            "aws" => {
                let config = AwsConfig {
                    id,
                    allowed_endpoints,
                    keys: self.aws,
                };
                Arc::new(AwsProvider::new(config, clock))
            }
            "azure" => {
                let config = AzureConfig {
                    id,
                    allowed_endpoints,
                    credentials: self.azure,
                };
                Arc::new(AzureProvider::new(config, clock).expect("a client"))
            }
            other => {
                assert_eq!(other, "gcp");
                let config = GcpConfig {
                    id,
                    allowed_endpoints,
                    credentials: self.gcp,
                };
                Arc::new(GcpProvider::new(config, clock))
            }
        }
    }
}

/// A site as a spec has it, with more settings.
pub(crate) fn site(of_spec: &Value, more: &[(&str, &str)]) -> Site {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let settings = of_spec["settings"].as_object().expect("settings").iter();
    let settings = settings.map(|(name, value)| (name.clone(), text(value)));
    let more = more
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Site {
        name: SiteName::new("here").expect("a name"),
        provider: ProviderId::new(text(&of_spec["provider"])).expect("a name"),
        region: text(&of_spec["region"]),
        settings: settings.chain(more).collect(),
    }
}
