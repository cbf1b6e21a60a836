//! The archive of states (see ../NOTICE.md), unpacked in memory.

use std::io::Read as _;

/// States in the archive.
const STATES: usize = 29;

/// Name and bytes of every state.
pub(crate) fn states() -> Vec<(String, Vec<u8>)> {
    let plain = zstd::decode_all(&include_bytes!("../states.tar.zst")[..]).expect("the archive is zstd");
    let mut archive = tar::Archive::new(&plain[..]);
    let states: Vec<_> = archive
        .entries()
        .expect("the archive is tar")
        .map(|entry| {
            let mut entry = entry.expect("the archive is whole");
            let name = entry.path().expect("names are text").display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("the archive is whole");
            (name, bytes)
        })
        .collect();
    assert_eq!(states.len(), STATES);
    states
}
