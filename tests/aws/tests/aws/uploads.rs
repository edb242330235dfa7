//! Content that goes to the bucket in parts: written once, whole or not at all, and nothing is left behind.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proofyard_aws::objects::s3::S3Bucket;
use proofyard_aws::objects::{ObjectError, Objects};
use proofyard_aws_tests::driver::Driver;
use proofyard_aws_tests::http::Fate;
use proofyard_aws_tests::local::LocalAws;
use proofyard_core::error::with_causes;
use proofyard_core::state::ArtifactRef;
use sha2::{Digest, Sha256};

/// The smallest that S3 takes; the content has two and a bit of them.
const PART_BYTES: u64 = 5 << 20;
const BYTES: usize = (11 << 20) + 7;

struct Upload {
    objects: Objects,
    s3: aws_sdk_s3::Client,
    name: String,
    artifact: ArtifactRef,
    content: Vec<u8>,
    file: tempfile::NamedTempFile,
}

impl Upload {
    fn new(aws: &LocalAws, driver: &Driver) -> Self {
        let content: Vec<u8> = (0..BYTES as u64).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 7) as u8).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&content).unwrap();
        let artifact =
            ArtifactRef { sha256: hex::encode(Sha256::digest(&content)), bytes: content.len() as u64 };
        let config = aws_sdk_s3::config::Builder::from(&driver.config).force_path_style(true).build();
        let bucket = S3Bucket::new(&driver.config, aws.bucket().to_owned());
        Self {
            objects: Objects::new(bucket.with_parts_of(PART_BYTES)),
            s3: aws_sdk_s3::Client::from_conf(config),
            name: aws.bucket().to_owned(),
            artifact,
            content,
            file,
        }
    }

    async fn put(&self) -> Result<(), ObjectError> {
        self.objects.put_file(&self.artifact, self.file.path()).await
    }

    fn key(&self) -> String {
        format!("artifacts/{}/{}", &self.artifact.sha256[..2], self.artifact.sha256)
    }

    async fn assert_there(&self) {
        let mut read = Vec::new();
        self.objects.get_file(&self.artifact, &mut read).await.unwrap();
        assert!(read == self.content, "{} of {BYTES} bytes are there", read.len());
    }

    async fn assert_not_there(&self) {
        let missing = self.objects.get_file(&self.artifact, &mut tokio::io::sink()).await.unwrap_err();
        assert!(missing.to_string().contains("is not there"), "{missing}");
    }

    async fn assert_no_parts(&self) {
        let begun = self.s3.list_multipart_uploads().bucket(&self.name).send().await.unwrap();
        assert_eq!(begun.uploads().len(), 0, "{begun:?}");
    }
}

#[tokio::test]
async fn a_part_that_fails_is_put_again_and_the_whole_is_written_once() {
    let aws = LocalAws::without_functions();
    let driver = Driver::new(&aws).await;
    let upload = Upload::new(&aws, &driver);
    let parts = AtomicU64::new(0);
    driver.http.breaks(move |operation, _| match operation {
        // The second part: refused, then not sent, then its answer is lost.
        "UploadPart" => match parts.fetch_add(1, Ordering::Relaxed) {
            1 => Fate::Answered(503, "<Error><Code>SlowDown</Code></Error>".into()),
            2 => Fate::NotSent,
            3 => Fate::AnswerLost,
            _ => Fate::Made,
        },
        _ => Fate::Made,
    });
    upload.put().await.unwrap();
    let counts = driver.http.take_counts();
    assert_eq!((counts["UploadPart"], counts["CompleteMultipartUpload"]), (6, 1), "{counts:?}");
    upload.assert_there().await;
    upload.assert_no_parts().await;
    driver.http.works();
    driver.http.take_counts();
    upload.put().await.unwrap();
    let counts = driver.http.take_counts();
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["HEAD object"]);
}

#[tokio::test]
async fn what_is_given_up_leaves_nothing() {
    let aws = LocalAws::without_functions();
    let driver = Driver::new(&aws).await;
    let upload = Upload::new(&aws, &driver);
    let parts = AtomicU64::new(0);
    driver.http.breaks(move |operation, _| match operation {
        "UploadPart" if parts.fetch_add(1, Ordering::Relaxed) > 0 => Fate::NotSent,
        _ => Fate::Made,
    });
    let failed = upload.put().await.unwrap_err();
    assert!(failed.to_string().contains("cannot be written"), "{failed}");
    assert_eq!(driver.http.take_counts()["AbortMultipartUpload"], 1);
    driver.http.works();
    upload.assert_not_there().await;
    upload.assert_no_parts().await;
    // The file is shorter than it was when it was hashed.
    upload.file.as_file().set_len(PART_BYTES + 1).unwrap();
    upload.put().await.unwrap_err();
    upload.assert_not_there().await;
    upload.assert_no_parts().await;
    // The end is refused.
    std::fs::write(upload.file.path(), &upload.content).unwrap();
    driver.http.breaks(|operation, _| match operation {
        "CompleteMultipartUpload" => {
            Fate::Answered(400, "<Error><Code>InvalidPart</Code><Message>no</Message></Error>".into())
        }
        _ => Fate::Made,
    });
    let failed = upload.put().await.unwrap_err();
    assert!(with_causes(&failed).to_string().contains("InvalidPart"), "{failed:?}");
    upload.assert_no_parts().await;
    driver.http.works();
    upload.put().await.unwrap();
    upload.assert_there().await;
}

/// Both have found nothing there and have put all their parts before either of them ends.
#[tokio::test]
async fn of_two_who_put_the_same_one_writes_it_and_both_are_content() {
    let aws = LocalAws::without_functions();
    let driver = Driver::new(&aws).await;
    let upload = Upload::new(&aws, &driver);
    let both = Arc::new(tokio::sync::Barrier::new(2));
    driver.http.breaks(move |operation, _| match operation {
        "CompleteMultipartUpload" => Fate::Together(Arc::clone(&both)),
        _ => Fate::Made,
    });
    let (one, other) = futures_util::future::join(upload.put(), upload.put()).await;
    one.unwrap();
    other.unwrap();
    let counts = driver.http.take_counts();
    assert_eq!((counts["CompleteMultipartUpload"], counts["AbortMultipartUpload"]), (2, 1), "{counts:?}");
    upload.assert_there().await;
    upload.assert_no_parts().await;
}

/// The end's answer is lost, and whoever asks again is told that there is no such upload any more.
#[tokio::test]
async fn an_upload_that_ended_without_an_answer_is_found_there() {
    let aws = LocalAws::without_functions();
    let driver = Driver::new(&aws).await;
    let upload = Upload::new(&aws, &driver);
    let ends = AtomicU64::new(0);
    driver.http.breaks(move |operation, _| match operation {
        "CompleteMultipartUpload" => match ends.fetch_add(1, Ordering::Relaxed) {
            0 => Fate::AnswerLost,
            _ => Fate::Answered(404, "<Error><Code>NoSuchUpload</Code></Error>".into()),
        },
        _ => Fate::Made,
    });
    upload.put().await.unwrap();
    driver.http.works();
    upload.assert_there().await;
    upload.assert_no_parts().await;
}

#[tokio::test]
async fn what_was_cut_short_is_mended_in_parts_too() {
    let aws = LocalAws::without_functions();
    let driver = Driver::new(&aws).await;
    let upload = Upload::new(&aws, &driver);
    let cut = upload.s3.put_object().bucket(aws.bucket()).key(upload.key());
    cut.body(upload.content[..3].to_vec().into()).send().await.unwrap();
    upload.put().await.unwrap();
    upload.assert_there().await;
}
