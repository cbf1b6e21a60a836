//! Where an object stands in a configuration, as Terraform writes it, and by which provider's configuration. Parses and
//! prints; knows no resource type.

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};

/// Whether Terraform manages an object or has only looked it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A `resource` block.
    Managed,
    /// A `data` block.
    Data,
}

/// Which of the instances of one block. `0` and `"0"` are two instances.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Of `count`, as the state writes the number.
    Number(String),
    /// Of `for_each`: any text at all.
    Text(String),
}

/// A resource instance: printed as Terraform prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// `module.a["k"].module.b[0]`; empty: the root.
    pub module: String,
    /// Managed or looked up.
    pub mode: Mode,
    /// The resource type.
    pub kind: String,
    /// The block's name.
    pub name: String,
    /// Which instance; absent: the block has one.
    pub key: Option<Key>,
}

/// A provider's configuration: two aliases are two accounts or regions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ProviderConfig {
    /// The provider's name without its registry: `aws`.
    pub name: String,
    /// As the state writes it, with module, alias and key.
    pub written: String,
}

impl ProviderConfig {
    /// Every form that a state was ever written in; the name of one that has none of these is empty.
    pub fn parse(written: &str) -> Self {
        Self {
            name: name_of(written).unwrap_or_default().to_owned(),
            written: written.to_owned(),
        }
    }

    /// What Terraform 0.7 to 0.11 meant by no provider: the type up to its first `_`.
    pub fn of_type(kind: &str) -> Self {
        let name = kind.split('_').next().unwrap_or(kind);
        Self::parse(&format!("provider.{name}"))
    }
}

fn name_of(written: &str) -> Option<&str> {
    let mut rest = written;
    while let Some(inside) = rest.strip_prefix("module.") {
        rest = inside.split_once('.')?.1;
    }
    if let Some(quoted) = rest.strip_prefix("provider[\"") {
        return quoted.split_once("\"]")?.0.rsplit('/').next();
    }
    rest.strip_prefix("provider.")?.split('.').next()
}

impl Address {
    /// The block's address, which names all of its instances.
    pub fn block(&self) -> String {
        let mut text = String::with_capacity(self.module.len() + self.kind.len() + self.name.len() + 8);
        if !self.module.is_empty() {
            text.push_str(&self.module);
            text.push('.');
        }
        if self.mode == Mode::Data {
            text.push_str("data.");
        }
        text.push_str(&self.kind);
        text.push('.');
        text.push_str(&self.name);
        text
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.block())?;
        match &self.key {
            None => Ok(()),
            Some(Key::Number(number)) => write!(f, "[{number}]"),
            Some(Key::Text(text)) => quoted(f, text),
        }
    }
}

/// As HCL quotes a key.
fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("[\"")?;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '$' | '%' if chars.peek() == Some(&'{') => write!(f, "{char}{char}")?,
            other => f.write_char(other)?,
        }
    }
    f.write_str("\"]")
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_provider_is_the_same_provider() {
        for written in [
            "provider.aws",
            "provider.aws.west",
            "module.x.provider.aws",
            r#"provider["registry.terraform.io/hashicorp/aws"]"#,
            r#"provider["registry.terraform.io/hashicorp/aws"].west"#,
            r#"module.x.module.y.provider["registry.opentofu.org/hashicorp/aws"].west"#,
            r#"provider["registry.terraform.io/-/aws"]"#,
            r#"provider["registry.opentofu.org/hashicorp/aws"].by_region["eu-west-1"]"#,
        ] {
            assert_eq!(ProviderConfig::parse(written).name, "aws", "{written}");
        }
        for written in ["", "module.x", "aws", "provider[\"open"] {
            assert_eq!(ProviderConfig::parse(written).name, "", "{written}");
        }
    }

    #[test]
    fn keys_are_quoted_as_terraform_quotes_them() {
        let with = |key| {
            let address = Address {
                module: "module.a[\"k\"]".into(),
                mode: Mode::Data,
                kind: "t".into(),
                name: "n".into(),
                key,
            };
            address.to_string()
        };
        assert_eq!(with(None), "module.a[\"k\"].data.t.n");
        assert_eq!(with(Some(Key::Number("0".into()))), "module.a[\"k\"].data.t.n[0]");
        assert_eq!(
            with(Some(Key::Text("a\"\\\n\r\t${x}%{y}$z".into()))),
            "module.a[\"k\"].data.t.n[\"a\\\"\\\\\\n\\r\\t$${x}%%{y}$z\"]"
        );
    }
}
