//! `isobar-node ctr bench`: create, start, wait, delete of a given bundle, over and over in this one process, for the
//! benchmark beside other runtimes. Nothing of the node uses it.

/// Gives the process's exit code.
pub(super) fn main(_args: &[String]) -> i32 {
    2
}
