//! How much one caller may ask for.
//!
//! Must stay true: what is counted is bounded, whoever calls; a caller with a token is counted by principal, one without by
//! address, so that nobody uses up what is another's.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::StatusCode;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::api::options::ApiOptions;
use crate::api::problem::Problem;

/// Tokens that are looked up in the database for one address: one that is in use is looked up once a minute.
const LOOK_UPS_PER_SECOND: u32 = 100;
const LOOK_UPS_AT_ONCE: u32 = 1_000;
/// Callers that have been quiet are forgotten after so many requests.
const TIDY_EVERY: u64 = 4_096;

/// Whose share a request is taken from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payer {
    Principal(Arc<str>),
    Address(IpAddr),
}

impl Payer {
    /// One who shows no token. An IPv6 network of 64 bits is one household.
    pub fn address(peer: Option<IpAddr>) -> Self {
        Self::Address(match peer {
            Some(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none() => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
            }
            Some(address) => address,
            None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        })
    }
}

struct Limit {
    /// `None`: no limit.
    limiter: Option<DefaultKeyedRateLimiter<Payer>>,
    counted: AtomicU64,
}

impl Limit {
    fn new(per_second: u32, at_once: u32) -> Self {
        let quota = NonZeroU32::new(per_second).map(|per_second| {
            let at_once = NonZeroU32::new(at_once).unwrap_or(per_second);
            Quota::per_second(per_second).allow_burst(at_once)
        });
        Self {
            limiter: quota.map(RateLimiter::keyed),
            counted: AtomicU64::new(0),
        }
    }

    fn take(&self, payer: &Payer, what: &'static str) -> Result<(), Problem> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if self.counted.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        limiter.check_key(payer).map_err(|refused| {
            metrics::counter!("grid_api_rate_refusals_total", "what" => what).increment(1);
            let wait = refused.wait_time_from(DefaultClock::default().now());
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let detail = format!("too many {what} from one caller; try again in {seconds} s");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", detail)
                .retry_after(u32::try_from(seconds).unwrap_or(u32::MAX))
        })
    }
}

pub struct Limits {
    requests: Limit,
    look_ups: Limit,
}

impl Limits {
    pub fn new(options: &ApiOptions) -> Self {
        Self {
            requests: Limit::new(options.rate_per_second, options.rate_burst),
            look_ups: Limit::new(LOOK_UPS_PER_SECOND, LOOK_UPS_AT_ONCE),
        }
    }

    /// # Errors
    /// 429 when the caller has asked for too much.
    pub fn request(&self, payer: &Payer) -> Result<(), Problem> {
        self.requests.take(payer, "requests")
    }

    /// Before a token is looked up in the database.
    ///
    /// # Errors
    /// 429 when the address has shown too many.
    pub fn look_up(&self, peer: Option<IpAddr>) -> Result<(), Problem> {
        self.look_ups.take(&Payer::address(peer), "tokens that are not in use")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_does_not_use_up_what_is_anothers() {
        let limits = Limits::new(&ApiOptions {
            rate_per_second: 1,
            rate_burst: 2,
            ..ApiOptions::default()
        });
        let (ann, bob) = (Payer::Principal(Arc::from("ann")), Payer::Principal(Arc::from("bob")));
        assert!(limits.request(&ann).is_ok() && limits.request(&ann).is_ok());
        let refused = limits.request(&ann).unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.retry_after_seconds), (429, Some(1)));
        assert!(limits.request(&bob).is_ok());
        let unlimited = Limits::new(&ApiOptions {
            rate_per_second: 0,
            ..ApiOptions::default()
        });
        assert!((0..100_000).all(|_| unlimited.request(&ann).is_ok()));
    }

    #[test]
    fn those_who_have_been_quiet_are_forgotten() {
        let limit = Limit::new(1_000_000, 1);
        for n in 0..100_000_u32 {
            let payer = Payer::address(Some(IpAddr::from(n.to_be_bytes())));
            limit.take(&payer, "requests").unwrap();
        }
        assert!(limit.limiter.unwrap().len() < 20_000);
    }

    #[test]
    fn a_network_is_one_payer() {
        let payer = |text: &str| Payer::address(Some(text.parse().unwrap()));
        assert_eq!(payer("2001:db8::1"), payer("2001:db8::ffff:1"));
        assert_ne!(payer("2001:db8::1"), payer("2001:db8:0:1::1"));
        assert_ne!(payer("192.0.2.1"), payer("192.0.2.2"));
    }
}
