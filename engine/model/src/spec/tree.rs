//! A YAML or JSON document with the place of every value. Read here, judged in [`super::shape`]; knows nothing of
//! specs.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as DeserializeDerive, Serialize};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

use super::problem::{Part, Pointer};

/// Deepest nesting of a document. A spec needs eight.
const DEPTH_MAX: usize = 32;
/// Most values of a document, each alias counted as often as it is used.
const VALUES_MAX: usize = 250_000;
/// Most uses of YAML aliases in a document.
const ALIASES_MAX: usize = 1_000;
/// Most values that aliases may add to a document.
const ALIASED_VALUES_MAX: usize = 50_000;

/// Longest text that a message repeats, in characters.
pub(super) const TEXT_SHOWN_MAX: usize = 40;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, DeserializeDerive, JsonSchema)]
pub struct Place {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// A value and where it stands; `None` for a document that came without its text.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Option<Place>,
    pub(super) kind: Kind,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Nothing,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A named value of a map.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) place: Option<Place>,
    pub(super) node: Node,
}

/// Text that is not one YAML or JSON document within the bounds.
#[derive(Debug)]
pub(super) struct NotADocument {
    pub(super) place: Option<Place>,
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
}

impl Node {
    /// Reads one YAML document; JSON is YAML.
    pub(super) fn read(text: &str) -> Result<Self, NotADocument> {
        let options = serde_saphyr::options! {
            // YAML 1.1 reads `no` as false and 0755 as octal; a spec means what it shows.
            strict_booleans: true,
            leading_zero_numbers_as_strings: true,
            underscored_numbers_as_strings: true,
            reject_unsupported_tags: true,
            with_snippet: false,
            alias_limits: alias_limits(),
            budget: serde_saphyr::budget! {
                max_depth: DEPTH_MAX,
                flow_nesting_limit: DEPTH_MAX,
                max_nodes: VALUES_MAX,
                max_aliases: ALIASES_MAX,
                max_anchors: ALIASES_MAX,
                max_merge_keys: ALIASES_MAX,
            },
        };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| NotADocument::from_reader(&error))
    }

    /// Takes over a JSON value, which has no places.
    pub(super) fn from_json(value: &Value) -> Self {
        let kind = match value {
            Value::Null => Kind::Nothing,
            Value::Bool(b) => Kind::Bool(*b),
            Value::Number(n) => Kind::Number(n.clone()),
            Value::String(s) => Kind::Text(s.clone()),
            Value::Array(items) => Kind::List(items.iter().map(Self::from_json).collect()),
            Value::Object(entries) => Kind::Map(
                entries
                    .iter()
                    .map(|(name, value)| Entry {
                        name: name.clone(),
                        place: None,
                        node: Self::from_json(value),
                    })
                    .collect(),
            ),
        };
        Self { place: None, kind }
    }

    /// The same as JSON, without places.
    pub(super) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Nothing => Value::Null,
            Kind::Bool(b) => Value::Bool(*b),
            Kind::Number(n) => Value::Number(n.clone()),
            Kind::Text(s) => Value::String(s.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|e| (e.name.clone(), e.node.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// Where to point for `pointer`: at the name, or at a value that stands on the name's line. What does not exist is
    /// looked for one level up.
    pub(super) fn place_of(&self, pointer: &Pointer, part: Part) -> Option<Place> {
        let mut node = self;
        let mut place = self.place;
        let mut found_all = true;
        for name in pointer.names() {
            let next = match &node.kind {
                Kind::Map(entries) => entries.iter().find(|e| e.name == name).map(|e| (e.place, &e.node)),
                Kind::List(items) => name
                    .parse::<usize>()
                    .ok()
                    .and_then(|i| items.get(i))
                    .map(|item| (item.place, item)),
                Kind::Nothing | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => None,
            };
            let Some((named_at, child)) = next else {
                found_all = false;
                break;
            };
            place = named_at;
            node = child;
        }
        let scalar = !matches!(node.kind, Kind::Map(_) | Kind::List(_) | Kind::Nothing);
        if found_all && scalar && part == Part::Value {
            node.place.or(place)
        } else {
            place
        }
    }
}

impl Kind {
    /// What it is, in a reader's words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Nothing => "nothing".into(),
            Self::Bool(b) => format!("`{b}`"),
            Self::Number(n) => format!("the number {n}"),
            Self::Text(text) if text.chars().count() > TEXT_SHOWN_MAX => "a long text".into(),
            Self::Text(text) => format!("the text `{}`", text.escape_debug()),
            Self::List(_) => "a list".into(),
            Self::Map(_) => "a map".into(),
        }
    }
}

fn alias_limits() -> serde_saphyr::options::AliasLimits {
    let mut limits = serde_saphyr::options::AliasLimits::default();
    limits.max_total_replayed_events = ALIASED_VALUES_MAX;
    limits
}

impl Place {
    fn of(location: Location) -> Option<Self> {
        let line = u32::try_from(location.line()).ok()?;
        let column = u32::try_from(location.column()).ok()?;
        (line > 0).then_some(Self { line, column })
    }
}

impl NotADocument {
    fn from_reader(error: &serde_saphyr::Error) -> Self {
        use serde_saphyr::Error as Reader;

        let place = error.location().and_then(Place::of);
        let error = error.without_snippet();
        let (message, hint) = if let Reader::DuplicateMappingKey { key: Some(key), .. } = error {
            (format!("`{key}` is given twice"), Some("keep one of the two"))
        } else if let Reader::MultipleDocuments { .. } = error {
            (
                "more than one document".into(),
                Some("one file holds one spec: remove the `---`"),
            )
        } else {
            let text = error.to_string();
            let message = text
                .split_once(" at line ")
                .map_or(text.as_str(), |(message, _)| message);
            if ["budget breached", "alias replay", "recursion limit"]
                .iter()
                .any(|bound| message.starts_with(bound))
            {
                let hint = "aliases count as often as they are used";
                ("the document is too large or too deeply nested".into(), Some(hint))
            } else {
                (
                    message.to_owned(),
                    message.contains("tabs").then_some("indent with spaces"),
                )
            }
        };
        Self { place, message, hint }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self {
            place: Place::of(spanned.referenced),
            kind: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Kind, E> {
        Number::from_f64(value)
            .map(Kind::Number)
            .ok_or_else(|| E::custom("this number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Nothing)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        Kind::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some((name, node)) = map.next_entry::<Spanned<String>, Node>()? {
            entries.push(Entry {
                place: Place::of(name.referenced),
                name: name.value,
                node,
            });
        }
        Ok(Kind::Map(entries))
    }
}
