//! Handles one request in the proxy: records it, carries out a fault if one is injected, and passes it on to its
//! service.

use std::error::Error as _;
use std::future;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, TRANSFER_ENCODING, USER_AGENT};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Upstreams;
use super::body::{Answer, Lost, Payload, drain, half, response, whole};
use super::mutant::Mutant;
use super::service::{self, Refusal, Service};
use crate::calls::{self, Calls, Hook, InFlight, Moment, NO_ANSWER, Plan, Trouble};
use crate::mutate::{Changed, Sent};
use crate::resign::{Content, Unsigned};

/// The way from one listener to the services.
#[derive(Clone)]
pub(super) struct Route {
    /// The service of this listener. It is `None` for the listener that takes requests for all services.
    pub only: Option<&'static Service>,
    pub upstreams: Upstreams,
    pub calls: Calls,
    pub client: Client<HttpsConnector<HttpConnector>, Payload>,
}

/// Which service a request is for, and the name under which its calls are recorded.
#[derive(Clone)]
pub(super) struct Addressee {
    pub service: &'static Service,
    pub name: String,
}

impl Route {
    /// The answer to a request, or an error if the connection is to be closed without one.
    pub(crate) async fn answer(self, request: Request<Incoming>) -> Result<Response<Answer>, Lost> {
        let (mut head, body) = request.into_parts();
        let to = self.addressee(&head);
        let process = process(&head.headers);
        let mutations = self.calls.mutations();
        let is_whole = |request: &calls::Request| {
            mutations.as_ref().is_some_and(|mutations| mutations.concern(&to.name, &request.operation))
        };
        if to.service.streams && !is_whole(&(to.service.request)(&head, &[])) {
            let (call, plan) = self.calls.begin(&to.name, &process, (to.service.request)(&head, &[]));
            let (calls, number) = (self.calls.clone(), call.number());
            let counted = body.map_frame(move |frame| {
                calls.add_request_bytes(number, frame.data_ref().map_or(0, Bytes::len));
                frame
            });
            return self.carry_out(&to, plan, call, head, counted.map_err(Into::into).boxed_unsync()).await;
        }
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            // The client left while it was sending, so no service got the request, and nobody reads this answer.
            Err(error) => return Ok(Answer::to(None, bad_gateway(&error.to_string()))),
        };
        let request = (to.service.request)(&head, &body);
        let operation = request.operation.clone();
        let (call, plan) = self.calls.begin(&to.name, &process, request);
        self.calls.add_request_bytes(call.number(), body.len());
        if to.service.has_halves(&operation, &body) {
            self.calls.note_batch(call.number());
        }
        let (plan, body) = match plan {
            Plan::Unprocessed => return self.leave_one_unprocessed(&to, call, head, body).await,
            Plan::Hold(Moment::Torn, hook) => match to.service.first_half(&operation, &body) {
                Some(half) => {
                    head.headers.insert(CONTENT_LENGTH, half.len().into());
                    (Plan::Hold(Moment::After, hook), half)
                }
                None => (Plan::Forward, body),
            },
            plan => (plan, body),
        };
        match (plan, mutations) {
            (Plan::Forward, Some(mutations)) => {
                let mutant = Mutant { to: &to, operation: &operation, process: &process, mutations: &mutations };
                Ok(self.mutated(&mutant, call, Sent { head, body }).await)
            }
            (plan, _) => self.carry_out(&to, plan, call, head, whole(body)).await,
        }
    }

    fn addressee(&self, head: &Parts) -> Addressee {
        if let Some(service) = self.only {
            return Addressee { service, name: service.name.to_owned() };
        }
        let (service, name) = service::addressed(head, &self.upstreams.services);
        Addressee { service, name }
    }

    async fn carry_out(
        &self,
        to: &Addressee,
        plan: Plan,
        call: InFlight,
        head: Parts,
        body: Payload,
    ) -> Result<Response<Answer>, Lost> {
        match plan {
            // A body that passes through while it arrives is no batch.
            Plan::Forward | Plan::Unprocessed | Plan::Hold(Moment::Torn, _) => {
                let number = call.number();
                self.calls.looked_at(number, Moment::Before).await;
                let (response, call) = self.forward(to, call, head, body).await;
                self.calls.looked_at(number, Moment::After).await;
                Ok(Answer::to(call, response))
            }
            Plan::ForwardAfter(hook) => {
                let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
                // The call is passed on even if the hook panics.
                let _ = tokio::task::spawn_blocking(hook).await;
                let (response, call) = self.forward(to, call, head, whole(body)).await;
                Ok(Answer::to(call, response))
            }
            Plan::Trouble(trouble) => self.trouble(to, trouble, call, head, body).await,
            Plan::Hold(Moment::Before, hook) => {
                drain(body).await;
                Ok(hold(call, hook).await)
            }
            Plan::Hold(Moment::After, hook) => {
                let (response, call) = self.forward(to, call, head, body).await;
                drain(response.into_body()).await;
                Ok(hold(call, hook).await)
            }
        }
    }

    /// Lets something go wrong with a call.
    async fn trouble(
        &self,
        to: &Addressee,
        trouble: Trouble,
        call: InFlight,
        head: Parts,
        body: Payload,
    ) -> Result<Response<Answer>, Lost> {
        match trouble {
            Trouble::Throttled => Ok(refuse(&to.service.throttled, call, body).await),
            Trouble::Denied => Ok(refuse(&to.service.denied, call, body).await),
            Trouble::Failed => Ok(refuse(&to.service.failed, call, body).await),
            Trouble::LostBefore => {
                drain(body).await;
                call.finish(NO_ANSWER);
                Err(Lost)
            }
            Trouble::LostAfter => {
                let (response, call) = self.forward(to, call, head, body).await;
                let status = response.status().as_u16();
                drain(response.into_body()).await;
                if let Some(call) = call {
                    call.finish(status);
                }
                Err(Lost)
            }
            Trouble::Truncated => {
                let (response, call) = self.forward(to, call, head, body).await;
                let (mut head, body) = response.into_parts();
                let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
                if let Some(call) = call {
                    call.finish(head.status.as_u16());
                }
                if body.len() < 2 {
                    return Err(Lost);
                }
                head.headers.remove(TRANSFER_ENCODING);
                head.headers.insert(CONTENT_LENGTH, body.len().into());
                Ok(Answer::to(None, Response::from_parts(head, half(&body))))
            }
            Trouble::Late(time) => {
                tokio::time::sleep(time).await;
                let (response, call) = self.forward(to, call, head, body).await;
                Ok(Answer::to(call, response))
            }
        }
    }

    /// The service's answer. The call is `None` if it has ended already, which happens only when its client has left.
    ///
    /// If the client leaves, the request to the service still goes on to its end. So a call that has ended has no
    /// later effects.
    pub(super) async fn forward(
        &self,
        to: &Addressee,
        call: InFlight,
        mut head: Parts,
        body: Payload,
    ) -> (Response<Payload>, Option<InFlight>) {
        let upstream = self.upstreams.services.iter().find(|(service, _)| service.name == to.name);
        let Some((_, upstream)) = upstream else {
            drain(body).await;
            let problem = format!("recording proxy: this stack has no service `{}`", to.name);
            let body = json!({"__type": "NotImplemented", "message": problem}).to_string();
            return (response(StatusCode::NOT_IMPLEMENTED, "application/json", body.into()), Some(call));
        };
        let mut uri = head.uri.into_parts();
        uri.scheme = Some(upstream.scheme.clone());
        uri.authority = Some(upstream.authority.clone());
        uri.path_and_query = uri.path_and_query.or_else(|| Some(PathAndQuery::from_static("/")));
        head.uri = match Uri::from_parts(uri) {
            Ok(uri) => uri,
            Err(error) => return (bad_gateway(&error.to_string()), Some(call)),
        };
        strip_hop_by_hop(&mut head.headers);
        let body = match self.sign(to.service, &mut head, body).await {
            Ok(body) => body,
            Err(problem) => return (unsigned(&problem), Some(call)),
        };
        let (upstream, client) = (upstream.clone(), self.client.clone());
        let (deliver, delivered) = oneshot::channel();
        tokio::spawn(async move {
            let answer = client.request(Request::from_parts(head, body)).await;
            // This fails when the client has left. The call is dropped then, which records that its client has left.
            let _ = deliver.send((answer, call));
        });
        match delivered.await {
            Ok((Ok(answer), call)) => {
                let mut answer = answer.map(|body| body.map_err(Into::into).boxed_unsync());
                strip_hop_by_hop(answer.headers_mut());
                (answer, Some(call))
            }
            Ok((Err(error), call)) => {
                let cause = error.source();
                if cause.and_then(|cause| cause.downcast_ref::<hyper::Error>()).is_some_and(hyper::Error::is_user) {
                    // The client left before it had sent the whole body of the request.
                    return (bad_gateway("the request ended early"), None);
                }
                let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
                (bad_gateway(&format!("no answer from {} at {upstream}: {cause}", to.name)), Some(call))
            }
            Err(_) => (bad_gateway("the call was abandoned"), None),
        }
    }

    /// Signs a request again if all requests are signed again, or if it was changed here, and returns its body. If it
    /// cannot be signed, its body has been read.
    async fn sign(&self, service: &Service, head: &mut Parts, body: Payload) -> Result<Payload, Unsigned> {
        let Upstreams { signer, signs_all, .. } = &self.upstreams;
        let is_changed = head.extensions.remove::<Changed>().is_some();
        if !signs_all && !is_changed {
            return Ok(body);
        }
        let (outcome, body) = if service.streams && !is_changed {
            (signer.sign(service.name, head, Content::Declared).await, body)
        } else {
            // It has been received already, and may have been changed here.
            let bytes = body.collect().await.map_err(|error| Unsigned::Request(error.to_string()))?.to_bytes();
            let content = if service.streams { Content::Object(&bytes) } else { Content::Whole(&bytes) };
            (signer.sign(service.name, head, content).await, whole(bytes))
        };
        match outcome {
            Ok(()) => Ok(body),
            Err(problem) => {
                drain(body).await;
                Err(problem)
            }
        }
    }

    /// Passes a batch on without its last item, and names that item in the answer as one that was not processed.
    async fn leave_one_unprocessed(
        &self,
        to: &Addressee,
        call: InFlight,
        mut head: Parts,
        body: Bytes,
    ) -> Result<Response<Answer>, Lost> {
        let Some(batch) = to.service.shorten.and_then(|shorten| shorten(&body)) else {
            return self.carry_out(to, Plan::Forward, call, head, whole(body)).await;
        };
        let Some(rest) = batch.rest.clone() else {
            let answer = response(StatusCode::OK, batch.content_type, batch.add_to(json!({})));
            return Ok(Answer::to(Some(call), answer));
        };
        head.headers.insert(CONTENT_LENGTH, rest.len().into());
        let (answer, call) = self.forward(to, call, head, whole(rest)).await;
        if answer.status() != StatusCode::OK {
            return Ok(Answer::to(call, answer));
        }
        let (mut head, body) = answer.into_parts();
        let answer: Option<Value> =
            body.collect().await.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
        let Some(answer) = answer else {
            return Ok(Answer::to(call, bad_gateway(&format!("the answer of {} to a batch is not JSON", to.name))));
        };
        // Both headers describe the body that was replaced.
        head.headers.remove(CONTENT_LENGTH);
        head.headers.remove("x-amz-crc32");
        Ok(Answer::to(call, Response::from_parts(head, whole(batch.add_to(answer)))))
    }
}

