//! `grid context`: servers by name, and which server a client command talks to.
//!
//! Must stay true: flags go before the environment, the environment before a context, a context before the default;
//! `--context` is a flag, so what that context says goes before the environment too. The token of a context goes to no
//! server but that context's. The file is its owner's alone, and no token is printed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

use super::Failure;
use super::client::Client;
use super::output::{Output, print, print_json, table};
use super::whole_file::WholeFile;
use crate::config::Secret;

const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";
/// Nobody but its owner.
const MODE: u32 = 0o600;

const EXAMPLES: &str =
    "The file is $XDG_CONFIG_HOME/grid/contexts.toml, or ~/.config/grid/contexts.toml. A command takes \
its server, token and authorities from --server, --token and --ca, else from GRID_SERVER, GRID_TOKEN and GRID_CA, else \
from the context in use (--context NAME, GRID_CONTEXT, or `grid context use NAME`). With a server named otherwise, a \
context's token is not shown to it.

Examples:
  grid context add prod --server https://grid.example --token-file ~/grid.token --ca ca.pem
  pass grid/prod | grid context add prod --server https://grid.example --token -
  grid context use prod
  grid jobs --context test";

/// `grid context`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ContextArgs {
    #[command(subcommand)]
    command: ContextCommand,
}

#[derive(Debug, Subcommand)]
enum ContextCommand {
    /// Add a server under a name; the first one added is in use
    Add(AddArgs),
    /// Use a context from now on
    Use(NameArgs),
    /// List contexts; tokens are not shown
    List,
    /// Remove a context
    Remove(NameArgs),
}

#[derive(Args, Debug)]
struct AddArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Server to talk to
    #[arg(long, value_name = "URL")]
    server: String,
    /// Token to show; - reads it from standard input, which keeps it out of the process list
    #[arg(long, value_name = "TOKEN")]
    token: Option<Secret>,
    /// File with the token, read at each use
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// Authorities (PEM) to trust besides the machine's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Replace the context of the name
    #[arg(long)]
    force: bool,
}

#[derive(Args, Debug)]
struct NameArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

/// Which server a client command talks to.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerArgs {
    /// Server to talk to [env: GRID_SERVER=] [default: the context's, else http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", conflicts_with = "context")]
    server: Option<String>,
    /// Token to show; GRID_TOKEN keeps it out of the process list [env: GRID_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    token: Option<Secret>,
    /// Authorities (PEM) to trust besides the machine's [env: GRID_CA=]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Context with server, token and authorities: see `grid context` [env: GRID_CONTEXT=]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl ServerArgs {
    /// A client of the server that the flags, the environment and the contexts name.
    pub fn client(&self) -> Result<Client, Failure> {
        let target = resolve(self, &Self::of_environment()?, Contexts::read_from_home)?;
        Client::new(&target.server, target.token, target.ca.as_deref())
            .map_err(|error| Failure::Usage(error.to_string()))
    }

    fn of_environment() -> Result<Self, Failure> {
        Ok(Self {
            server: variable("GRID_SERVER")?,
            token: variable("GRID_TOKEN")?.map(Secret::new),
            ca: variable("GRID_CA")?.map(PathBuf::from),
            context: variable("GRID_CONTEXT")?,
        })
    }
}

/// An empty variable says nothing.
fn variable(name: &str) -> Result<Option<String>, Failure> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let value = value.into_string();
    value
        .map(Some)
        .map_err(|_| Failure::Usage(format!("{name} is not UTF-8 text; set it anew or unset it")))
}

/// What a command talks to, and as whom.
#[derive(Debug)]
struct Target {
    server: String,
    token: Option<Secret>,
    ca: Option<PathBuf>,
}

/// The contexts are read only when the flags and the environment leave something to them.
fn resolve(
    flags: &ServerArgs,
    environment: &ServerArgs,
    contexts: impl FnOnce() -> Result<Contexts, Failure>,
) -> Result<Target, Failure> {
    let by_flag = flags.context.is_some();
    let server = flags
        .server
        .as_ref()
        .or_else(|| environment.server.as_ref().filter(|_| !by_flag));
    let (server, context) = match server {
        Some(server) => (server.clone(), None),
        None => {
            let contexts = contexts()?;
            let name = flags.context.as_ref().or(environment.context.as_ref());
            match name.or(contexts.current.as_ref()) {
                None => (DEFAULT_SERVER.to_owned(), None),
                Some(name) => {
                    let context = contexts.get(name)?.clone();
                    (context.server.clone(), Some(context))
                }
            }
        }
    };
    let (of_context, ca_of_context) = match context {
        // Not read when a token is named otherwise: it may be out of reach then.
        Some(context) if flags.token.is_none() && (by_flag || environment.token.is_none()) => {
            (context.token()?, context.ca)
        }
        Some(context) => (None, context.ca),
        None => (None, None),
    };
    let (token, ca) = (environment.token.clone(), environment.ca.clone());
    let (token, ca) = if by_flag {
        (of_context.or(token), ca_of_context.or(ca))
    } else {
        (token.or(of_context), ca.or(ca_of_context))
    };
    Ok(Target {
        server,
        token: flags.token.clone().or(token),
        ca: flags.ca.clone().or(ca),
    })
}

