//! What a state says of an object that can be read back of its cloud: a table a resource type, from attributes to fields whose
//! names are ours and the same over clouds. An allow list, so that no secret leaks by being forgotten; what stands on no list
//! is never taken. Compares nothing. Used by [`crate::account`] and by who documents the tables.

mod aws;
mod azure;
mod gcp;

use isobar_engine_model::object::{FieldValue, Fields};
use serde::Serialize;

use crate::read::Taken;

/// All that is known of a resource type's attributes.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// What is compared.
    pub fields: &'static [Field],
    /// What never is, with the reason.
    pub unmanaged: &'static [Unmanaged],
}

/// A field and where it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Our name.
    pub name: &'static str,
    /// Paths of attributes, as [`crate::read`] takes them.
    pub from: &'static [&'static str],
    form: Form,
}

/// An attribute that is never compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Unmanaged {
    /// Its name in the state.
    pub attribute: &'static str,
    /// Why.
    pub why: Why,
}

/// Why an attribute is never compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It may hold a secret, and is not even taken.
    Secret,
    /// The cloud does not say it, or not in the call that reads the object.
    NotReadBack,
    /// It is also what other objects of the state say; the state's copy is older than theirs.
    OfOthers,
    /// Terraform keeps what was written, which the cloud resolves to something else.
    AsWritten,
    /// It says how Terraform works, not what is in the cloud.
    Terraforms,
}

/// How a field is made of attributes.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// The first attribute that says something.
    Text(Spelling),
    /// The same, of the first block of its name.
    First(Spelling),
    /// Every value of all attributes.
    Set(Spelling),
    /// The first map that is there.
    Map,
    /// Several attributes together.
    Made(fn(&Taken) -> Option<FieldValue>),
}

/// How a value is spelt, so that equal things are equal.
#[derive(Debug, Clone, Copy)]
enum Spelling {
    AsIs,
    /// What tells no case.
    Lower,
    /// Of a link, what stands within its project.
    Path,
    /// Of a link, the last part.
    Last,
    /// A number of which 0 says nothing.
    Count,
}

impl Why {
    /// In words, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Secret => "may hold a secret, never taken",
            Self::NotReadBack => "not read back with the object",
            Self::OfOthers => "said by other objects too",
            Self::AsWritten => "kept as it was written, resolved by the cloud",
            Self::Terraforms => "how Terraform works",
        }
    }
}

/// What is known of a resource type; of one that is not understood, nothing.
pub fn of(kind: &str) -> Table {
    let tables = [aws::TABLES, azure::TABLES, gcp::TABLES];
    let known = tables.into_iter().flatten().find(|(known, _, _)| *known == kind);
    let (_, fields, unmanaged) = known.copied().unwrap_or_default();
    Table { fields, unmanaged }
}

/// The fields that a state says of an object.
pub(crate) fn expected(kind: &str, taken: &Taken) -> Fields {
    let known = |field: &Field| Some((field.name.to_owned(), field.value(taken)?));
    of(kind).fields.iter().filter_map(known).collect()
}

/// A resource type with its table.
type Entry = (&'static str, &'static [Field], &'static [Unmanaged]);

impl Field {
    fn value(&self, taken: &Taken) -> Option<FieldValue> {
        match self.form {
            Form::Text(spelling) => self.text(spelling, |path| taken.get(path)),
            Form::First(spelling) => self.text(spelling, |path| taken.first(path)),
            Form::Set(spelling) => {
                let values = self.from.iter().flat_map(|path| taken.values(path));
                let set: std::collections::BTreeSet<String> = values.filter_map(|value| spelling.of(value)).collect();
                let is_there = !set.is_empty() || self.from.iter().any(|path| taken.is_empty(path));
                is_there.then_some(FieldValue::Set(set))
            }
            Form::Map => self
                .from
                .iter()
                .find_map(|path| taken.entries(path))
                .map(FieldValue::Map),
            Form::Made(make) => make(taken),
        }
    }

    fn text<'t>(&self, spelling: Spelling, find: impl Fn(&'static str) -> Option<&'t str>) -> Option<FieldValue> {
        let found = self.from.iter().find_map(|path| find(path))?;
        spelling.of(found).map(FieldValue::Text)
    }
}

impl Spelling {
    fn of(self, value: &str) -> Option<String> {
        match self {
            Self::AsIs => Some(value.to_owned()),
            Self::Lower => Some(value.to_lowercase()),
            Self::Path => Some(within_project(value).to_owned()),
            Self::Last => value.rsplit('/').next().map(str::to_owned),
            Self::Count => Some(value).filter(|value| *value != "0").map(str::to_owned),
        }
    }
}

/// `zones/europe-west3-a/disks/d` of a link or an id; what is neither stays as it is.
pub(crate) fn within_project(link: &str) -> &str {
    let path = match link.starts_with("projects/") {
        true => link,
        false => link.find("/projects/").map_or("", |at| &link[at + 1..]),
    };
    path.splitn(3, '/').nth(2).unwrap_or(link)
}

const fn text(name: &'static str, from: &'static [&'static str]) -> Field {
    spelt(name, from, Spelling::AsIs)
}

const fn spelt(name: &'static str, from: &'static [&'static str], spelling: Spelling) -> Field {
    let form = Form::Text(spelling);
    Field { name, from, form }
}

const fn first(name: &'static str, from: &'static [&'static str], spelling: Spelling) -> Field {
    let form = Form::First(spelling);
    Field { name, from, form }
}

const fn set(name: &'static str, from: &'static [&'static str], spelling: Spelling) -> Field {
    let form = Form::Set(spelling);
    Field { name, from, form }
}

const fn map(name: &'static str, from: &'static [&'static str]) -> Field {
    let form = Form::Map;
    Field { name, from, form }
}

const fn made(name: &'static str, from: &'static [&'static str], make: fn(&Taken) -> Option<FieldValue>) -> Field {
    let form = Form::Made(make);
    Field { name, from, form }
}

const fn not(attribute: &'static str, why: Why) -> Unmanaged {
    Unmanaged { attribute, why }
}
