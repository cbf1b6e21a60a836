//! Finds the blocks of a configuration that stand behind the addresses of a state: which file, which lines. Reads HCL and its
//! form in JSON. Evaluates nothing, follows only modules whose source is a local path, changes no file.

mod json;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use hcl_edit::Span as _;
use hcl_edit::structure::{Block, Body};
use serde::Serialize;
use thiserror::Error;

/// How deep modules may stand in each other: one may call itself.
const MODULES_MAX_DEEP: usize = 32;
/// Blocks that are found at most: two calls of a module in a module double what is below.
const BLOCKS_MAX: usize = 1_000_000;

/// Where a `resource` block stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Found {
    /// The block's address without keys: `module.a.aws_instance.web`.
    pub address: String,
    /// The file, as the caller names it.
    pub file: String,
    /// The block's first line, from 1.
    pub first_line: usize,
    /// The line of its closing brace.
    pub last_line: usize,
}

/// A configuration's blocks, and what could not be looked into.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Blocks {
    /// Every `resource` block, by address.
    pub found: BTreeSet<Found>,
    /// Modules that are not local, by address, with their source as it is written.
    pub elsewhere: BTreeMap<String, String>,
}

/// Why a configuration is not read.
#[derive(Debug, Error)]
pub enum HclError {
    /// Not HCL, or not JSON where the file's name says so.
    #[error("{file}, line {line}: not HCL")]
    Syntax {
        /// Which file.
        file: String,
        /// Where in it.
        line: usize,
    },
    /// Modules within modules without end.
    #[error("modules stand in each other more than {MODULES_MAX_DEEP} deep, or hold more than {BLOCKS_MAX} blocks")]
    TooDeep,
}

/// What is of interest in a file.
enum Piece {
    /// A `resource` block.
    Resource {
        kind: String,
        name: String,
        first_line: usize,
        last_line: usize,
    },
    /// A `module` block whose source is a text.
    Call { name: String, source: String },
}

/// The blocks of the configuration whose root module is `folder`; `files` are the `.tf` and `.tf.json` files of it and of its
/// local modules, by path with `/`.
pub fn blocks(files: &BTreeMap<String, String>, folder: &str) -> Result<Blocks, HclError> {
    let mut parsed: BTreeMap<String, Vec<(&str, Vec<Piece>)>> = BTreeMap::new();
    for (path, text) in files {
        let read = if path.ends_with(".tf.json") {
            json::pieces(text)
        } else if path.ends_with(".tf") {
            pieces(text)
        } else {
            continue;
        };
        let found = read.map_err(|line| HclError::Syntax {
            file: path.clone(),
            line,
        })?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        parsed.entry(joined(folder, "")).or_default().push((path, found));
    }
    let mut blocks = Blocks::default();
    let mut waiting = vec![(0, String::new(), joined(folder, ""))];
    while let Some((deep, module, folder)) = waiting.pop() {
        if deep > MODULES_MAX_DEEP || blocks.found.len() > BLOCKS_MAX {
            return Err(HclError::TooDeep);
        }
        for (file, pieces) in parsed.get(&folder).into_iter().flatten() {
            for piece in pieces {
                match piece {
                    Piece::Resource {
                        kind,
                        name,
                        first_line,
                        last_line,
                    } => {
                        blocks.found.insert(Found {
                            address: format!("{module}{kind}.{name}"),
                            file: (*file).to_owned(),
                            first_line: *first_line,
                            last_line: *last_line,
                        });
                    }
                    Piece::Call { name, source } if source.starts_with("./") || source.starts_with("../") => {
                        waiting.push((deep + 1, format!("{module}module.{name}."), joined(&folder, source)));
                    }
                    Piece::Call { name, source } => {
                        blocks
                            .elsewhere
                            .insert(format!("{module}module.{name}."), source.clone());
                    }
                }
            }
        }
    }
    Ok(blocks)
}

/// The blocks of a file in HCL; an error is the line where it is none.
fn pieces(text: &str) -> Result<Vec<Piece>, usize> {
    let body: Body = hcl_edit::parser::parse_body(text).map_err(|error| error.location().line())?;
    let blocks = body.blocks();
    Ok(blocks
        .filter_map(|block| resource(text, block).or_else(|| call(block)))
        .collect())
}

impl Blocks {
    /// The blocks behind an address of a state, with or without keys.
    pub fn of<'a>(&'a self, block: &str) -> impl Iterator<Item = &'a Found> + use<'a> {
        let address = without_keys(block);
        self.found.iter().filter(move |found| found.address == address)
    }
}

/// `module.a["k"].t.n[0]` is `module.a.t.n`. A key may hold brackets and quotes.
pub(crate) fn without_keys(address: &str) -> String {
    let mut plain = String::with_capacity(address.len());
    let (mut in_key, mut in_text, mut escaped) = (false, false, false);
    for char in address.chars() {
        match (in_key, in_text, char) {
            (false, _, '[') => in_key = true,
            (false, _, other) => plain.push(other),
            (true, false, ']') => in_key = false,
            (true, false, '"') => in_text = true,
            (true, true, '"') if !escaped => in_text = false,
            (true, _, _) => {}
        }
        escaped = in_text && char == '\\' && !escaped;
    }
    plain
}

