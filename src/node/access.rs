//! Whether a server may start as it is configured: nobody is to find an open one by accident.

use std::net::SocketAddr;

use crate::api::{AnonymousRole, Role, auth};
use crate::config::whole::Config;
use crate::log::Log;

/// What a caller may do who shows no token: as configured; else, on a loopback address, what an operator may.
///
/// # Errors
/// When others than this machine can reach the server, and nothing says who may use it.
pub async fn anonymous_role(config: &Config, log: &Log) -> anyhow::Result<Option<Role>> {
    let (listen, configured) = (config.server.listen, config.auth.anonymous_role);
    let role = match configured {
        Some(configured) => configured.role(),
        None if listen.ip().is_loopback() => AnonymousRole::Operator.role(),
        None if auth::any(log.pool()).await? => None,
        None => anyhow::bail!(refusal(config, listen)),
    };
    let anonymous = role.map_or("none", Role::name);
    if listen.ip().is_loopback() {
        tracing::info!(%listen, anonymous, "node.access");
        return Ok(role);
    }
    if role == Some(Role::Operator) {
        tracing::warn!(%listen, anonymous, "node.access.open_to_everybody");
    } else {
        tracing::info!(%listen, anonymous, "node.access");
    }
    if config.server.tls_cert.is_none() {
        tracing::warn!(%listen, "node.access.not_secured");
    }
    Ok(role)
}

fn refusal(config: &Config, listen: SocketAddr) -> String {
    let store = if config.postgres.url.is_some() {
        "--postgres URL".to_owned()
    } else {
        format!("--data-dir {}", config.standalone.data_dir.display())
    };
    format!(
        "{listen} can be reached from other machines, and nothing says who may use the server. Make a token and start \
         again:\n  grid token create --role admin --expires 90d {store}\nor say what callers without a token may do: \
         --set auth.anonymous_role=none (or viewer, or operator); or stay on this machine: --listen 127.0.0.1:{}",
        listen.port()
    )
}
