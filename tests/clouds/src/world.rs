//! AWS, Azure and GCP at once, in real time: for a whole engine, which finds them as it would find the real ones, by its
//! environment, its sites and `--allow-endpoint`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::Clock;
use isobar_providers_sim::{SimCloud, SimConfig, SimMachine, TokioClock};
use serde_json::{Value, json};

use crate::asked::Asked;
use crate::front::{Calls, Door, Front};
use crate::machines::Machines;
use crate::{aws, azure, gcp};

/// Fewer than EC2's thousand, so that lists have several pages.
const EC2_PAGE_MAX: usize = 5;
/// "The maximum number of items": <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html>
const EC2_WHOLE_PAGE_MAX: usize = 1_000;
/// Resource Manager decides the size of its pages and says it nowhere; fewer than any seen.
const AZURE_WHOLE_PAGE_ITEMS: usize = 50;
/// `maxResults` of Google's discovery document.
const GCP_WHOLE_PAGE_ITEMS: usize = 500;
/// Each cloud's faults and delays follow from it.
const SEED: u64 = 1;

/// Whose cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cloud {
    /// Amazon EC2.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Compute Engine.
    Gcp,
}

impl Cloud {
    /// Every cloud.
    pub const ALL: [Self; 3] = [Self::Aws, Self::Azure, Self::Gcp];

    /// The provider's name in specs; sites carry it too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
        }
    }

    /// The only region.
    pub fn region(self) -> &'static str {
        match self {
            Self::Aws => aws::REGION,
            Self::Azure => azure::REGION,
            Self::Gcp => gcp::REGION,
        }
    }

    /// What engines' machines boot there, as the cloud names images.
    pub fn engine_image(self) -> &'static str {
        match self {
            Self::Aws => aws::ENGINE_AMI,
            Self::Azure => azure::ENGINE_IMAGE,
            Self::Gcp => gcp::ENGINE_IMAGE,
        }
    }

    fn config(self) -> SimConfig {
        match self {
            Self::Aws => aws::config(SEED),
            Self::Azure => azure::config(SEED),
            Self::Gcp => gcp::config(SEED),
        }
    }
}

/// How much of a list is on one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pages {
    /// So little that every list has several: for whoever must read them all.
    #[default]
    Small,
    /// As much as in the real clouds: for whoever counts calls.
    Whole,
}

/// Three strict clouds that answer for as long as this lives. Dropping it fails the test if a call was not as its cloud
/// documents.
pub struct World {
    clouds: BTreeMap<Cloud, SimCloud>,
    ec2: aws::Ec2,
    resource_manager: azure::AzureCloud,
    compute_engine: gcp::Gcp,
    credentials: PathBuf,
}

