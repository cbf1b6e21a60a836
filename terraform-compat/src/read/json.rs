//! Reads pieces of one text and knows where in the text they stand. Never puts a value of the text into an error:
//! serde_json's own words would.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::refuse::{Place, ReadError};

/// A piece of the text as a value. A name that stands twice in an object is the last, as Terraform has it.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &str, piece: &'a str) -> Result<T, ReadError> {
    serde_json::from_str(piece).or_else(|error| match error.classify() {
        Category::Data => last_wins(piece).ok_or_else(|| located(text, piece, &error)),
        Category::Eof | Category::Syntax | Category::Io => Err(located(text, piece, &error)),
    })
}

/// An object whose names stand twice: serde refuses those.
fn last_wins<'a, T: Deserialize<'a>>(piece: &'a str) -> Option<T> {
    let fields: BTreeMap<String, &'a RawValue> = serde_json::from_str(piece).ok()?;
    let fields: MapDeserializer<'_, _, serde_json::Error> = MapDeserializer::new(fields.into_iter());
    T::deserialize(fields).ok()
}

/// A piece that may be absent or null.
pub(super) fn optional<'a, T: Deserialize<'a>>(
    text: &str,
    piece: Option<&'a RawValue>,
) -> Result<Option<T>, ReadError> {
    piece.map_or(Ok(None), |piece| parse(text, piece.get()))
}

/// The elements of a list, one at a time; absent or null is no element.
pub(super) fn each_of<'a, T: Deserialize<'a>>(
    text: &str,
    piece: Option<&'a RawValue>,
    mut each: impl FnMut(T) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let Some(piece) = piece else { return Ok(()) };
    let mut done = 0_usize;
    let quick = walk(text, piece, |element| {
        done += 1;
        each(element)
    });
    match quick {
        Ok(()) => return Ok(()),
        Err(Walk::List(ReadError::Shape { .. })) => {}
        Err(Walk::List(error) | Walk::Element(error)) => return Err(error),
    }
    // From the element that serde refused on, each as `parse` reads it.
    let mut number = 0_usize;
    let careful = walk(text, piece, |element: &RawValue| {
        number += 1;
        if number <= done {
            return Ok(());
        }
        each(parse(text, element.get())?)
    });
    careful.map_err(|(Walk::List(error) | Walk::Element(error))| error)
}

/// Who refused.
enum Walk {
    /// The list, or serde an element of it.
    List(ReadError),
    /// Whoever was given an element.
    Element(ReadError),
}

fn walk<'a, T: Deserialize<'a>>(
    text: &str,
    piece: &'a RawValue,
    each: impl FnMut(T) -> Result<(), ReadError>,
) -> Result<(), Walk> {
    let mut failed = None;
    let elements = Elements {
        each,
        failed: &mut failed,
        element: PhantomData,
    };
    let mut deserializer = serde_json::Deserializer::from_str(piece.get());
    let walked = elements.deserialize(&mut deserializer);
    match (failed, walked) {
        (Some(error), _) => Err(Walk::Element(error)),
        (None, walked) => walked.map_err(|error| Walk::List(located(text, piece.get(), &error))),
    }
}

/// What serde_json says, as a place in the whole text.
pub(super) fn located(text: &str, piece: &str, error: &serde_json::Error) -> ReadError {
    let before = piece
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    let inside = before.saturating_add(error.column().saturating_sub(1)).min(piece.len());
    let start = (piece.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let place = Place::at(text, start.saturating_add(inside).min(text.len()));
    match error.classify() {
        Category::Eof => ReadError::Truncated { place },
        Category::Syntax | Category::Io => ReadError::Syntax { place },
        Category::Data => ReadError::Shape { place },
    }
}

struct Elements<'f, T, F> {
    each: F,
    failed: &'f mut Option<ReadError>,
    element: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), ReadError>> DeserializeSeed<'de> for Elements<'_, T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), ReadError>> Visitor<'de> for Elements<'_, T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element()? {
            if let Err(error) = (self.each)(element) {
                *self.failed = Some(error);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}