/// The file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Contexts {
    /// The one in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Context>,
}

/// A server, and how it is talked to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Context {
    server: String,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "reveal",
        deserialize_with = "secret"
    )]
    token: Option<Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
}

/// Into the file, and nowhere else.
#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn reveal<S: Serializer>(token: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    token.as_ref().map(Secret::reveal).serialize(serializer)
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}

impl Context {
    fn token(&self) -> Result<Option<Secret>, Failure> {
        let Some(path) = &self.token_file else {
            return Ok(self.token.clone());
        };
        let text = fs::read_to_string(path);
        let text =
            text.map_err(|error| Failure::Usage(format!("cannot read the token in {}: {error}", path.display())))?;
        Ok(Some(Secret::new(text.trim())))
    }
}

impl Contexts {
    fn path() -> Result<PathBuf, Failure> {
        let set = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
        let config = config.ok_or_else(|| {
            Failure::Usage("no place for contexts: neither XDG_CONFIG_HOME nor HOME is set; set one".to_owned())
        })?;
        Ok(config.join("grid/contexts.toml"))
    }

    /// None when there is no home.
    fn read_from_home() -> Result<Self, Failure> {
        Self::path().map_or_else(|_| Ok(Self::default()), |path| Self::read(&path))
    }

    /// None when there is no file.
    fn read(path: &Path) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::Usage(format!("{}: {what}", path.display()));
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(wrong(error.to_string())),
        };
        if metadata.permissions().mode() & 0o077 != 0 {
            let what = format!(
                "others may use this file, and it may hold tokens; make it yours alone: chmod 600 {}",
                path.display()
            );
            return Err(wrong(what));
        }
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        // The message alone: the lines that the whole error shows may hold a token.
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            wrong(format!("{place}{}", error.message()))
        })
    }

    /// Whole or not at all.
    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let cannot = || format!("cannot write {}", path.display());
        let text = toml::to_string(self).with_context(cannot)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let write = || {
            let mut file = WholeFile::create(path, MODE)?;
            file.write_all(text.as_bytes())?;
            file.finish()
        };
        write().with_context(cannot)
    }

    fn get(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            let known = if known.is_empty() {
                "there are none".to_owned()
            } else {
                format!("there are: {}", known.join(", "))
            };
            Failure::Usage(format!(
                "no context {name:?}; {known}. Add it: grid context add {name} --server URL"
            ))
        })
    }
}

/// Works on the file alone; no server is asked.
pub fn run(args: &ContextArgs, output: Output) -> anyhow::Result<()> {
    let path = Contexts::path()?;
    let mut contexts = Contexts::read(&path)?;
    let told = match &args.command {
        ContextCommand::List => return list(&contexts, &path, output),
        ContextCommand::Add(args) => {
            add(&mut contexts, args)?;
            format!("context {} added: {}", args.name, args.server)
        }
        ContextCommand::Use(NameArgs { name }) => {
            let server = contexts.get(name)?.server.clone();
            contexts.current = Some(name.clone());
            format!("context {name} is in use: {server}")
        }
        ContextCommand::Remove(NameArgs { name }) => {
            contexts.get(name)?;
            contexts.contexts.remove(name);
            contexts.current = contexts.current.take().filter(|current| current != name);
            format!("context {name} removed")
        }
    };
    contexts.write(&path)?;
    match output {
        Output::Human => print(&format!("{told}\n")),
        Output::Json => list(&contexts, &path, output),
    }
}

fn add(contexts: &mut Contexts, args: &AddArgs) -> anyhow::Result<()> {
    let name = &args.name;
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    if name.is_empty() || !name.chars().all(plain) {
        let what = format!("{name:?} is no name of a context: letters, digits, '-', '_' and '.' only");
        return Err(Failure::Usage(what).into());
    }
    if contexts.contexts.contains_key(name) && !args.force {
        return Err(Failure::Usage(format!("context {name} is there already; --force replaces it")).into());
    }
    let token = match &args.token {
        Some(token) if token.reveal() == "-" => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.context("cannot read the token from standard input")?;
            Some(Secret::new(text.trim()))
        }
        token => token.clone(),
    };
    // Good from wherever it is used.
    let absolute = |path: &Option<PathBuf>| path.as_ref().map(std::path::absolute).transpose();
    let context = Context {
        server: args.server.clone(),
        token,
        token_file: absolute(&args.token_file)?,
        ca: absolute(&args.ca)?,
    };
    Client::new(&context.server, context.token()?, context.ca.as_deref())
        .map_err(|error| Failure::Usage(error.to_string()))?;
    contexts.contexts.insert(name.clone(), context);
    contexts.current.get_or_insert_with(|| name.clone());
    Ok(())
}

