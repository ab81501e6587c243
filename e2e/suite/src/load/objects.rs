//! Reads the objects of a bucket one after the other, so that no run has to hold all of them.

use std::collections::BTreeMap;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_types::app_name::AppName;
use tokio::runtime::{Builder, Runtime};

use super::look::PROCESS;

/// The services of S3, as the processes of the pipeline find them in their environment.
pub struct Objects {
    runtime: Runtime,
    client: Client,
}

impl Objects {
    /// By the variables of the environment.
    pub fn new(environment: &BTreeMap<String, String>) -> Result<Self, String> {
        let variable = |name: &str| environment.get(name).cloned().unwrap_or_default();
        let token = environment.get("AWS_SESSION_TOKEN").cloned();
        let (key, secret) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
        let endpoint = environment.get("AWS_ENDPOINT_URL_S3").or_else(|| environment.get("AWS_ENDPOINT_URL"));
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(variable("AWS_REGION")))
            .credentials_provider(Credentials::new(key, secret, token, None, "load"))
            .http_client(fms_aws::https())
            .retry_config(RetryConfig::standard())
            .app_name(AppName::new(PROCESS).map_err(|error| error.to_string())?)
            .endpoint_url(endpoint.ok_or("the services have no address for S3")?)
            .force_path_style(true)
            .build();
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        Ok(Self { runtime, client: Client::from_conf(config) })
    }

    /// Gives the key and the bytes of every object whose key begins in this way.
    pub fn each(
        &self,
        bucket: &str,
        prefix: &str,
        mut each: impl FnMut(&str, &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        self.runtime.block_on(async {
            let list = self.client.list_objects_v2().bucket(bucket).prefix(prefix);
            let mut pages = list.into_paginator().send();
            while let Some(page) = pages.next().await {
                let listing = |error| format!("cannot list s3://{bucket}/{prefix}: {}", DisplayErrorContext(error));
                for object in page.map_err(listing)?.contents() {
                    let key = object.key().unwrap_or_default();
                    let failed = |error: String| format!("cannot read s3://{bucket}/{key}: {error}");
                    let got = self.client.get_object().bucket(bucket).key(key).send().await;
                    let got = got.map_err(|error| failed(DisplayErrorContext(error).to_string()))?;
                    let body = got.body.collect().await.map_err(|error| failed(error.to_string()))?;
                    each(key, &body.into_bytes())?;
                }
            }
            Ok(())
        })
    }
}
