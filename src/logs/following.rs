//! The last lines of a worker, for one who follows them: the same whether that is in this process or asks over HTTP.
//!
//! Must stay true: where the lines begin is told first; then every wanted line behind that, in order; now and then, when none
//! was wanted, how far that goes. It ends where lines that were not given are kept no more, and when no more come.

use std::sync::Arc;

use tokio::time::Instant;

use super::line::Line;
use super::logsql::{Filter, QueryError};
use super::question::Question;
use super::recent::{Asked, Behind, Look, Reach, Recent, SILENCE};

/// Lines that are looked at before the next word.
const LOOK_LINES: usize = 500;

/// What is told.
#[derive(Clone, Debug)]
pub enum Word {
    Reach(Reach),
    Lines(Vec<Arc<Line>>),
    /// No wanted line stands before this position.
    At(i64),
}

/// One who follows.
pub struct Following {
    recent: Arc<Recent>,
    question: Question,
    /// Until the reach was told.
    begin: Option<Behind>,
    after: i64,
    /// And since when it is good.
    filter: Option<(Instant, Arc<Filter>)>,
}

impl Following {
    /// # Errors
    /// When the query is none that lines in memory can be asked by.
    pub fn new(recent: Arc<Recent>, asked: Asked) -> Result<Self, QueryError> {
        asked.question.filter()?;
        Ok(Self {
            recent,
            question: asked.question,
            begin: Some(asked.after),
            after: 0,
            filter: None,
        })
    }

    /// `now` in the query is the time of the look, to a second.
    fn filter(&mut self) -> Option<Arc<Filter>> {
        if let Some((since, filter)) = &self.filter
            && since.elapsed() < SILENCE
        {
            return Some(Arc::clone(filter));
        }
        self.question.now = crate::clock::now();
        let filter = Arc::new(self.question.filter().ok()?);
        self.filter = Some((Instant::now(), Arc::clone(&filter)));
        Some(filter)
    }

    /// The next word, after [`SILENCE`] at the latest; `None`: it ends here.
    pub async fn next(&mut self) -> Option<Word> {
        if let Some(behind) = self.begin.take() {
            let reach = self.recent.reach(behind);
            self.after = reach.begin;
            return Some(Word::Reach(reach));
        }
        loop {
            let filter = self.filter()?;
            // Whether it is over is asked first: lines that came before are looked at after.
            let goes_on = match tokio::time::timeout(SILENCE, self.recent.changed(self.after)).await {
                Ok(goes_on) => goes_on,
                Err(_) => return Some(Word::At(self.after)),
            };
            let Ok(Look::Lines(lines, next)) = self.recent.after(self.after, &filter, LOOK_LINES) else {
                return None;
            };
            let moved = next > self.after;
            self.after = next;
            if !goes_on && !moved {
                return None;
            }
            if !lines.is_empty() {
                return Some(Word::Lines(lines));
            }
        }
    }
}
