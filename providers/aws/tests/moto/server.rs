//! moto as a program of its own on loopback, for as long as the value lives, with one user whom IAM lets do what
//! docs/clouds/aws.md lists. It checks signatures and permissions of every call but the few that set it up.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Calls that moto takes unsigned: those of [`Moto::start`], which come first.
const UNSIGNED: u32 = 4;
/// Python takes so long to start at most, in tenths of a second.
const START_MAX_TENTHS: u32 = 600;
/// What docs/clouds/aws.md lists.
const ALLOWED: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*","Action":["ec2:DescribeImages","ec2:DescribeInstanceTypeOfferings","ec2:DescribeInstanceTypes","ec2:DescribeSpotPriceHistory","ec2:DescribeInstances","ec2:DescribeVolumes","ec2:DescribeNetworkInterfaces","ec2:GetConsoleOutput","ec2:RunInstances","ec2:CreateTags","ec2:TerminateInstances","ec2:DeleteVolume","ec2:DeleteNetworkInterface"]}]}"#;

pub(crate) struct Moto {
    child: Child,
    pub(crate) url: String,
    pub(crate) key_id: String,
    pub(crate) key_secret: String,
    pub(crate) image: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Moto {
    pub(crate) async fn start() -> Self {
        let program =
            std::env::var("ISOBAR_MOTO").expect("ISOBAR_MOTO names moto_server: run ./dev test second-opinion");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env("INITIAL_NO_AUTH_ACTION_COUNT", UNSIGNED.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let mut moto = Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
            key_id: String::new(),
            key_secret: String::new(),
            image: String::new(),
        };
        moto.wait(port).await;
        let policy = escaped(ALLOWED);
        unsigned(port, "iam", "Action=CreateUser&UserName=u&Version=2010-05-08").await;
        let put = format!("Action=PutUserPolicy&UserName=u&PolicyName=p&PolicyDocument={policy}&Version=2010-05-08");
        unsigned(port, "iam", &put).await;
        let keys = unsigned(port, "iam", "Action=CreateAccessKey&UserName=u&Version=2010-05-08").await;
        let images = unsigned(
            port,
            "ec2",
            "Action=DescribeImages&Version=2016-11-15&Filter.1.Name=architecture&Filter.1.Value.1=x86_64",
        )
        .await;
        moto.key_id = between(&keys, "AccessKeyId");
        moto.key_secret = between(&keys, "SecretAccessKey");
        moto.image = between(&images, "imageId");
        moto
    }

    async fn wait(&mut self, port: u16) {
        for _ in 0..START_MAX_TENTHS {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "moto_server ended by itself");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("moto_server does not answer");
    }
}

async fn unsigned(port: u16, service: &str, body: &str) -> String {
    let scope = format!("Credential=x/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0");
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {service}.us-east-1.amazonaws.com\r\nAuthorization: AWS4-HMAC-SHA256 {scope}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains(" 200 "), "{answer:.500}");
    answer
}

fn between(text: &str, name: &str) -> String {
    let (_, rest) = text.split_once(&format!("<{name}>")).unwrap();
    rest.split_once('<').unwrap().0.to_owned()
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
