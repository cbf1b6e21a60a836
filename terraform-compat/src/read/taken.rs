//! What is taken out of an instance: the attributes that are on a list, and nothing else. Everything beside the list is
//! skipped without being copied.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Values of an instance that are on the list. Numbers and booleans are not among them: nothing is identified by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken(Vec<(&'static str, String)>);

impl Taken {
    /// The value of an attribute, the last if it is there twice, as Terraform reads it; absent also when it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(taken, _)| *taken == name)
            .map(|(_, value)| value.as_str())
    }

    /// Every value of an attribute that is a list of texts.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(taken, _)| *taken == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn push(&mut self, name: &'static str, value: &str) {
        if !value.is_empty() {
            self.0.push((name, value.to_owned()));
        }
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
    pub(super) list: &'static [&'static str],
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
        while let Some(name) = map.next_key_seed(Name(self))? {
            match name {
                Some(name) => map.next_value_seed(Texts {
                    name,
                    taken: &mut taken,
                })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(taken)
    }
}

/// A name, if it is on the list.
struct Name(Take);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let name = match (self.0.written, name.split_once('.')) {
            (Written::Json, _) | (Written::Flatmap, None) => name,
            (Written::Flatmap, Some((_, "#" | "%"))) => return Ok(None),
            (Written::Flatmap, Some((_, rest))) if rest.contains('.') => return Ok(None),
            (Written::Flatmap, Some((name, _))) => name,
        };
        Ok(self.0.list.iter().copied().find(|listed| *listed == name))
    }
}

/// A text, or a list of texts; anything else is skipped.
struct Texts<'t> {
    name: &'static str,
    taken: &'t mut Taken,
}

impl<'de> DeserializeSeed<'de> for Texts<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Texts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.taken.push(self.name, value);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list
            .next_element_seed(Texts {
                name: self.name,
                taken: self.taken,
            })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
