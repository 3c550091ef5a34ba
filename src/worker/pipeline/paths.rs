//! Paths of file nodes: `${REPLICA_INDEX}` and `${REPLICA_COUNT}` are put in, relative paths stand under the worker's
//! data folder, absolute ones only inside the folders that were allowed. `..` is refused in the text; a symbolic link
//! is followed only when what it leads to is still inside.

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::context::RunContext;

/// A path as written in the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathTemplate(String);

impl PathTemplate {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("a path cannot contain a zero byte".to_owned());
        }
        let expanded = expand(text, 0, 1)?;
        let path = Path::new(&expanded);
        if path.components().any(|part| matches!(part, Component::ParentDir)) {
            return Err("`..` is not allowed in a path".to_owned());
        }
        if path.file_name().is_none() || text.ends_with('/') {
            return Err(format!("`{text}` names no file"));
        }
        // `a`, `./a` and `a//b` in one spelling, so that the same path is known to be the same.
        let normal: PathBuf = Path::new(text)
            .components()
            .filter(|part| *part != Component::CurDir)
            .collect();
        Ok(Self(normal.to_string_lossy().into_owned()))
    }

    /// Whether a file of that name could be what another sink is writing.
    pub fn is_part_name(&self) -> bool {
        let number = self.0.rsplit_once(".part-").map(|(_, number)| number);
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()) || number.contains("${"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn depends_on_replica(&self) -> bool {
        self.0.contains("${REPLICA_INDEX}")
    }

    fn expanded(&self, context: &RunContext) -> Result<String, PathRefusal> {
        expand(&self.0, context.replica_index, context.replica_count).map_err(PathRefusal::Forbidden)
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

fn expand(text: &str, index: u32, count: u32) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        out.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            return Err(format!("`{}` has no closing brace", &rest[at..]));
        };
        match &rest[at + 2..at + end] {
            "REPLICA_INDEX" => out.push_str(&index.to_string()),
            "REPLICA_COUNT" => out.push_str(&count.to_string()),
            other => {
                return Err(format!(
                    "`${{{other}}}` is not known in a path; use ${{REPLICA_INDEX}} or ${{REPLICA_COUNT}}"
                ));
            }
        }
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Why a path cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PathRefusal {
    /// Trying again changes nothing: the document or the worker's configuration must change.
    #[error("{0}")]
    Forbidden(String),
    /// Something about the file system as it is now.
    #[error("{message}")]
    Io {
        message: String,
        #[source]
        source: io::Error,
    },
}

/// Where `template` leads for this replica: an absolute path without symbolic links, inside an allowed folder. The
/// file itself, and folders above it, need not exist yet.
pub(super) fn resolve(template: &PathTemplate, context: &RunContext) -> Result<PathBuf, PathRefusal> {
    let text = template.expanded(context)?;
    let written = Path::new(&text);
    if written.is_absolute() {
        let resolved = real_path(written)?;
        for root in &context.allow_paths {
            if let Ok(root) = root.canonicalize()
                && resolved.starts_with(&root)
            {
                return Ok(resolved);
            }
        }
        return Err(PathRefusal::Forbidden(format!(
            "`{text}` is outside the folders this worker allows (--allow-path); relative paths stand under its data folder"
        )));
    }
    let root = context.data_dir.canonicalize().map_err(|source| PathRefusal::Io {
        message: format!("the worker's data folder {} cannot be used", context.data_dir.display()),
        source,
    })?;
    let resolved = real_path(&root.join(written))?;
    if resolved.starts_with(&root) {
        Ok(resolved)
    } else {
        Err(PathRefusal::Forbidden(format!(
            "`{text}` leads out of the worker's data folder through a symbolic link"
        )))
    }
}

/// The deepest existing ancestor with its links followed, and the rest appended. A link that leads nowhere is refused:
/// what it will lead to once that exists could lie anywhere.
fn real_path(path: &Path) -> Result<PathBuf, PathRefusal> {
    let mut missing = Vec::new();
    let mut existing = path;
    loop {
        match existing.canonicalize() {
            Ok(real) => return Ok(missing.iter().rev().fold(real, |real, name| real.join(name))),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                if existing.symlink_metadata().is_ok() {
                    let message = format!("`{}` is a symbolic link that leads nowhere", existing.display());
                    return Err(PathRefusal::Forbidden(message));
                }
            }
            Err(source) => {
                return Err(PathRefusal::Io {
                    message: format!("`{}` cannot be used", existing.display()),
                    source,
                });
            }
        }
        match (existing.file_name(), existing.parent()) {
            (Some(name), Some(parent)) => {
                missing.push(name.to_owned());
                existing = parent;
            }
            _ => return Err(PathRefusal::Forbidden(format!("`{}` names no file", path.display()))),
        }
    }
}
