//! The tier `remote` in an S3-compatible object store.
//!
//! ```text
//! PREFIX/faasflow/NAME/EPOCH/NUMBER    │ payload │ a checksum for every 64 KiB of it │
//! ```
//!
//! An object each; large ones are sent and read in parts, several at once. Nothing here expires by itself: what a worker
//! leaves that dies goes by a lifecycle rule of the bucket, for objects and for uploads that were never completed (see
//! docs/store.md). Requests that fail are tried again by the client, a few times and within the operation's deadline.

mod open;

use super::super::admission::{Admission, Errands, Pass};
use super::super::book::{Book, Claim};
use super::super::checksum::{self, BLOCK_BYTES};
use super::super::error::{Again, Late};
use super::super::{Place, Tier, TierError, TierKind, Used};
use crate::segment::{Slice, TargetSlice};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use std::ops::Range;
use std::sync::Arc;

pub use open::ObjectConfig;

/// Bytes of a part, unless there would be too many; whole blocks of checksums, and more than the 5 MiB that S3 asks for.
const PART_BYTES: u64 = 8 << 20;

/// Parts of one payload: a thousand less than S3 allows, so that the checksums have room.
const PARTS_MAX: u64 = 9_000;

/// Payloads up to this are read together with their checksums, which saves a round trip.
const TOGETHER_BYTES: u64 = 1 << 20;

/// Parts of one payload under way.
const DEPTH: usize = 4;

/// How often the client tries a request again.
const RETRIES: usize = 3;

const FULL_REMEDY: &str =
    "let other payloads go, or raise what this worker may keep in remote stores";
const LOST_REMEDY: &str = "see whether the store runs and can be reached from here; then try again";
const LOGIN_REMEDY: &str = "see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and whether they may get, put, delete and list there";
const URL_REMEDY: &str = "see the store's URL: its bucket, region and endpoint";
const GONE_REMEDY: &str = "it was released, or removed by a rule of the bucket; let rules keep objects for longer than invocations last";
const DAMAGE_REMEDY: &str =
    "somebody else has written there: keep others away from keys below faasflow/";

/// Payloads in a bucket.
#[derive(Debug)]
pub struct Objects {
    book: Book<()>,
    admission: Admission,
    store: Arc<dyn ObjectStore>,
    prefix: String,
}

/// An upload in parts, from the moment that the store has begun it: whoever has begun it may have been dropped by then.
type Upload = Arc<tokio::sync::Mutex<Option<Box<dyn MultipartUpload>>>>;

/// Takes an object back, unless it was taken in. By then its own requests must have ended.
struct Unfinished<'a> {
    objects: &'a Objects,
    requests: Errands,
    path: Path,
    upload: Upload,
    claim: Option<Claim>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else {
            return;
        };
        // Without a runtime nothing can be sent any more; the bucket's rule removes it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (store, requests) = (Arc::clone(&self.objects.store), self.requests.clone());
        let (path, upload) = (self.path.clone(), Arc::clone(&self.upload));
        let deadline = self.objects.admission.deadline(0);
        let errand = self.objects.admission.errand();
        runtime.spawn(async move {
            let _held = (claim, errand);
            let take_back = async {
                requests.settled().await;
                if let Some(mut upload) = upload.lock().await.take() {
                    // One that was completed is an object, which goes by what follows.
                    let _ = upload.abort().await;
                }
                store.delete(&path).await
            };
            // What cannot be taken back goes by the bucket's rule.
            let _ = tokio::time::timeout(deadline, take_back).await;
        });
    }
}

/// Bytes of an object.
const fn object_bytes(bytes: u64) -> u64 {
    bytes + checksum::blocks(bytes) * 4
}

impl Objects {
    fn path(&self, key: &str) -> Path {
        if self.prefix.is_empty() {
            Path::from(key)
        } else {
            Path::from(format!("{}/{key}", self.prefix))
        }
    }

