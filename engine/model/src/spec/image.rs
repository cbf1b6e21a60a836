//! The form of an OCI image reference: `registry[:port]/repository[:tag|@digest]`. Says what is wrong with one; pulls
//! nothing, and adds no default registry: a spec means the same everywhere.

/// Longest image reference, in bytes.
const REFERENCE_MAX_BYTES: usize = 512;
/// Longest tag, in bytes (the OCI distribution specification's).
const TAG_MAX_BYTES: usize = 128;

/// What is wrong with an image reference, and what to write instead where that is known.
pub(super) fn fault(reference: &str) -> Result<(), (String, Option<String>)> {
    let wrong = |what: &str| Err((format!("`{reference}` is not an image: {what}"), None));
    if reference.is_empty() || reference.len() > REFERENCE_MAX_BYTES {
        return wrong("write `registry[:port]/repository[:tag]`");
    }
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    if digest.is_some_and(|d| !is_digest(d)) {
        return wrong("a digest is `sha256:` and 64 hex digits");
    }
    let (registry, path) = match name.split_once('/') {
        Some((first, path)) if is_registry(first) => (first, path),
        Some(_) => return no_registry(reference, "docker.io"),
        None => return no_registry(reference, "docker.io/library"),
    };
    if let Some((_, port)) = registry.split_once(':')
        && !port.parse::<u16>().is_ok_and(|p| p > 0)
    {
        return wrong("the registry's port is a number from 1 to 65535");
    }
    let (repository, tag) = match path.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (path, None),
    };
    if !repository.split('/').all(is_component) {
        return wrong("a repository is lower-case letters, digits, `.`, `_`, `-`, with `/` between its parts");
    }
    match tag {
        Some(tag) if !is_tag(tag) => wrong("a tag is up to 128 letters, digits, `.`, `_`, `-`"),
        Some(_) | None => Ok(()),
    }
}

fn no_registry(reference: &str, prefix: &str) -> Result<(), (String, Option<String>)> {
    Err((
        format!("`{reference}` names no registry"),
        Some(format!("write `{prefix}/{reference}`")),
    ))
}

fn is_registry(text: &str) -> bool {
    let host = text.split_once(':').map_or(text, |(host, _)| host);
    let names_a_host = text.contains(['.', ':']) || text == "localhost";
    names_a_host
        && !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
}

fn is_component(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends_well = text.bytes().next().is_some_and(inner) && text.bytes().last().is_some_and(inner);
    ends_well && text.bytes().all(|b| inner(b) || matches!(b, b'.' | b'_' | b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= TAG_MAX_BYTES
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn references_name_registry_repository_and_version() {
        let digest = format!("ghcr.io/a/b@sha256:{}", "0".repeat(64));
        for good in [
            "10.0.2.2:5000/shop/web:1",
            "docker.io/library/nginx",
            "localhost/x",
            "a.b/c_d-e.f/g:V1.2-x",
            &digest,
        ] {
            assert_eq!(fault(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn a_reference_that_no_registry_would_take_is_refused() {
        for bad in [
            "",
            "a.b/",
            "a.b/C",
            "a.b/c:",
            "a.b/c:-x",
            "a.b:0/c",
            "a.b:x/c",
            "a.b/c@sha256:12",
            "a.b//c",
            "a.b/c d",
        ] {
            assert!(fault(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_short_name_is_shown_in_full() {
        let hint = |reference: &str| fault(reference).err().and_then(|(_, hint)| hint);
        assert_eq!(hint("nginx:1").as_deref(), Some("write `docker.io/library/nginx:1`"));
        assert_eq!(hint("grafana/loki").as_deref(), Some("write `docker.io/grafana/loki`"));
    }
}
