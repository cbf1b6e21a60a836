//! What is taken out of an instance: the attributes that are on a list, and nothing else. Everything beside the list is
//! skipped without being copied.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::wanted::{Node, Wanted};

/// Values of an instance that are on the list. Numbers and booleans are written out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken(Vec<Item>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    path: &'static str,
    /// In which element of the outermost list it stands; Terraform 0.11 numbers sets by hashes.
    at: u64,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    /// Of a map.
    Entry(String, String),
    /// A list or a map that is there and empty, or a block's attribute that is null.
    Nothing,
}

impl Taken {
    /// The value of an attribute, the last if it is there twice, as Terraform reads it; absent also when it is empty.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.texts(path).next_back().map(|(_, text)| text)
    }

    /// The value of an attribute in the first block of its name.
    pub fn first(&self, path: &str) -> Option<&str> {
        self.values_at(path, 0).last()
    }

    /// Every value of an attribute that is a list of texts.
    pub fn values<'a, 'p>(&'a self, path: &'p str) -> impl Iterator<Item = &'a str> + use<'a, 'p> {
        self.texts(path).map(|(_, text)| text)
    }

    /// Every value of an attribute in one block.
    pub fn values_at<'a, 'p>(&'a self, path: &'p str, at: u64) -> impl Iterator<Item = &'a str> + use<'a, 'p> {
        let here = self.texts(path).filter(move |(place, _)| *place == at);
        here.map(|(_, text)| text)
    }

    /// Which blocks of a name have anything that was taken.
    pub fn blocks(&self, name: &str) -> BTreeSet<u64> {
        let of_block = |item: &&Item| item.path.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        self.0.iter().filter(of_block).map(|item| item.at).collect()
    }

    /// The entries of a map; absent: the map is not there.
    pub fn entries(&self, path: &str) -> Option<BTreeMap<String, String>> {
        let entry = |item: &Item| match &item.value {
            Value::Entry(key, value) if item.path == path => Some((key.clone(), value.clone())),
            Value::Entry(..) | Value::Text(_) | Value::Nothing => None,
        };
        let entries: BTreeMap<_, _> = self.0.iter().filter_map(entry).collect();
        (!entries.is_empty() || self.is_empty(path)).then_some(entries)
    }

    /// Whether an attribute, or a list that it stands in, is there and has nothing in it.
    pub fn is_empty(&self, path: &str) -> bool {
        let around = |item: &&Item| {
            let rest = path.strip_prefix(item.path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.0.iter().filter(around).any(|item| item.value == Value::Nothing)
    }

    pub(super) fn push(&mut self, path: &'static str, text: &str) {
        self.put(path, 0, Value::Text(text.to_owned()));
    }

    fn put(&mut self, path: &'static str, at: u64, value: Value) {
        if value != Value::Text(String::new()) {
            self.0.push(Item { path, at, value });
        }
    }

    fn texts<'a, 'p>(&'a self, path: &'p str) -> impl DoubleEndedIterator<Item = (u64, &'a str)> + use<'a, 'p> {
        let here = self.0.iter().filter(move |item| item.path == path);
        here.filter_map(|item| match &item.value {
            Value::Text(text) => Some((item.at, text.as_str())),
            Value::Entry(..) | Value::Nothing => None,
        })
    }
}

/// How the attributes of an instance are written.
#[derive(Clone, Copy)]
pub(super) enum Written {
    /// As JSON.
    Json,
    /// As Terraform 0.11 wrote them: `name.0`, `name.#`.
    Flatmap,
}

/// Takes what is on the list.
#[derive(Clone, Copy)]
pub(super) struct Take {
    pub(super) wanted: &'static Wanted,
    pub(super) written: Written,
}

impl<'de> DeserializeSeed<'de> for Take {
    type Value = Taken;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Taken, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Take {
    type Value = Taken;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("attributes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Taken, A::Error> {
        let mut taken = Taken::default();
        let name = Name {
            node: self.wanted.root(),
            written: self.written,
        };
        while let Some(found) = map.next_key_seed(name)? {
            found.value(&mut map, None, &mut taken)?;
        }
        Ok(taken)
    }
}

/// What a key leads to.
enum Found {
    /// To something on the list, in an element of a list where the key says so.
    Node(&'static Node, Option<u64>),
    /// To the entry of a map.
    Entry(&'static str, String),
    /// To the length of a list or map.
    Length(&'static Node),
    /// To nothing on the list.
    Beside,
}

impl Found {
    /// Takes what stands under the key. `block`: the element of a list that the key is in a block of.
    fn value<'de, A: MapAccess<'de>>(self, map: &mut A, block: Option<u64>, taken: &mut Taken) -> Result<(), A::Error> {
        let (target, own) = match self {
            Self::Node(node, own) => (Target::Node(node), own),
            Self::Entry(path, key) => (Target::Entry(path, key), None),
            Self::Length(node) => (Target::Length(node), None),
            Self::Beside => return map.next_value::<IgnoredAny>().map(drop),
        };
        map.next_value_seed(Content {
            target: &target,
            at: block.or(own),
            inside: block.is_some(),
            taken,
        })
    }
}

/// A key of an object.
#[derive(Clone, Copy)]
struct Name {
    node: &'static Node,
    written: Written,
}

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Found, E> {
        Ok(match self.written {
            Written::Json => match (self.node.child(name), self.node.entries) {
                (Some(child), _) => Found::Node(child, None),
                (None, Some(path)) => Found::Entry(path, name.to_owned()),
                (None, None) => Found::Beside,
            },
            Written::Flatmap => flat(self.node, name),
        })
    }
}

/// Follows `network_interface.0.access_config.0.nat_ip`.
fn flat(root: &'static Node, key: &str) -> Found {
    let (mut node, mut at, mut rest) = (root, None, key);
    loop {
        let (name, next) = rest
            .split_once('.')
            .map_or((rest, None), |(name, next)| (name, Some(next)));
        match (node.child(name), node.entries, name.parse::<u64>()) {
            (Some(child), _, _) => node = child,
            (None, _, _) if matches!(name, "#" | "%") && next.is_none() => return Found::Length(node),
            (None, Some(path), _) => return Found::Entry(path, rest.to_owned()),
            (None, None, Ok(number)) if !node.path.is_empty() => at = at.or(Some(number)),
            (None, None, _) => return Found::Beside,
        }
        match next {
            Some(next) => rest = next,
            None => return Found::Node(node, at),
        }
    }
}

/// Where what is read belongs.
enum Target {
    Node(&'static Node),
    Entry(&'static str, String),
    Length(&'static Node),
}

/// What stands at a place that is on the list: texts, lists of them, or blocks. Anything else is skipped.
struct Content<'t> {
    target: &'t Target,
    at: Option<u64>,
    /// Of a block.
    inside: bool,
    taken: &'t mut Taken,
}

impl Content<'_> {
    fn text(self, text: &str) {
        let at = self.at.unwrap_or(0);
        let text = text.to_owned();
        match self.target {
            Target::Node(node) if node.leaf => self.taken.put(node.path, at, Value::Text(text)),
            Target::Entry(path, key) => self.taken.put(path, at, Value::Entry(key.clone(), text)),
            Target::Length(node) if text == "0" => self.taken.put(node.path, at, Value::Nothing),
            Target::Node(_) | Target::Length(_) => {}
        }
    }

    fn nothing(self) {
        if let Target::Node(node) = self.target {
            self.taken.put(node.path, self.at.unwrap_or(0), Value::Nothing);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Content<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Content<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.text(value);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.text(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.text(&value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.text(&value.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.text(&value.to_string());
        Ok(())
    }

    /// At the top null is what nobody knows; in a block, what is not there.
    fn visit_unit<E>(self) -> Result<(), E> {
        if self.inside {
            self.nothing();
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut number = 0;
        while list
            .next_element_seed(Content {
                target: self.target,
                at: self.at.or(Some(number)),
                inside: self.inside,
                taken: self.taken,
            })?
            .is_some()
        {
            number += 1;
        }
        if number == 0 {
            self.nothing();
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Target::Node(node) = self.target else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let name = Name {
            node,
            written: Written::Json,
        };
        let mut any = false;
        while let Some(found) = map.next_key_seed(name)? {
            found.value(&mut map, Some(self.at.unwrap_or(0)), self.taken)?;
            any = true;
        }
        if !any {
            self.nothing();
        }
        Ok(())
    }
}
