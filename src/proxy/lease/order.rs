//! Reads an order for a lease from a request: small, in time, and said to be JSON.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::super::error::{Fault, LeaseDenial};
use crate::engine::LeaseOrder;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The whole body must be there within the time limit.
pub(super) async fn read<B>(headers: &HeaderMap, body: B, time_limit: Duration) -> Result<LeaseOrder, Fault>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    // A page of a stranger in a browser on this machine may post across sites what it likes, but not as JSON without
    // being allowed to.
    if !body.is_end_stream() && !is_json(headers) {
        return Err(LeaseDenial::MediaType.into());
    }
    if body.size_hint().lower() > LeaseOrder::MAX_BYTES as u64 {
        return Err(LeaseDenial::TooLarge.into());
    }
    let reading = Limited::new(body, LeaseOrder::MAX_BYTES).collect();
    let read = tokio::time::timeout(time_limit, reading).await.map_err(|_| LeaseDenial::SlowBody)?;
    let text = read.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => LeaseDenial::TooLarge.into(),
        None => Fault::Bad(format!("the body broke off: {error}")),
    })?;
    Ok(LeaseOrder::read(&text.to_bytes()).map_err(LeaseDenial::from)?)
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(CONTENT_TYPE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    let essence = field.to_str().ok().and_then(|text| text.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http_body_util::{Empty, Full};

    use super::*;

    fn headers(types: &[&'static str]) -> HeaderMap {
        types.iter().map(|it| (CONTENT_TYPE, HeaderValue::from_static(it))).collect()
    }

    async fn of(types: &[&'static str], body: &str) -> Result<LeaseOrder, Fault> {
        read(&headers(types), Full::new(Bytes::from(body.to_owned())), Duration::from_secs(1)).await
    }

    #[tokio::test]
    async fn a_body_must_be_said_to_be_json_unless_there_is_none() {
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/json ;x"] {
            assert!(of(&[good], "{}").await.is_ok(), "{good}");
        }
        for bad in [
            &[][..],
            &["text/plain"],
            &["application/x-www-form-urlencoded"],
            &["application/jsonp"],
            &["application/json", "application/json"],
            &["text/plain; application/json"],
        ] {
            assert_eq!(of(bad, "{}").await.unwrap_err(), LeaseDenial::MediaType.into(), "{bad:?}");
        }
        let empty = Empty::<Bytes>::new();
        assert!(read(&HeaderMap::new(), empty, Duration::from_secs(1)).await.is_ok());
    }

    #[tokio::test]
    async fn an_order_has_so_many_bytes_at_most() {
        let padded = |size: usize| format!("{{}}{}", " ".repeat(size - 2));
        assert!(of(&["application/json"], &padded(LeaseOrder::MAX_BYTES)).await.is_ok());
        let long = padded(LeaseOrder::MAX_BYTES + 1);
        assert_eq!(of(&["application/json"], &long).await.unwrap_err(), LeaseDenial::TooLarge.into());
    }
}
