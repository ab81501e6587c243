//! The calls of Slack: as a bot, or by an incoming webhook, which can only say something new.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use fms_http::{Answer, Failure, Http};
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::config::{self, Config, is_safe};
use crate::message::Message;
use crate::state::Posted;

/// How long to wait if Slack asks to wait and does not say how long.
const WAIT: Duration = Duration::from_secs(30);
/// How long a request may take. A sender has the right to send for longer than that.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Slack, as it is reached.
pub(crate) struct Slack {
    http: Http,
    way: Way,
    /// The users that were asked for, by e-mail address.
    users: BTreeMap<String, Option<String>>,
}

enum Way {
    Bot { api: String, token: config::Value },
    Webhook { url: config::Value },
}

/// What came of a call.
#[derive(Debug, PartialEq)]
pub(crate) enum Sent {
    /// It is done. A new message is where this says.
    Done(Option<Posted>),
    /// Slack asks to wait; nothing was done.
    Wait(Duration),
    /// What the call was about is not there any more.
    Gone,
    /// Slack refused it, or was not reached; nothing was done.
    Refused(String),
    /// It is not known whether it was done.
    Unknown(String),
}

/// Where a message goes.
pub(crate) struct To<'a> {
    pub channel: &'a str,
    /// The message that it replies to.
    pub thread: Option<&'a Posted>,
    /// What tells it from all others.
    pub id: &'a str,
}

impl Slack {
    /// Reads the secret of the configuration. Nothing is sent.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let way = match (&config.slack.token, &config.slack.webhook) {
            (Some(token), _) => {
                let token = token.read().context("cannot read the token of Slack")?;
                Way::Bot { api: config.slack.api.trim_end_matches('/').to_owned(), token }
            }
            (None, webhook) => {
                let url = webhook.as_ref().context("there is neither a token nor a webhook")?;
                let url = url.read().context("cannot read the webhook of Slack")?;
                ensure!(is_safe(&url.0), "the URL of the webhook has to begin with https://");
                Way::Webhook { url }
            }
        };
        Ok(Self { http: Http::new(TIMEOUT)?, way, users: BTreeMap::new() })
    }

    /// Whether messages have threads and can be changed.
    pub fn has_threads(&self) -> bool {
        matches!(self.way, Way::Bot { .. })
    }

    /// The user with this e-mail address, who can be mentioned. `None` if there is none, or nobody says.
    pub async fn user(&mut self, email: &str) -> Option<String> {
        if let Some(known) = self.users.get(email) {
            return known.clone();
        }
        let Way::Bot { .. } = self.way else { return None };
        let path = format!("users.lookupByEmail?email={}", utf8_percent_encode(email, NON_ALPHANUMERIC));
        let user = match self.call(Method::GET, &path, None).await {
            Ok(answer) if answer["ok"] == true => answer["user"]["id"].as_str().map(str::to_owned),
            // Slack wants to be asked later, and the message is more urgent than the mention: the next one may have it.
            Err(Sent::Wait(_)) => return None,
            Ok(answer) => {
                if answer["error"] != "users_not_found" {
                    let error = answer["error"].as_str().unwrap_or("no reason");
                    fms_query::program::say(&format!(
                        "fms alerts: {email} cannot be mentioned: Slack's users.lookupByEmail says {error}; the bot needs the \
                         scope users:read.email"
                    ));
                }
                None
            }
            Err(_) => None,
        };
        let user = user.filter(|id| id.chars().all(|character| character.is_ascii_alphanumeric()));
        self.users.insert(email.to_owned(), user.clone());
        user
    }

    /// Sends a message.
    pub async fn post(&self, to: &To<'_>, message: &Message) -> Sent {
        let Message { text, blocks } = message;
        let Way::Webhook { url } = &self.way else {
            let mut body = json!({
                "channel": to.channel, "text": text, "blocks": blocks, "client_msg_id": to.id,
                "unfurl_links": false, "unfurl_media": false,
            });
            if let Some(thread) = to.thread {
                body["thread_ts"] = json!(thread.ts);
                body["channel"] = json!(thread.channel);
            }
            return self.done("chat.postMessage", &body).await;
        };
        let body = json!({"text": text, "blocks": blocks});
        let request = Request::post(&url.0).header(CONTENT_TYPE, "application/json; charset=utf-8");
        match self.request(request, body.to_string()).await {
            Ok(answer) if answer.status.is_success() => Sent::Done(None),
            Ok(answer) if answer.status.is_server_error() => {
                Sent::Unknown(format!("the webhook answers {}", answer.status))
            }
            Ok(answer) => Sent::Refused(format!("the webhook answers {}: {}", answer.status, answer.body.trim())),
            Err(sent) => sent,
        }
    }

    /// Changes a message.
    pub async fn update(&self, posted: &Posted, message: &Message) -> Sent {
        let Message { text, blocks } = message;
        let body = json!({"channel": posted.channel, "ts": posted.ts, "text": text, "blocks": blocks});
        match self.done("chat.update", &body).await {
            Sent::Done(_) => Sent::Done(None),
            other => other,
        }
    }

    async fn done(&self, method: &str, body: &Value) -> Sent {
        let answer = match self.call(Method::POST, method, Some(body)).await {
            Ok(answer) => answer,
            Err(sent) => return sent,
        };
        if answer["ok"] == true {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let posted = text(&answer["channel"]).zip(text(&answer["ts"]));
            return Sent::Done(posted.map(|(channel, ts)| Posted { channel, ts }));
        }
        let error = answer["error"].as_str().unwrap_or("no reason");
        let details = answer["response_metadata"]["messages"].as_array().into_iter().flatten();
        let whole: Vec<&str> = std::iter::once(error).chain(details.filter_map(Value::as_str)).collect();
        match error {
            "message_not_found" | "thread_not_found" | "cant_update_message" => Sent::Gone,
            "internal_error" | "fatal_error" | "request_timeout" | "service_unavailable" => {
                Sent::Unknown(format!("{method}: {error}"))
            }
            "ratelimited" => Sent::Wait(WAIT),
            _ => Sent::Refused(format!("{method}: {}", whole.join("; "))),
        }
    }

    /// A call of the Web API: the answer, or why there is none.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Sent> {
        let Way::Bot { api, token } = &self.way else { return Err(Sent::Refused("a webhook has no methods".into())) };
        let request = Request::builder()
            .method(method)
            .uri(format!("{api}/{path}"))
            .header(AUTHORIZATION, format!("Bearer {}", token.0))
            .header(CONTENT_TYPE, "application/json; charset=utf-8");
        let answer = self.request(request, body.map(Value::to_string).unwrap_or_default()).await?;
        let method = path.split('?').next().unwrap_or_default();
        if !answer.status.is_success() {
            return Err(Sent::Unknown(format!("{method}: HTTP {}", answer.status)));
        }
        serde_json::from_str(&answer.body).map_err(|_| Sent::Unknown(format!("{method}: the answer is no JSON")))
    }

    async fn request(&self, request: hyper::http::request::Builder, body: String) -> Result<Answer, Sent> {
        // The error would name the URL or the header.
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|_| Sent::Refused("the URL or the token of Slack is none".into()))?;
        match self.http.send(request).await {
            Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Sent::Wait(answer.retry_after.unwrap_or(WAIT)))
            }
            Ok(answer) => Ok(answer),
            Err(Failure::NotSent(error)) => Err(Sent::Refused(format!("Slack cannot be reached: {error}"))),
            Err(Failure::Unknown(error)) => Err(Sent::Unknown(format!("Slack did not answer: {error}"))),
        }
    }
}