impl World {
    /// Answers on free ports of loopback. `folder` keeps a file of credentials. `change` may change each cloud before it
    /// opens.
    pub async fn serve(
        folder: &Path,
        pages: Pages,
        change: impl Fn(Cloud, SimConfig) -> SimConfig,
    ) -> io::Result<Self> {
        let [on_ec2, on_azure, on_gcp] = match pages {
            Pages::Small => [EC2_PAGE_MAX, azure::PAGE_ITEMS, gcp::PAGE_ITEMS],
            Pages::Whole => [EC2_WHOLE_PAGE_MAX, AZURE_WHOLE_PAGE_ITEMS, GCP_WHOLE_PAGE_ITEMS],
        };
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(now()?));
        let open = |cloud: Cloud| (cloud, SimCloud::new(change(cloud, cloud.config()), clock.clone()));
        let clouds = BTreeMap::from(Cloud::ALL.map(open));
        let of = |cloud: Cloud| clouds[&cloud].clone();
        let ec2 = aws::Ec2::serve(of(Cloud::Aws), clock.clone(), aws::REGION, on_ec2).await?;
        let resource_manager = azure::AzureCloud::serve_paged(of(Cloud::Azure), on_azure).await?;
        let compute_engine = gcp::Gcp::serve_paged(of(Cloud::Gcp), clock.clone(), on_gcp).await?;
        let credentials = folder.join("google-credentials.json");
        std::fs::write(&credentials, compute_engine.credentials().to_string())?;
        Ok(Self {
            clouds,
            ec2,
            resource_manager,
            compute_engine,
            credentials,
        })
    }

    /// What there really is in a cloud, and the way to break it.
    pub fn cloud(&self, cloud: Cloud) -> &SimCloud {
        &self.clouds[&cloud]
    }

    /// What a cloud was asked.
    pub fn calls(&self, cloud: Cloud) -> &Calls {
        &self.front(cloud).calls
    }

    /// Whom a cloud lets in.
    pub fn door(&self, cloud: Cloud) -> &Door {
        &self.front(cloud).door
    }

    /// Where a cloud answers.
    pub fn endpoint(&self, cloud: Cloud) -> &str {
        &self.front(cloud).url
    }

    fn front(&self, cloud: Cloud) -> &Front {
        match cloud {
            Cloud::Aws => &self.ec2.front,
            Cloud::Azure => &self.resource_manager.front,
            Cloud::Gcp => &self.compute_engine.front,
        }
    }

    /// What every cloud gave out until now to be known by counts no more, but for keys that never end.
    pub fn expire_credentials(&self) {
        self.ec2.expire_session();
        self.resource_manager.expire_tokens();
        self.compute_engine.expire_tokens();
    }

    /// As [`Self::environment`], with keys for AWS that end: a role's.
    pub fn environment_of_a_role(&self) -> BTreeMap<&'static str, String> {
        let mut environment = self.environment();
        environment.retain(|name, _| !name.starts_with("AWS_"));
        environment.extend(self.ec2.environment_of_a_role());
        environment
    }

    /// What a program finds its credentials by: keys for AWS, a managed identity for Azure, a file for Google.
    pub fn environment(&self) -> BTreeMap<&'static str, String> {
        let mut environment = BTreeMap::from(self.resource_manager.environment());
        environment.insert("AWS_ACCESS_KEY_ID", aws::KEY_ID.to_owned());
        environment.insert("AWS_SECRET_ACCESS_KEY", aws::KEY_SECRET.to_owned());
        environment.insert("GOOGLE_APPLICATION_CREDENTIALS", self.credentials.display().to_string());
        environment
    }

    /// What the call that made a machine asked for; absent where none did.
    pub fn asked(&self, cloud: Cloud, machine: &SimMachine) -> Option<Asked> {
        self.machines(cloud).asked(machine)
    }

    /// A cloud's machines, for whoever boots them.
    pub fn machines(&self, cloud: Cloud) -> Machines {
        match cloud {
            Cloud::Aws => Machines::Aws(self.ec2.machines()),
            Cloud::Azure => Machines::Azure(self.resource_manager.machines()),
            Cloud::Gcp => Machines::Gcp(self.compute_engine.machines()),
        }
    }

    /// From now on, so many machines fit into each zone of a cloud, those that are there counted.
    pub fn set_room(&self, cloud: Cloud, machines: u32) {
        let offerings = self.cloud(cloud).offerings(cloud.region());
        let zones: BTreeSet<_> = offerings.into_iter().map(|offering| offering.zone).collect();
        for zone in &zones {
            self.cloud(cloud).set_zone_capacity(cloud.region(), zone, machines);
        }
    }

    /// The sites of a spec, one a cloud and named after it.
    pub fn sites(&self) -> BTreeMap<&'static str, Value> {
        BTreeMap::from(Cloud::ALL.map(|cloud| (cloud.name(), self.site(cloud))))
    }

    /// A site of a spec.
    pub fn site(&self, cloud: Cloud) -> Value {
        let endpoint = self.endpoint(cloud);
        let settings = match cloud {
            Cloud::Aws => json!({ "image": aws::AMI, "disk_gib": "8", "endpoint": endpoint }),
            Cloud::Azure => json!({
                "subscription": azure::SUBSCRIPTION,
                "resource_group": azure::GROUP,
                "image": azure::IMAGE,
                "subnet": azure::SUBNET,
                "zones": "1,2,3",
                "endpoint": endpoint,
            }),
            Cloud::Gcp => json!({ "project": gcp::PROJECT, "image": gcp::IMAGE, "endpoint": endpoint }),
        };
        json!({ "provider": cloud.name(), "region": cloud.region(), "settings": settings })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let violations = self.resource_manager.violations();
        assert!(
            std::thread::panicking() || violations.is_empty(),
            "Azure documents otherwise: {violations:#?}"
        );
    }
}

fn now() -> io::Result<Timestamp> {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(io::Error::other)?;
    Ok(Timestamp(u64::try_from(since.as_millis()).map_err(io::Error::other)?))
}
