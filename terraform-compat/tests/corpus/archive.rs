//! The archive of states (see ../NOTICE.md), unpacked in memory.

use std::io::Read as _;

/// States in the archive.
const STATES: usize = 29;

/// Name and bytes of every state.
pub(crate) fn states() -> Vec<(String, Vec<u8>)> {
    let plain = zstd::decode_all(&include_bytes!("../states.tar.zst")[..]).unwrap();
    let mut archive = tar::Archive::new(&plain[..]);
    let states: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (name, bytes)
        })
        .collect();
    assert_eq!(states.len(), STATES);
    states
}
