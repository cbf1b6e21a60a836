//! What EC2 says of an image: its architecture and the name of its root disk. Neither ever changes, so it is asked once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Image;
use isobar_engine_model::catalog::Architecture;
use isobar_engine_model::id::ImageId;
use isobar_engine_provider::{ProviderError, Result};

use crate::client::quiet;
use crate::errors::{Call, kind_of};

/// So many images are remembered; then all are forgotten.
const REMEMBERED_MAX: usize = 1_000;

/// What does not change of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) architecture: Architecture,
    pub(crate) root_device: String,
}

/// The images that were asked for, by region.
#[derive(Default)]
pub(crate) struct Images(Mutex<BTreeMap<(String, ImageId), Facts>>);

impl Images {
    /// What is known of an image, or what EC2 says of it.
    pub(crate) async fn facts(&self, client: &Client, region: &str, image: &ImageId) -> Result<Facts> {
        let key = (region.to_owned(), image.clone());
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let facts = ask(client, image).await?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(key, facts.clone());
        Ok(facts)
    }
}

async fn ask(client: &Client, image: &ImageId) -> Result<Facts> {
    let answer = quiet(client.describe_images().image_ids(image.as_str()).send()).await;
    let answer = answer.map_err(|error| kind_of(&error, Call::Read))?;
    answer
        .images()
        .first()
        .and_then(facts)
        .ok_or_else(|| ProviderError::InvalidSpec {
            message: format!("image {image} is not there, or is not for x86_64 or arm64"),
        })
}

fn facts(image: &Image) -> Option<Facts> {
    let architecture = match image.architecture()?.as_str() {
        "x86_64" => Architecture::X86_64,
        "arm64" => Architecture::Arm64,
        _ => return None,
    };
    Some(Facts {
        architecture,
        root_device: image.root_device_name()?.to_owned(),
    })
}
