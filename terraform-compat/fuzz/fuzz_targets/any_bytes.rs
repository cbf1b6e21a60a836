//! Any bytes, as everything that this library reads: a state, a configuration, a lock. Whatever they are, the answer is a
//! value or an error. Beyond panics it finds what is slow or takes too much memory; the limits are in `tools/fuzz.sh`.

#![no_main]

use std::collections::BTreeMap;

use isobar_terraform_compat::account::{Told, account};
use isobar_terraform_compat::backend::{Body, LockInfo, Unlock};
use isobar_terraform_compat::handover::{confirm, files, hand_over};
use isobar_terraform_compat::hcl::{Blocks, blocks};
use isobar_terraform_compat::markdown;
use isobar_terraform_compat::read::Keys;
use libfuzzer_sys::fuzz_target;

/// Of no use but to reach the decryption. No passphrase: its rounds would be all that is measured.
const KEY: [u8; 16] = *b"0123456789abcdef";

fuzz_target!(|bytes: &[u8]| {
    let _ = (Body::of(bytes), LockInfo::of(bytes), Unlock::of(bytes));
    let found = std::str::from_utf8(bytes).map(configuration).unwrap_or_default();
    let keys = Keys {
        passphrase: None,
        key: Some(KEY.to_vec()),
    };
    if let Ok(account) = account("any", bytes, &keys, &Told::default()) {
        let plan = hand_over(&account, &found);
        let _ = (markdown::render(&account), files(&account, &plan));
        let _ = confirm(&account.header, &plan.handed, &account);
    }
});

/// The blocks of a text as either form of a configuration.
fn configuration(text: &str) -> Blocks {
    let of = |name: &str| blocks(&BTreeMap::from([(name.to_owned(), text.to_owned())]), "");
    of("main.tf.json").or_else(|_| of("main.tf")).unwrap_or_default()
}
