//! Amazon's own model of the requests: tools/models/aws.py reduces it to the operations that we call. A parameter that it
//! does not know, or of another type, is wrong. botocore: data/ec2/2016-11-15/service-2.json.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::params::Params;
use super::time;

/// No model is larger unpacked, in bytes.
const MODEL_MAX_BYTES: usize = 16 << 20;

#[derive(Deserialize)]
pub(super) struct Model {
    version: String,
    /// The shape of an operation's request.
    operations: BTreeMap<String, String>,
    shapes: BTreeMap<String, Shape>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Shape {
    Structure {
        members: BTreeMap<String, String>,
        #[serde(default)]
        required: Vec<String>,
    },
    List {
        member: String,
        max: Option<usize>,
    },
    String {
        #[serde(rename = "enum", default)]
        words: Vec<String>,
        max: Option<usize>,
    },
    Integer {
        min: Option<i64>,
        max: Option<i64>,
    },
    Long {
        min: Option<i64>,
        max: Option<i64>,
    },
    Boolean,
    Timestamp,
    Blob,
    Float,
    Double,
}

/// What was sent, by its dotted names.
#[derive(Default)]
struct Node {
    value: Option<String>,
    children: BTreeMap<String, Node>,
}

type Verdict = Result<(), String>;

impl Model {
    pub(super) fn read() -> io::Result<Self> {
        let packed = include_bytes!("../../data/ec2.json.zst");
        let text = zstd::bulk::decompress(packed, MODEL_MAX_BYTES)?;
        serde_json::from_slice(&text).map_err(io::Error::other)
    }

    /// Whether a request is one of this operation.
    pub(super) fn check(&self, action: &str, params: &Params) -> Verdict {
        let shape = self.operations.get(action).ok_or("an action that no test expects")?;
        if params.text("Version") != Some(&self.version) {
            return Err(format!("Version is not {}", self.version));
        }
        let mut sent = Node::default();
        for (name, value) in &params.0 {
            if name != "Action" && name != "Version" {
                let node = name.split('.').fold(&mut sent, |node, part| {
                    node.children.entry(part.to_owned()).or_default()
                });
                node.value = Some(value.clone());
            }
        }
        self.fits(shape, &sent, action)
    }

    fn fits(&self, shape: &str, sent: &Node, at: &str) -> Verdict {
        let shape = self
            .shapes
            .get(shape)
            .ok_or_else(|| format!("{at}: the model lacks {shape}"))?;
        match shape {
            Shape::Structure { members, required } => self.fits_structure((members, required), sent, at),
            Shape::List { member, max } => {
                if sent.value.is_some() || max.is_some_and(|max| sent.children.len() > max) {
                    return Err(format!("{at} is not such a list"));
                }
                (1..=sent.children.len()).try_for_each(|place| {
                    let item = sent
                        .children
                        .get(&place.to_string())
                        .ok_or_else(|| format!("{at} has no place {place}"))?;
                    self.fits(member, item, &format!("{at}.{place}"))
                })
            }
            Shape::String { words, max } => leaf(sent, at, |text| {
                (words.is_empty() || words.iter().any(|word| word == text)) && max.is_none_or(|max| text.len() <= max)
            }),
            Shape::Integer { min, max } | Shape::Long { min, max } => leaf(sent, at, |text| {
                let number = text.parse::<i64>();
                number.is_ok_and(|number| min.is_none_or(|min| min <= number) && max.is_none_or(|max| number <= max))
            }),
            Shape::Boolean => leaf(sent, at, |text| text == "true" || text == "false"),
            Shape::Timestamp => leaf(sent, at, |text| time::of_iso(text).is_some()),
            Shape::Blob => leaf(sent, at, |text| STANDARD.decode(text).is_ok()),
            Shape::Float | Shape::Double => leaf(sent, at, |text| text.parse::<f64>().is_ok()),
        }
    }

    fn fits_structure(&self, shape: (&BTreeMap<String, String>, &[String]), sent: &Node, at: &str) -> Verdict {
        let (members, required) = shape;
        if let Some(missing) = required.iter().find(|name| !sent.children.contains_key(*name)) {
            return Err(format!("{at} lacks {missing}"));
        }
        if sent.value.is_some() {
            return Err(format!("{at} is a structure"));
        }
        sent.children.iter().try_for_each(|(name, child)| {
            let member = members.get(name).ok_or_else(|| format!("{at} has no {name}"))?;
            self.fits(member, child, &format!("{at}.{name}"))
        })
    }
}

fn leaf(sent: &Node, at: &str, fits: impl Fn(&str) -> bool) -> Verdict {
    let value = sent
        .value
        .as_deref()
        .filter(|value| sent.children.is_empty() && fits(value));
    value.map(drop).ok_or_else(|| format!("{at} is of another type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_amazons_model_does_not_know_is_refused() {
        let model = Model::read().expect("the packed model");
        let check = |action: &str, rest: &str| {
            let body = format!("Action={action}&Version=2016-11-15&{rest}");
            model.check(action, &Params::read(body.as_bytes()))
        };
        assert_eq!(check("TerminateInstances", "InstanceId.1=i-1&InstanceId.2=i-2"), Ok(()));
        assert_eq!(
            check("RunInstances", "MinCount=1&MaxCount=1&TagSpecification.1.Tag.1.Key=a"),
            Ok(())
        );
        for (action, rest) in [
            ("RunInstances", "MaxCount=1"),
            ("RunInstances", "MinCount=one&MaxCount=1"),
            ("RunInstances", "MinCount=1&MaxCount=1&Colour=red"),
            (
                "RunInstances",
                "MinCount=1&MaxCount=1&MetadataOptions.HttpTokens=perhaps",
            ),
            (
                "RunInstances",
                "MinCount=1&MaxCount=1&NetworkInterface.1.AssociatePublicIpAddress=no",
            ),
            ("TerminateInstances", "InstanceId.2=i-1"),
            ("TerminateInstances", "InstanceId=i-1"),
            ("StopInstances", "InstanceId.1=i-1"),
        ] {
            assert!(check(action, rest).is_err(), "{action} {rest}");
        }
    }
}
