//! moto with one user whom IAM lets do what docs/clouds/aws.md lists. It checks signatures and permissions of every call but
//! the few that set it up.

use isobar_tests_clouds::program::Program;

/// Calls that moto takes unsigned: those of [`Moto::start`], which come first.
const UNSIGNED: u32 = 4;
/// What docs/clouds/aws.md lists.
const ALLOWED: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*","Action":["ec2:DescribeImages","ec2:DescribeInstanceTypeOfferings","ec2:DescribeInstanceTypes","ec2:DescribeSpotPriceHistory","ec2:DescribeInstances","ec2:DescribeVolumes","ec2:DescribeNetworkInterfaces","ec2:GetConsoleOutput","ec2:RunInstances","ec2:CreateTags","ec2:TerminateInstances","ec2:DeleteVolume","ec2:DeleteNetworkInterface","ec2:DescribeVpcs","ec2:DescribeSubnets","ec2:DescribeInternetGateways","ec2:DescribeRouteTables","ec2:DescribeSecurityGroups","ec2:CreateSecurityGroup","ec2:AuthorizeSecurityGroupIngress","ec2:DeleteSecurityGroup","ec2:CreateVpc","ec2:DeleteVpc","ec2:CreateSubnet","ec2:DeleteSubnet","ec2:CreateInternetGateway","ec2:AttachInternetGateway","ec2:CreateRoute","ec2:DetachInternetGateway","ec2:DeleteInternetGateway"]}]}"#;

pub(crate) struct Moto {
    pub(crate) program: Program,
    pub(crate) key_id: String,
    pub(crate) key_secret: String,
    pub(crate) image: String,
}

impl Moto {
    pub(crate) async fn start() -> Self {
        let program = Program::moto(UNSIGNED).await;
        let policy = escaped(ALLOWED);
        unsigned(&program, "iam", "Action=CreateUser&UserName=u&Version=2010-05-08").await;
        let put = format!("Action=PutUserPolicy&UserName=u&PolicyName=p&PolicyDocument={policy}&Version=2010-05-08");
        unsigned(&program, "iam", &put).await;
        let keys = unsigned(&program, "iam", "Action=CreateAccessKey&UserName=u&Version=2010-05-08").await;
        let intel = "Action=DescribeImages&Version=2016-11-15&Filter.1.Name=architecture&Filter.1.Value.1=x86_64";
        let images = unsigned(&program, "ec2", intel).await;
        Self {
            program,
            key_id: between(&keys, "AccessKeyId"),
            key_secret: between(&keys, "SecretAccessKey"),
            image: between(&images, "imageId"),
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.program.url
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

fn between(text: &str, name: &str) -> String {
    let (_, rest) = text.split_once(&format!("<{name}>")).unwrap();
    rest.split_once('<').unwrap().0.to_owned()
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
