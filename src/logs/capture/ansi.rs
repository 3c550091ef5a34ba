//! Colours and other orders to a terminal (ECMA-48), which mean nothing in a log.

use std::borrow::Cow;

const ESCAPE: char = '\u{1b}';

/// The text without them.
pub fn without(text: &str) -> Cow<'_, str> {
    if !text.contains(ESCAPE) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        if sign != ESCAPE {
            clean.push(sign);
            continue;
        }
        match signs.next() {
            // CSI: parameters, then a letter.
            Some('[') => while signs.next().is_some_and(|sign| !('\u{40}'..='\u{7e}').contains(&sign)) {},
            // OSC and other texts to the terminal: until BEL or ESC \.
            Some(']' | 'P' | 'X' | '^' | '_') => {
                while let Some(sign) = signs.next() {
                    if sign == '\u{7}' {
                        break;
                    }
                    if sign == ESCAPE {
                        signs.next_if_eq(&'\\');
                        break;
                    }
                }
            }
            // Intermediate signs, then a final one.
            Some('\u{20}'..='\u{2f}') => {
                while signs.next().is_some_and(|sign| ('\u{20}'..='\u{2f}').contains(&sign)) {}
            }
            _ => {}
        }
    }
    Cow::Owned(clean)
}
