//! A program on a machine that has an identity finds keys that count where its cloud's own libraries look, with nothing in its
//! environment and no files; on a machine without one there are none. The provider is that program, in a process of its own;
//! nothing boots.

use std::collections::BTreeMap;
use std::process::Output;

use isobar_providers_azure::Credentials;
use isobar_tests_cloudbox::metadata::{self, Born};
use isobar_tests_clouds::world::{Cloud, Pages, World};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::callers::{Callers, site};

/// How the program is told of its site.
const SITE: &str = "CLOUDBOX_SITE";
const PROFILE: &str = "arn:aws:iam::123456789012:instance-profile/engines/isobar";
const MANAGED: &str =
    "/subscriptions/s/resourceGroups/isobar/providers/Microsoft.ManagedIdentity/userAssignedIdentities/engine";
const ACCOUNT: &str = "engine@shop-1.iam.gserviceaccount.com";

/// The clouds, and the metadata service of a machine of one of them.
struct Machine {
    world: World,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Machine {
    async fn of(cloud: Cloud, identity: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let world = World::serve(folder.path(), Pages::Small, |_, config| config).await;
        let world = world.expect("loopback has free ports");
        let born = Born {
            user_data: b"who I am".to_vec(),
            identity: identity.map(str::to_owned),
            machines: world.machines(cloud),
        };
        let (port, serving) = metadata::serve(born).await.expect("loopback has free ports");
        tokio::spawn(serving);
        Self {
            world,
            port,
            _folder: folder,
        }
    }

    /// What a program says that asks its cloud for its offerings, and finds the metadata service by this variable.
    async fn runs(&self, cloud: Cloud, (variable, value): (&str, String)) -> Output {
        let program = std::env::current_exe().expect("this program has a file");
        let mut command = tokio::process::Command::new(program);
        command
            .args([
                "--exact",
                "credentials::a_program_on_a_machine",
                "--ignored",
                "--nocapture",
            ])
            .env_clear()
            .env(variable, value)
            .env(SITE, self.world.site(cloud).to_string());
        command.output().await.expect("this program runs")
    }

    /// The status and the body of an answer to these lines.
    async fn asked(&self, lines: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))
            .await
            .expect("it is served");
        let request = format!("{lines}\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is heard");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("a status"), body.to_owned())
    }
}

#[tokio::test]
#[ignore = "run by other tests, in an environment of its own"]
async fn a_program_on_a_machine() {
    let told = std::env::var(SITE).expect("another test runs this");
    let site = site(&serde_json::from_str(&told).expect("a site"), &[]);
    let catalog = Callers::found().provider(&site).catalog(&site).await;
    let catalog = catalog.unwrap_or_else(|refused| panic!("{}: {refused}", refused.kind()));
    assert!(!catalog.offerings.is_empty());
}

/// With an identity the program gets on; without one it is told that it has none.
async fn counts_only_under_an_identity(
    cloud: Cloud,
    identity: &str,
    environment: impl Fn(u16) -> (&'static str, String),
) {
    let machine = Machine::of(cloud, Some(identity)).await;
    let output = machine.runs(cloud, environment(machine.port)).await;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");

    let machine = Machine::of(cloud, None).await;
    let output = machine.runs(cloud, environment(machine.port)).await;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("unauthorized: "), "{said}");
    assert_eq!(
        machine.world.calls(cloud).all(),
        BTreeMap::new(),
        "nothing is sent without keys"
    );
}

#[tokio::test]
async fn on_ec2_under_an_instance_profile() {
    let environment = |port| ("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://127.0.0.1:{port}"));
    counts_only_under_an_identity(Cloud::Aws, PROFILE, environment).await;
}

#[tokio::test]
async fn on_compute_engine_under_a_service_account() {
    let environment = |port| ("GCE_METADATA_HOST", format!("127.0.0.1:{port}"));
    counts_only_under_an_identity(Cloud::Gcp, ACCOUNT, environment).await;
}

/// Azure's library asks one address alone, so that this asks as it does.
#[tokio::test]
async fn on_azure_under_a_managed_identity() {
    let machine = Machine::of(Cloud::Azure, Some(MANAGED)).await;
    let path = "GET /metadata/identity/oauth2/token?api-version=2019-08-01&resource=https%3A%2F%2Fmanagement.azure.com";
    let (status, token) = machine.asked(&format!("{path} HTTP/1.1\r\nMetadata: true")).await;
    assert_eq!(status, 200, "{token}");
    let token: Value = serde_json::from_str(&token).expect("a document");
    let site = site(&machine.world.site(Cloud::Azure), &[]);
    let shown = token["access_token"].as_str().expect("text").to_owned();
    let callers = Callers {
        azure: Credentials::Token(shown),
        ..Callers::found()
    };
    let provider = callers.provider(&site);
    assert!(
        !provider
            .catalog(&site)
            .await
            .expect("the token counts")
            .offerings
            .is_empty()
    );
}

#[tokio::test]
async fn azure_gives_tokens_to_nobody_else_and_of_nothing_else() {
    let machine = Machine::of(Cloud::Azure, Some(MANAGED)).await;
    let path = "GET /metadata/identity/oauth2/token?api-version=2018-02-01";
    let resource = "resource=https://management.azure.com/";
    let header = "HTTP/1.1\r\nMetadata: true";
    let named = MANAGED.to_ascii_lowercase();
    for (lines, status) in [
        (format!("{path}&{resource} {header}"), 200),
        (format!("{path}&{resource}&msi_res_id={named} {header}"), 200),
        (format!("{path}&{resource}&mi_res_id={named} {header}"), 200),
        (format!("{path}&{resource}&mi_res_id={named}2 {header}"), 400),
        (format!("{path}&{resource}&client_id=1 {header}"), 400),
        (format!("{path}&resource=https://vault.azure.net {header}"), 400),
        (format!("{path} {header}"), 400),
        (format!("{path}&{resource} HTTP/1.1"), 400),
        (format!("{path}&{resource} {header}\r\nX-Forwarded-For: 10.0.0.1"), 400),
    ] {
        assert_eq!(machine.asked(&lines).await.0, status, "{lines}");
    }
    let without = Machine::of(Cloud::Azure, None).await;
    let (status, why) = without.asked(&format!("{path}&{resource} {header}")).await;
    assert!(status == 400 && why.contains("Identity not found"), "{status}: {why}");
}

#[tokio::test]
async fn ec2_gives_keys_only_within_a_session_and_of_the_machine_s_own_role() {
    let machine = Machine::of(Cloud::Aws, Some(PROFILE)).await;
    let roles = "GET /latest/meta-data/iam/security-credentials/";
    assert_eq!(machine.asked(&format!("{roles} HTTP/1.1")).await.0, 401);
    let open = "PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60";
    let (_, session) = machine.asked(open).await;
    let header = format!("HTTP/1.1\r\nX-aws-ec2-metadata-token: {session}");
    assert_eq!(
        machine.asked(&format!("{roles} {header}")).await,
        (200, "isobar".to_owned())
    );
    assert_eq!(machine.asked(&format!("{roles}other {header}")).await.0, 404);
    let (status, keys) = machine.asked(&format!("{roles}isobar {header}")).await;
    assert_eq!(status, 200, "{keys}");
    let keys: Value = serde_json::from_str(&keys).expect("a document");
    assert_eq!(keys["Code"], "Success");
    assert!(keys["Token"].is_string(), "{keys}");
}
