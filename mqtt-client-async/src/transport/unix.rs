//! Unix domain sockets.

use std::path::PathBuf;

use async_trait::async_trait;
use tokio::net::UnixStream;

use super::{Carrier, Transport};
use crate::error::TransportError;

/// A server on this machine by the path of its socket.
#[derive(Clone, Debug)]
pub struct Unix(PathBuf);

impl Unix {
    /// The server at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

#[async_trait]
impl Transport for Unix {
    async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError> {
        let fault = |error| TransportError::new(format!("connect to {}", self.0.display()), error);
        Ok(Box::new(UnixStream::connect(&self.0).await.map_err(fault)?))
    }
}
