//! The rules, as tables and as properties of any sequence of clients.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn state(lineage: &str, serial: u64, names: &[&str]) -> Vec<u8> {
    let resources: Vec<_> = names
        .iter()
        .map(|name| {
            json!({"mode": "managed", "type": "terraform_data", "name": name, "instances": [{"index_key": 0,
                "schema_version": 0, "attributes": {"id": name}}],
                "provider": "provider[\"terraform.io/builtin/terraform\"]"})
        })
        .collect();
    let state = json!({"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage, "outputs": {},
        "resources": resources});
    serde_json::to_vec(&state).unwrap()
}

fn body(lineage: &str, serial: u64, names: &[&str]) -> Body {
    Body::of(&state(lineage, serial, names)).unwrap()
}

fn head(body: &Body) -> Head<'_> {
    Head {
        serial: body.serial,
        lineage: &body.lineage,
        sha256: &body.sha256,
        empty: body.empty,
    }
}

#[test]
fn a_body_follows_only_its_own_history() {
    let stored = body("a", 5, &["x"]);
    let follow = |next: &Body| write(Some(head(&stored)), None, None, next);
    assert_eq!(write(None, None, None, &stored), Ok(Writing::New));
    assert_eq!(follow(&body("a", 6, &["y"])), Ok(Writing::New));
    assert_eq!(follow(&body("a", 9, &[])), Ok(Writing::New));
    assert_eq!(follow(&stored), Ok(Writing::Same));
    let refused = |next: &Body| follow(next).unwrap_err().to_string();
    assert_eq!(
        refused(&body("a", 4, &["x"])),
        "the serial 4 is older than the stored one, 5"
    );
    assert_eq!(
        refused(&body("a", 5, &["y"])),
        "the serial 5 is stored with another content"
    );
    assert_eq!(
        refused(&body("b", 6, &["x"])),
        "the lineage `b` is not that of the stored state, `a`"
    );
    assert_eq!(
        follow(&body("", 1, &["y"])),
        Ok(Writing::New),
        "Terraform takes legacy states"
    );
    let gone = body("a", 7, &[]);
    assert_eq!(
        write(Some(head(&gone)), None, None, &body("b", 1, &["x"])),
        Ok(Writing::New)
    );
}

#[test]
fn only_the_holder_of_a_lock_writes() {
    let next = body("a", 1, &[]);
    let allowed = |holder, shown| write(None, holder, shown, &next);
    assert_eq!(allowed(Some("1"), Some("1")), Ok(Writing::New));
    assert_eq!(allowed(Some("1"), Some("2")), Err(Refusal::Locked));
    assert_eq!(allowed(Some("1"), None), Err(Refusal::Locked), "also with -lock=false");
    assert_eq!(allowed(None, Some("1")), Err(Refusal::LockGone { shown: "1".into() }));
}

#[test]
fn what_was_taken_over_does_not_come_back() {
    let next = body("a", 1, &["web", "db"]);
    let refused = |adopted: &[&str]| brings_back_none(&next, &adopted.iter().copied().collect());
    assert_eq!(refused(&["terraform_data.mail"]), Ok(()));
    let back = |addresses: &[&str]| {
        Err(Refusal::Adopted {
            addresses: addresses.iter().map(|&address| address.to_owned()).collect(),
        })
    };
    assert_eq!(refused(&["terraform_data.web[0]"]), back(&["terraform_data.web[0]"]));
    assert_eq!(refused(&["terraform_data.web[1]"]), Ok(()), "another instance");
    assert_eq!(
        refused(&["terraform_data.web", "terraform_data.db"]),
        back(&["terraform_data.db[0]", "terraform_data.web[0]"]),
        "a block is all of its instances"
    );
    let many = Refusal::Adopted {
        addresses: (0..7).map(|n| format!("t.n[{n}]")).collect(),
    };
    let told = "Isobar manages t.n[0], t.n[1], t.n[2], t.n[3], t.n[4] and 2 more";
    assert_eq!(many.to_string(), told);
}

#[test]
fn a_sealed_body_tells_serial_and_lineage_and_nothing_else() {
    let sealed = json!({"serial": 3, "lineage": "a", "meta": {}, "encrypted_data": "AAAA", "encryption_version": "v0"});
    let body = Body::of(&serde_json::to_vec(&sealed).unwrap()).unwrap();
    assert_eq!((body.serial, body.lineage.as_str()), (Some(3), "a"));
    assert_eq!(body.addresses, Addresses::Sealed);
    assert_eq!(brings_back_none(&body, &["t.n"].into()), Ok(()));
}