fn list(contexts: &Contexts, path: &Path, output: Output) -> anyhow::Result<()> {
    let is_current = |name: &str| contexts.current.as_deref() == Some(name);
    let each = contexts.contexts.iter();
    match output {
        Output::Json => {
            let items = each.map(|(name, context)| {
                json!({
                    "name": name, "current": is_current(name), "server": context.server,
                    "hasToken": context.token.is_some() || context.token_file.is_some(),
                    "tokenFile": context.token_file, "ca": context.ca,
                })
            });
            print_json(&json!({"file": path, "items": items.collect::<Vec<_>>()}))
        }
        Output::Human => {
            let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
            let row = |(name, context): (&String, &Context)| {
                let current = if is_current(name) { "*" } else { "" };
                let token = context.token.as_ref().map(|_| "***".to_owned());
                let token = token.or_else(|| shown(&context.token_file)).unwrap_or_default();
                let ca = shown(&context.ca).unwrap_or_default();
                vec![name.clone(), current.to_owned(), context.server.clone(), token, ca]
            };
            print(&table(&["CONTEXT", "IN USE", "SERVER", "TOKEN", "CA"], each.map(row)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts() -> Contexts {
        toml::from_str(
            "current = 'test'\n[contexts.test]\nserver = 'http://test'\ntoken = 'of-test'\n\
             [contexts.prod]\nserver = 'http://prod'\ntoken = 'of-prod'\nca = '/prod.pem'\n",
        )
        .unwrap()
    }

    fn named(server: Option<&str>, token: Option<&str>, context: Option<&str>) -> ServerArgs {
        ServerArgs {
            server: server.map(str::to_owned),
            token: token.map(Secret::new),
            ca: None,
            context: context.map(str::to_owned),
        }
    }

    #[test]
    fn flags_go_before_the_environment_before_contexts_and_no_token_goes_astray() {
        let none = named(None, None, None);
        let of = |flags: &ServerArgs, environment: &ServerArgs| {
            let target = resolve(flags, environment, || Ok(contexts())).unwrap();
            let token = target.token.map(|token| token.reveal().to_owned());
            (target.server, token.unwrap_or_default())
        };
        let is = |server: &str, token: &str| (server.to_owned(), token.to_owned());
        assert_eq!(of(&none, &none), is("http://test", "of-test"));
        assert_eq!(
            of(&none, &named(None, None, Some("prod"))),
            is("http://prod", "of-prod")
        );
        assert_eq!(of(&none, &named(None, Some("env"), None)), is("http://test", "env"));
        let both = named(Some("http://env"), Some("env"), Some("prod"));
        assert_eq!(of(&none, &both), is("http://env", "env"));
        assert_eq!(
            of(&named(None, None, Some("prod")), &both),
            is("http://prod", "of-prod")
        );
        assert_eq!(of(&named(None, Some("flag"), None), &both), is("http://env", "flag"));
        // Another server hears nothing of the context.
        assert_eq!(of(&named(Some("http://x"), None, None), &none), is("http://x", ""));
        assert_eq!(of(&none, &named(Some("http://x"), None, None)), is("http://x", ""));
        let nowhere = resolve(&none, &none, || Ok(Contexts::default())).unwrap();
        assert!(nowhere.server == DEFAULT_SERVER && nowhere.token.is_none());
        let unknown = resolve(&named(None, None, Some("prd")), &none, || Ok(contexts())).unwrap_err();
        assert!(unknown.to_string().contains("there are: prod, test"), "{unknown}");
        assert!(!format!("{:?}", contexts()).contains("of-prod"));
    }

    #[test]
    fn a_mistake_in_the_file_is_named_and_shows_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/contexts.toml");
        contexts().write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(
            Contexts::read(&path).unwrap().contexts["prod"]
                .token
                .as_ref()
                .unwrap()
                .reveal(),
            "of-prod"
        );
        fs::write(&path, "[contexts.a]\nserver = 'http://a'\ntokn = 'hush'\n").unwrap();
        let error = Contexts::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("line 3: unknown field `tokn`") && !error.contains("hush"),
            "{error}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Contexts::read(&path).unwrap_err().to_string().contains("chmod 600"));
    }
}