/// The name of the process that made a request: what its SDK has read from `AWS_SDK_UA_APP_ID`, which every SDK adds to
/// its user agent as `app/NAME`. It is empty where there is no such part.
fn process(headers: &HeaderMap) -> String {
    let of = |name: HeaderName| headers.get(name).and_then(|agent| agent.to_str().ok());
    let agents = [of(HeaderName::from_static("x-amz-user-agent")), of(USER_AGENT)];
    let name =
        agents.into_iter().flatten().flat_map(|agent| agent.split(' ')).find_map(|part| part.strip_prefix("app/"));
    name.unwrap_or_default().to_owned()
}

/// Answers a call as its service refuses it, and lets the service not see it.
async fn refuse(refusal: &Refusal, call: InFlight, body: Payload) -> Response<Answer> {
    drain(body).await;
    Answer::to(Some(call), response(refusal.status, refusal.content_type, refusal.body.into()))
}

/// Runs the hook, then keeps the call in flight until its client leaves. Hyper drops this future when the client
/// leaves.
async fn hold(call: impl Send, hook: Hook) -> Response<Answer> {
    // The call is held even if the hook panics.
    let _ = tokio::task::spawn_blocking(hook).await;
    let response = future::pending().await;
    drop(call);
    response
}

pub(super) fn bad_gateway(problem: &str) -> Response<Payload> {
    refusal(StatusCode::BAD_GATEWAY, problem)
}

fn unsigned(problem: &Unsigned) -> Response<Payload> {
    let status = match problem {
        Unsigned::Chunks(_) | Unsigned::Presigned => StatusCode::NOT_IMPLEMENTED,
        Unsigned::Credentials(_) | Unsigned::Request(_) => StatusCode::BAD_GATEWAY,
    };
    refusal(status, &problem.to_string())
}

fn refusal(status: StatusCode, problem: &str) -> Response<Payload> {
    response(status, "text/plain", format!("recording proxy: {problem}").into())
}

/// Removes the headers that concern a single connection. There are two connections here.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
    headers.remove(HeaderName::from_static("keep-alive"));
}
