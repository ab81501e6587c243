//! `/connector-plugins`: the kinds of connector that there are, their keys, and whether a configuration is right.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::Served;
use super::answer::{bad_request, error, ok, parameters};
use crate::config::request;

pub(super) async fn list(State(served): State<Served>, RawQuery(query): RawQuery) -> Response {
    let all = parameters(query.as_deref(), "connectorsOnly").any(|only| only.eq_ignore_ascii_case("false"));
    ok(&if all { served.rest.plugins.list_all() } else { served.rest.plugins.list() })
}

fn no_plugin(plugin: &str) -> Response {
    error(StatusCode::NOT_FOUND, &format!("Unknown plugin {plugin}."))
}

pub(super) async fn config(State(served): State<Served>, Path(plugin): Path<String>) -> Response {
    served.rest.plugins.keys(&plugin).map_or_else(|| no_plugin(&plugin), |keys| ok(&keys))
}

pub(super) async fn validate(State(served): State<Served>, Path(plugin): Path<String>, body: Bytes) -> Response {
    let given = match request::values(&body) {
        Ok(given) => given,
        Err(problem) => return bad_request(&format!("the body is not a configuration: {problem}")),
    };
    if let Some(class) = given.get("connector.class")
        && served.rest.plugins.is_other_than(&plugin, class)
    {
        let problem = format!("Included connector type {class} does not match request type {plugin}");
        return bad_request(&problem);
    }
    served.rest.plugins.validate(&plugin, &given).map_or_else(|| no_plugin(&plugin), |infos| ok(&infos))
}
