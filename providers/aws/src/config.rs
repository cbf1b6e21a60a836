//! What the provider is told once: its name, where it may send credentials, and where they come from. Plain data.

use isobar_engine_model::id::ProviderId;
use isobar_engine_provider::Secret;

/// How the engine's starter set the provider up.
#[derive(Debug, Clone)]
pub struct AwsConfig {
    /// The name specs use.
    pub id: ProviderId,
    /// Addresses that a site's setting `endpoint` may name.
    pub allowed_endpoints: Vec<String>,
    /// Where credentials come from.
    pub keys: Keys,
}

/// Where credentials come from.
#[derive(Debug, Clone)]
pub enum Keys {
    /// Amazon's ordinary chain: environment, profile, web identity, container, instance metadata.
    Chain,
    /// These, whatever the environment says.
    Given {
        /// The access key's id.
        id: String,
        /// Its secret, in UTF-8.
        secret: Secret,
    },
}
