//! How long what was allowed stays allowed: for what goes on after the request was let in, such as subscriptions.

use std::time::Duration;

use tokio::sync::watch;

use crate::clock;
use crate::domain::Timestamp;

/// The longest sleep: clocks are set now and then.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Ends when the caller's token expires or is revoked; of a caller without one, never.
#[derive(Clone, Debug, Default)]
pub struct Lease {
    expires_at: Option<Timestamp>,
    revoked: Option<watch::Receiver<bool>>,
}

impl Lease {
    pub(super) fn new(expires_at: Option<Timestamp>, revoked: watch::Receiver<bool>) -> Self {
        Self {
            expires_at,
            revoked: Some(revoked),
        }
    }

    /// Whether it can end at all.
    pub fn is_endless(&self) -> bool {
        self.revoked.is_none() && self.expires_at.is_none()
    }

    /// Returns when the caller may do nothing any more. May be dropped and asked again.
    pub async fn over(mut self) {
        let revoked = async {
            match &mut self.revoked {
                // The sender goes only with the server.
                Some(revoked) => drop(revoked.wait_for(|revoked| *revoked).await),
                None => std::future::pending().await,
            }
        };
        let expired = async {
            let Some(at) = self.expires_at else {
                return std::future::pending().await;
            };
            loop {
                let now = clock::now();
                if at <= now {
                    return;
                }
                tokio::time::sleep(at.since(now).min(LONGEST_SLEEP)).await;
            }
        };
        tokio::select! {
            () = revoked => {}
            () = expired => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lease_ends_with_its_token() {
        assert!(Lease::default().is_endless());
        let (revoke, revoked) = watch::channel(false);
        Lease::new(Some(clock::now()), revoked.clone()).over().await;
        let in_an_hour = clock::now() + Duration::from_secs(3_600);
        let over = Lease::new(Some(in_an_hour), revoked).over();
        tokio::pin!(over);
        let short = Duration::from_millis(20);
        assert!(tokio::time::timeout(short, &mut over).await.is_err());
        revoke.send_replace(true);
        over.await;
    }
}
