//! Consoles: an operation that hands out an address, and the blob behind it, which that address alone opens.
//! <https://learn.microsoft.com/rest/api/compute/virtual-machines/retrieve-boot-diagnostics-data>

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use isobar_engine_provider::{Console, ProviderError, ResourceKind};
use serde_json::json;

use super::State;
use super::answer::{Refused, refused};
use super::route::{Answer, Asked};

/// Where blobs are.
pub(super) const PATH: &str = "/blobs/{name}";
/// What an address ends with, and nobody can guess.
const SIGNATURE: &str = "a-shared-access-signature";
/// "a value between 1 to 1440 minutes"
const OPEN_MINUTES: std::ops::RangeInclusive<u32> = 1..=1440;

impl State {
    pub(super) async fn console(&self, asked: &Asked) -> Answer {
        let name = asked.name("vmName");
        self.find((ResourceKind::Machine, name))
            .ok_or(ProviderError::NotFound)?;
        let minutes = asked.query.get("sasUriExpirationTimeInMinutes");
        if minutes.is_some_and(|text| text.parse().map_or(true, |minutes| !OPEN_MINUTES.contains(&minutes))) {
            let words = "sasUriExpirationTimeInMinutes is not between 1 and 1440".to_owned();
            return Err(self.violated("InvalidParameter", words));
        }
        let host = asked.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let blobs = self.kept().blobs.clone();
        let blobs = blobs.unwrap_or_else(|| format!("http://{}/blobs", host.unwrap_or_default()));
        let address = |what: &str| format!("{blobs}/{name}.{what}?sv=2018-03-28&sig={SIGNATURE}");
        Ok(Json(json!({
            "consoleScreenshotBlobUri": address("screenshot.bmp"),
            "serialConsoleLogBlobUri": address("serialconsole.log"),
        }))
        .into_response())
    }
}

/// A blob. Storage takes a token of another audience than the resource manager's: "Do not share tokens between services".
/// <https://learn.microsoft.com/azure/storage/blobs/authorize-access-azure-active-directory>
pub(super) async fn blob(
    Shared(state): Shared<Arc<State>>,
    Path(name): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    state.calls.count("blob");
    state
        .printed(&name, &query, &headers)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

impl State {
    async fn printed(&self, name: &str, query: &BTreeMap<String, String>, headers: &HeaderMap) -> Answer {
        if headers.contains_key(header::AUTHORIZATION) {
            return Err(self.violated("InvalidAuthenticationInfo", "a blob was shown a token".to_owned()));
        }
        if query.get("sig").map(String::as_str) != Some(SIGNATURE) {
            let words = "Server failed to authenticate the request.";
            return Err(refused(StatusCode::FORBIDDEN, "AuthenticationFailed", words));
        }
        let machine = name.strip_suffix(".serialconsole.log").unwrap_or_default();
        let (_, handle) = self
            .find((ResourceKind::Machine, machine))
            .ok_or(ProviderError::NotFound)?;
        let printed = Console::read(&self.sim, &self.site, &handle, 0).await;
        Ok(printed.map_err(Refused::from)?.bytes.into_response())
    }
}
