//! Letters as a file: page by page.
//!
//! Must stay true: memory holds one page of letters, and no connection to the database is held while a client takes its
//! time; a transfer that breaks off is seen to (it ends without its last chunk).

use std::io;

use actix_web::web;
use bytes::Bytes;
use futures::stream::{self, Stream, TryStreamExt};

use crate::api::Api;
use crate::api::problem::Problem;
use crate::letters::{Dead, Key, Wanted};

/// They may be long.
const PAGE_LETTERS: u32 = 100;

/// What stands between the pages.
pub struct Pages {
    api: web::Data<Api>,
    wanted: Wanted,
    after: Option<Key>,
    ahead: Option<Vec<Dead>>,
}

impl Pages {
    pub fn new(api: web::Data<Api>, wanted: Wanted) -> Self {
        Self {
            api,
            wanted,
            after: None,
            ahead: None,
        }
    }

    /// Reads the first page now, so that what is wrong at once is a problem like any other.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn read_ahead(&mut self) -> Result<(), Problem> {
        self.ahead = Some(self.read().await?);
        Ok(())
    }

    async fn read(&self) -> Result<Vec<Dead>, Problem> {
        let page = self.api.letters.page(&self.wanted, self.after, 0, PAGE_LETTERS);
        page.await.map_err(|error| Problem::database(&error))
    }

    /// The next page, until there is none.
    async fn next(&mut self) -> Result<Option<Vec<Dead>>, Problem> {
        let page = match self.ahead.take() {
            Some(page) => page,
            None => self.read().await?,
        };
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some(last.key);
        Ok(Some(page))
    }

    /// All of them, as `write` has a page.
    pub fn stream<F>(self, write: F) -> impl Stream<Item = io::Result<Bytes>>
    where
        F: Fn(Vec<Dead>) -> Result<Vec<u8>, Problem>,
    {
        let part = |(mut pages, write): (Self, F)| async move {
            let Some(page) = pages.next().await? else {
                return Ok(None);
            };
            let text = write(page)?;
            Ok(Some((Bytes::from(text), (pages, write))))
        };
        stream::try_unfold((self, write), part).map_err(|problem: Problem| io::Error::other(problem.to_string()))
    }
}
