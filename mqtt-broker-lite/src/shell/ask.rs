//! Questions of the core that take time: who answers them, and how the answer finds its way back.

use super::worker::{Letter, Mailbox};
use crate::core::{Credentials, Decision, Token};
use async_trait::async_trait;
use mqtt_packet::ReasonCode;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

/// Who wants to connect, with all that is known about him.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// What he says himself.
    pub credentials: Credentials,
    /// The listener that he came to, counted from 0.
    pub listener: u16,
    /// Where he is.
    pub address: Option<SocketAddr>,
    /// The common name of his certificate, which was verified.
    pub common_name: Option<String>,
}

/// Decides who may connect, in its own time: asks a database, a directory, another service.
///
/// A client whose question is not answered within the broker's time for CONNECT is disconnected.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Whether this client may connect.
    async fn authenticate(&self, applicant: Applicant) -> Decision;
}

/// A question being answered, for whoever runs futures.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where questions of the core go.
pub(crate) trait Gate: Send + Sync {
    fn ask(&self, applicant: Applicant, answer: Answer);
}

/// The way back of one answer. Dropped, it is a no.
pub(crate) struct Answer {
    token: Token,
    mailbox: Option<Mailbox>,
}

impl Answer {
    pub(super) fn new(token: Token, mailbox: Mailbox) -> Self {
        Self { token, mailbox: Some(mailbox) }
    }

    pub(crate) fn give(mut self, decision: Decision) {
        if let Some(mailbox) = self.mailbox.take() {
            mailbox.send(Letter::Answer(self.token, decision));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(mailbox) = self.mailbox.take() {
            mailbox.send(Letter::Answer(self.token, Decision::Refuse(ReasonCode::SERVER_UNAVAILABLE)));
        }
    }
}

/// An [`Authenticator`] on somebody's executor.
pub(super) struct OnExecutor<A, S> {
    pub(super) authenticator: Arc<A>,
    pub(super) spawn: S,
}

impl<A: Authenticator, S: Fn(Task) + Send + Sync> Gate for OnExecutor<A, S> {
    fn ask(&self, applicant: Applicant, answer: Answer) {
        let authenticator = Arc::clone(&self.authenticator);
        (self.spawn)(Box::pin(async move { answer.give(authenticator.authenticate(applicant).await) }));
    }
}

/// Nobody is there to answer.
pub(super) struct Nobody;

impl Gate for Nobody {
    fn ask(&self, _: Applicant, answer: Answer) {
        tracing::error!("the policy asks, but there is no authenticator");
        answer.give(Decision::Refuse(ReasonCode::NOT_AUTHORIZED));
    }
}
