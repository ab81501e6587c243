//! The recording proxy. Every AWS call of the subject passes it. The proxy records the call in [`Calls`] and carries
//! out the faults that are injected there.
//!
//! Requests are passed on byte for byte, including `Host`, so that their signatures stay valid. If the service would
//! not accept the subject's signature, because it is AWS's own or needs credentials that the subject does not have,
//! the proxy signs the requests again: see [`crate::resign`].

mod body;
mod mutant;
mod route;
pub(crate) mod service;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use hyper::service::service_fn;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use self::route::Route;
use self::service::Service;
use crate::calls::Calls;
use crate::resign::Signer;
use crate::stack::http;
use crate::tls::Trust;
use crate::upstream::Upstream;

/// The services behind the proxy.
#[derive(Debug, Clone)]
pub(crate) struct Upstreams {
    /// Each service of the stack, and its address. Calls to other services are recorded and answered with status 501.
    pub services: Vec<(&'static Service, Upstream)>,
    /// The signer of requests that are not passed on byte for byte.
    pub signer: Signer,
    /// Whether this is so of all requests. Otherwise it is so of those that a mutation has changed.
    pub signs_all: bool,
    /// The authorities whose certificates services at `https://` may have.
    pub trust: Trust,
}

/// The addresses at which the proxy listens: one for each service, and one for all of them.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    any: SocketAddr,
    own: Vec<(&'static Service, SocketAddr)>,
}

impl Proxy {
    /// Listens on ports of 127.0.0.1 that the kernel picks, for as long as `runtime` lives.
    pub(crate) fn start(runtime: &Handle, upstreams: &Upstreams, calls: &Calls) -> io::Result<Self> {
        let _context = runtime.enter();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let tls = upstreams.trust.client_config().map_err(io::Error::other)?;
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new()).build(https.wrap_connector(connector));
        let listen = |only: Option<&'static Service>| -> io::Result<SocketAddr> {
            let (listener, address) = bind()?;
            let route = Route { only, upstreams: upstreams.clone(), calls: calls.clone(), client: client.clone() };
            let service = service_fn(move |request| {
                let route = route.clone();
                async move { route.answer(request).await }
            });
            runtime.spawn(http::serve(listener, service));
            Ok(address)
        };
        let own = upstreams.services.iter().map(|(service, _)| Ok((*service, listen(Some(service))?)));
        Ok(Self { any: listen(None)?, own: own.collect::<io::Result<_>>()? })
    }

    /// The address of one service's own listener, if the stack has that service.
    #[cfg(test)]
    pub(crate) fn address(&self, service: &Service) -> Option<SocketAddr> {
        self.own.iter().find(|(own, _)| own.name == service.name).map(|(_, address)| *address)
    }

    /// The environment variables that lead every AWS SDK to the proxy.
    pub(crate) fn environment(&self, region: &str, access_key: &str, secret_key: &str) -> BTreeMap<String, String> {
        let url = |address: &SocketAddr| format!("http://{address}");
        let mut environment: BTreeMap<String, String> = [
            ("AWS_ENDPOINT_URL", url(&self.any)),
            ("AWS_REGION", region.to_owned()),
            ("AWS_ACCESS_KEY_ID", access_key.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", secret_key.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        environment.extend(self.own.iter().map(|(service, address)| (service.endpoint_variable(), url(address))));
        environment
    }
}

/// A listener on a port of 127.0.0.1 that the kernel picks. It has to be called within a runtime.
pub(crate) fn bind() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((TcpListener::from_std(listener)?, address))
}
