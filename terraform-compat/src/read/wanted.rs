//! What is wanted of an instance: a list of paths, made into a tree so that whatever is beside it is skipped where it
//! begins. `subnet_id` is an attribute, `boot_disk.source` an attribute of every block of that name, `tags.*` every entry of
//! a map. Reads nothing itself.

use std::collections::BTreeSet;

/// Paths that may be taken, and no others.
#[derive(Debug)]
pub struct Wanted {
    paths: BTreeSet<&'static str>,
    root: Node,
}

/// An attribute, or a block.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// As it is written on the list.
    pub(super) path: &'static str,
    /// Its own value is wanted.
    pub(super) leaf: bool,
    /// Every entry of it is wanted: the path of those.
    pub(super) entries: Option<&'static str>,
    children: Vec<(&'static str, Node)>,
}

impl Wanted {
    pub(crate) fn of(paths: impl IntoIterator<Item = &'static str>) -> Self {
        let paths: BTreeSet<&'static str> = paths.into_iter().collect();
        let mut root = Node::default();
        for path in &paths {
            root.add(path, 0);
        }
        Self { paths, root }
    }

    /// Every path, in order.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.paths.iter().copied()
    }

    pub(super) fn root(&self) -> &Node {
        &self.root
    }
}

impl Node {
    /// Adds what follows the first `from` bytes of a path.
    fn add(&mut self, path: &'static str, from: usize) {
        let rest = &path[from..];
        if rest == "*" {
            self.entries = Some(path);
            return;
        }
        let (name, next) = match rest.split_once('.') {
            Some((name, _)) => (name, Some(from + name.len() + 1)),
            None => (rest, None),
        };
        let child = match self.children.iter().position(|(known, _)| *known == name) {
            Some(at) => at,
            None => {
                let node = Self {
                    path: &path[..from + name.len()],
                    ..Self::default()
                };
                self.children.push((name, node));
                self.children.len() - 1
            }
        };
        let child = &mut self.children[child].1;
        match next {
            Some(next) => child.add(path, next),
            None => child.leaf = true,
        }
    }

    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, node)| node)
    }
}
