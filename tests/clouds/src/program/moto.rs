//! moto with a user whom IAM lets do what docs/clouds/aws.md lists, and one who may read what nodes are given. It checks
//! signatures and permissions of every call but the few that set it up.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_engine_model::quantity::Timestamp;

use super::Program;
use crate::aws::signature::{Keys, headers};

/// Calls that moto takes unsigned: those of [`Moto::start`], which come first.
const UNSIGNED: u32 = 10;
/// What docs/clouds/aws.md lists.
const ALLOWED: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*","Action":["ec2:DescribeImages","ec2:DescribeInstanceTypeOfferings","ec2:DescribeInstanceTypes","ec2:DescribeSpotPriceHistory","ec2:DescribeInstances","ec2:DescribeVolumes","ec2:DescribeNetworkInterfaces","ec2:GetConsoleOutput","ec2:RunInstances","ec2:CreateTags","ec2:TerminateInstances","ec2:DeleteVolume","ec2:DeleteNetworkInterface","pricing:GetProducts","servicequotas:ListServiceQuotas","ec2:DescribeVpcs","ec2:DescribeSubnets","ec2:DescribeInternetGateways","ec2:DescribeRouteTables","ec2:DescribeSecurityGroups","ec2:CreateSecurityGroup","ec2:AuthorizeSecurityGroupIngress","ec2:DeleteSecurityGroup","ec2:CreateVpc","ec2:DeleteVpc","ec2:CreateSubnet","ec2:DeleteSubnet","ec2:CreateInternetGateway","ec2:AttachInternetGateway","ec2:CreateRoute","ec2:DetachInternetGateway","ec2:DeleteInternetGateway","ec2:DescribeAddresses","ec2:DescribeKeyPairs","ec2:DescribeLaunchTemplates","ec2:DescribeLaunchTemplateVersions","ec2:DescribeNatGateways"]}]}"#;
/// What a test that runs nodes reads besides: the user data that a machine was given.
const READ_USER_DATA: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*","Action":["ec2:DescribeInstances","ec2:DescribeInstanceAttribute"]}]}"#;
/// What somebody may who builds with Terraform.
const ALL: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*","Action":"*"}]}"#;

/// moto, and who may ask it.
pub struct Moto {
    program: Program,
    /// The engine's.
    pub keys: Keys,
    /// An image for x86_64.
    pub image: String,
    nodes: Keys,
    terraform: Keys,
}

impl Moto {
    /// moto's only region with us.
    pub const REGION: &str = "us-east-1";

    /// Starts it, with a user for the engine, one for whoever runs nodes and one for whoever builds with Terraform.
    pub async fn start() -> Self {
        let program = Program::moto(UNSIGNED).await;
        let keys = user(&program, "engine", ALLOWED).await;
        let nodes = user(&program, "nodes", READ_USER_DATA).await;
        let terraform = user(&program, "terraform", ALL).await;
        let intel = "Action=DescribeImages&Version=2016-11-15&Filter.1.Name=architecture&Filter.1.Value.1=x86_64";
        let images = unsigned(&program, "ec2", intel).await;
        Self {
            image: between(&images, "imageId"),
            program,
            keys,
            nodes,
            terraform,
        }
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.program.url
    }

    /// The ids of the instances that run.
    pub async fn running(&self) -> Vec<String> {
        let running = "Action=DescribeInstances&Filter.1.Name=instance-state-name&Filter.1.Value.1=running";
        let answer = self.ask(running).await;
        let ids = answer.split("<instanceId>").skip(1).map(|rest| until(rest, '<'));
        ids.collect()
    }

    /// What the node of an instance reads first, as the create asked for it.
    pub async fn user_data(&self, instance: &str) -> Vec<u8> {
        let attribute = format!("Action=DescribeInstanceAttribute&Attribute=userData&InstanceId={instance}");
        let answer = self.ask(&attribute).await;
        let (_, data) = answer.split_once("<userData>").unwrap_or_default();
        STANDARD.decode(between(data, "value")).unwrap()
    }

    /// What somebody else does in the same account: `CreateVpc&CidrBlock=10.0.0.0/16`. The answer in EC2's XML.
    pub async fn terraform(&self, form: &str) -> String {
        self.ask_as(&self.terraform, &format!("Action={form}")).await
    }

    async fn ask(&self, form: &str) -> String {
        self.ask_as(&self.nodes, form).await
    }

    async fn ask_as(&self, keys: &Keys, form: &str) -> String {
        let form = format!("{form}&Version=2016-11-15");
        let host = self.url().trim_start_matches("http://");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = Timestamp(u64::try_from(now.as_millis()).unwrap());
        let head = headers(keys, (host, Self::REGION), now, &form);
        let answer = self.program.ask("POST /", &head, &form).await;
        assert!(answer.contains(" 200 "), "{form}: {answer:.900}");
        answer
    }
}

/// A user whom IAM lets do this.
async fn user(program: &Program, name: &str, allowed: &str) -> Keys {
    let policy: String = allowed.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let make = format!("Action=CreateUser&UserName={name}&Version=2010-05-08");
    unsigned(program, "iam", &make).await;
    let put = format!("Action=PutUserPolicy&UserName={name}&PolicyName=p&PolicyDocument={policy}&Version=2010-05-08");
    unsigned(program, "iam", &put).await;
    let key = format!("Action=CreateAccessKey&UserName={name}&Version=2010-05-08");
    let answer = unsigned(program, "iam", &key).await;
    Keys {
        id: between(&answer, "AccessKeyId"),
        secret: between(&answer, "SecretAccessKey"),
    }
}

async fn unsigned(program: &Program, service: &str, body: &str) -> String {
    let scope = format!("Credential=x/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0");
    let head =
        format!("authorization: AWS4-HMAC-SHA256 {scope}\r\ncontent-type: application/x-www-form-urlencoded\r\n");
    let answer = program.ask("POST /", &head, body).await;
    assert!(answer.contains(" 200 "), "{answer:.500}");
    answer
}

/// What stands between the first tags of a name.
pub fn between(text: &str, name: &str) -> String {
    let (_, rest) = text.split_once(&format!("<{name}>")).unwrap();
    until(rest, '<')
}

fn until(text: &str, end: char) -> String {
    text.split(end).next().unwrap_or_default().to_owned()
}
