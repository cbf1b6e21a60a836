//! Who may do what, and what nobody hears: credentials, endpoints, projects, secrets in logs.

use std::path::PathBuf;

use base64::Engine as _;
use isobar_engine_model::id::ProviderId;
use isobar_engine_provider::conformance::{Heard, TestBed as _};
use isobar_engine_provider::{CreateResource, Provider, ProviderError, Token};
use isobar_providers_gcp::{GcpConfig, GcpProvider};

use crate::bed::GcpBed;
use crate::facts::{IDENTITY, make, request, request_at};

#[tokio::test]
async fn credentials_that_do_not_count_say_where_they_are_from() {
    let bed = GcpBed::plain().await;
    make(&bed, 1).await;
    bed.gcp.expire_tokens();
    let expired = bed.provider().create(&request(&bed, 2)).await.unwrap_err();
    assert!(matches!(expired, ProviderError::Unauthorized { .. }), "{expired}");

    let file = tempfile::NamedTempFile::new().unwrap();
    for (text, expected) in [
        ("{", "is no JSON"),
        (r#"{"type":"crystal_ball"}"#, "`crystal_ball`"),
        (r#"{"type":"authorized_user"}"#, "client_id"),
    ] {
        std::fs::write(file.path(), text).unwrap();
        let provider = with_credentials(&bed, file.path().to_owned());
        let refused = provider.catalog(&bed.site()).await.unwrap_err();
        assert!(matches!(refused, ProviderError::Unauthorized { .. }), "{refused}");
        let said = refused.to_string();
        assert!(
            said.contains(expected) && said.contains(&file.path().display().to_string()),
            "{said}"
        );
    }
    let mut wrong = bed.gcp.credentials();
    wrong["refresh_token"] = "somebody-s-secret".into();
    std::fs::write(file.path(), wrong.to_string()).unwrap();
    let refused = with_credentials(&bed, file.path().to_owned())
        .catalog(&bed.site())
        .await
        .unwrap_err();
    assert!(matches!(refused, ProviderError::Unauthorized { .. }), "{refused}");
    assert!(!refused.to_string().contains("somebody-s-secret"), "{refused}");
}

fn with_credentials(bed: &GcpBed, file: PathBuf) -> GcpProvider {
    provider_at(bed, &bed.gcp.front.url, file)
}

fn provider_at(bed: &GcpBed, url: &str, file: PathBuf) -> GcpProvider {
    let config = GcpConfig {
        id: ProviderId::new("gcp").unwrap(),
        allowed_endpoints: vec![url.to_owned()],
        credentials: Some(file),
    };
    GcpProvider::new(config, bed.clock())
}

#[tokio::test]
async fn a_site_elsewhere_or_of_another_project_is_refused_before_anything_is_made() {
    let bed = GcpBed::plain().await;
    let elsewhere = bed.site_with(&[("endpoint", "http://127.0.0.1:9")]);
    let refused = bed
        .provider()
        .create(&request_at(&bed, elsewhere, 1))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("--allow-endpoint"), "{refused}");
    let foreign = bed.site_with(&[("project", "someone-s")]);
    let refused = bed.provider().create(&request_at(&bed, foreign, 1)).await.unwrap_err();
    assert!(matches!(refused, ProviderError::InvalidSpec { .. }), "{refused}");
    assert_eq!(bed.cloud.machines().len(), 0);
}

#[tokio::test]
async fn a_cloud_that_refuses_connections_did_nothing() {
    let bed = GcpBed::plain().await;
    let closed = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let provider = provider_at(&bed, &url, bed.credentials().to_owned());
    let site = bed.site_with(&[("endpoint", &url)]);
    let away = provider.create(&request_at(&bed, site, 1)).await.unwrap_err();
    assert!(matches!(away, ProviderError::Unavailable { .. }), "{away}");
}

#[tokio::test]
async fn an_identity_is_in_no_log_and_in_no_debug_output() {
    let heard = Heard::default();
    let writer = heard.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::info!("a subscriber hears this");

    let bed = GcpBed::plain().await;
    let asked = request(&bed, 1);
    bed.provider().create(&asked).await.unwrap();
    let other = CreateResource {
        token: Token("another".to_owned()),
        ..asked.clone()
    };
    let refused = bed.provider().create(&other).await.unwrap_err();
    let printed = format!("{asked:?} {refused:?} {refused}");

    let heard = heard.text();
    assert!(heard.contains("a subscriber hears this"));
    let encoded = base64::engine::general_purpose::STANDARD.encode(IDENTITY);
    let plain = String::from_utf8_lossy(IDENTITY);
    for secret in [encoded.as_str(), &plain, "strict-refresh-token", "ya29.strict"] {
        assert!(!heard.contains(secret), "{secret} is in the log");
        assert!(!printed.contains(secret), "{secret} is printed");
    }
}
