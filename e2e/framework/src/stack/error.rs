//! The error of a stack.

use std::error::Error;
use std::fmt;

use aws_sdk_s3::error::DisplayErrorContext;

/// Any error that can be the source of another one.
type Cause = Box<dyn Error + Send + Sync>;

/// An error of a stack: what was being done to which object, and the error that ended it, which is also the source.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {source}")]
pub struct StackError {
    /// What was being done to which object.
    pub action: String,
    /// Why it failed, and what to do about it.
    pub source: Cause,
    /// Whether the services themselves failed, and not only one request to them. This is so if there is no container
    /// engine, an image cannot be pulled, or a container does not start or has ended.
    pub infrastructure: bool,
}

impl StackError {
    pub(crate) fn new(action: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self { action: action.into(), source: source.into(), infrastructure: false }
    }

    /// An error of an AWS SDK. It is shown with its causes, because its own text says little.
    pub(crate) fn sdk(action: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self::new(action, WithCauses(source))
    }

    /// An error that is the fault of the services.
    pub(crate) fn infrastructure(action: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self { infrastructure: true, ..Self::new(action, source) }
    }
}

/// An error that is shown with all of its causes.
#[derive(Debug)]
struct WithCauses<E>(E);

impl<E: Error> fmt::Display for WithCauses<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", DisplayErrorContext(&self.0))
    }
}

impl<E: Error + 'static> Error for WithCauses<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
