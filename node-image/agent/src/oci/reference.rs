//! Reads `registry[:port]/repository[:tag][@digest]` by hand: the parser that comes with the type compiles a regular
//! expression which then holds more memory than the rest of the agent. Asks no registry.

use oci_client::Reference;

const DOCKER_HUB: &str = "docker.io";
const TAG_DEFAULT: &str = "latest";
const NAME_MAX_BYTES: usize = 255;
const TAG_MAX_BYTES: usize = 128;
const SHA256_HEX_DIGITS: usize = 64;

/// What an image's name stands for. The error says what is wrong with the name.
pub(super) fn parse(named: &str) -> Result<Reference, &'static str> {
    let (rest, digest) = match named.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (named, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        // A port's colon is before a slash.
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        Some(_) | None => (rest, None),
    };
    let (registry, repository) = split(name);
    if !is_registry(registry) {
        return Err("the registry is not `host` or `host:port`");
    }
    if repository.len() > NAME_MAX_BYTES || !repository.split('/').all(is_component) {
        return Err("the repository is not made of lower-case names separated by `/`");
    }
    if !tag.is_none_or(is_tag) {
        return Err("the tag is not made of letters, digits, `_`, `.` and `-`");
    }
    if !digest.is_none_or(is_digest) {
        return Err("the digest is not `sha256:` and 64 hex digits");
    }
    let (registry, tag) = (registry.to_owned(), tag.map(str::to_owned));
    Ok(match (tag, digest.map(str::to_owned)) {
        (Some(tag), Some(digest)) => Reference::with_tag_and_digest(registry, repository, tag, digest),
        (None, Some(digest)) => Reference::with_digest(registry, repository, digest),
        (tag, None) => Reference::with_tag(registry, repository, tag.unwrap_or_else(|| TAG_DEFAULT.to_owned())),
    })
}

/// Registry and repository. A first part that cannot be a host belongs to the repository, on Docker's own registry.
fn split(name: &str) -> (&str, String) {
    match name.split_once('/') {
        Some(("index.docker.io", repository)) => (DOCKER_HUB, official(repository)),
        Some((DOCKER_HUB, repository)) => (DOCKER_HUB, official(repository)),
        Some((host, repository)) if host.contains(['.', ':']) || host == "localhost" => (host, repository.to_owned()),
        Some(_) | None => (DOCKER_HUB, official(name)),
    }
}

fn official(repository: &str) -> String {
    if repository.contains('/') {
        repository.to_owned()
    } else {
        format!("library/{repository}")
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Lower-case words with one `.`, one or two `_`, or any number of `-` between them.
fn is_component(text: &str) -> bool {
    let is_word = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit();
    let separators = text.split(is_word).filter(|separator| !separator.is_empty());
    text.starts_with(is_word)
        && text.ends_with(is_word)
        && separators
            .into_iter()
            .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|byte| byte == b'-'))
}

fn is_tag(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    !text.is_empty() && text.len() <= TAG_MAX_BYTES && text.bytes().all(fits) && !text.starts_with(['.', '-'])
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == SHA256_HEX_DIGITS && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_what_they_mean_to_everybody_else() {
        let digest = format!("sha256:{}", "0f".repeat(32));
        let names = [
            "busybox",
            "busybox:1.36",
            "team/web",
            "docker.io/busybox",
            "index.docker.io/busybox:1",
            "localhost/web",
            "localhost:5000/web:V1_x.y-z",
            "10.0.2.2:5000/demo/web:1",
            "registry.example.com/a/b--c/d__e/f.g/h_i",
            &format!("r.io/web@{digest}"),
            &format!("r.io:80/web:1@{digest}"),
        ];
        for name in names {
            assert_eq!(parse(name), Ok(name.parse().unwrap()), "{name}");
        }
    }

    #[test]
    fn what_nobody_takes_for_a_name_is_refused() {
        let names = [
            "",
            "/",
            "web:",
            "web:.x",
            "Web",
            "r.io/Web",
            "r.io/",
            "r.io//web",
            "r.io/a___b",
            "r.io/a..b",
            "r.io/-a",
            "-r.io/web",
            "r.io:port/web",
            "web@sha256:00",
            "web@md5:00112233445566778899aabbccddeeff",
            "a b",
            "https://r.io/web",
        ];
        for name in names {
            assert!(parse(name).is_err(), "{name}");
            assert!(name.parse::<Reference>().is_err(), "{name} is taken elsewhere");
        }
    }
}
