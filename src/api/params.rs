//! Query parameters: each call knows its own, and says of any other that it does not.

use std::ops::RangeInclusive;
use std::str::FromStr;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};

use super::problem::{Mistake, Problem};
use crate::domain::Timestamp;

/// How often one parameter may be given.
pub const MOST_VALUES: usize = 50;

/// The query of a request.
#[derive(Debug)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// # Errors
    /// 400 with every parameter that is not in `known` or is given twice.
    pub fn read(request: &HttpRequest, known: &[&str]) -> Result<Self, Problem> {
        Self::read_repeating(request, known, &[])
    }

    /// `repeatable`: those of `known` that may be given several times.
    ///
    /// # Errors
    /// 400 with every parameter that is not in `known`, or is given twice and not in `repeatable`.
    pub fn read_repeating(request: &HttpRequest, known: &[&str], repeatable: &[&str]) -> Result<Self, Problem> {
        let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "INVALID_PARAMETER", error.to_string()))?;
        let given = query.into_inner();
        let mut errors = Vec::new();
        for (index, (name, value)) in given.iter().enumerate() {
            let message = if !known.contains(&name.as_str()) {
                unknown(name, known)
            } else if !repeatable.contains(&name.as_str()) && given[..index].iter().any(|(earlier, _)| earlier == name)
            {
                format!("{name:?} is given twice")
            } else if let Err(error) = without_nul(value) {
                format!("{name:?}: {error}")
            } else {
                continue;
            };
            errors.push(Mistake {
                parameter: Some(name.clone()),
                message,
                ..Mistake::default()
            });
        }
        if errors.is_empty() {
            return Ok(Self(given));
        }
        let detail = errors
            .iter()
            .map(|error| error.message.as_str())
            .collect::<Vec<_>>()
            .join("; ");
        let mut problem = Problem::new(StatusCode::BAD_REQUEST, "UNKNOWN_PARAMETER", detail);
        if errors.iter().all(|error| !error.message.starts_with("unknown")) {
            problem.code = "INVALID_PARAMETER".into();
        }
        problem.errors = errors;
        Err(problem)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter, read.
    ///
    /// # Errors
    /// 400 with what the type says of a text; or when there are more than a filter takes.
    pub fn all<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Vec<T>, Problem> {
        let values: Vec<&str> = self
            .0
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect();
        few_enough(name, &values)?;
        let parse = |text: &str| {
            text.parse()
                .map_err(|error: T::Err| Problem::bad_parameter(name, format!("{error}; found {}", shown(text))))
        };
        values.into_iter().map(parse).collect()
    }

    /// Every value of a parameter, as one of those that there are.
    ///
    /// # Errors
    /// 400 with those that there are.
    pub fn all_of<T: Copy>(&self, name: &str, known: &[T], text_of: fn(T) -> &'static str) -> Result<Vec<T>, Problem> {
        let texts: Vec<String> = self.all(name)?;
        let find = |text: &String| {
            let found = known.iter().copied().find(|one| text_of(*one) == *text);
            found.ok_or_else(|| {
                let names: Vec<&str> = known.iter().map(|one| text_of(*one)).collect();
                let message = format!("expected one of {}, found {}", names.join(", "), shown(text));
                Problem::bad_parameter(name, message)
            })
        };
        texts.iter().map(find).collect()
    }

    /// A point in time: RFC 3339, or a day, which is its first moment in UTC.
    ///
    /// # Errors
    /// 400 when it is neither.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let time = self.get(name).map(read_time).transpose();
        time.map_err(|message| Problem::bad_parameter(name, message))
    }

    /// # Errors
    /// 400 when it is no whole number of the range.
    pub fn whole(&self, name: &str, default: u32, range: RangeInclusive<u32>) -> Result<u32, Problem> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let number = text.parse::<u32>().ok().filter(|number| range.contains(number));
        let (from, to) = (range.start(), range.end());
        number.ok_or_else(|| {
            Problem::bad_parameter(
                name,
                format!("expected a whole number from {from} to {to}, found {}", shown(text)),
            )
        })
    }

    /// # Errors
    /// 400 when it is neither true nor false.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Problem::bad_parameter(
                name,
                format!("expected true or false, found {}", shown(other)),
            )),
        }
    }

    /// # Errors
    /// 400 with what the type says of the text.
    pub fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|error: T::Err| Problem::bad_parameter(name, error.to_string()))
        };
        self.get(name).map(parse).transpose()
    }
}

/// Text as it can be kept and looked for.
///
/// # Errors
/// When it holds a NUL: Postgres has no text with it.
pub fn without_nul(text: &str) -> Result<&str, &'static str> {
    if text.contains('\0') {
        return Err("it holds a NUL character");
    }
    Ok(text)
}

/// # Errors
/// 400 when there are more values of one part of a filter than it takes.
pub fn few_enough<T>(name: &str, values: &[T]) -> Result<(), Problem> {
    if values.len() > MOST_VALUES {
        let message = format!("at most {MOST_VALUES} values, found {}", values.len());
        return Err(Problem::bad_parameter(name, message));
    }
    Ok(())
}

/// # Errors
/// 400 when they are more than one part of a filter takes, or one is no text that can be looked for.
pub fn fit_for_filter(name: &str, texts: &[String]) -> Result<(), Problem> {
    few_enough(name, texts)?;
    let wrong = texts.iter().find_map(|text| without_nul(text).err());
    wrong.map_or(Ok(()), |error| Err(Problem::bad_parameter(name, error)))
}

/// RFC 3339, or a day.
///
/// # Errors
/// What was expected.
pub fn read_time(text: &str) -> Result<Timestamp, String> {
    let time = text
        .parse()
        .or_else(|_| format!("{text}T00:00:00Z").parse::<Timestamp>());
    time.map_err(|_| {
        let expected = "expected a time like 2026-01-31T10:00:00Z, or a day like 2026-01-31";
        format!("{expected}, found {}{}", shown(text), plus_hint(text))
    })
}

/// For a time whose zone lost its sign on the way.
pub fn plus_hint(text: &str) -> &'static str {
    if text.contains('T') && text.contains(' ') {
        " (in an address, + is written %2B)"
    } else {
        ""
    }
}

fn unknown(name: &str, known: &[&str]) -> String {
    let name = shown(name);
    if known.is_empty() {
        return format!("unknown parameter {name}: this call has none");
    }
    format!("unknown parameter {name}: this call knows {}", known.join(", "))
}

/// The client's text in a message: quoted and not too long.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        format!("{short:?}…")
    } else {
        format!("{short:?}")
    }
}
