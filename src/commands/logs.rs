//! Output of replicas and consoles.

use std::time::Duration;

use anyhow::Result;
use isobar_engine_control::api::{LogLine, LogSource, LogsRequest, TAIL_MAX_LINES};

use crate::cli;
use crate::exit::{Complaint, Exit};
use crate::session::{self, Context};

/// Between two looks for new lines.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn logs(context: &Context<'_>, args: cli::Logs) -> Result<Exit> {
    let output = context.output;
    if args.follow && output.is_json() {
        return Err(
            Complaint::new(Exit::Usage, "--follow has no end, so it is no JSON document")
                .hint(
                    "leave out --follow, and give `next` of one answer as `after` of the next call of the tool `logs`",
                )
                .into(),
        );
    }
    let source = match (args.replica, args.console) {
        (Some(replica), _) => LogSource::Replica(replica),
        (None, Some(machine)) => LogSource::Console(machine),
        (None, None) => return Err(Complaint::new(Exit::Usage, "neither a replica nor a console is named").into()),
    };
    let client = context.connect().await?;
    let cluster = session::cluster(&client, args.of.cluster).await?;
    let mut request = LogsRequest {
        cluster,
        source,
        tail_lines: Some(args.tail),
        after: None,
    };
    loop {
        let answer = client.logs(&request).await?;
        if output.is_json() {
            output.document(&answer)?;
        } else {
            output.text(&in_words(&answer.lines))?;
        }
        if !args.follow {
            return Ok(Exit::Done);
        }
        // A full answer may have left something for the next.
        let full = u32::try_from(answer.lines.len()).ok() >= request.tail_lines;
        let pause = if full { Duration::ZERO } else { FOLLOW_PAUSE };
        (request.after, request.tail_lines) = (Some(answer.next), Some(TAIL_MAX_LINES));
        tokio::select! {
            biased;
            pressed = tokio::signal::ctrl_c() => {
                pressed?;
                return Ok(Exit::Interrupted);
            }
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn in_words(lines: &[LogLine]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        // What a workload writes may colour its own lines, and must not do more to a terminal than that.
        text.extend(
            line.text
                .chars()
                .filter(|c| !c.is_control() || matches!(c, '\t' | '\u{1b}')),
        );
        text.push('\n');
        text
    })
}
