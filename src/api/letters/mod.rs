//! Dead letters over REST: taken in from workers, listed, taken away as a file, replayed, and read by those who replay them.
//!
//! Must stay true: a replay reads exactly the letters that were there when it was asked for, or fails.

mod intake;
mod list;
mod pages;
mod replay;
mod source;

pub use intake::take;
pub use list::{DeadLetterList, DeadLetterView, export, list};
pub use replay::{Asked, ReplayView, replay};
pub use source::records;

use super::Api;
use super::params::{Params, without_nul};
use super::problem::Problem;
use crate::domain::{JobId, TaskId};
use crate::letters::Wanted;

/// Which letters of a job, besides a page of them.
#[derive(Clone, Debug, Default)]
pub struct Sought {
    pub task: Option<TaskId>,
    pub node: Option<String>,
}

impl Sought {
    fn read(params: &Params) -> Result<Self, Problem> {
        Ok(Self {
            task: params.parsed("task")?,
            node: params.get("node").map(str::to_owned),
        })
    }

    /// # Errors
    /// 400 for a task of another job, and for a node whose name can be none.
    pub fn of(&self, job: JobId) -> Result<Wanted, Problem> {
        if let Some(task) = self.task.filter(|task| task.job != job) {
            return Err(Problem::bad_parameter("task", format!("{task} is no task of {job}")));
        }
        if let Some(Err(error)) = self.node.as_deref().map(without_nul) {
            return Err(Problem::bad_parameter("node", error));
        }
        Ok(Wanted {
            tasks: self.task.map(|task| task.number..=task.number),
            node: self.node.clone(),
            ..Wanted::of_job(job)
        })
    }
}

impl Api {
    /// # Errors
    /// 404 and 410 for a job that is not there.
    async fn must_be_there(&self, job: JobId) -> Result<(), Problem> {
        let plan = self.reading.plan(job).await;
        match plan.map_err(|error| Problem::database(&error))? {
            Some(_) => Ok(()),
            None => Err(self.missing_job(job).await),
        }
    }
}
