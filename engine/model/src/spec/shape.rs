//! Compares a value with a JSON Schema of ours and reports everything that differs, in a person's words.
//!
//! Walks the few keywords that the published schemas use; it is no general validator. Never stops at the first
//! problem: that is why it exists beside serde, which does. Called by [`super::text`] on specs, and by the MCP server on
//! what tools are given.

mod value;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use self::value::{malformed, out_of_range, pattern_problem, strings, takes, wrong_type};
use super::problem::{Pointer, Problem};
use super::tree::{Entry, Kind, Node, TEXT_SHOWN_MAX};

/// How deep a misplaced field is looked for below where it was written.
const MISPLACED_DEPTH_MAX: usize = 3;
/// After so many problems of one value no more are looked for.
const PROBLEMS_MAX: usize = 1_000;

/// Reads a value, or says everything about it that `schema` does not allow. `schema` is the one that `T` gives: what it
/// cannot say, serde does, one problem at a time.
pub fn read<T: DeserializeOwned>(value: &Value, schema: &Value) -> Result<T, Vec<Problem>> {
    read_node(&Node::from_json(value), schema)
}

/// The same of a document whose values have places.
pub(super) fn read_node<T: DeserializeOwned>(node: &Node, schema: &Value) -> Result<T, Vec<Problem>> {
    let mut walk = Walk {
        root: schema,
        problems: Vec::new(),
    };
    walk.value(node, schema, &Pointer::root());
    if !walk.problems.is_empty() {
        return Err(walk.problems);
    }
    serde_path_to_error::deserialize(node.to_json()).map_err(|error| {
        let pointer = pointer_to(error.path());
        vec![Problem::value(pointer, error.into_inner().to_string())]
    })
}

fn pointer_to(path: &serde_path_to_error::Path) -> Pointer {
    use serde_path_to_error::Segment;

    path.iter().fold(Pointer::root(), |pointer, segment| match segment {
        Segment::Seq { index } => pointer.to(index),
        Segment::Map { key } => pointer.to(key),
        Segment::Enum { variant } => pointer.to(variant),
        Segment::Unknown => pointer,
    })
}

struct Walk<'a> {
    root: &'a Value,
    problems: Vec<Problem>,
}