    fn error(
        &self,
        what: &'static str,
        place: Option<&Place>,
        bytes: u64,
        error: Error,
    ) -> TierError {
        let speaker = self.book.speaker();
        match (error, place) {
            (Error::NotFound { .. }, Some(place)) => speaker.missing(place, GONE_REMEDY),
            (error @ (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }), _) => {
                speaker.broken(what, error, Again::Not, LOGIN_REMEDY)
            }
            (error @ Error::Generic { .. }, _) => {
                let text = error.to_string();
                // Amazon's has no end; others answer 507, or by a name of their own.
                if ["507 ", "StorageFull", "QuotaExceeded"]
                    .iter()
                    .any(|full| text.contains(full))
                {
                    speaker.full(bytes, text, "give the store more room")
                } else {
                    speaker.broken(what, error, Again::May, LOST_REMEDY)
                }
            }
            (error, _) => speaker.broken(what, error, Again::Not, URL_REMEDY),
        }
    }

    /// Makes a request. It goes on, with its pass, when nobody waits for it any more.
    async fn request<T: Send + 'static>(
        &self,
        pass: Option<Pass>,
        bytes: u64,
        requests: Errands,
        request: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> object_store::Result<T> {
        let (errand, own, deadline) = (
            self.admission.errand(),
            requests.begin(),
            self.admission.deadline(bytes),
        );
        let task = tokio::spawn(async move {
            let _held = (pass, errand, own);
            let answer = tokio::time::timeout(deadline, request).await;
            answer.unwrap_or_else(|_| Err(generic(Late::Done(deadline))))
        });
        task.await.unwrap_or_else(|error| Err(generic(error)))
    }

    async fn put_whole(
        &self,
        number: u64,
        payload: &Slice,
        unfinished: &Unfinished<'_>,
    ) -> Result<(), TierError> {
        let bytes = payload.length();
        let pass = self.admission.pass(object_bytes(bytes)).await;
        let sums = table(number, 0, payload);
        let content =
            PutPayload::from_iter([Bytes::from_owner(payload.clone()), Bytes::from(sums)]);
        let (store, path) = (Arc::clone(&self.store), unfinished.path.clone());
        let put = self.request(Some(pass), bytes, unfinished.requests.clone(), async move {
            store.put(&path, content).await
        });
        let put = put.await;
        put.map_err(|error| self.error("put a payload", None, bytes, error))
            .map(drop)
    }

    async fn put_parts(
        &self,
        number: u64,
        payload: &Slice,
        unfinished: &Unfinished<'_>,
    ) -> Result<(), TierError> {
        let bytes = payload.length();
        let failed = |error| self.error("put a payload", None, bytes, error);
        let requests = unfinished.requests.clone();
        let (store, path) = (Arc::clone(&self.store), unfinished.path.clone());
        let upload = Arc::clone(&unfinished.upload);
        let begin = async move {
            let mut begun = upload.lock().await;
            *begun = Some(store.put_multipart(&path).await?);
            Ok(())
        };
        let begun = self.request(None, 0, requests.clone(), begin).await;
        begun.map_err(failed)?;
        let upload = &unfinished.upload;
        let part_bytes = PART_BYTES.max(bytes.div_ceil(PARTS_MAX).next_multiple_of(1 << 20));
        let mut sums = Vec::new();
        // At most so many are made before others have been sent: each holds its bytes.
        let mut under_way = stream::FuturesUnordered::new();
        let mut from = 0;
        while from < bytes {
            if under_way.len() == DEPTH
                && let Some(sent) = under_way.next().await
            {
                let sent: object_store::Result<()> = sent;
                sent.map_err(failed)?;
            }
            let to = bytes.min(from + part_bytes);
            let part = payload.part(from, to);
            let pass = self.admission.pass(to - from).await;
            sums.extend(table(number, from / BLOCK_BYTES, &part));
            // The checksums go behind the last byte, and a part before the last one may not be small.
            let mut content = vec![Bytes::from_owner(part)];
            if to == bytes {
                content.push(Bytes::from(std::mem::take(&mut sums)));
            }
            let mut begun = upload.lock().await;
            let begun = begun
                .as_mut()
                .unwrap_or_else(|| unreachable!("it was begun"));
            let sending = begun.put_part(PutPayload::from_iter(content));
            under_way.push(self.request(Some(pass), to - from, requests.clone(), sending));
            from = to;
        }
        while let Some(sent) = under_way.next().await {
            sent.map_err(failed)?;
        }
        drop(under_way);
        let upload = Arc::clone(upload);
        let complete = async move {
            match upload.lock().await.as_mut() {
                Some(upload) => upload.complete().await.map(drop),
                None => Ok(()),
            }
        };
        let completed = self.request(None, bytes, requests, complete).await;
        completed.map_err(failed)
    }

    async fn get_range(
        &self,
        place: &Place,
        path: &Path,
        range: Range<u64>,
    ) -> Result<Bytes, TierError> {
        let wanted = range.end - range.start;
        let pass = self.admission.pass(wanted).await;
        let (store, path) = (Arc::clone(&self.store), path.clone());
        let get = async move { store.get_range(&path, range).await };
        let got = self
            .request(Some(pass), wanted, Errands::default(), get)
            .await;
        let got = got.map_err(|error| self.error("get a payload", Some(place), 0, error))?;
        if got.len() as u64 == wanted {
            Ok(got)
        } else {
            // A store cuts a range short at the object's end.
            Err(self
                .book
                .speaker()
                .damaged(place, 0, place.bytes, DAMAGE_REMEDY))
        }
    }

    /// Checks whole blocks of a payload, the first of which is block `first`, and copies those bytes of them that `into` is
    /// for.
    fn check(
        &self,
        place: &Place,
        first: u64,
        content: &[u8],
        sums: &[u32],
        skip: u64,
        into: &mut TargetSlice,
    ) -> Result<(), TierError> {
        if let Some(block) = checksum::damaged(place.number, first, content, sums) {
            let from = block * BLOCK_BYTES;
            let to = place.bytes.min(from + BLOCK_BYTES);
            return Err(self.book.speaker().damaged(place, from, to, DAMAGE_REMEDY));
        }
        let (skip, length) = (skip as usize, into.length() as usize);
        into.bytes_mut()
            .copy_from_slice(&content[skip..skip + length]);
        Ok(())
    }

    async fn read(
        &self,
        place: &Place,
        path: &Path,
        from: u64,
        mut into: TargetSlice,
    ) -> Result<(), TierError> {
        let begin = from - from % BLOCK_BYTES;
        let end = (from + into.length())
            .next_multiple_of(BLOCK_BYTES)
            .min(place.bytes);
        let first = begin / BLOCK_BYTES;
        let sums_at = |block: u64| place.bytes + block * 4;
        if place.bytes <= TOGETHER_BYTES {
            let whole = object_bytes(place.bytes);
            let got = if whole == 0 {
                // There is nothing to read; but is it there?
                let (store, path) = (Arc::clone(&self.store), path.clone());
                let head = self.request(None, 0, Errands::default(), async move {
                    store.head(&path).await
                });
                let head = head.await;
                head.map_err(|error| self.error("get a payload", Some(place), 0, error))?;
                Bytes::new()
            } else {
                self.get_range(place, path, begin..whole).await?
            };
            let (content, sums) = got.split_at((place.bytes - begin) as usize);
            let sums = numbers(sums.get(first as usize * 4..).unwrap_or(&[]));
            let content = &content[..(end - begin) as usize];
            return self.check(place, first, content, &sums, from - begin, &mut into);
        }
        let sums = self.get_range(place, path, sums_at(first)..sums_at(checksum::blocks(end)));
        let sums = numbers(&sums.await?);
        let (mut at, mut skip, mut rest) = (begin, from - begin, Some(into));
        let sums = &sums;
        let parts = std::iter::from_fn(|| {
            let target = rest.take().filter(|target| target.length() > 0)?;
            let to = end.min(at + PART_BYTES);
            let here = target.length().min(to - at - skip);
            let (mut now, later) = target.split(here);
            rest = Some(later);
            let (range, skipped) = (at..to, std::mem::take(&mut skip));
            at = to;
            Some(async move {
                let block = range.start / BLOCK_BYTES;
                let content = self.get_range(place, path, range).await?;
                let sums = &sums[(block - first) as usize..];
                self.check(place, block, &content, sums, skipped, &mut now)
            })
        });
        stream::iter(parts)
            .buffer_unordered(DEPTH)
            .try_collect::<()>()
            .await
    }
}

