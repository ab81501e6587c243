//! Whose the buckets are: a call that expects another account to own one is refused.

use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3Result, s3_error};

use super::super::ACCOUNT;

/// The headers that name the account which has to own the bucket of a call, or that of the object that it copies.
const EXPECTED: [&str; 2] = ["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"];

/// Lets signed calls through whose bucket is of the account that they expect.
#[derive(Debug)]
pub(super) struct Owned;

#[async_trait::async_trait]
impl S3Access for Owned {
    async fn check(&self, call: &mut S3AccessContext<'_>) -> S3Result<()> {
        if call.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Signature is required"));
        }
        if EXPECTED.iter().filter_map(|name| call.headers().get(*name)).any(|owner| owner != ACCOUNT) {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        Ok(())
    }
}
