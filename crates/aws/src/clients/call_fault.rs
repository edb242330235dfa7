//! What a failed call to AWS means for its caller.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use proofyard_core::error::Cause;

/// A failed call, after the SDK has retried it as often as it may. What AWS answered is its message; what kept AWS from
/// answering lies under it.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct CallFault {
    pub(crate) effect: Effect,
    reason: String,
    source: Option<Cause>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing happened, and the same call may succeed later.
    Transient,
    /// It may or may not have happened.
    Unknown,
    /// It fails until an operator repairs what the reason names.
    Permanent,
}

/// Error codes of AWS that mean: not now.
const TRANSIENT: [&str; 10] = [
    "ThrottlingException",
    "Throttling",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "TooManyRequestsException",
    "LimitExceededException",
    "SlowDown",
    "ExpiredTokenException",
    "ConditionalRequestConflict",
];

/// Error codes by which DynamoDB rejects this very request, however often it is made. Every other permanent fault, such as
/// a missing permission or table, is about the yard and not about the request.
const REJECTED: [&str; 5] = [
    "ValidationException",
    "ValidationError",
    "SerializationException",
    "ItemCollectionSizeLimitExceededException",
    "IdempotentParameterMismatchException",
];

/// Whether the request itself is at fault.
pub(crate) fn is_rejected_request<E, R>(error: &SdkError<E, R>) -> bool
where
    E: ProvideErrorMetadata,
{
    matches!(error, SdkError::ConstructionFailure(_))
        || error.code().is_some_and(|code| REJECTED.contains(&code))
}

impl CallFault {
    pub fn of<E, R>(error: SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let effect = match &error {
            SdkError::ServiceError(_) => return Self::answered(&error),
            SdkError::ConstructionFailure(_) => Effect::Permanent,
            // A dispatch failure was not sent, but treating it as unknown does no harm: the caller reads again.
            _ => Effect::Unknown,
        };
        Self { effect, reason: error.to_string(), source: error.into_source().ok() }
    }

    fn answered(error: &impl ProvideErrorMetadata) -> Self {
        let code = error.code().unwrap_or("an error without a code");
        let message = error.message().unwrap_or("nothing more is said");
        let effect = match code {
            code if TRANSIENT.contains(&code) => Effect::Transient,
            code if code.starts_with("Internal") || code.contains("Unavailable") => Effect::Unknown,
            _ => Effect::Permanent,
        };
        let way_out = match code {
            "ResourceNotFoundException"
            | "NoSuchBucket"
            | "AWS.SimpleQueueService.NonExistentQueue"
            | "QueueDoesNotExist" => "; check the yard's name and region, or deploy it first",
            "AccessDeniedException" | "AccessDenied" => "; these credentials lack a permission",
            _ => "",
        };
        Self { effect, reason: format!("{code}: {message}{way_out}"), source: None }
    }

    /// Whether the same call may succeed later without an operator.
    pub fn passes(&self) -> bool {
        self.effect != Effect::Permanent
    }
}
