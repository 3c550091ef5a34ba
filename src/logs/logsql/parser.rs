//! The grammar: OR over AND over NOT over what is asked of one field.

use super::duration::parse_duration_ns;
use super::filter::{Field, Filter, Matcher, Range};
use super::lexer::{Kind, Token};
use super::pattern::Expression;
use super::time::{Point, ceil_ms, floor_ms, is_point, parse_point};
use super::{QueryError, functions, stream};
use crate::domain::Timestamp;

/// Parentheses and negations within each other.
const MOST_DEPTH: u32 = 50;
/// What may stand between the words of a text without quotes.
const GLUE: [&str; 6] = ["+", "-", "/", ":", ".", "$"];

pub struct Parser {
    tokens: Vec<Token>,
    next: usize,
    end: usize,
    pub now: Timestamp,
    depth: u32,
}

impl Parser {
    pub fn new(tokens: Vec<Token>, end: usize, now: Timestamp) -> Self {
        Self {
            tokens,
            next: 0,
            end,
            now,
            depth: 0,
        }
    }

    pub fn whole(mut self) -> Result<Filter, QueryError> {
        if self.tokens.is_empty() {
            return Err(self.wrong("a filter is missing; `*` finds every line"));
        }
        let filter = self.any_of(None)?;
        match self.peek() {
            None => Ok(filter),
            Some(_) if self.is_sign("|") => Err(QueryError::Pipes),
            Some(_) => Err(self.wrong("an operator or a space is missing here")),
        }
    }

