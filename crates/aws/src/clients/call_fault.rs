//! What a failed call to AWS means for its caller.

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// A failed call, after the SDK has retried it as often as it may. Each carries the reason, as text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CallFault {
    /// Nothing happened, and the same call may succeed later.
    Transient(String),
    /// It may or may not have happened.
    Unknown(String),
    /// It fails until an operator repairs what the reason names.
    Permanent(String),
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
    pub fn of<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let reason = DisplayErrorContext(error).to_string();
        match error {
            SdkError::ConstructionFailure(_) => Self::Permanent(reason),
            // A dispatch failure was not sent, but treating it as unknown does no harm: the caller reads again.
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
                Self::Unknown(reason)
            }
            SdkError::ServiceError(_) => Self::of_service_error(error),
            _ => Self::Unknown(reason),
        }
    }

    fn of_service_error<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata,
    {
        let code = error.code().unwrap_or("an error without a code");
        let message = error.message().unwrap_or("nothing more is said");
        let reason = format!("{code}: {message}");
        match code {
            code if TRANSIENT.contains(&code) => Self::Transient(reason),
            code if code.starts_with("Internal") || code.contains("Unavailable") => Self::Unknown(reason),
            "ResourceNotFoundException" | "NoSuchBucket" => {
                Self::Permanent(format!("{reason}; check the yard's name and region, or deploy it first"))
            }
            "AccessDeniedException" | "AccessDenied" => {
                Self::Permanent(format!("{reason}; these credentials lack a permission"))
            }
            _ => Self::Permanent(reason),
        }
    }

    /// Whether the same call may succeed later without an operator.
    pub fn passes(&self) -> bool {
        !matches!(self, Self::Permanent(_))
    }

    pub fn into_reason(self) -> String {
        let (Self::Transient(reason) | Self::Unknown(reason) | Self::Permanent(reason)) = self;
        reason
    }
}
