//! Signature version 4, verified as Amazon's services do. <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>

use axum::http::HeaderMap;
use isobar_engine_model::quantity::Timestamp;
use ring::{digest, hmac};

use super::answer::Failure;
use super::role::Role;
use super::{KEY_SECRET, time};

/// A date may be off by so much.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html> (`RequestExpired`)
const SKEW_MAX_MS: u64 = 15 * 60_000;
/// A request must sign at least these.
const SIGNED: [&str; 2] = ["host", "x-amz-date"];

/// Whether a call carries the account's signature, made lately.
pub(super) fn check(
    headers: &HeaderMap,
    body: &[u8],
    (region, service, now): (&str, &str, Timestamp),
    role: &Role,
) -> Result<(), Failure> {
    let missing = || Failure::unauthorized("MissingAuthenticationToken", "the request is not signed");
    let incomplete = || Failure::unauthorized("IncompleteSignature", "the signature lacks a part");
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = header("authorization").ok_or_else(missing)?;
    let date = header("x-amz-date").ok_or_else(incomplete)?;
    let given = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(incomplete)?;
    let part = |name: &str| {
        given
            .split(", ")
            .find_map(|part| part.strip_prefix(name))
            .ok_or_else(incomplete)
    };
    let (credential, signed) = (part("Credential=")?, part("SignedHeaders=")?);
    let signature = part("Signature=")?;

    let day = date.get(..8).ok_or_else(incomplete)?;
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let (key, credential_scope) = credential.split_once('/').ok_or_else(incomplete)?;
    role.counts(key, header("x-amz-security-token"))?;
    let at = time::of_iso(date).ok_or_else(incomplete)?;
    if at.since_ms(now).max(now.since_ms(at)) > SKEW_MAX_MS {
        return Err(Failure::client("RequestExpired", "Request has expired."));
    }
    let names: Vec<&str> = signed.split(';').collect();
    if credential_scope != scope || SIGNED.iter().any(|name| !names.contains(name)) {
        return Err(incomplete());
    }
    let lines: Option<Vec<String>> = names
        .iter()
        .map(|name| Some(format!("{name}:{}\n", header(name)?.trim())))
        .collect();
    let lines = lines.ok_or_else(incomplete)?.concat();
    let canonical = format!("POST\n/\n\n{lines}\n{signed}\n{}", hashed(body));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hashed(canonical.as_bytes()));
    let made = hex::encode(hmac_of(&key_of(day, region, service), &text));
    if made == signature {
        Ok(())
    } else {
        Err(Failure::unauthorized(
            "SignatureDoesNotMatch",
            "the signature does not match",
        ))
    }
}

fn hmac_of(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
        .as_ref()
        .to_vec()
}

fn key_of(day: &str, region: &str, service: &str) -> Vec<u8> {
    let secret = format!("AWS4{KEY_SECRET}").into_bytes();
    [day, region, service, "aws4_request"]
        .into_iter()
        .fold(secret, |key, text| hmac_of(&key, text))
}

fn hashed(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}