    pub fn wrong(&self, message: impl Into<String>) -> QueryError {
        let at = self.peek().map_or(self.end, |token| token.at);
        QueryError::Syntax {
            at,
            message: message.into(),
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    pub fn advance(&mut self) {
        self.next += 1;
    }

    pub fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token { kind: Kind::Sign(found), .. }) if *found == sign)
    }

    /// A word that is not quoted, in any case.
    pub fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token { kind: Kind::Word(found), .. }) if found.eq_ignore_ascii_case(word))
    }

    /// Takes the sign when it comes next.
    pub fn take(&mut self, sign: &str) -> bool {
        let is = self.is_sign(sign);
        self.next += usize::from(is);
        is
    }

    pub fn expect(&mut self, sign: &str) -> Result<(), QueryError> {
        if self.take(sign) {
            return Ok(());
        }
        Err(self.wrong(format!("expected `{sign}`")))
    }

    /// Whether the next token follows the last one without a space.
    pub fn is_adjacent(&self) -> bool {
        self.peek().is_some_and(|token| !token.spaced)
    }

    fn is_call(&self) -> bool {
        let after = self.tokens.get(self.next + 1);
        matches!(
            after,
            Some(Token {
                kind: Kind::Sign("("),
                spaced: false,
                ..
            })
        )
    }

    fn any_of(&mut self, field: Option<&Field>) -> Result<Filter, QueryError> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(QueryError::unsupported("so many parentheses within each other"));
        }
        let mut filters = vec![self.all_of(field)?];
        while self.is_word("or") {
            self.advance();
            filters.push(self.all_of(field)?);
        }
        self.depth -= 1;
        Ok(match filters.len() {
            1 => filters.swap_remove(0),
            _ => Filter::Or(filters),
        })
    }

    fn all_of(&mut self, field: Option<&Field>) -> Result<Filter, QueryError> {
        let mut filters = vec![self.one(field)?];
        loop {
            if self.peek().is_none() || self.is_word("or") || self.is_sign("|") || self.is_sign(")") {
                break;
            }
            if self.is_word("and") {
                self.advance();
            } else if self.is_adjacent() {
                return Err(self.wrong("a space is missing here; or the whole text needs quotes"));
            }
            filters.push(self.one(field)?);
        }
        Ok(match filters.len() {
            1 => filters.swap_remove(0),
            _ => Filter::And(filters),
        })
    }

    /// One filter, of `field` or else of the message or the field that it names.
    fn one(&mut self, field: Option<&Field>) -> Result<Filter, QueryError> {
        let Some(token) = self.peek().cloned() else {
            return Err(self.wrong("a filter is missing at the end"));
        };
        match token.kind {
            Kind::Sign("!" | "-") => self.negated(field),
            Kind::Sign("(") => {
                self.advance();
                let filter = self.any_of(field)?;
                self.expect(")")?;
                Ok(filter)
            }
            Kind::Sign("{") => match field {
                None => stream::selector(self),
                Some(_) => Err(self.wrong("a stream is selected by `{…}` or `_stream:{…}`")),
            },
            Kind::Sign(sign) => self.operator(sign, field),
            Kind::Other(sign) => Err(self.wrong(format!("{sign:?} needs quotes"))),
            Kind::Word(word) if word.eq_ignore_ascii_case("not") => self.negated(field),
            Kind::Word(word) if ["and", "or"].iter().any(|known| word.eq_ignore_ascii_case(known)) => Err(self.wrong(
                format!("a filter is missing before `{word}`; quote it to search for it"),
            )),
            Kind::Word(word) if word.eq_ignore_ascii_case("range") && self.opens_range() => {
                self.advance();
                functions::number_range(self, field)
            }
            Kind::Word(word) if self.is_call() => functions::call(self, &word, field),
            Kind::Word(_) | Kind::Quoted(_) => self.text_or_field(field),
        }
    }

    fn opens_range(&self) -> bool {
        let after = self.tokens.get(self.next + 1);
        matches!(
            after,
            Some(Token {
                kind: Kind::Sign("(" | "["),
                ..
            })
        )
    }

    fn negated(&mut self, field: Option<&Field>) -> Result<Filter, QueryError> {
        self.advance();
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(QueryError::unsupported("so many negations within each other"));
        }
        let filter = self.one(field)?;
        self.depth -= 1;
        Ok(Filter::negated(filter))
    }

    fn operator(&mut self, sign: &'static str, field: Option<&Field>) -> Result<Filter, QueryError> {
        self.advance();
        match sign {
            // Without a field it asks for nothing.
            "*" => match field {
                None => Ok(Filter::All),
                Some(field) => Ok(matching(Some(field), Matcher::Any)),
            },
            "=" => self.exactly(field),
            "!=" => Ok(Filter::negated(self.exactly(field)?)),
            "~" => self.regex(field),
            "!~" => Ok(Filter::negated(self.regex(field)?)),
            ">" | "<" => functions::comparison(self, sign, field),
            _ => {
                self.next -= 1;
                Err(self.wrong(format!("a filter is missing before `{sign}`")))
            }
        }
    }

    fn exactly(&mut self, field: Option<&Field>) -> Result<Filter, QueryError> {
        let text = self.text(false)?;
        let matcher = if self.is_adjacent() && self.take("*") {
            Matcher::ExactPrefix(text)
        } else {
            Matcher::Exact(text)
        };
        Ok(matching(field, matcher))
    }

    fn regex(&mut self, field: Option<&Field>) -> Result<Filter, QueryError> {
        let text = self.text(false)?;
        Ok(matching(field, Matcher::Pattern(Expression::anywhere(&text)?)))
    }

    fn text_or_field(&mut self, field: Option<&Field>) -> Result<Filter, QueryError> {
        let text = self.text(field.is_none())?;
        if field.is_none() && self.take(":") {
            return self.of_field(text);
        }
        let matcher = if self.is_adjacent() && self.take("*") {
            match text.is_empty() {
                true => Matcher::Any,
                false => Matcher::Prefix(text),
            }
        } else if text.is_empty() {
            Matcher::Empty
        } else {
            Matcher::Phrase(text)
        };
        Ok(matching(field, matcher))
    }

    fn of_field(&mut self, name: String) -> Result<Filter, QueryError> {
        match name.as_str() {
            "_time" => self.time(),
            "_stream" => stream::selector(self),
            "_stream_id" => Err(QueryError::unsupported("_stream_id")),
            "" => Err(self.wrong("the name of a field is missing")),
            _ => self.one(Some(&Field(name))),
        }
    }

    /// A quoted text, or words and what may stand between them. `stops`: a colon ends it.
    pub fn text(&mut self, stops: bool) -> Result<String, QueryError> {
        if let Some(Token {
            kind: Kind::Quoted(text),
            ..
        }) = self.peek()
        {
            let text = text.clone();
            self.advance();
            return Ok(text);
        }
        let begin = self.next;
        let mut text = String::new();
        while let Some(token) = self.peek() {
            let part = match &token.kind {
                Kind::Word(word) => word.as_str(),
                Kind::Sign(sign) if GLUE.contains(sign) && !(stops && *sign == ":") => sign,
                _ => break,
            };
            if self.next > begin && token.spaced {
                break;
            }
            text.push_str(part);
            self.advance();
        }
        if text.is_empty() || GLUE.contains(&text.as_str()) {
            self.next = begin;
            return Err(self.wrong("expected a word, or a text in quotes"));
        }
        Ok(text)
    }

    /// Texts in parentheses, separated by commas.
    pub fn arguments(&mut self) -> Result<Vec<String>, QueryError> {
        self.expect("(")?;
        let mut texts = Vec::new();
        loop {
            if self.take(")") {
                return Ok(texts);
            }
            if self.is_sign("*") {
                return Err(QueryError::unsupported("`*` as an argument"));
            }
            texts.push(self.text(false)?);
            if !self.take(",") && !self.is_sign(")") {
                return Err(match self.peek() {
                    None => self.wrong("expected `)`"),
                    Some(_) => QueryError::unsupported("a query as an argument"),
                });
            }
        }
    }

    fn time(&mut self) -> Result<Filter, QueryError> {
        let (mut from_ns, mut to_ns) = self.time_range()?;
        if self.is_word("offset") {
            self.advance();
            let text = self.text(false)?;
            let offset = parse_duration_ns(&text).ok_or_else(|| self.wrong(format!("{text:?} is no duration")))?;
            from_ns = from_ns.map(|from| from.saturating_sub(offset));
            to_ns = to_ns.map(|to| to.saturating_sub(offset));
        }
        Ok(Filter::Time {
            from_ms: from_ns.map(ceil_ms),
            to_ms: to_ns.map(floor_ms),
        })
    }

    /// The first and the last nanosecond.
    fn time_range(&mut self) -> Result<(Option<i64>, Option<i64>), QueryError> {
        if let Some(sign) = [">", "<"].into_iter().find(|sign| self.is_sign(sign)) {
            self.advance();
            let included = self.take("=");
            return self.time_beyond(sign == ">", included);
        }
        let opening = ["[", "("].into_iter().find(|sign| self.is_sign(sign));
        let Some(opening) = opening else {
            self.take("=");
            return self.time_at();
        };
        self.advance();
        let from = self.point()?;
        self.expect(",")?;
        let to = self.point()?;
        let to_ns = if self.take("]") {
            to.end_ns
        } else if self.take(")") {
            to.start_ns - 1
        } else {
            return Err(self.wrong("expected `]` or `)`"));
        };
        Ok((Some(from.start_ns + i64::from(opening == "(")), Some(to_ns)))
    }

    fn time_beyond(&mut self, later: bool, included: bool) -> Result<(Option<i64>, Option<i64>), QueryError> {
        let text = self.text(false)?;
        let excluded = i64::from(!included);
        if is_point(&text) {
            let point = self.read_point(&text)?;
            return Ok(match (later, included) {
                (true, _) => (Some(point.start_ns + excluded), None),
                (false, true) => (None, Some(point.end_ns)),
                (false, false) => (None, Some(point.start_ns - 1)),
            });
        }
        let (age, now) = (self.age(&text)?, self.now_ns());
        Ok(match later {
            // Older than that.
            true => (None, Some(now.saturating_sub(age + excluded))),
            false => (Some(now.saturating_sub(age - excluded)), Some(now)),
        })
    }

    fn time_at(&mut self) -> Result<(Option<i64>, Option<i64>), QueryError> {
        let text = self.text(false)?;
        if is_point(&text) {
            let point = self.read_point(&text)?;
            return Ok((Some(point.start_ns), Some(point.end_ns)));
        }
        let (age, now) = (self.age(&text)?, self.now_ns());
        Ok((Some(now.saturating_sub(age)), Some(now)))
    }

    fn now_ns(&self) -> i64 {
        self.now.as_ms().saturating_mul(1_000_000)
    }

    fn point(&mut self) -> Result<Point, QueryError> {
        let text = self.text(false)?;
        self.read_point(&text)
    }

    fn read_point(&self, text: &str) -> Result<Point, QueryError> {
        let expected = "is no time: expected one like 2026-01-31T10:00:00Z, 2026-01-31 or now-1h";
        parse_point(text, self.now).ok_or_else(|| self.wrong(format!("{text:?} {expected}")))
    }

    fn age(&self, text: &str) -> Result<i64, QueryError> {
        let expected = "is neither a time like 2026-01-31 nor a duration like 5m";
        let age = parse_duration_ns(text).map(i64::abs);
        age.ok_or_else(|| self.wrong(format!("{text:?} {expected}")))
    }

    /// A number, which may have a minus before it.
    pub fn number(&mut self) -> Result<f64, QueryError> {
        let text = self.text(false)?;
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| QueryError::unsupported(format!("a comparison with {text:?}, which is no number")))
    }
}

/// What is asked of a field, or of the message.
pub fn matching(field: Option<&Field>, matcher: Matcher) -> Filter {
    let field = field.cloned().unwrap_or_else(Field::message);
    Filter::Field(field, matcher)
}

/// A comparison of numbers.
pub fn numbers(field: Option<&Field>, range: Range) -> Filter {
    matching(field, Matcher::Number(range))
}
