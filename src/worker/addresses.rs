//! Where the API is served: any address will do, so the one that answered last is asked first.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The addresses of `worker.api_url`.
pub(super) struct Addresses {
    urls: Vec<String>,
    answered: AtomicUsize,
}

impl Addresses {
    /// One or more, separated by commas.
    pub(super) fn read(configured: &str) -> Self {
        Self {
            urls: api_urls(configured).map(str::to_owned).collect(),
            answered: AtomicUsize::new(0),
        }
    }

    /// All of them, beginning with the one that answered last.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = (usize, &str)> {
        let first = self.answered.load(Ordering::Relaxed);
        let count = self.urls.len();
        (first..first + count).map(move |index| (index % count, self.urls[index % count].as_str()))
    }

    /// The one at this index answers.
    pub(super) fn answers(&self, index: usize) {
        self.answered.store(index, Ordering::Relaxed);
    }
}

/// The addresses in `worker.api_url`.
pub fn api_urls(configured: &str) -> impl Iterator<Item = &str> {
    configured.split(',').map(|url| url.trim().trim_end_matches('/'))
}
