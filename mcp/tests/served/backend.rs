//! The state backend's HTTP: what clients other than Terraform would send, and what they are told.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_mcp::terraform;
use isobar_terraform_compat::backend::{BODY_MAX_BYTES, LOCK_MAX_BYTES};
use reqwest::Method;
use serde_json::json;

use crate::running::Running;

pub(crate) struct Backend(pub(crate) Running);

impl Backend {
    fn send(&self, method: &str, path: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        let url = self.0.url.replace("/mcp", &format!("{}/{path}", terraform::PATH));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let token = self.0.folder.token().unwrap();
        self.0
            .http
            .request(method, url)
            .basic_auth("any", Some(token.as_str()))
            .body(body)
    }

    pub(crate) async fn answer(&self, method: &str, path: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        told(self.send(method, path, body)).await
    }
}

async fn told(request: reqwest::RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn state(serial: u64) -> String {
    json!({"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "l", "outputs": {"serial":
        {"value": serial, "type": "number"}}, "resources": []})
    .to_string()
}

fn lock(id: &str) -> String {
    json!({"ID": id, "Who": "me@here"}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_locked_written_read_and_unlocked() {
    let backend = Backend(Running::start().await);
    assert_eq!(backend.answer("GET", "shop/a", "").await.0, 404);
    assert_eq!(backend.answer("LOCK", "shop/a", lock("a/1")).await.0, 200);
    assert_eq!(backend.answer("LOCK", "shop/a", lock("b")).await, (423, lock("a/1")));
    assert_eq!(backend.answer("POST", "shop/a", state(1)).await, (423, lock("a/1")));
    assert_eq!(backend.answer("POST", "shop/a?ID=a%2F1", state(1)).await.0, 200);
    assert_eq!(backend.answer("GET", "shop/a", "").await, (200, state(1)));
    assert_eq!(backend.answer("GET", "shop/b", "").await.0, 404);
    assert_eq!(backend.answer("UNLOCK", "shop/a", lock("b")).await, (423, lock("a/1")));
    assert_eq!(backend.answer("UNLOCK", "shop/a", lock("a/1")).await.0, 200);
    assert_eq!(backend.answer("POST", "shop/a", state(2)).await.0, 200);
    let (status, words) = backend.answer("POST", "shop/a", state(1)).await;
    assert_eq!(status, 409);
    assert_eq!(
        words,
        "the serial 1 is older than the stored one, 2\nhint: somebody else has written or unlocked meanwhile: plan again \
         from the stored state\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_state_or_came_wrong_is_not_stored() {
    let backend = Backend(Running::start().await);
    assert_eq!(backend.answer("POST", "shop", "<html>").await.0, 400);
    let wrong = backend.send("POST", "shop", state(1)).header("content-md5", "AAAA");
    assert_eq!(told(wrong).await.0, 400);
    for name in ["Shop", "a/b/c/d/e", "a//b", "a%2f..%2fb"] {
        assert_eq!(backend.answer("GET", name, "").await.0, 400, "{name}");
    }
    assert_eq!(backend.answer("LOCK", "shop", "{}").await.0, 400);
    let (status, words) = backend.answer("LOCK", "shop", " ".repeat(LOCK_MAX_BYTES + 1)).await;
    assert_eq!(
        (status, words.contains("longer than 16384 bytes")),
        (413, true),
        "{words}"
    );
    for method in ["PUT", "DELETE", "PATCH"] {
        assert_eq!(backend.answer(method, "shop", state(1)).await.0, 405, "{method}");
    }
    assert_eq!(backend.answer("GET", "shop", "").await.0, 404);
    assert_eq!(backend.answer("POST", "shop", state(1)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_an_announced_length_is_bounded_too() {
    let backend = Backend(Running::start().await);
    let chunk = vec![b' '; 1 << 20];
    let chunks = (0..=BODY_MAX_BYTES >> 20).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let sender = reqwest::Client::builder().no_proxy().build().unwrap();
    let (client, request) = backend.send("POST", "shop", body).build_split();
    drop(client);
    // The connection may be closed before all was sent.
    if let Ok(answer) = sender.execute(request.unwrap()).await {
        assert_eq!(answer.status(), 413);
    }
    assert_eq!(backend.answer("GET", "shop", "").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_from_elsewhere_or_from_a_page_nothing_is_answered() {
    let backend = Backend(Running::start().await);
    backend.answer("POST", "shop", state(1)).await;
    let url = backend.0.url.replace("/mcp", "/terraform/shop");
    for credentials in [String::new(), "any:".to_owned(), format!("any:{}", "0".repeat(64))] {
        let header = format!("Basic {}", STANDARD.encode(&credentials));
        let answer = backend
            .0
            .http
            .get(&url)
            .header("authorization", header)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 401, "{credentials}");
        assert_eq!(answer.headers()["www-authenticate"], "Basic realm=\"isobar\"");
    }
    let status = async |header: &str, value: &str| told(backend.send("GET", "shop", "").header(header, value)).await.0;
    assert_eq!(status("host", "evil.example").await, 403);
    assert_eq!(status("host", "localhost:1").await, 200);
    assert_eq!(status("origin", "http://localhost:8080").await, 403);
    let token = backend.0.folder.token().unwrap();
    let on_mcp = backend
        .0
        .http
        .get(&backend.0.url)
        .basic_auth("any", Some(token.as_str()));
    assert_eq!(told(on_mcp).await.0, 401);
}
