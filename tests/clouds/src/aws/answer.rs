//! Answers and errors in EC2's XML, and what a failed call of the simulated cloud is in EC2's words.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use isobar_engine_provider::ProviderError;

/// An answer: the action and the XML inside it.
pub(super) struct Answer {
    pub(super) action: String,
    pub(super) inner: String,
}

/// No answer, or a bad one.
#[derive(Debug)]
pub(super) enum Failure {
    /// An error of EC2's.
    Said {
        status: StatusCode,
        code: String,
        message: String,
    },
    /// The connection breaks in the middle of the answer.
    Broken,
}

impl Failure {
    pub(super) fn client(code: &str, message: &str) -> Self {
        Self::said(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn unauthorized(code: &str, message: &str) -> Self {
        Self::said(StatusCode::UNAUTHORIZED, code, message)
    }

    pub(super) fn internal() -> Self {
        Self::said(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            "An internal error has occurred",
        )
    }

    fn said(status: StatusCode, code: &str, message: &str) -> Self {
        Self::Said {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    /// A failure of the simulated cloud; `missing` and `taken` are the codes of a resource that is not there, or in use.
    pub(super) fn of(error: ProviderError, missing: &str, taken: &str) -> Self {
        let busy = StatusCode::SERVICE_UNAVAILABLE;
        match error {
            ProviderError::InvalidSpec { message } => Self::client("InvalidParameterValue", &message),
            ProviderError::Unauthorized { message } => Self::unauthorized("AuthFailure", &message),
            ProviderError::NotFound | ProviderError::Gone => Self::client(missing, "it does not exist"),
            ProviderError::Conflict { message } => Self::client(taken, &message),
            ProviderError::QuotaExceeded { message } => Self::client("VcpuLimitExceeded", &message),
            // A server error: "the request was valid, but there is not enough capacity".
            ProviderError::InsufficientCapacity { message } => Self::said(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InsufficientInstanceCapacity",
                &message,
            ),
            // <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>
            ProviderError::RateLimited { .. } => Self::said(busy, "RequestLimitExceeded", "Request limit exceeded."),
            ProviderError::Unavailable { message } => Self::said(busy, "Unavailable", &message),
            ProviderError::NotReady { message } => Self::client("IncorrectInstanceState", &message),
            ProviderError::Unsupported { message } => Self::client("Unsupported", &message),
            ProviderError::OutcomeUnknown { .. } => Self::Broken,
            ProviderError::Unexpected { .. } => Self::internal(),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let Self { action, inner } = self;
        let space = "http://ec2.amazonaws.com/doc/2016-11-15/";
        xml(
            StatusCode::OK,
            format!("<{action}Response xmlns=\"{space}\">{inner}</{action}Response>"),
        )
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Said { status, code, message } => {
                let error = format!("{}{}", element("Code", &code), element("Message", &message));
                let inner = format!("<Errors><Error>{error}</Error></Errors><RequestID>r</RequestID>");
                xml(status, format!("<Response>{inner}</Response>"))
            }
            Self::Broken => {
                let parts = [Ok(Bytes::from_static(b"<")), Err(std::io::Error::other("broken"))];
                Body::from_stream(stream::iter(parts)).into_response()
            }
        }
    }
}

fn xml(status: StatusCode, text: String) -> Response {
    (status, [("content-type", "text/xml;charset=UTF-8")], text).into_response()
}

/// `<name>text</name>`, the text escaped.
pub(super) fn element(name: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<{name}>{text}</{name}>")
}

/// A list of items under one name.
pub(super) fn set(name: &str, items: impl IntoIterator<Item = String>) -> String {
    let items: String = items.into_iter().map(|item| format!("<item>{item}</item>")).collect();
    format!("<{name}>{items}</{name}>")
}
