//! Carries out mutations: makes other requests in place of one that the pipeline has made, or answers it as if its service
//! had received it.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::header::{ETAG, HeaderValue};
use hyper::{Response, StatusCode};

use super::body::{Answer, Payload, drain, response, whole};
use super::route::{Addressee, Route, bad_gateway};
use crate::calls::{InFlight, NO_ANSWER};
use crate::mutate::{Instead, Mutation, Mutations, Sent};

/// A tag as S3 gives it to every object. Pipelines have no use for it that would show.
const TAG: HeaderValue = HeaderValue::from_static("\"00000000000000000000000000000000\"");

/// What is known of a call that a mutation may concern.
pub(super) struct Mutant<'a> {
    pub to: &'a Addressee,
    pub operation: &'a str,
    pub process: &'a str,
    pub mutations: &'a Arc<Mutations>,
}

impl Route {
    /// The answer to a call that is made as the run's mutation makes it.
    pub(super) async fn mutated(&self, mutant: &Mutant<'_>, call: InFlight, sent: Sent) -> Response<Answer> {
        let to = mutant.to;
        match mutant.mutations.instead(&to.name, mutant.operation, &sent) {
            None => {
                let (answer, call) = self.forward(to, call, sent.head, whole(sent.body)).await;
                Answer::to(call, answer)
            }
            Some(Instead::Requests(mut requests)) => {
                let Some(last) = requests.pop() else {
                    return Answer::to(Some(call), bad_gateway("no request is left"));
                };
                for request in requests {
                    self.make(mutant, request).await;
                }
                let (answer, call) = self.forward(to, call, last.head, whole(last.body)).await;
                mutant.check(answer.status());
                Answer::to(call, answer)
            }
            Some(Instead::Unsent(body)) => {
                call.finish(NO_ANSWER);
                Answer::to(None, mutant.answer(body))
            }
            Some(Instead::Later(body)) => {
                // The call is in flight until the service has carried it out.
                let (route, to, mutations) = (self.clone(), to.clone(), Arc::clone(mutant.mutations));
                tokio::spawn(async move {
                    mutations.until_committed().await;
                    let (answer, call) = route.forward(&to, call, sent.head, whole(sent.body)).await;
                    let status = answer.status().as_u16();
                    drain(answer.into_body()).await;
                    if let Some(call) = call {
                        call.finish(status);
                    }
                });
                Answer::to(None, mutant.answer(body))
            }
            Some(Instead::Watched(mutation)) => self.watched(mutant, mutation, call, sent).await,
        }
    }

    /// Makes the call, and then those that the mutation makes of its answer, before the pipeline gets the answer.
    async fn watched(
        &self,
        mutant: &Mutant<'_>,
        mutation: &'static Mutation,
        call: InFlight,
        sent: Sent,
    ) -> Response<Answer> {
        let (answer, call) = self.forward(mutant.to, call, sent.head.clone(), whole(sent.body.clone())).await;
        let (head, body) = answer.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return Answer::to(call, bad_gateway(&error.to_string())),
        };
        if let Ok(answer) = serde_json::from_slice(&body) {
            for request in mutant.mutations.further(mutation, &sent, &answer) {
                self.make(mutant, request).await;
            }
        }
        Answer::to(call, Response::from_parts(head, whole(body)))
    }

    /// Makes a call of its own, which is recorded as one of the pipeline.
    async fn make(&self, mutant: &Mutant<'_>, sent: Sent) {
        let to = mutant.to;
        let request = (to.service.request)(&sent.head, &sent.body);
        let (call, _) = self.calls.begin(&to.name, mutant.process, request);
        self.calls.add_request_bytes(call.number(), sent.body.len());
        let (answer, call) = self.forward(to, call, sent.head, whole(sent.body)).await;
        let status = answer.status();
        drain(answer.into_body()).await;
        if let Some(call) = call {
            call.finish(status.as_u16());
        }
        mutant.check(status);
    }
}

impl Mutant<'_> {
    /// The answer in place of the service's.
    fn answer(&self, body: String) -> Response<Payload> {
        let mut answer = response(StatusCode::OK, self.to.service.failed.content_type, Bytes::from(body));
        answer.headers_mut().insert(ETAG, TAG);
        answer
    }

    /// A service that refuses a changed call would make the mutation seem to be caught.
    fn check(&self, status: StatusCode) {
        if !status.is_success() {
            let Self { to, operation, mutations, .. } = self;
            mutations.refuse(format!("{} answered {operation} with status {status}", to.service.title));
        }
    }
}
