//! What is wrong with a spec, and where: the one form that the shape walk and the rules report in. Knows no file and
//! no line; [`super::text`] adds those.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::nearest::nearest;

/// One thing wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Which value, as a JSON pointer.
    pub pointer: Pointer,
    /// Whether the value is wrong or its name.
    pub part: Part,
    /// What is wrong, on one line.
    pub message: String,
    /// What would be accepted, where that is a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Which part of an entry is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Its name.
    Name,
    /// Its value.
    Value,
}

/// A JSON pointer (RFC 6901): the way from a document's root to one of its values.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Pointer(String);

impl Pointer {
    /// The whole document.
    pub fn root() -> Self {
        Self::default()
    }

    /// This value's entry `name`, or its item of that number.
    #[must_use]
    pub fn to(&self, name: impl fmt::Display) -> Self {
        let escaped = name.to_string().replace('~', "~0").replace('/', "~1");
        Self(format!("{}/{escaped}", self.0))
    }

    /// The same value, of a document that stands at `base` in a larger one.
    #[must_use]
    pub fn below(&self, base: &Self) -> Self {
        Self(format!("{base}{self}"))
    }

    /// The pointer as text: empty, or `/` before each name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names on the way.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.0
            .split('/')
            .skip(1)
            .map(|name| name.replace("~1", "/").replace("~0", "~"))
    }

    /// The way as people write it: `workloads.web.placement.sites[0]`.
    pub fn dotted(&self) -> String {
        let mut path = String::new();
        for name in self.names() {
            if !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()) {
                path.push_str(&format!("[{name}]"));
            } else {
                let dot = if path.is_empty() { "" } else { "." };
                path.push_str(&format!("{dot}{name}"));
            }
        }
        path
    }
}

impl Problem {
    /// The value at `pointer` is wrong.
    pub fn value(pointer: Pointer, message: impl Into<String>) -> Self {
        Self {
            pointer,
            part: Part::Value,
            message: message.into(),
            allowed: Vec::new(),
            hint: None,
        }
    }

    /// The name that `pointer` ends in is wrong.
    pub fn name(pointer: Pointer, message: impl Into<String>) -> Self {
        Self {
            part: Part::Name,
            ..Self::value(pointer, message)
        }
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With what would be accepted instead of `word`, and the nearest of it as advice.
    #[must_use]
    pub fn instead_of<'a>(mut self, word: &str, allowed: impl IntoIterator<Item = &'a str>) -> Self {
        self.allowed = allowed.into_iter().map(str::to_owned).collect();
        if let Some(near) = nearest(word, self.allowed.iter().map(String::as_str)) {
            self.hint = Some(format!("did you mean `{near}`?"));
        }
        self
    }
}

impl fmt::Display for Problem {
    /// `path: message`, and the advice after it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.pointer.dotted();
        let colon = if path.is_empty() { "" } else { ": " };
        write!(f, "{path}{colon}{}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pointer, Problem};

    #[test]
    fn a_problem_reads_as_one_line() {
        let problem = Problem::value(Pointer::root().to("pools").to("a"), "no site `x`").instead_of("x1", ["x"]);
        assert_eq!(problem.to_string(), "pools.a: no site `x`");
        assert_eq!(problem.hint("name one").to_string(), "pools.a: no site `x` (name one)");
    }

    #[test]
    fn names_survive_their_escapes() {
        let pointer = Pointer::root().to("env").to("A/B~1").to(0);
        assert_eq!(pointer.as_str(), "/env/A~1B~01/0");
        assert_eq!(pointer.names().collect::<Vec<_>>(), ["env", "A/B~1", "0"]);
        assert_eq!(pointer.dotted(), "env.A/B~1[0]");
        assert_eq!(pointer.below(&Pointer::root().to("spec")).dotted(), "spec.env.A/B~1[0]");
    }
}
