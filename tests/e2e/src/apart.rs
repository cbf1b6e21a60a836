//! A test in a network of its own. Every address that a cloud on this computer gives its machines is this computer there,
//! so that what listens everywhere is found at whichever of them runs; and so is [`ELSEWHERE`].

use std::env;
use std::process::Command;

/// Set for the test's second run, in its network: the test's name.
const INSIDE: &str = "ISOBAR_TEST_APART";
/// An address in that network that guests find too, and that is no one's own. Documentation's:
/// <https://www.rfc-editor.org/rfc/rfc5737>.
pub const ELSEWHERE: &str = "192.0.2.7";
/// Machines of clouds on this computer have addresses in the second.
const NETWORK: &str = "ip link set lo up && ip address add 192.0.2.7/32 dev lo && ip route add local 10.0.0.0/8 dev lo";

/// Runs the test of this name, whole, in a network that nothing else sees.
///
/// # Panics
///
/// When it fails there, or when no network can be made.
#[track_caller]
pub fn run(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some_and(|inside| inside == test) {
        body();
        return;
    }
    let script = format!("{NETWORK} && exec \"$0\" --exact --nocapture --test-threads=1 \"$1\"");
    let status = Command::new("unshare")
        .args(["--net", "sh", "-c", &script])
        .arg(env::current_exe().expect("a test knows where it is"))
        .arg(test)
        .env(INSIDE, test)
        .status()
        .expect("unshare is there");
    assert!(status.success(), "{test}, in a network of its own: {status}");
}
