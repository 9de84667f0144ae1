//! The runtime API that agent-sandbox's SDKs expect of a sandbox: run a command, and files of one folder in and out.

mod builtin;
mod command;
mod draft;
mod folder;
#[cfg(test)]
mod tests;
mod upload;

use std::path::Path;
use std::sync::Arc;
use std::{io, result};

use anyhow::Context as _;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::io::ReaderStream;

use super::answers::{json_answer, of_length};
use super::bodies::{self, Body};
use command::Order;
use folder::{FileError, Folder};
use upload::UploadError;

/// A command with its arguments, written as JSON.
const MAX_ORDER: usize = 64 << 10;

/// A call of the API, with the path in it as it stands in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call<'a> {
    Execute,
    Upload,
    Download(&'a str),
    List(&'a str),
    Exists(&'a str),
}

impl<'a> Call<'a> {
    /// Every path of the API.
    pub(super) const PATHS: [&'static str; 5] =
        ["/download/<path>", "/execute", "/exists/<path>", "/list/<path>", "/upload"];

    /// Reads the path of a target.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        match path.strip_prefix('/')?.split_once('/') {
            None if path == "/execute" => Some(Self::Execute),
            None if path == "/upload" => Some(Self::Upload),
            Some(("download", path)) => Some(Self::Download(path)),
            Some(("list", path)) => Some(Self::List(path)),
            Some(("exists", path)) => Some(Self::Exists(path)),
            _ => None,
        }
    }
}

/// What calls work on.
pub(super) struct Runtime {
    folder: Arc<Folder>,
    /// Whether programs of this machine may be run.
    programs: bool,
    places: Semaphore,
}

/// The status of an error, and its text.
type Refusal = (StatusCode, String);
type Result<T> = result::Result<T, Refusal>;

impl Runtime {
    /// With its files in this folder.
    pub(super) fn new(files: &Path, programs: bool) -> anyhow::Result<Self> {
        let folder = Folder::open(files).with_context(|| {
            format!("failed to open the folder of files {}; choose another with --files", files.display())
        })?;
        Ok(Self { folder: Arc::new(folder), programs, places: Semaphore::new(command::MAX_PROGRAMS) })
    }

    /// Answers a call.
    pub(super) async fn answer(&self, call: Call<'_>, head: &Parts, body: Incoming) -> Response<Body> {
        let answer = match call {
            Call::Execute => self.execute(head, body).await,
            Call::Upload => self.upload(head, body).await,
            Call::Download(path) => self.download(path).await,
            Call::List(path) => self.list(path).await,
            Call::Exists(path) => self.exists(path).await,
        };
        answer.unwrap_or_else(|(status, message)| json_answer(status, &json!({"message": message})))
    }

    async fn execute(&self, head: &Parts, body: Incoming) -> Result<Response<Body>> {
        // A page in somebody's browser can send a body of this type only to where it comes from.
        let content_type = head.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        if !content_type.to_ascii_lowercase().starts_with(b"application/json") {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json".into()));
        }
        let order = Limited::new(body, MAX_ORDER).collect().await.map_err(|error| {
            let too_long = error.is::<LengthLimitError>();
            let status = if too_long { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
            (status, format!("failed to read the command, of at most {MAX_ORDER} bytes: {error}"))
        })?;
        let order: Order = serde_json::from_slice(&order.to_bytes())
            .map_err(|error| (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
        match command::execute(self, &order).await {
            Ok(outcome) => Ok(json_answer(StatusCode::OK, &json!(outcome))),
            Err(message) => Err((StatusCode::UNPROCESSABLE_ENTITY, message.into())),
        }
    }

    async fn upload(&self, head: &Parts, body: Incoming) -> Result<Response<Body>> {
        let path = upload::upload(self, &head.headers, body).await.map_err(|error| match error {
            UploadError::Form(_) => (StatusCode::BAD_REQUEST, error.to_string()),
            UploadError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            UploadError::File(error) => refusal(&error),
        })?;
        Ok(json_answer(StatusCode::OK, &json!({"message": format!("File {path:?} uploaded successfully.")})))
    }

    async fn download(&self, path: &str) -> Result<Response<Body>> {
        let path = decoded(path);
        let (file, length) = self.files(move |folder| folder.read(&path)).await?;
        // No more than was announced, also if the file grows; one that shrinks breaks the answer off.
        let file = tokio::io::AsyncReadExt::take(tokio::fs::File::from_std(file), length);
        Ok(of_length(length, bodies::fallible(ReaderStream::new(file))))
    }

    async fn list(&self, path: &str) -> Result<Response<Body>> {
        let path = decoded(path);
        let entries = self.files(move |folder| folder.list(&path)).await?;
        Ok(json_answer(StatusCode::OK, &json!(entries)))
    }

    async fn exists(&self, path: &str) -> Result<Response<Body>> {
        let path = decoded(path);
        let shown = String::from_utf8_lossy(&path).into_owned();
        let exists = self.files(move |folder| folder.exists(&path)).await?;
        Ok(json_answer(StatusCode::OK, &json!({"path": shown, "exists": exists})))
    }

    async fn files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> result::Result<T, FileError> + Send + 'static,
    ) -> Result<T> {
        blocking(&self.folder, work).await.map_err(|error| refusal(&error))
    }
}

/// Waits for the disk on a thread that may.
async fn blocking<T: Send + 'static>(
    folder: &Arc<Folder>,
    work: impl FnOnce(&Folder) -> result::Result<T, FileError> + Send + 'static,
) -> result::Result<T, FileError> {
    let folder = folder.clone();
    let done = tokio::task::spawn_blocking(move || work(&folder)).await;
    done.unwrap_or_else(|error| Err(FileError::Io(io::Error::other(error))))
}

/// Decoded once: callers encode a path whole, its slashes too.
fn decoded(path: &str) -> Vec<u8> {
    percent_decode_str(path).collect()
}

fn refusal(error: &FileError) -> Refusal {
    let status = match error {
        FileError::Outside => StatusCode::FORBIDDEN,
        FileError::NotFound | FileError::NotAFile | FileError::NotAFolder => StatusCode::NOT_FOUND,
        FileError::LongPath => StatusCode::BAD_REQUEST,
        FileError::ManyEntries | FileError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.to_string())
}
