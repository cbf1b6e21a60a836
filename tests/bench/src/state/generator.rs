//! Writes states of any size with attributes as real ones have them. The same number gives the same bytes.

use std::fmt;
use std::io::{self, Write};

use serde_json::{Value, json};

/// Instances of one resource block.
const INSTANCES_A_RESOURCE: u32 = 100;
/// Terraform keeps `input` twice, so that this makes its instances as long as those of AWS.
const BUILT_IN_TEXT_BYTES: usize = 1_200;

/// What a state is full of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Machines, disks, addresses, security groups and roles.
    Aws,
    /// `terraform_data`.
    BuiltIn,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aws => "aws",
            Self::BuiltIn => "terraform_data",
        })
    }
}

/// Writes a state as Terraform does.
pub(super) fn write(to: &mut impl Write, kind: Kind, instances: u32) -> io::Result<()> {
    to.write_all(b"{\n\"version\": 4,\n\"terraform_version\": \"1.11.4\",\n\"serial\": 7,\n\"lineage\": \"6f1c2c52-0b1e-4a3c-9a52-0c0f3b9a1d11\",\n\"outputs\": {},\n\"resources\": [\n")?;
    let mut written = 0;
    while written < instances {
        let block = written / INSTANCES_A_RESOURCE;
        let of_block = INSTANCES_A_RESOURCE.min(instances - written);
        let resource = json!({
            "mode": "managed",
            "type": type_of(kind, block),
            "name": format!("block_{block}"),
            "provider": match kind {
                Kind::Aws => "provider[\"registry.terraform.io/hashicorp/aws\"]",
                Kind::BuiltIn => "provider[\"terraform.io/builtin/terraform\"]",
            },
            "instances": (written..written + of_block).map(|number| instance(kind, block, number)).collect::<Vec<_>>(),
        });
        to.write_all(if written == 0 { b"" } else { b",\n" })?;
        serde_json::to_writer_pretty(&mut *to, &resource)?;
        written += of_block;
    }
    to.write_all(b"\n],\n\"check_results\": null\n}\n")
}

fn type_of(kind: Kind, block: u32) -> &'static str {
    match (kind, block % 10) {
        (Kind::BuiltIn, _) => "terraform_data",
        (Kind::Aws, 0..=5) => "aws_instance",
        (Kind::Aws, 6) => "aws_ebs_volume",
        (Kind::Aws, 7) => "aws_security_group",
        (Kind::Aws, 8) => "aws_eip",
        (Kind::Aws, _) => "aws_iam_role",
    }
}

fn instance(kind: Kind, block: u32, number: u32) -> Value {
    json!({
        "index_key": number % INSTANCES_A_RESOURCE,
        "schema_version": u32::from(kind == Kind::Aws),
        "attributes": match (kind, block % 10) {
            (Kind::BuiltIn, _) => built_in(number),
            (Kind::Aws, 0..=5) => machine(number),
            (Kind::Aws, _) => other(number),
        },
        "sensitive_attributes": [],
        "private": "eyJlMmJmYjczMC1lY2FhLTExZTYtOGY4OC0zNDM2M2JjN2M0YzAiOnsiY3JlYXRlIjo2MDAwMDAwMDAwMDAsImRlbGV0ZSI6MTIwMDAwMDAwMDAwMCwidXBkYXRlIjo2MDAwMDAwMDAwMDB9LCJzY2hlbWFfdmVyc2lvbiI6IjEifQ==",
        "dependencies": ["aws_security_group.web", "aws_subnet.private", "aws_vpc.main"],
    })
}

fn built_in(number: u32) -> Value {
    let text = format!("{number:08x}").repeat(BUILT_IN_TEXT_BYTES / 8);
    let value = json!({"value": text, "type": "string"});
    json!({
        "id": format!("{number:08x}-0000-4000-8000-000000000000"),
        "input": value,
        "output": value,
        "triggers_replace": null,
    })
}

fn machine(number: u32) -> Value {
    let mut machine = json!({
        "ami": "ami-0123456789abcdef0", "arn": format!("arn:aws:ec2:eu-west-1:111122223333:instance/i-{number:017x}"),
        "associate_public_ip_address": false, "availability_zone": "eu-west-1a",
        "capacity_reservation_specification": [{"capacity_reservation_preference": "open", "capacity_reservation_target": []}],
        "cpu_core_count": 2, "cpu_options": [{"amd_sev_snp": "", "core_count": 2, "threads_per_core": 2}],
        "credit_specification": [{"cpu_credits": "unlimited"}], "disable_api_stop": false, "disable_api_termination": false,
        "ebs_block_device": [], "ebs_optimized": false, "enclave_options": [{"enabled": false}],
        "ephemeral_block_device": [], "get_password_data": false, "hibernation": false, "host_id": "",
        "iam_instance_profile": "web", "id": format!("i-{number:017x}"), "instance_initiated_shutdown_behavior": "stop",
        "instance_state": "running", "instance_type": "t3.small",
    });
    let rest = json!({
        "ipv6_addresses": [], "key_name": "deploy",
        "launch_template": [], "maintenance_options": [{"auto_recovery": "default"}],
        "metadata_options": [{"http_endpoint": "enabled", "http_put_response_hop_limit": 2, "http_tokens": "required"}],
        "monitoring": false, "network_interface": [], "password_data": "", "placement_group": "",
        "primary_network_interface_id": format!("eni-{number:017x}"), "private_dns": "ip-10-0-1-1.eu-west-1.compute.internal",
        "private_ip": "10.0.1.1", "public_dns": "", "public_ip": "",
        "root_block_device": [{"delete_on_termination": true, "device_name": "/dev/xvda", "encrypted": true, "iops": 3000,
            "tags": {}, "throughput": 125, "volume_id": format!("vol-{number:017x}"), "volume_size": 20, "volume_type": "gp3"}],
        "secondary_private_ips": [], "security_groups": [], "source_dest_check": true, "subnet_id": "subnet-0123456789abcdef0",
        "tags": {"Name": format!("web-{number}"), "team": "shop"}, "tags_all": {"Name": format!("web-{number}"), "team": "shop"},
        "tenancy": "default", "timeouts": null, "user_data": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "user_data_base64": null, "user_data_replace_on_change": false, "volume_tags": null,
        "vpc_security_group_ids": ["sg-0123456789abcdef0"],
    });
    if let (Value::Object(machine), Value::Object(rest)) = (&mut machine, rest) {
        machine.extend(rest);
    }
    machine
}

fn other(number: u32) -> Value {
    json!({
        "arn": format!("arn:aws:ec2:eu-west-1:111122223333:thing/x-{number:017x}"), "id": format!("x-{number:017x}"),
        "description": "Managed by Terraform", "name": format!("thing-{number}"), "owner_id": "111122223333",
        "ingress": [{"cidr_blocks": ["10.0.0.0/8"], "from_port": 443, "protocol": "tcp", "self": false, "to_port": 443}],
        "egress": [{"cidr_blocks": ["0.0.0.0/0"], "from_port": 0, "protocol": "-1", "self": false, "to_port": 0}],
        "tags": {"Name": format!("thing-{number}"), "team": "shop"}, "tags_all": {"Name": format!("thing-{number}"), "team": "shop"},
        "timeouts": null, "vpc_id": "vpc-0123456789abcdef0",
    })
}