#[test]
fn what_is_no_state_is_not_stored() {
    for other in [
        &b""[..],
        b"{}",
        b"<html>",
        b"{\"version\": 2}",
        br#"{"format_version": "1.0", "values": {}}"#,
    ] {
        assert!(Body::of(other).is_err(), "{}", String::from_utf8_lossy(other));
    }
}

#[test]
fn locks_and_unlocks_are_read_as_terraform_and_tofu_send_them() {
    let sent = br#"{"ID":"1","Operation":"OperationTypeApply","Info":"","Who":"me@here","Version":"1.11.4","Path":""}"#;
    let info = LockInfo::of(sent).unwrap();
    assert_eq!((info.id.as_str(), info.who.as_str()), ("1", "me@here"));
    assert_eq!(info.text.as_bytes(), sent);
    assert_eq!(Unlock::of(sent), Ok(Unlock::Id("1".into())));
    assert_eq!(
        Unlock::of(br#"{"ID":"1"}"#),
        Ok(Unlock::Id("1".into())),
        "tofu force-unlock"
    );
    assert_eq!(Unlock::of(b""), Ok(Unlock::Force), "terraform force-unlock");
    let long = json!({"ID": "1", "Info": "x".repeat(LOCK_MAX_BYTES)}).to_string();
    for other in ["{}", "[]", r#"{"ID":""}"#, "x", &long] {
        assert_eq!(LockInfo::of(other.as_bytes()), Err(NotALock), "{other:.20}");
        assert_eq!(Unlock::of(other.as_bytes()), Err(NotALock), "{other:.20}");
    }
}

#[test]
fn a_lock_is_taken_away_by_its_id_or_by_force() {
    let id = |id: &str| Unlock::Id(id.into());
    assert_eq!(unlock(Some("1"), &id("1"), false), Ok(Unlocking::Released));
    assert_eq!(unlock(Some("1"), &id("2"), true), Err(Refusal::Locked));
    assert_eq!(unlock(None, &id("1"), false), Ok(Unlocking::Free));
    assert_eq!(unlock(Some("1"), &Unlock::Force, false), Err(Refusal::Force));
    assert_eq!(unlock(Some("1"), &Unlock::Force, true), Ok(Unlocking::Released));
}

/// What a client does next.
#[derive(Debug, Clone)]
enum Act {
    Lock(u8),
    Unlock(u8),
    Write { lock: Option<u8>, lineage: u8, serial: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..3_u8).prop_map(Act::Lock),
        (0..3_u8).prop_map(Act::Unlock),
        (proptest::option::of(0..3_u8), 0..2_u8, 0..6_u64).prop_map(|(lock, lineage, serial)| Act::Write {
            lock,
            lineage,
            serial
        }),
    ]
}

proptest! {
    /// Over any acts of three clients: nobody writes over a lock of another, and serials of a lineage only grow.
    #[test]
    fn no_sequence_of_clients_loses_a_write(acts in proptest::collection::vec(act(), 0..40)) {
        let (mut holder, mut stored): (Option<String>, Option<Body>) = (None, None);
        for (number, act) in acts.iter().enumerate() {
            match act {
                Act::Lock(client) => {
                    let asked = client.to_string();
                    let allowed = lock(holder.as_deref(), &asked).is_ok();
                    prop_assert_eq!(allowed, holder.as_ref().is_none_or(|held| *held == asked));
                    if allowed {
                        holder = Some(asked);
                    }
                }
                Act::Unlock(client) => {
                    let asked = Unlock::Id(client.to_string());
                    if unlock(holder.as_deref(), &asked, false).is_ok() {
                        prop_assert!(holder.as_ref().is_none_or(|held| *held == client.to_string()));
                        holder = None;
                    }
                }
                Act::Write { lock, lineage, serial } => {
                    let shown = lock.map(|client| client.to_string());
                    let name = format!("n{number}");
                    let next = body(&format!("l{lineage}"), *serial, &[&name]);
                    let allowed = write(stored.as_ref().map(head), holder.as_deref(), shown.as_deref(), &next);
                    if allowed.is_ok() {
                        prop_assert_eq!(&holder, &shown);
                        if let Some(before) = &stored {
                            prop_assert_eq!(&before.lineage, &next.lineage);
                            prop_assert!(before.serial < next.serial);
                        }
                        stored = Some(next);
                    }
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_a_body_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = (Body::of(&bytes), LockInfo::of(&bytes), Unlock::of(&bytes));
    }
}
