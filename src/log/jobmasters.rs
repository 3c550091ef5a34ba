//! Processes that decide jobs say that they live, up to which format they know the log, and hear which one is active.
//!
//! Must stay true: a process says so before it claims its first shard, so whoever raises the format knows of every one
//! that might read what is written after it; one that hears of a format that it does not know serves no shard any more.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Error, Format, Log};
use crate::domain::Incarnation;

/// How often a process says that it lives.
const EVERY: Duration = Duration::from_secs(2);
/// Silence after which it counts as gone. One that was only paused hears of the new format before it claims anything.
pub(super) const GONE_AFTER_S: i32 = 15;

/// Who says so.
#[derive(Clone, Debug)]
pub struct Jobmaster {
    pub incarnation: Incarnation,
    pub name: String,
}

/// Goes on until it is stopped.
pub struct Beats {
    log: Log,
    incarnation: Incarnation,
    ending: watch::Sender<()>,
    beats: JoinHandle<()>,
}

impl Beats {
    /// Says that the process does not live any more, behind the last beat.
    ///
    /// # Errors
    /// When the database does not answer; then it counts as gone after 15 s.
    pub async fn stop(self) -> Result<(), Error> {
        drop(self.ending);
        let _ = self.beats.await;
        self.log.say_goodbye(self.incarnation).await
    }
}

impl Log {
    /// The format that is written, as far as this process has heard: it may have been raised in the last two seconds.
    pub fn format(&self) -> Format {
        *self.inner.format.borrow()
    }

    /// Waits until the log has a format that this program does not know.
    pub async fn outgrown(&self) -> Error {
        let mut format = self.inner.format.subscribe();
        // The sender is this log's: it outlives the waiting.
        let newer = format.wait_for(|format| *format > Format::known()).await;
        let found = newer.map_or_else(|_| self.format(), |format| *format);
        Error::newer("the log", found)
    }

    /// Looks whether the log has a format that this program does not know.
    ///
    /// # Errors
    /// When it has, or the database does not answer.
    pub async fn refuse_outgrown(&self) -> Result<(), Error> {
        let log = self.clone();
        let unit = async move {
            let active = sqlx::query_scalar("SELECT log_format FROM log_meta")
                .fetch_one(&log.inner.pool)
                .await?;
            log.heard(Format(active));
            if log.format() > Format::known() {
                return Err(Error::newer("the log", log.format()));
            }
            Ok(())
        };
        self.run("log.refuse_outgrown", unit).await
    }

    /// A format was met in the log; it never goes down.
    pub(super) fn heard(&self, met: Format) {
        self.inner.format.send_if_modified(|format| {
            let is_news = *format < met;
            *format = met.max(*format);
            is_news
        });
        let label = |which| metrics::gauge!("grid_log_format", "which" => which);
        label("active").set(self.format().number());
        label("known").set(Format::known().number());
    }

    /// Says that the process lives, and hears the active format.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn beat(&self, jobmaster: &Jobmaster) -> Result<Format, Error> {
        let (log, jobmaster) = (self.clone(), jobmaster.clone());
        let unit = async move {
            let beat = "WITH forgotten AS (
                            DELETE FROM jobmasters WHERE beat_at < now() - interval '1 day'
                        ), lives AS (
                            INSERT INTO jobmasters (incarnation, name, program, log_format) VALUES ($1, $2, $3, $4)
                            ON CONFLICT (incarnation) DO UPDATE SET beat_at = now()
                        )
                        SELECT log_format FROM log_meta";
            let active: i32 = sqlx::query_scalar(beat)
                .bind(jobmaster.incarnation.0)
                .bind(&jobmaster.name)
                .bind(env!("CARGO_PKG_VERSION"))
                .bind(Format::known().number())
                .fetch_one(&log.inner.pool)
                .await?;
            log.heard(Format(active));
            Ok(Format(active))
        };
        self.run("log.beat", unit).await
    }

    /// Says so every two seconds. A failure is tried again the next time.
    pub fn keep_beating(&self, jobmaster: Jobmaster) -> Beats {
        let (log, incarnation) = (self.clone(), jobmaster.incarnation);
        let (ending, mut ended) = watch::channel(());
        let beats = crate::task::spawn_on(&self.inner.runtime, "log.keep_beating", async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = ended.changed() => return,
                }
                if let Err(error) = log.beat(&jobmaster).await {
                    tracing::warn!(%error, "log.not_beaten");
                }
            }
        });
        Beats {
            log: self.clone(),
            incarnation,
            ending,
            beats,
        }
    }

    /// Says that the process does not live any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn say_goodbye(&self, incarnation: Incarnation) -> Result<(), Error> {
        let pool = self.inner.pool.clone();
        let unit = async move {
            let gone = sqlx::query("DELETE FROM jobmasters WHERE incarnation = $1").bind(incarnation.0);
            gone.execute(&pool).await?;
            Ok(())
        };
        self.run("log.say_goodbye", unit).await
    }
}
