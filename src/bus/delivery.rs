//! What resolves when a message, or a batch, is acknowledged.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::{DeliveryError, PublishError};

enum State<T> {
    Known(Option<T>),
    Awaited(oneshot::Receiver<T>),
}

impl<T> State<T> {
    fn poll(&mut self, cx: &mut Context<'_>, closed: impl FnOnce() -> T) -> Poll<T> {
        match self {
            Self::Known(known) => Poll::Ready(known.take().unwrap_or_else(closed)),
            Self::Awaited(receiver) => Pin::new(receiver)
                .poll(cx)
                .map(|answer| answer.unwrap_or_else(|_| closed())),
        }
    }
}

/// Resolves to the offset of the message once it is acknowledged. May be dropped.
#[must_use = "an unacknowledged message may be lost; use `post` when that does no harm"]
pub struct Delivery(State<Result<i64, DeliveryError>>);

impl Delivery {
    pub(super) fn known(result: Result<i64, DeliveryError>) -> Self {
        Self(State::Known(Some(result)))
    }

    pub(super) fn awaited(receiver: oneshot::Receiver<Result<i64, DeliveryError>>) -> Self {
        Self(State::Awaited(receiver))
    }
}

impl Future for Delivery {
    type Output = Result<i64, DeliveryError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx, || Err(DeliveryError::Closed))
    }
}

/// Resolves when all messages of a batch are acknowledged, or the first failure is known. May be dropped.
#[must_use = "only an acknowledged batch may move a cursor"]
pub struct Publication(State<Result<(), PublishError>>);

impl Publication {
    pub(super) fn known(result: Result<(), PublishError>) -> Self {
        Self(State::Known(Some(result)))
    }

    pub(super) fn awaited(receiver: oneshot::Receiver<Result<(), PublishError>>) -> Self {
        Self(State::Awaited(receiver))
    }
}

impl Future for Publication {
    type Output = Result<(), PublishError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx, || {
            Err(PublishError {
                index: 0,
                why: "the bus was closed".to_owned(),
            })
        })
    }
}
