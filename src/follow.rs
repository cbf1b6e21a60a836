//! Follows an operation to its end: bars where a person looks, lines elsewhere. Ctrl-C asks the engine to cancel, a
//! second one leaves the operation to itself.
//!
//! An engine that goes away meanwhile is waited for, since the operation is its own and goes on when it is back.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use isobar_engine_control::api::{OperationGet, OperationView};
use isobar_engine_model::id::OperationId;
use isobar_engine_model::operation::{Operation, OperationState, StepProgress};
use isobar_mcp::client::{Client, ClientError};
use isobar_mcp::folder::DataFolder;
use tokio::time::Instant;

use crate::exit::Exit;
use crate::output::Output;
use crate::show::progress;

/// How long the engine keeps each look waiting for news.
const LOOK_WAIT_MS: u64 = 10_000;
/// So long an engine may be away before following gives up.
const AWAY_MAX: Duration = Duration::from_secs(120);
/// Between two tries at an engine that is away.
const AWAY_PAUSE: Duration = Duration::from_millis(500);
/// At most so many steps under way are drawn.
const BARS_MAX: usize = 12;

/// Follows an operation to its end, and says how the command ends.
pub(crate) async fn follow(
    folder: &DataFolder,
    first: OperationView,
    output: &Output,
) -> Result<(OperationView, Exit)> {
    let mut watch = Watch {
        folder,
        id: first.operation.id.clone(),
        screen: Screen::new(output),
        asked: false,
    };
    let view = watch.until_ended(first).await?;
    watch.screen.finish();
    let exit = match &view.operation.state {
        OperationState::Succeeded { .. } => Exit::Done,
        OperationState::Cancelled { .. } if watch.asked => Exit::Interrupted,
        OperationState::Failed { .. } | OperationState::Cancelled { .. } => Exit::OperationFailed,
        // Left to itself.
        OperationState::Running | OperationState::Cancelling { .. } => Exit::Interrupted,
    };
    Ok((view, exit))
}

struct Watch<'a> {
    folder: &'a DataFolder,
    id: OperationId,
    screen: Screen<'a>,
    /// Whether Ctrl-C was pressed once.
    asked: bool,
}

impl Watch<'_> {
    async fn until_ended(&mut self, mut view: OperationView) -> Result<OperationView> {
        self.screen.show(&view.operation)?;
        let mut client = None;
        let mut away_since: Option<Instant> = None;
        while !view.operation.state.is_final() {
            tokio::select! {
                biased;
                pressed = tokio::signal::ctrl_c() => {
                    pressed?;
                    if self.asked {
                        self.screen.say(&format!("left to itself: isobar operation wait {}", self.id))?;
                        return Ok(view);
                    }
                    self.asked = true;
                    self.screen.say("asking the engine to cancel; press ctrl-c again to leave the operation to itself")?;
                    self.cancel().await?;
                }
                looked = look(self.folder, &mut client, &self.id, view.revision) => match looked {
                    Ok(news) => {
                        away_since = None;
                        view = news;
                        self.screen.show(&view.operation)?;
                    }
                    Err(error) if is_away(&error) => {
                        client = None;
                        let since = *away_since.get_or_insert_with(Instant::now);
                        if since.elapsed() > AWAY_MAX {
                            return Err(error.into());
                        }
                        if since.elapsed() < AWAY_PAUSE {
                            self.screen.say("the engine does not answer; waiting for it")?;
                        }
                        tokio::time::sleep(AWAY_PAUSE).await;
                    }
                    Err(error) => return Err(error.into()),
                },
            }
        }
        Ok(view)
    }

    async fn cancel(&mut self) -> Result<()> {
        let cancelled = match Client::connect(self.folder).await {
            Ok(client) => client.operation_cancel(&self.id).await.map(|_| ()),
            Err(error) => Err(error),
        };
        match cancelled {
            Ok(()) => Ok(()),
            // It may have ended in the meantime: the next look says so.
            Err(ClientError::Refused(error)) => self.screen.say(&format!("not cancelled: {error}")),
            Err(error) if is_away(&error) => {
                self.asked = false;
                self.screen
                    .say("not cancelled, since the engine does not answer: press ctrl-c again when it does")
            }
            Err(error) => Err(error.into()),
        }
    }
}

async fn look(
    folder: &DataFolder,
    client: &mut Option<Client>,
    id: &OperationId,
    seen: u64,
) -> Result<OperationView, ClientError> {
    let client = match client {
        Some(client) => client,
        None => client.insert(Client::connect(folder).await?),
    };
    client
        .operation_get(&OperationGet {
            operation: id.clone(),
            seen: Some(seen),
            wait_ms: Some(LOOK_WAIT_MS),
        })
        .await
}

fn is_away(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::Folder(_) => true,
        ClientError::Stranger { .. }
        | ClientError::Unauthorized { .. }
        | ClientError::Refused(_)
        | ClientError::Protocol { .. } => false,
    }
}

/// Where progress is shown.
enum Screen<'a> {
    /// Lines, one a change.
    Lines {
        output: &'a Output,
        seen: Vec<StepProgress>,
    },
    /// One bar for all, one line for each step under way.
    Bars {
        all: ProgressBar,
        bars: MultiProgress,
        steps: BTreeMap<u32, ProgressBar>,
        seen: Vec<StepProgress>,
    },
}

impl<'a> Screen<'a> {
    fn new(output: &'a Output) -> Self {
        if !output.is_watched() {
            return Self::Lines {
                output,
                seen: Vec::new(),
            };
        }
        let bars = MultiProgress::new();
        let all = bars.add(ProgressBar::new(0));
        all.set_style(
            ProgressStyle::with_template("{bar:30} {pos}/{len} steps  {elapsed}").expect("the template is constant"),
        );
        all.enable_steady_tick(Duration::from_millis(250));
        Self::Bars {
            all,
            bars,
            steps: BTreeMap::new(),
            seen: Vec::new(),
        }
    }

    fn show(&mut self, operation: &Operation) -> Result<()> {
        match self {
            Self::Lines { output, seen } => {
                for line in progress::changes(seen, &operation.steps) {
                    output.note(&line)?;
                }
                seen.clone_from(&operation.steps);
            }
            Self::Bars { all, bars, steps, seen } => {
                let running: BTreeMap<u32, String> = progress::running(operation).into_iter().take(BARS_MAX).collect();
                steps.retain(|id, bar| {
                    let stays = running.contains_key(id);
                    if !stays {
                        bar.finish_and_clear();
                    }
                    stays
                });
                for (id, words) in running {
                    let bar = steps.entry(id).or_insert_with(|| {
                        let bar = bars.add(ProgressBar::new_spinner());
                        bar.enable_steady_tick(Duration::from_millis(120));
                        bar
                    });
                    bar.set_message(words);
                }
                // What ended scrolls by above the bars; what goes on is in them.
                for line in progress::ended(seen, &operation.steps) {
                    bars.println(line)?;
                }
                all.set_length(u64::try_from(operation.steps.len())?);
                all.set_position(u64::try_from(progress::done(operation))?);
                seen.clone_from(&operation.steps);
            }
        }
        Ok(())
    }

    fn say(&self, words: &str) -> Result<()> {
        match self {
            Self::Lines { output, .. } => output.note(words)?,
            Self::Bars { bars, .. } => bars.println(words)?,
        }
        Ok(())
    }

    fn finish(&mut self) {
        match self {
            Self::Lines { .. } => {}
            Self::Bars { all, steps, .. } => {
                steps.values().for_each(ProgressBar::finish_and_clear);
                all.finish_and_clear();
            }
        }
    }
}