fn resource(text: &str, block: &Block) -> Option<Piece> {
    let [kind, name] = block.labels.as_slice() else {
        return None;
    };
    if block.ident.as_str() != "resource" {
        return None;
    }
    let Range { start, end } = block.span()?;
    Some(Piece::Resource {
        kind: kind.as_str().to_owned(),
        name: name.as_str().to_owned(),
        first_line: line_at(text, start),
        last_line: line_at(text, start + text.get(start..end)?.trim_end().len()),
    })
}

fn call(block: &Block) -> Option<Piece> {
    let [name] = block.labels.as_slice() else {
        return None;
    };
    if block.ident.as_str() != "module" {
        return None;
    }
    let source = block.body.get_attribute("source")?.value.as_str()?;
    Some(Piece::Call {
        name: name.as_str().to_owned(),
        source: source.to_owned(),
    })
}

/// The line of a byte, from 1.
fn line_at(text: &str, byte: usize) -> usize {
    text.as_bytes().iter().take(byte).filter(|&&b| b == b'\n').count() + 1
}

/// A path without `.` and, as far as there is something to leave, without `..`.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect()
    }

    fn shown(blocks: &Blocks) -> Vec<String> {
        let show = |found: &Found| {
            let Found {
                address,
                file,
                first_line,
                last_line,
            } = found;
            format!("{address} {file} {first_line}-{last_line}")
        };
        blocks.found.iter().map(show).collect()
    }

    #[test]
    fn blocks_are_found_in_the_root_and_in_local_modules() {
        let files = files(&[
            (
                "live/main.tf",
                "# first\nresource \"aws_vpc\" \"v\" {\n  cidr_block = \"10.0.0.0/8\"\n}\n\nmodule \"net\" {\n  source = \"../modules/net\"\n}\nmodule \"far\" {\n  source = \"terraform-aws-modules/vpc/aws\"\n}\n",
            ),
            (
                "modules/net/a.tf",
                "resource \"aws_subnet\" \"s\" { count = 2 }\ndata \"aws_ami\" \"a\" {}\n",
            ),
            ("modules/unused/a.tf", "resource \"aws_subnet\" \"s\" {}\n"),
        ]);
        let blocks = blocks(&files, "./live").unwrap();
        assert_eq!(
            shown(&blocks),
            [
                "aws_vpc.v live/main.tf 2-4",
                "module.net.aws_subnet.s modules/net/a.tf 1-1"
            ]
        );
        assert_eq!(blocks.elsewhere["module.far."], "terraform-aws-modules/vpc/aws");
        assert_eq!(blocks.of("module.net[\"a\\\"]b\"].aws_subnet.s[1]").count(), 1);
        assert_eq!(blocks.of("aws_subnet.s").count(), 0);
    }

    #[test]
    fn json_says_the_same_as_hcl() {
        let json = r#"{
  "//": "a comment",
  "resource": {
    "aws_vpc": {
      "v": {
        "cidr_block": "10.0.0.0/8"
      }
    },
    "aws_subnet": [
      { "a": { "count": 2 } },
      { "b": [{}, {"x": "resource"}] }
    ]
  },
  "module": { "net": { "source": "./net" }, "far": [{ "source": "far/away" }], "odd": 1 }
}
"#;
        let files = files(&[
            ("main.tf.json", json),
            ("main.tf", "resource \"t\" \"n\" {}\n"),
            ("net/a.tf.json", "[]"),
        ]);
        assert_eq!(
            blocks(&files, "").unwrap_err().to_string(),
            "net/a.tf.json, line 1: not HCL"
        );
        let files: BTreeMap<_, _> = files.into_iter().filter(|(path, _)| path != "net/a.tf.json").collect();
        let blocks = blocks(&files, "").unwrap();
        assert_eq!(
            shown(&blocks),
            [
                "aws_subnet.a main.tf.json 10-10",
                "aws_subnet.b main.tf.json 11-11",
                "aws_vpc.v main.tf.json 5-7",
                "t.n main.tf 1-1"
            ]
        );
        assert_eq!(blocks.elsewhere["module.far."], "far/away");
    }

    #[test]
    fn a_module_that_calls_itself_is_refused() {
        let files = files(&[("m/a.tf", "module \"m\" {\n source = \"../m\"\n}\n")]);
        assert!(matches!(blocks(&files, "m"), Err(HclError::TooDeep)));
    }

    #[test]
    fn a_wrong_file_is_named_with_its_line_and_nothing_of_its_text() {
        let error = blocks(&files(&[("a.tf", "x = 1\npassword = = \"secret\"\n")]), "").unwrap_err();
        assert_eq!(error.to_string(), "a.tf, line 2: not HCL");
    }
}
