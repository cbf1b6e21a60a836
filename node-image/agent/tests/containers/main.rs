//! Containers on the real kernel, from a real registry: each test runs in mount and network namespaces of its own, with
//! a private mount of control groups, so that nothing of this host is touched. Wants root and Debian's
//! `docker-registry`, `skopeo`, `iproute2` and `busybox-static`; what is missing makes the test fail saying so.
#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod images;
mod inside;
mod isolation;
mod life;
mod network;
mod pulls;
