//! Who may call: the bearer token of a request is judged before its agent is looked up, so that a stranger neither
//! wakes an agent nor learns which there are.
//!
//! `bearer` finds the token, `memory` knows for how long a verdict holds, `Remembering` asks about each token once.

mod bearer;
mod memory;
mod remembering;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::agent::PodUid;

pub(super) use bearer::bearer;
pub use remembering::Remembering;

/// What is known about a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Its bearer may call.
    Allowed,
    /// The same, and the token was given to this pod.
    AllowedPod(Arc<BoundPod>),
    /// It is nobody's: 401.
    Unauthenticated,
    /// It is somebody's who may not call: 403.
    Forbidden,
}

/// The pod that a service account's token is bound to: the token is worth something only while that pod exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BoundPod {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its identity.
    pub uid: PodUid,
}

/// Nobody could be asked about a token.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(Arc<str>);

impl Unavailable {
    /// With the reason, in which the token must not stand.
    pub fn new(reason: impl Into<Arc<str>>) -> Self {
        Self(reason.into())
    }
}

/// Judges bearer tokens.
pub trait Authenticator: Send + Sync + 'static {
    /// What is known about this token. Dropping the future is the caller leaving.
    fn authenticate(&self, token: &str) -> BoxFuture<'static, Result<Verdict, Unavailable>>;
}