fn generic(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic {
        store: "S3",
        source: Box::new(source),
    }
}

fn table(number: u64, first: u64, part: &Slice) -> Vec<u8> {
    let sums = checksum::table(number, first, part.bytes());
    sums.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn numbers(sums: &[u8]) -> Vec<u32> {
    let (sums, _) = sums.as_chunks::<4>();
    sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect()
}

#[cfg(test)]
mod tests;

impl Tier for Objects {
    fn kind(&self) -> TierKind {
        TierKind::Remote
    }

    fn used(&self) -> Used {
        let (bytes, count) = self.book.counts();
        Used {
            bytes,
            count,
            held: object_bytes(bytes),
        }
    }

    async fn put(&self, payload: Slice) -> Result<Place, TierError> {
        let bytes = payload.length();
        let put = async {
            let claim = self.book.claim(bytes, FULL_REMEDY)?;
            let number = claim.number;
            let key = super::key(&self.book, &self.book.place(&claim))?;
            let mut unfinished = Unfinished {
                objects: self,
                requests: Errands::default(),
                path: self.path(&key),
                upload: Upload::default(),
                claim: Some(claim),
            };
            if bytes <= PART_BYTES {
                self.put_whole(number, &payload, &unfinished).await?;
            } else {
                self.put_parts(number, &payload, &unfinished).await?;
            }
            let claim = unfinished.claim.take();
            let claim = claim.unwrap_or_else(|| unreachable!("it is taken once"));
            Ok(self.book.enter(claim, ()))
        };
        self.admission
            .within(self.book.speaker(), "put a payload", bytes, put)
            .await
    }

    async fn get(&self, place: &Place, from: u64, into: TargetSlice) -> Result<(), TierError> {
        self.book.check_store(place)?;
        let path = self.path(&super::key(&self.book, place)?);
        // What another worker has put is known by its place alone.
        let _entry = if self.book.is_own(place) {
            Some(self.book.find(place)?)
        } else {
            None
        };
        let bytes = into.length();
        self.book.check_window(place, from, bytes)?;
        if bytes == 0 && place.bytes > 0 {
            return Ok(());
        }
        let get = self.read(place, &path, from, into);
        self.admission
            .within(self.book.speaker(), "get a payload", bytes, get)
            .await
    }

    async fn release(&self, place: Place) -> Result<(), TierError> {
        const WHAT: &str = "release a payload";
        drop(self.book.remove(&place)?);
        let path = self.path(&super::key(&self.book, &place)?);
        let store = Arc::clone(&self.store);
        let release = async {
            let delete = self.request(None, 0, Errands::default(), async move {
                match store.delete(&path).await {
                    Err(Error::NotFound { .. }) => Ok(()),
                    result => result,
                }
            });
            delete
                .await
                .map_err(|error| self.error(WHAT, None, 0, error))
        };
        self.admission
            .within(self.book.speaker(), WHAT, 0, release)
            .await
    }

    async fn settled(&self) {
        self.admission.settled().await;
    }
}
