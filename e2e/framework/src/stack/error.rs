//! What goes wrong in a stack.

use std::error::Error;
use std::fmt;

use aws_sdk_s3::error::DisplayErrorContext;

/// Any error, as a source.
type Cause = Box<dyn Error + Send + Sync>;

/// What goes wrong in a stack: what was being done, to what, and the error that ended it, which is also its source.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {source}")]
pub struct StackError {
    /// What was being done, to what.
    pub action: String,
    /// Why it failed, and what to do about it.
    pub source: Cause,
    /// Whether the services themselves are at fault, and not what they were asked: there is no engine, an image cannot be pulled, or a
    /// container does not start or has ended.
    pub infrastructure: bool,
}

impl StackError {
    pub(crate) fn new(action: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self { action: action.into(), source: source.into(), infrastructure: false }
    }

    /// An error of an AWS SDK. The text of such an error says little, and so it is shown with its causes.
    pub(crate) fn sdk(action: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self::new(action, WithCauses(source))
    }

    /// An error of which the services are at fault.
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
