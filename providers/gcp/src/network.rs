//! The network around a site's machines: what is there, what has to be made, and each part as Compute Engine is asked for it.
//!
//! A part is a network, a subnetwork of one region, a router that lets machines without addresses of their own out, or a
//! firewall for the machines that carry its name. None of these has labels: whose a part is stands in its description
//! ([`Described`]). What the site or the project had before is found, and never changed or deleted.

mod body;
mod described;
mod list;
mod needs;

pub(crate) use body::{connected, thing, words};
pub(crate) use described::Described;
pub(crate) use list::list;
pub(crate) use needs::needs;
