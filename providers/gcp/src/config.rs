//! What whoever starts the engine tells the provider. Plain data, given once; what a spec says is in [`crate::settings`].

use std::path::PathBuf;

use isobar_engine_model::id::ProviderId;

/// Who the provider is, and where its credentials come from and may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcpConfig {
    /// The name specs use.
    pub id: ProviderId,
    /// Addresses that a site's setting `endpoint` may name besides Google's own.
    pub allowed_endpoints: Vec<String>,
    /// A file of credentials; absent: Google's own chain finds them.
    pub credentials: Option<PathBuf>,
}
