//! A client's way out, over which answers are sent: what a slow one may hold, and how it is ended.

use std::any::Any;
use std::os::fd::{AsRawFd, RawFd};

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;

/// The socket under a request. It is only good while the request is under way.
#[derive(Clone, Copy, Debug)]
pub struct Socket(RawFd);

/// Remembers the socket of each connection; for `HttpServer::on_connect`.
pub fn remember(connection: &dyn Any, data: &mut Extensions) {
    if let Some(stream) = connection.downcast_ref::<TcpStream>() {
        data.insert(Socket(stream.as_raw_fd()));
    }
}

impl Socket {
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.conn_data::<Self>().copied()
    }

    /// Ends the connection at once: the other side reads nothing, and what is buffered for it would stay for ever.
    ///
    /// Call it only on the thread that serves the request, while its answer is still being sent.
    pub fn cut(self) {
        metrics::counter!("grid_graphql_connections_cut_total").increment(1);
        // It may have ended by itself.
        _ = nix::sys::socket::shutdown(self.0, nix::sys::socket::Shutdown::Both);
    }
}
