//! Bodies of requests and of answers, each bounded: in bytes and time the one, by the caller's lease the other.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::lease::Lease;

/// A payload that ends with an error when it is too long or comes too slowly.
pub fn bounded(payload: Payload, most_bytes: u64, within: Duration) -> Payload {
    let state = (payload, most_bytes, Box::pin(tokio::time::sleep(within)), false);
    let stream = futures::stream::unfold(state, |(mut payload, left, mut late, ended)| async move {
        if ended {
            return None;
        }
        let chunk = tokio::select! {
            chunk = payload.next() => chunk?,
            () = &mut late => Err(PayloadError::Io(std::io::ErrorKind::TimedOut.into())),
        };
        match chunk {
            Ok(chunk) if chunk.len() as u64 > left => Some((Err(PayloadError::Overflow), (payload, 0, late, true))),
            Ok(chunk) => {
                let left = left - chunk.len() as u64;
                Some((Ok(chunk), (payload, left, late, false)))
            }
            Err(error) => Some((Err(error), (payload, left, late, true))),
        }
    });
    let stream: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>> = Box::pin(stream);
    Payload::Stream { payload: stream }
}

/// Why an answer was cut off.
#[derive(Debug, thiserror::Error)]
#[error("the token of the caller has expired or was revoked")]
struct LeaseOver;

/// An answer that is cut off when the caller may have it no longer.
struct Leased {
    body: BoxBody,
    over: Pin<Box<dyn Future<Output = ()>>>,
}

/// Bounds an answer that goes on for a while by the caller's lease.
pub fn leased(body: BoxBody, lease: Lease) -> BoxBody {
    match body.size() {
        BodySize::Stream if !lease.is_endless() => BoxBody::new(Leased {
            body,
            over: Box::pin(lease.over()),
        }),
        BodySize::None | BodySize::Sized(_) | BodySize::Stream => body,
    }
}

impl MessageBody for Leased {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Box::new(LeaseOver))));
        }
        let chunk = ready!(Pin::new(&mut self.body).poll_next(cx));
        Poll::Ready(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use actix_web::body::to_bytes;
    use tokio::sync::watch;

    fn payload(chunks: &[&'static str], then_hang: bool) -> Payload {
        let chunks: Vec<_> = chunks
            .iter()
            .map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())))
            .collect();
        let rest = futures::stream::poll_fn(move |_| if then_hang { Poll::Pending } else { Poll::Ready(None) });
        Payload::Stream {
            payload: Box::pin(futures::stream::iter(chunks).chain(rest)),
        }
    }

    async fn read(payload: Payload) -> Result<String, PayloadError> {
        let mut payload = Box::pin(bounded(payload, 6, Duration::from_millis(50)));
        let mut text = String::new();
        while let Some(chunk) = payload.next().await {
            text += std::str::from_utf8(&chunk?).unwrap();
        }
        Ok(text)
    }

    #[tokio::test]
    async fn a_body_is_bounded_in_bytes_and_time() {
        assert_eq!(read(payload(&["abc", "def"], false)).await.unwrap(), "abcdef");
        assert!(matches!(
            read(payload(&["abc", "defg"], false)).await,
            Err(PayloadError::Overflow)
        ));
        let late = read(payload(&["abc"], true)).await;
        assert!(matches!(late, Err(PayloadError::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut));
    }

    #[tokio::test]
    async fn an_answer_that_goes_on_is_cut_off_with_the_lease() {
        let endless = || {
            let first = futures::stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"first")) });
            BoxBody::new(actix_web::body::BodyStream::new(Box::pin(
                first.chain(futures::stream::pending()),
            )))
        };
        let (revoke, revoked) = watch::channel(false);
        let mut body = leased(endless(), Lease::new(None, revoked));
        let mut next = async || futures::future::poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await;
        assert_eq!(next().await.unwrap().unwrap(), "first");
        let waiting = tokio::time::timeout(Duration::from_millis(20), next()).await;
        assert!(waiting.is_err());
        revoke.send_replace(true);
        let cut = next().await.unwrap().unwrap_err();
        assert!(cut.to_string().contains("revoked"), "{cut}");

        // One of a known length is on its way already.
        let (_revoke, revoked) = watch::channel(true);
        let whole = leased(BoxBody::new("whole"), Lease::new(Some(clock::now()), revoked));
        assert_eq!(to_bytes(whole).await.unwrap(), "whole");
    }
}
