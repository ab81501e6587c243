//! The bodies that pass the proxy, and the answers that end a call.

use std::future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use crate::calls::InFlight;
use crate::stack::http::BoxError;

/// A body that passes the proxy.
pub(super) type Payload = UnsyncBoxBody<Bytes, BoxError>;

/// A body that has been received completely.
pub(super) fn whole(bytes: Bytes) -> Payload {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Reads a body to its end. Then the connection can carry the next request, and the proxy notices when the client
/// leaves.
pub(super) async fn drain(mut body: Payload) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// The first half of a body, and then an error, which closes the connection.
pub(super) fn half(bytes: &Bytes) -> Payload {
    let first = stream::once(future::ready(Ok(Frame::data(bytes.slice(..bytes.len() / 2)))));
    let end = stream::once(async {
        // What comes before is sent only if the body is not ready.
        tokio::task::yield_now().await;
        Err(BoxError::from(Lost))
    });
    BodyExt::boxed_unsync(StreamBody::new(first.chain(end)))
}

/// Why the proxy closes a connection without the whole answer: a fault asks for it.
#[derive(Debug, thiserror::Error)]
#[error("a fault closes the connection before the whole answer is sent")]
pub(super) struct Lost;

/// An answer of the proxy itself.
pub(super) fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Payload> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An answer on its way to the client. Its call is finished when the last byte has been handed to the connection.
pub(super) struct Answer {
    body: Payload,
    status: u16,
    call: Option<InFlight>,
    /// What the body has said so far, if it may say that the service refused the call.
    said: Option<Vec<u8>>,
}

/// How much of a body is kept to find out whether it refuses the call. Errors are short, but a batch that is refused as a
/// whole comes back as a whole, and a request to DynamoDB may have 16 MB.
const KEPT: usize = 1 << 24;

impl Answer {
    /// The answer to `call`. It is `None` if the call has ended already, or if the request never became a call.
    pub(crate) fn to(call: Option<InFlight>, response: Response<Payload>) -> Response<Self> {
        let status = response.status().as_u16();
        let may_refuse = call.as_ref().is_some_and(|call| status >= 400 || call.is_batch());
        response.map(|body| Self { body, status, call, said: may_refuse.then(Vec::new) })
    }

    fn finish(&mut self) {
        if let Some(call) = self.call.take() {
            call.answered(self.status, self.said.as_deref().unwrap_or_default());
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let Self { said, .. } = &mut *self;
        if let (Some(said), Some(Ok(frame))) = (said, &frame)
            && let Some(data) = frame.data_ref()
        {
            said.extend_from_slice(&data[..data.len().min(KEPT - said.len())]);
        }
        if frame.is_none() || self.body.is_end_stream() {
            self.finish();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // An empty body is never polled. Any other body that is dropped before its end has lost its client. Dropping
        // the call records that.
        if self.body.is_end_stream() {
            self.finish();
        }
    }
}
