//! Query parameters: each call knows its own, and says of any other that it does not.

use std::ops::RangeInclusive;
use std::str::FromStr;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};

use super::problem::{Mistake, Problem};

/// The query of a request.
#[derive(Debug)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// # Errors
    /// 400 with every parameter that is not in `known` or is given twice.
    pub fn read(request: &HttpRequest, known: &[&str]) -> Result<Self, Problem> {
        let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "INVALID_PARAMETER", error.to_string()))?;
        let given = query.into_inner();
        let mut errors = Vec::new();
        for (index, (name, _)) in given.iter().enumerate() {
            let message = if !known.contains(&name.as_str()) {
                unknown(name, known)
            } else if given[..index].iter().any(|(earlier, _)| earlier == name) {
                format!("{name:?} is given twice")
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
        if errors.iter().all(|error| error.message.ends_with("twice")) {
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
