//! What callers ask of the Engine and what it answers: the types behind every MCP tool.

mod asked;
mod audit;
mod change;
mod error;
mod explain;
mod hand_over;
mod import;
mod leaks;
mod logs;
mod query;
mod recover;
mod terraform;

pub use asked::Asked;
pub use audit::{AuditAnswer, AuditBad, AuditEntry, AuditRequest, AuditVerdict, AuditWhat, AuditWho};
pub use change::{ApplyRequest, OperationCancel, OperationGet, OperationView, PlanAnswer, PlanRequest};
pub use error::{ALLOWED_MAX_ITEMS, ApiError, ErrorCode, PROBLEMS_MAX_ITEMS};
pub use explain::{ExplainRequest, Explanation};
pub use hand_over::{HAND_OVER_MAX_OBJECTS, HandOverAnswer, HandOverLine, HandOverRequest, HandOverStep};
pub use import::{
    IMPORT_PAGE_MAX_OBJECTS, ImportAnswer, ImportFound, ImportLine, ImportObject, ImportRequest, ImportSource,
    ImportStanding, Taken,
};
pub use leaks::{Fate, Leak, LeaksAnswer, LeaksRequest, Sweep};
pub use logs::{LogLine, LogSource, LogsAnswer, LogsRequest};
pub use query::{
    AdoptedView, AttemptView, ClusterSummary, Condition, Discovery, EngineView, Event, OfferingView, QueryAnswer,
    QueryRequest, QueryWhat, ReplicaView,
};
pub use recover::{Adopted, Missing, RecoverAnswer, RecoverMachines, RecoverRequest, Recovered, Unknown, Unlisted};
pub use terraform::{
    LockView, StateAdopt, StateAdopted, StateBody, StateGet, StateLock, StateOutcome, StatePart, StatePut, StateRead,
    StateRelease, StateReleased, StateUnlock, StateVersion, StateView, StatesAnswer, StatesRequest,
};

/// At most so many addresses are taken over by one call.
pub const ADOPT_MAX_ADDRESSES: usize = 10_000;
/// At most so many items come in one answer.
pub const PAGE_MAX_ITEMS: u32 = 500;
/// [`OperationGet::wait_ms`] at most.
pub const WAIT_MAX_MS: u64 = 20_000;
/// [`LogsRequest::tail_lines`] at most.
pub const TAIL_MAX_LINES: u32 = 2_000;
