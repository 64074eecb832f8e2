//! How an object store is set up, and the proof that it works.

use super::super::super::admission::{Admission, Limits};
use super::super::super::book::Book;
use super::super::super::error::{Again, Speaker};
use super::super::super::{Body, S3Url, TierError, TierKind};
use super::super::{life, store_of};
use super::{Objects, RETRIES, URL_REMEDY};
use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, ClientOptions, ObjectStoreExt, PutPayload, RetryConfig};
use std::sync::Arc;
use std::time::Duration;

/// How an [`Objects`] is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectConfig {
    /// Where the bucket is. Credentials come from the environment, or from the machine that this runs on.
    pub url: S3Url,
    /// This worker's name, as keys have it: letters, digits, dots, hyphens and underscores.
    pub worker: String,
    /// Which life of that worker this is.
    pub epoch: u32,
    /// Bytes of payloads that it may keep there.
    pub bytes_max: u64,
    /// Operations and bytes under way, and deadlines.
    pub limits: Limits,
}

impl Objects {
    /// Makes sure that the bucket can be written to, by an empty object that is deleted again.
    ///
    /// # Errors
    /// [`TierError::Broken`] if it cannot be reached, or lets nobody in by those credentials.
    pub async fn open(config: &ObjectConfig) -> Result<Self, TierError> {
        Self::open_as(AmazonS3Builder::from_env(), config).await
    }

    pub(super) async fn open_as(
        credentials: AmazonS3Builder,
        config: &ObjectConfig,
    ) -> Result<Self, TierError> {
        let S3Url {
            bucket,
            prefix,
            region,
            endpoint,
        } = &config.url;
        let retry = RetryConfig {
            backoff: BackoffConfig {
                max_backoff: Duration::from_secs(1),
                ..BackoffConfig::default()
            },
            max_retries: RETRIES,
            retry_timeout: config.limits.patience,
        };
        let options = ClientOptions::new()
            .with_connect_timeout(config.limits.patience)
            // Deadlines are those of operations, which follow from their size.
            .with_timeout_disabled();
        let mut builder = credentials
            .with_client_options(options)
            .with_bucket_name(bucket)
            .with_retry(retry)
            // What arrives is checked here, block by block; and not every store knows the other way to delete.
            .with_unsigned_payload(true)
            .with_disable_bulk_delete(true);
        if let Some(region) = region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = endpoint {
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(endpoint.starts_with("http://"));
        }
        let shown = config.url.to_string();
        let speaker = Speaker {
            kind: TierKind::Remote,
            at: shown.clone(),
        };
        let store = builder.build();
        let store =
            store.map_err(|error| speaker.broken("connect", error, Again::Not, URL_REMEDY))?;
        let life = life(&config.worker, config.epoch);
        let objects = Self {
            book: Book::new(
                speaker,
                store_of(&shown),
                Body::Life(life),
                config.bytes_max,
            ),
            admission: Admission::new(config.limits),
            store: Arc::new(store),
            prefix: prefix.clone(),
        };
        objects.prove(&config.worker, config.epoch).await?;
        Ok(objects)
    }

    async fn prove(&self, worker: &str, epoch: u32) -> Result<(), TierError> {
        let path = self.path(&format!("faasflow/{worker}/{epoch}/proof"));
        let prove = async {
            let failed = |error| self.error("connect", None, 0, error);
            self.store
                .put(&path, PutPayload::new())
                .await
                .map_err(failed)?;
            self.store.delete(&path).await.map_err(failed)
        };
        self.admission
            .within(self.book.speaker(), "connect", 0, prove)
            .await
    }
}
