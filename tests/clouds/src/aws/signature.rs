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
    let text = (date, scope.as_str(), lines.as_str(), signed);
    let made = made(KEY_SECRET, text, body);
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

/// The signature of a POST to `/` with these headers in lines, of these names.
fn made(secret: &str, (date, scope, lines, signed): (&str, &str, &str, &str), body: &[u8]) -> String {
    let canonical = format!("POST\n/\n\n{lines}\n{signed}\n{}", hashed(body));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hashed(canonical.as_bytes()));
    let secret = format!("AWS4{secret}").into_bytes();
    let key = scope.split('/').fold(secret, |key, text| hmac_of(&key, text));
    hex::encode(hmac_of(&key, &text))
}

/// A key and its secret.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The key's id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

/// The headers, lines ended by `\r\n`, that make a form of EC2's for `host` ours.
pub(crate) fn headers(keys: &Keys, (host, region): (&str, &str), now: Timestamp, body: &str) -> String {
    let date: String = time::iso(now).chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let date = format!("{}Z", date.split(['.', 'Z']).next().unwrap_or_default());
    let scope = format!("{}/{region}/ec2/aws4_request", &date[..8]);
    let lines = format!("host:{host}\nx-amz-date:{date}\n");
    let signed = "host;x-amz-date";
    let signature = made(&keys.secret, (&date, &scope, &lines, signed), body.as_bytes());
    let id = &keys.id;
    format!(
        "x-amz-date: {date}\r\ncontent-type: application/x-www-form-urlencoded\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}\r\n"
    )
}

fn hashed(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}
