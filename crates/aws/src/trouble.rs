//! What a failed call to AWS means for whoever made it.

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// A failed call, after the SDK has tried again as often as it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing happened, and the same call may succeed later.
    Passing(String),
    /// It may or may not have happened.
    Unknown(String),
    /// It fails until someone mends what it says.
    Lasting(String),
}

/// Codes by which AWS says: not now.
const PASSING: [&str; 10] = [
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

/// Codes by which DynamoDB says that this very request is refused, as often as it is made. All else that lasts, such as a
/// missing permission or table, is about the yard and not about the request.
const REFUSED: [&str; 5] = [
    "ValidationException",
    "ValidationError",
    "SerializationException",
    "ItemCollectionSizeLimitExceededException",
    "IdempotentParameterMismatchException",
];

pub(crate) fn is_refused_as_such<E, R>(error: &SdkError<E, R>) -> bool
where
    E: ProvideErrorMetadata,
{
    matches!(error, SdkError::ConstructionFailure(_))
        || error.code().is_some_and(|code| REFUSED.contains(&code))
}

pub(crate) fn trouble_of<E, R>(error: &SdkError<E, R>) -> Trouble
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let said = DisplayErrorContext(error).to_string();
    match error {
        SdkError::ConstructionFailure(_) => Trouble::Lasting(said),
        // Also when it was not sent: nobody loses by looking again.
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            Trouble::Unknown(said)
        }
        SdkError::ServiceError(_) => {
            let code = error.code().unwrap_or("an error without a code");
            let message = error.message().unwrap_or("nothing more is said");
            let said = format!("{code}: {message}");
            match code {
                code if PASSING.contains(&code) => Trouble::Passing(said),
                code if code.starts_with("Internal") || code.contains("Unavailable") => {
                    Trouble::Unknown(said)
                }
                "ResourceNotFoundException" | "NoSuchBucket" => {
                    Trouble::Lasting(format!("{said}; check the yard's name and region, or deploy it first"))
                }
                "AccessDeniedException" | "AccessDenied" => {
                    Trouble::Lasting(format!("{said}; these credentials lack a permission"))
                }
                _ => Trouble::Lasting(said),
            }
        }
        _ => Trouble::Unknown(said),
    }
}
