//! What went wrong, with what caused it.

use std::error::Error;

/// An error with all that caused it, the outermost first: `a: b: c`. A cause whose words stand there already is left out.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the file cannot be read: {0}; choose another")]
    struct Told(#[source] std::io::Error);

    #[test]
    fn a_cause_is_told_once() {
        let error = Told(std::io::Error::other("it is a folder"));
        assert_eq!(chain(&error), "the file cannot be read: it is a folder; choose another");
        let outer = anyhow::Error::new(error).context("the configuration");
        assert_eq!(
            chain(&*outer),
            "the configuration: the file cannot be read: it is a folder; choose another"
        );
    }
}
