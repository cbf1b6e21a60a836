//! Whose an object is: from Terraform's to Isobar's in two steps, and back. Never both's.

use isobar_engine_model::adopted::AdoptedPhase;
use isobar_engine_model::id::{AdoptedName, ClusterName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// [`HandOverRequest::objects`] are at most so many.
pub const HAND_OVER_MAX_OBJECTS: usize = 200;

/// Objects whose owner is to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HandOverRequest {
    /// Of which cluster.
    pub cluster: ClusterName,
    /// Which: at most 200.
    #[schemars(length(max = 200))]
    pub objects: Vec<AdoptedName>,
    /// What is done.
    pub step: HandOverStep,
}

/// A step of a hand-over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum HandOverStep {
    /// Terraform is to forget them: from here on they wait for a state without them.
    Begin,
    /// A fresh state does not have them any more: they are Isobar's.
    Confirm {
        /// That state's lineage: the one they came from.
        lineage: String,
        /// Its serial: higher than when the hand-over began.
        serial: u64,
    },
    /// They are Terraform's again.
    TakeBack,
}

impl HandOverStep {
    /// In a word or two.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Begin => "begun to hand over",
            Self::Confirm { .. } => "taken over",
            Self::TakeBack => "given back",
        }
    }
}

/// What became of the objects, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HandOverAnswer {
    /// A line an object.
    pub lines: Vec<HandOverLine>,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HandOverLine {
    /// Its name.
    pub name: AdoptedName,
    /// Its address in the state that it came from.
    pub address: String,
    /// That state's lineage; empty: it has none.
    pub lineage: String,
    /// Whose it is now.
    #[serde(flatten)]
    pub phase: AdoptedPhase,
    /// Why nothing was changed, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}
