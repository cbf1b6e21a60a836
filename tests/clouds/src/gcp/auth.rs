//! Tokens: a refresh token is exchanged for an access token (<https://developers.google.com/identity/protocols/oauth2/web-server#offline>),
//! and only an access token that was given out here, and has not expired, counts.

use std::collections::BTreeSet;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::answers::Refusal;

/// Where tokens are given out.
pub(super) const PATH: &str = "/token";
/// The type of the credentials that count here, as gcloud's own file has it.
pub const AUTHORIZED_USER: &str = "authorized_user";

const CLIENT: &str = "strict-client";
const CLIENT_SECRET: &str = "strict-client-secret";
const REFRESH_TOKEN: &str = "strict-refresh-token";

/// The access tokens that count.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    given: u64,
    count: BTreeSet<String>,
}

/// The file of credentials that count at `url`.
pub(super) fn credentials(url: &str) -> Value {
    json!({
        "type": AUTHORIZED_USER,
        "client_id": CLIENT,
        "client_secret": CLIENT_SECRET,
        "refresh_token": REFRESH_TOKEN,
        "token_uri": format!("{url}{PATH}"),
    })
}

impl Tokens {
    pub(super) fn give(&mut self, asked: Option<&Value>) -> Result<Value, Refusal> {
        let asked = asked.unwrap_or(&Value::Null);
        let right = asked["grant_type"] == "refresh_token"
            && asked["client_id"] == CLIENT
            && asked["client_secret"] == CLIENT_SECRET
            && asked["refresh_token"] == REFRESH_TOKEN;
        if !right {
            return Err(Refusal::unauthenticated());
        }
        Ok(self.another())
    }

    /// One more that counts.
    pub(super) fn another(&mut self) -> Value {
        self.given += 1;
        let token = format!("ya29.strict-{}", self.given);
        self.count.insert(token.clone());
        json!({ "access_token": token, "expires_in": 3600, "token_type": "Bearer" })
    }

    pub(super) fn expire(&mut self) {
        self.count.clear();
    }

    pub(super) fn counts(&self, headers: &HeaderMap) -> bool {
        let shown = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        shown.is_some_and(|token| self.count.contains(token))
    }
}
