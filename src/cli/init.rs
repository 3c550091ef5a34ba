//! `grid init`: a commented job to begin with, and on request a configuration file.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::Failure;
use super::output::print;
use crate::config::whole::Reference;

const EXAMPLE: &str = include_str!("example.yaml");

/// `grid init`
#[derive(Args, Debug)]
pub struct InitArgs {
    /// Folder to write into; made when missing
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Also write grid.toml with every key of the configuration
    #[arg(long = "config")]
    with_config: bool,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
}

pub fn run(args: &InitArgs) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    let job = args.dir.join("job.yaml");
    let config = args.dir.join("grid.toml");
    if !args.force {
        let there = [Some(&job), args.with_config.then_some(&config)];
        if let Some(path) = there.into_iter().flatten().find(|path| path.exists()) {
            return Err(Failure::Usage(format!("{} is there already; --force overwrites it", path.display())).into());
        }
    }
    write(&job, EXAMPLE)?;
    let mut told = format!(
        "{}: a job. Check it: grid validate {0}. Run it: grid submit {0} --watch\n",
        job.display()
    );
    if args.with_config {
        write(&config, &Reference.to_string())?;
        told += &format!(
            "{}: every key of the configuration. Use it: --config {0}\n",
            config.display()
        );
    }
    print(&told)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_good_and_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut args = InitArgs {
            dir: dir.path().join("new"),
            with_config: true,
            force: false,
        };
        run(&args).unwrap();
        let job = std::fs::read(args.dir.join("job.yaml")).unwrap();
        let job = crate::document::parse(&job, Some("job.yaml")).unwrap();
        assert_eq!(job.task_count(), 5);
        let file = Some(args.dir.join("grid.toml"));
        crate::config::whole::Config::load(&crate::config::Sources {
            file,
            ..Default::default()
        })
        .unwrap();
        assert!(run(&args).unwrap_err().to_string().contains("--force"));
        args.force = true;
        run(&args).unwrap();
    }
}
