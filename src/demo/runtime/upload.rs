//! `POST /upload`: a form with one file, whose name is the path where it goes.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use multer::{Constraints, Field, Multipart, SizeLimit};
use tokio::io::AsyncWriteExt as _;

use super::draft::Draft;
use super::folder::FileError;
use super::{Runtime, blocking};

/// The size of one file. Files of agents are notes and scripts; this one is for trying.
pub(super) const MAX_FILE: u64 = 64 << 20;
/// What the form may have besides the file: boundaries and heads of parts.
const MAX_FRAME: u64 = 64 << 10;

/// Why nothing was kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    #[error("send a form with one file, in a field named `file`: {0}")]
    Form(String),
    #[error("the file is larger than {} MiB", MAX_FILE >> 20)]
    TooLarge,
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<multer::Error> for UploadError {
    fn from(error: multer::Error) -> Self {
        match error {
            multer::Error::FieldSizeExceeded { .. } | multer::Error::StreamSizeExceeded { .. } => {
                Self::TooLarge
            }
            error => Self::Form(error.to_string()),
        }
    }
}

/// Keeps the file, and tells its path.
pub(super) async fn upload(
    runtime: &Runtime,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<String, UploadError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let sizes = SizeLimit::new().per_field(MAX_FILE).whole_stream(MAX_FILE + MAX_FRAME);
    let form = Constraints::new().size_limit(sizes).allowed_fields(vec!["file"]);
    let boundary = multer::parse_boundary(content_type)?;
    let mut form = Multipart::with_constraints(body.into_data_stream(), boundary, form);
    let Some(mut field) = form.next_field().await? else {
        return Err(UploadError::Form("it has none".into()));
    };
    let Some(path) = field.file_name().map(str::to_owned) else {
        return Err(UploadError::Form("it has no file name".into()));
    };
    let target = path.clone();
    match blocking(&runtime.folder, move |folder| folder.write(target.as_bytes())).await {
        Ok((file, draft)) => receive(&mut field, file.into(), draft).await?,
        Err(error) => {
            // A caller that is still writing would not see the refusal.
            while field.chunk().await?.is_some() {}
            return Err(error.into());
        }
    }
    Ok(path)
}

async fn receive(field: &mut Field<'_>, mut file: tokio::fs::File, draft: Draft) -> Result<(), UploadError> {
    while let Some(chunk) = field.chunk().await? {
        file.write_all(&chunk).await.map_err(FileError::from)?;
    }
    file.flush().await.map_err(FileError::from)?;
    draft.keep().map_err(FileError::from)?;
    Ok(())
}
