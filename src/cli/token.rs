//! `grid token`: who may use the API, and as what. Works on the database, so that the first token needs no token.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::args::{ConfigArgs, Flags, StoreArgs};
use super::output::{print, print_json, table, tell, time};
use super::{Failure, Output};
use crate::api::Role;
use crate::api::auth::{TokenId, TokenRow, Wanted};
use crate::config::whole::Loaded;
use crate::{clock, node, telemetry};

const EXAMPLES: &str = "Examples:
  grid token create --role admin --expires 90d --name ann
  grid token create --role worker --expires never --postgres postgres://owner@db/grid
  grid token list
  grid token revoke 0123456789abcdef";

/// `grid token`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and show it, this once
    Create(CreateArgs),
    /// List tokens; what opens something is shown of none
    List(ListArgs),
    /// Revoke a token: when this returns, no server takes it any more
    Revoke(RevokeArgs),
}

#[derive(Args, Debug)]
struct CreateArgs {
    /// What it may do: viewer looks; operator also submits and steers; admin also sees and revokes tokens; worker is for
    /// worker processes alone
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// How long it is good: a duration such as 90d, or never
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    expires: Lifetime,
    /// Whose it is: stands in the events that it causes; a token and its successor may share it [default: token-<id>]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Args, Debug)]
struct RevokeArgs {
    /// Its id, or all of it
    #[arg(value_name = "ID", value_parser = id_of)]
    id: TokenId,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Which database.
#[derive(Args, Debug)]
struct PlaceArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

impl PlaceArgs {
    fn load(&self) -> Result<Loaded, Failure> {
        let mut flags = Flags::default();
        self.store.add_owner(&mut flags);
        Ok(self.config.load(flags)?)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Lifetime(Option<Duration>);

fn lifetime(text: &str) -> Result<Lifetime, String> {
    if text == "never" {
        return Ok(Lifetime(None));
    }
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(Lifetime(Some(duration))),
        _ => Err("expected a duration such as 12h or 90d, or never".to_owned()),
    }
}

/// The id, also out of a whole token: what was copied is often all of it.
fn id_of(text: &str) -> Result<TokenId, String> {
    let id = text.strip_prefix("grid_").and_then(|rest| rest.split('_').next());
    id.unwrap_or(text).parse()
}

pub fn run(args: &TokenArgs, output: Output) -> anyhow::Result<()> {
    let place = match &args.command {
        TokenCommand::Create(args) => &args.place,
        TokenCommand::List(args) => &args.place,
        TokenCommand::Revoke(args) => &args.place,
    };
    let Loaded { config, .. } = place.load()?;
    telemetry::start(&config.log)?;
    match &args.command {
        TokenCommand::Create(args) => {
            let wanted = Wanted {
                role: args.role,
                principal: args.name.clone(),
                expires_at: args.expires.0.map(|lifetime| clock::now() + lifetime),
            };
            let (token, row) = node::run(node::create_token(&config, &wanted))?;
            match output {
                Output::Json => {
                    let mut shown = serde_json::to_value(&row)?;
                    shown["token"] = json!(token.text.reveal());
                    print_json(&shown)
                }
                Output::Human => {
                    tell(&format!(
                        "{} for {}, {}. It is not shown again; keep it as GRID_TOKEN, or in worker.api_token",
                        row.role,
                        row.principal,
                        row.expires_at
                            .map_or("never expires".to_owned(), |at| format!("expires at {at}"))
                    ));
                    print(&format!("{}\n", token.text.reveal()))
                }
            }
        }
        TokenCommand::List(_) => {
            let rows = node::run(node::list_tokens(&config))?;
            match output {
                Output::Json => print_json(&json!({"items": rows})),
                Output::Human => print(&listed(rows)),
            }
        }
        TokenCommand::Revoke(args) => {
            let row = node::run(node::revoke_token(&config, &args.id))?;
            match output {
                Output::Json => print_json(&serde_json::to_value(&row)?),
                Output::Human => print(&format!("{} of {} is revoked\n", row.id, row.principal)),
            }
        }
    }
}

fn listed(rows: Vec<TokenRow>) -> String {
    let now = clock::now();
    let state = |row: &TokenRow| match row.revoked_at {
        Some(at) => format!("revoked {}", time(Some(at))),
        None if row.has_expired(now) => "expired".to_owned(),
        None => "good".to_owned(),
    };
    table(
        &["ID", "NAME", "ROLE", "CREATED", "EXPIRES", "LAST USED", "STATE"],
        rows.into_iter().map(|row| {
            vec![
                row.id.to_string(),
                row.principal.clone(),
                row.role.to_string(),
                time(Some(row.created_at)),
                row.expires_at.map_or_else(|| "never".to_owned(), |at| time(Some(at))),
                time(row.last_used_at),
                state(&row),
            ]
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_said_and_an_id_is_found_in_a_whole_token() {
        assert_eq!(lifetime("never"), Ok(Lifetime(None)));
        assert_eq!(lifetime("90d"), Ok(Lifetime(Some(Duration::from_secs(90 * 86_400)))));
        for wrong in ["", "0s", "soon", "-1h"] {
            assert!(lifetime(wrong).unwrap_err().contains("90d"), "{wrong}");
        }
        let id = "0123456789abcdef";
        let whole = format!("grid_{id}_{}", "0".repeat(64));
        assert_eq!(id_of(&whole).unwrap().as_str(), id);
        assert_eq!(id_of(id).unwrap().as_str(), id);
        assert!(id_of("ann").unwrap_err().contains("grid token list"));
    }
}