impl<'a> Walk<'a> {
    fn value(&mut self, node: &Node, schema: &'a Value, at: &Pointer) {
        if self.problems.len() >= PROBLEMS_MAX {
            return;
        }
        let schema = self.resolve(schema);
        if let Some(variants) = schema["oneOf"].as_array() {
            return match tag(variants) {
                Some(tag) => self.tagged(node, tag, variants, at),
                None => self.variant(node, variants, at),
            };
        }
        if let Some(forms) = schema["anyOf"].as_array() {
            return self.one_of_forms(node, forms, at);
        }
        if !takes(schema, &node.kind) {
            return self.problems.push(wrong_type(node, &[schema], at));
        }
        match &node.kind {
            Kind::Nothing | Kind::Bool(_) => {}
            Kind::Number(number) => self.problems.extend(out_of_range(number, schema, at)),
            Kind::Text(text) => self.problems.extend(malformed(text, schema, at)),
            Kind::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.value(item, &schema["items"], &at.to(i));
                }
            }
            Kind::Map(entries) => self.map(entries, schema, at),
        }
    }

    fn map(&mut self, entries: &[Entry], schema: &'a Value, at: &Pointer) {
        let fields = schema["properties"].as_object();
        let mut unknown = Vec::new();
        for entry in entries {
            let here = at.to(&entry.name);
            if let Some(field) = fields.and_then(|fields| fields.get(&entry.name)) {
                self.value(&entry.node, field, &here);
            } else if let Some((pattern, named)) = schema["patternProperties"].as_object().and_then(|p| p.iter().next())
            {
                if let Some(message) = pattern_problem(&entry.name, pattern) {
                    self.problems.push(Problem::name(here.clone(), message));
                }
                self.value(&entry.node, named, &here);
            } else if schema["additionalProperties"].is_object() {
                self.value(&entry.node, &schema["additionalProperties"], &here);
            } else if unknown.len() < PROBLEMS_MAX {
                let problem = self.unknown_field(&entry.name, schema, here);
                unknown.push(problem);
            }
        }
        for name in strings(&schema["required"]) {
            let mistyped = unknown.iter().any(|p| p.hint.as_deref() == Some(&did_you_mean(name)));
            if !mistyped && !entries.iter().any(|e| e.name == name) {
                let about = fields.and_then(|fields| fields[name]["description"].as_str());
                let problem = Problem::value(at.clone(), format!("missing field `{name}`"));
                self.problems.push(match about {
                    Some(about) => problem.hint(format!("`{name}`: {}", first_sentence(about))),
                    None => problem,
                });
            }
        }
        self.problems.append(&mut unknown);
    }

    fn unknown_field(&self, name: &str, schema: &'a Value, at: Pointer) -> Problem {
        let allowed = schema["properties"]
            .as_object()
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str);
        let problem = Problem::name(at, "unknown field").instead_of(name, allowed);
        if problem.hint.is_some() {
            return problem;
        }
        match self.misplaced(name, schema, MISPLACED_DEPTH_MAX) {
            Some(path) => Problem {
                allowed: Vec::new(),
                ..problem
            }
            .hint(format!("write it as `{path}`")),
            None if problem.allowed.is_empty() => problem.hint("nothing goes in here: write `{}`"),
            None => problem,
        }
    }

    /// The way to a field of that name below `schema`, not through names that people choose.
    fn misplaced(&self, name: &str, schema: &'a Value, depth: usize) -> Option<String> {
        let schema = self.resolve(schema);
        let inner = |s: &'a Value| self.misplaced(name, s, depth);
        if let Some(found) = schema["oneOf"]
            .as_array()
            .and_then(|variants| variants.iter().find_map(inner))
        {
            return Some(found);
        }
        let fields = schema["properties"].as_object()?;
        if depth < MISPLACED_DEPTH_MAX && fields.contains_key(name) {
            return Some(name.to_owned());
        }
        let deeper = depth.checked_sub(1)?;
        fields
            .iter()
            .find_map(|(field, s)| Some(format!("{field}.{}", self.misplaced(name, s, deeper)?)))
    }

    /// One of several maps that one of their fields tells apart: how serde writes an enum with a tag.
    fn tagged(&mut self, node: &Node, tag: &str, variants: &'a [Value], at: &Pointer) {
        let Kind::Map(entries) = &node.kind else {
            return self.problems.push(wrong_type(node, &[&variants[0]], at));
        };
        let words = || variants.iter().filter_map(|variant| word_of(variant, tag));
        let Some(entry) = entries.iter().find(|entry| entry.name == tag) else {
            let problem = Problem::value(at.clone(), format!("missing field `{tag}`"));
            return self.problems.push(problem.instead_of("", words()));
        };
        let Kind::Text(word) = &entry.node.kind else {
            let message = format!("expected a word, found {}", entry.node.kind.words());
            let problem = Problem::value(at.to(tag), message);
            return self.problems.push(problem.instead_of("", words()));
        };
        match variants.iter().find(|variant| word_of(variant, tag) == Some(word)) {
            Some(variant) => self.map(entries, variant, at),
            None => self
                .problems
                .push(Problem::value(at.to(tag), unknown_word(word)).instead_of(word, words())),
        }
    }

    /// One of several words, or one of several single-entry maps: how serde writes an enum.
    fn variant(&mut self, node: &Node, variants: &'a [Value], at: &Pointer) {
        let words: Vec<&str> = variants.iter().filter_map(|v| v["const"].as_str()).collect();
        let tagged: Vec<(&str, &Value)> = variants
            .iter()
            .filter_map(|v| v["properties"].as_object().and_then(|p| p.iter().next()))
            .map(|(tag, body)| (tag.as_str(), body))
            .collect();
        let allowed = || words.iter().copied().chain(tagged.iter().map(|(tag, _)| *tag));

        match &node.kind {
            Kind::Text(word) if words.contains(&word.as_str()) => {}
            Kind::Text(word) if let Some((_, body)) = tagged.iter().find(|(tag, _)| tag == word) => {
                let problem = Problem::value(at.clone(), format!("`{word}` needs a value"));
                self.problems.push(problem.hint(self.how_to_write(word, body)));
            }
            Kind::Text(word) => {
                self.problems
                    .push(Problem::value(at.clone(), unknown_word(word)).instead_of(word, allowed()));
            }
            Kind::Map(entries) if !tagged.is_empty() => {
                for entry in entries {
                    let here = at.to(&entry.name);
                    match tagged.iter().find(|(tag, _)| *tag == entry.name) {
                        Some((_, body)) => self.value(&entry.node, body, &here),
                        None => self.problems.push(
                            Problem::name(here, "unknown field").instead_of(&entry.name, tagged.iter().map(|t| t.0)),
                        ),
                    }
                }
                let known = entries
                    .iter()
                    .filter(|e| tagged.iter().any(|(tag, _)| *tag == e.name))
                    .count();
                if known > 1 || entries.is_empty() {
                    let message = format!("expected exactly one entry, found {}", entries.len());
                    self.problems
                        .push(Problem::value(at.clone(), message).instead_of("", allowed()));
                }
            }
            Kind::Nothing | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => {
                let expected = if tagged.is_empty() {
                    "a word"
                } else {
                    "one of the allowed forms"
                };
                let message = format!("expected {expected}, found {}", node.kind.words());
                let problem = Problem::value(at.clone(), message).instead_of("", allowed());
                let meant = tagged.iter().find(|(_, body)| takes(self.resolve(body), &node.kind));
                self.problems.push(match meant {
                    Some((tag, body)) => problem.hint(self.how_to_write(tag, body)),
                    None => problem,
                });
            }
        }
    }

    fn how_to_write(&self, tag: &str, body: &'a Value) -> String {
        let body = self.resolve(body);
        let needed: Vec<String> = strings(&body["required"])
            .map(|field| format!("{field}: ..."))
            .collect();
        if body["type"] == "object" {
            return format!("write `{tag}: {{{}}}`", needed.join(", "));
        }
        match (body["minimum"].as_i64(), body["maximum"].as_i64()) {
            (Some(min), Some(max)) => format!("write `{{{tag}: ...}}` with {min} to {max}"),
            (Some(_) | None, Some(_) | None) => format!("write `{{{tag}: ...}}`"),
        }
    }

    /// Any of several types: judged by the one that takes such a value at all.
    fn one_of_forms(&mut self, node: &Node, forms: &'a [Value], at: &Pointer) {
        let forms: Vec<&Value> = forms.iter().flat_map(|form| self.flatten(form)).collect();
        match forms.iter().find(|form| takes(form, &node.kind)) {
            Some(form) => self.value(node, form, at),
            None => self.problems.push(wrong_type(node, &forms, at)),
        }
    }

    fn flatten(&self, schema: &'a Value) -> Vec<&'a Value> {
        let schema = self.resolve(schema);
        match schema["anyOf"].as_array() {
            Some(forms) => forms.iter().flat_map(|form| self.flatten(form)).collect(),
            None => vec![schema],
        }
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str().and_then(|r| r.strip_prefix('#')) {
            Some(pointer) => self
                .root
                .pointer(pointer)
                .expect("the schema's references point into itself"),
            None => schema,
        }
    }
}

/// The field whose word tells several maps apart.
fn tag(variants: &[Value]) -> Option<&str> {
    let mut fields = variants.first()?["properties"].as_object()?.keys();
    let tag = fields.find(|field| variants.iter().all(|variant| word_of(variant, field).is_some()))?;
    Some(tag)
}

/// The only word that a variant takes in a field.
fn word_of<'a>(variant: &'a Value, field: &str) -> Option<&'a str> {
    variant["properties"][field]["const"].as_str()
}

fn unknown_word(word: &str) -> String {
    if word.chars().count() > TEXT_SHOWN_MAX {
        "unknown word".to_owned()
    } else {
        format!("unknown word `{word}`")
    }
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

fn first_sentence(text: &str) -> String {
    let sentence = text
        .split_once(". ")
        .map_or(text, |(first, _)| first)
        .trim_end_matches('.');
    let mut letters = sentence.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
