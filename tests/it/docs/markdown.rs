//! What of a page can be tried: its fenced blocks, and the spans of code in its prose.

use std::path::{Path, PathBuf};

/// A page of the documentation.
pub struct Page {
    pub name: String,
    text: String,
}

/// A fenced block.
pub struct Block {
    /// What stands behind its fence.
    pub kind: String,
    pub text: String,
    /// Heading that it stands under.
    pub section: String,
}

/// A command, and what the page says that it prints: `None` when it says nothing.
#[derive(Clone, Debug)]
pub struct Command {
    pub text: String,
    pub prints: Option<Vec<String>>,
    pub section: String,
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

impl Page {
    pub fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let name = name.to_owned();
        Self { name, text }
    }

    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        let mut section = String::new();
        for line in self.text.lines() {
            match (open.take(), line.strip_prefix("```")) {
                (None, Some(kind)) => {
                    open = Some(Block {
                        kind: kind.to_owned(),
                        text: String::new(),
                        section: section.clone(),
                    });
                }
                (Some(block), Some(_)) => blocks.push(block),
                (Some(mut block), None) => {
                    block.text += line;
                    block.text += "\n";
                    open = Some(block);
                }
                (None, None) => {
                    if let Some(heading) = line.strip_prefix("## ") {
                        heading.clone_into(&mut section);
                    }
                }
            }
        }
        assert!(open.is_none(), "{}: a fence is not closed", self.name);
        blocks
    }

    /// Of its blocks `console`: lines that begin with `$ `, each followed by what it prints.
    pub fn commands(&self) -> Vec<Command> {
        let blocks = self.blocks();
        let consoles = blocks.iter().filter(|block| block.kind == "console");
        let commands: Vec<Command> = consoles.flat_map(|block| commands_of(&self.name, block)).collect();
        assert!(!commands.is_empty(), "{}: no command", self.name);
        commands
    }

    /// Of its blocks `sh`: the lines, without comments, that are commands of `grid`, under the headings. Others (of cargo)
    /// are left out.
    pub fn scripts(&self) -> Vec<(String, Vec<String>)> {
        let commands = |block: Block| {
            let lines = block
                .text
                .lines()
                .map(|line| line.split(" #").next().unwrap_or_default().trim());
            let ours = lines.filter(|line| line.contains("grid ")).map(str::to_owned);
            (block.section, ours.collect())
        };
        let blocks = self.blocks().into_iter().filter(|block| block.kind == "sh");
        blocks.map(commands).collect()
    }

    /// Files that the page gives: blocks whose first line is `# NAME`, with a name that ends in `.yaml`.
    pub fn files(&self) -> Vec<(String, String)> {
        let named = |block: Block| {
            let name = block.text.lines().next()?.strip_prefix("# ")?.to_owned();
            name.ends_with(".yaml").then_some((name, block.text))
        };
        self.blocks().into_iter().filter_map(named).collect()
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its headings of any level.
    pub fn headings(&self) -> Vec<String> {
        let mut fenced = false;
        let mut headings = Vec::new();
        for line in self.text.lines() {
            fenced ^= line.starts_with("```");
            let marks = line.chars().take_while(|char| *char == '#').count();
            if !fenced && marks > 0 && line[marks..].starts_with(' ') {
                headings.push(line[marks..].trim().to_owned());
            }
        }
        headings
    }

    /// Of its links that do not leave the repository, as they are written.
    fn targets(&self) -> impl Iterator<Item = &str> {
        let links = self.text.split("](").skip(1);
        let targets = links.map(|rest| rest.split(')').next().unwrap());
        targets.filter(|target| !target.contains("://"))
    }

    /// Links to sections, of this page or of another: where they lead, and the section's name.
    pub fn fragments(&self) -> Vec<(PathBuf, String)> {
        let folder = Path::new(&self.name).parent().unwrap();
        self.targets()
            .filter_map(|target| target.split_once('#'))
            .map(|(path, fragment)| {
                let path = if path.is_empty() {
                    PathBuf::from(&self.name)
                } else {
                    folder.join(path)
                };
                (path, fragment.to_owned())
            })
            .filter(|(path, _)| path.extension().is_some_and(|end| end == "md"))
            .collect()
    }

    /// Where its links lead that do not leave the repository: paths from its root, without their fragments.
    pub fn links(&self) -> Vec<PathBuf> {
        let folder = Path::new(&self.name).parent().unwrap();
        let paths = self.targets().map(|target| target.split('#').next().unwrap());
        paths
            .filter(|path| !path.is_empty())
            .map(|path| folder.join(path))
            .collect()
    }

    /// Spans of code outside of fenced blocks. In tables a bar inside a span is written `\|`.
    pub fn spans(&self) -> Vec<String> {
        let mut fenced = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            if line.starts_with("```") {
                fenced = !fenced;
            } else if !fenced {
                prose += line;
                prose += "\n";
            }
        }
        let spans = prose.split('`').skip(1).step_by(2);
        spans
            .map(|span| {
                span.replace("\\|", "|")
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect()
    }
}

fn commands_of(page: &str, block: &Block) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for line in block.text.lines() {
        if let Some(text) = line.strip_prefix("$ ") {
            commands.push(Command {
                text: text.to_owned(),
                prints: None,
                section: block.section.clone(),
            });
            continue;
        }
        let command = commands.last_mut();
        let command = command.unwrap_or_else(|| panic!("{page}: {line:?} stands before the first command"));
        command.prints.get_or_insert_default().push(line.to_owned());
    }
    commands
}
