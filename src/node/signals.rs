//! When the process is told to end.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or SIGINT; gives the name.
///
/// # Errors
/// When the process cannot listen for signals.
pub async fn told_to_end() -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}
