//! A section of docs/troubleshooting.md, in the scene of a test: what the page calls `db:5432` is somewhere else there.

use super::expectation::{Values, printed};
use super::markdown::{Command, Page};
use super::session::{Session, refusal};

pub const PAGE: &str = "docs/troubleshooting.md";

/// What the page says, and what that is in the scene.
pub type Changes<'a> = [(&'a str, &'a str)];

/// The commands of a section, with what they print, as they are in the scene.
pub fn commands(section: &str, changes: &Changes<'_>) -> Vec<Command> {
    let here = |text: &str| {
        changes
            .iter()
            .fold(text.to_owned(), |text, (page, here)| text.replace(page, here))
    };
    let commands = Page::read(PAGE).commands().into_iter();
    let commands: Vec<Command> = commands
        .filter(|command| command.section == section)
        .map(|command| Command {
            text: here(&command.text),
            prints: command
                .prints
                .map(|lines| lines.iter().map(|line| here(line)).collect()),
            section: command.section,
        })
        .collect();
    assert!(!commands.is_empty(), "{PAGE}: no command under {section:?}");
    commands
}

/// Runs all commands of a section.
pub fn runs(session: &mut Session, section: &str, changes: &Changes<'_>) {
    commands(section, changes)
        .iter()
        .for_each(|command| drop(session.run(command)));
}

/// That a section shows, as what its command prints that begins so, what a test has got from it.
pub fn shows(section: &str, begins: &str, changes: &Changes<'_>, got: &str) {
    let commands = commands(section, changes);
    let command = commands.iter().find(|command| command.text.starts_with(begins));
    let command = command.unwrap_or_else(|| panic!("{PAGE}: no {begins:?} under {section:?}"));
    let expected = command.prints.as_deref().unwrap_or_default();
    let got = refusal(got);
    assert!(
        printed(expected, got, &Values::new()).is_some(),
        "{section}: {}\nthe page says:\n{}\nit printed:\n{got}",
        command.text,
        expected.join("\n")
    );
}
