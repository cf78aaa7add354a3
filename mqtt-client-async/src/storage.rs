//! Sessions that outlive the process: hands what changes to a store, away from the threads that run tasks, and tells the
//! engine when it is safe.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mqtt_client::{Change, Engine, Key, Store, load};
use mqtt_packet::{Frame, Packet, Version};
use thiserror::Error;
use tokio::task::JoinHandle;

use crate::error::ConnectionError;
use crate::message::{Message, Publish};

/// A store failed, or what it holds is no session that fits the [memory](crate::MemoryOptions).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the store of the session: {words}")]
pub struct StoreError {
    words: String,
}

impl StoreError {
    fn new(words: impl fmt::Display) -> Self {
        Self { words: words.to_string() }
    }
}

/// A store, whatever its type.
pub(crate) trait Keeper: Send {
    /// Gives a new engine the session.
    fn load(&mut self, engine: &mut Engine<'_>, buffer: &mut [u8]) -> Result<(), StoreError>;

    /// Makes the changes, and returns when they are safe.
    fn commit(&mut self, changes: &Changes) -> Result<(), StoreError>;

    /// The first record at or behind a key.
    fn next(&mut self, from: Key, buffer: &mut [u8]) -> Result<Option<(Key, usize)>, StoreError>;
}

/// Opens the store, once for each client.
pub(crate) type Opener = Arc<dyn Fn() -> Result<Box<dyn Keeper>, StoreError> + Send + Sync>;

pub(crate) fn opener<S, E>(open: impl Fn() -> Result<S, E> + Send + Sync + 'static) -> Opener
where
    S: Store<Error: fmt::Display> + Send + 'static,
    E: fmt::Display,
{
    Arc::new(move || {
        let store = open().map_err(StoreError::new)?;
        Ok(Box::new(store))
    })
}

impl<S: Store<Error: fmt::Display> + Send> Keeper for S {
    fn load(&mut self, engine: &mut Engine<'_>, buffer: &mut [u8]) -> Result<(), StoreError> {
        load(engine, self, buffer).map_err(|error| match error {
            mqtt_client::LoadError::Store(error) => StoreError::new(error),
            mqtt_client::LoadError::Session(error) => {
                StoreError::new(format!("not a session that fits: {error}"))
            }
        })
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), StoreError> {
        for (key, record) in &changes.list {
            match record {
                Some(range) => self.put(*key, changes.bytes.get(range.clone()).unwrap_or_default()),
                None => self.remove(*key),
            }
            .map_err(StoreError::new)?;
        }
        self.sync().map_err(StoreError::new)
    }

    fn next(&mut self, from: Key, buffer: &mut [u8]) -> Result<Option<(Key, usize)>, StoreError> {
        Store::next(self, from, buffer).map_err(StoreError::new)
    }
}

/// What is to be kept and to be forgotten, in its order.
#[derive(Default)]
pub(crate) struct Changes {
    list: Vec<(Key, Option<Range<usize>>)>,
    bytes: Vec<u8>,
}

impl Changes {
    /// Takes what the engine says.
    fn take(&mut self, engine: &mut Engine<'_>) {
        self.list.clear();
        self.bytes.clear();
        while let Some(change) = engine.poll_change() {
            let entry = match change {
                Change::Put(key, record) => {
                    let start = self.bytes.len();
                    self.bytes.extend_from_slice(record);
                    (key, Some(start..self.bytes.len()))
                }
                Change::Remove(key) => (key, None),
            };
            self.list.push(entry);
        }
    }
}

type Commit = JoinHandle<(Box<dyn Keeper>, Changes, Result<(), StoreError>)>;

enum State {
    /// The session ends with the process.
    Off,
    Ready(Box<dyn Keeper>, Changes),
    /// What was said is being written. What changes meanwhile waits at the engine: it is told that *all* is safe.
    Committing(Commit),
    /// Nothing is promised any more.
    Failed(StoreError),
}

/// The store of a client.
pub(crate) struct Storage {
    state: State,
    /// What an earlier process took, by key. Nobody else will publish it again, should the server lose the session.
    pub(crate) restored: HashMap<Key, Publish>,
}

impl Storage {
    /// Opens the store and gives the engine what it holds. `buffer` must hold the longest message.
    pub(crate) async fn open(
        opener: Option<&Opener>,
        engine: &mut Engine<'_>,
        buffer: &mut [u8],
    ) -> Result<Self, StoreError> {
        let Some(opener) = opener.cloned() else {
            return Ok(Self { state: State::Off, restored: HashMap::new() });
        };
        let opened = tokio::task::spawn_blocking(move || opener()).await;
        let mut keeper = opened.map_err(StoreError::new)??;
        keeper.load(engine, buffer)?;
        let mut restored = HashMap::new();
        for_each_message(&mut *keeper, engine.version(), buffer, |key, publish| {
            restored.insert(key, Publish::copy(publish));
        })?;
        Ok(Self { state: State::Ready(keeper, Changes::default()), restored })
    }

    /// Sees to it that what changed becomes safe. Whether the engine heard something new.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        engine: &mut Engine<'_>,
    ) -> Result<bool, ConnectionError> {
        let mut progress = false;
        loop {
            match &mut self.state {
                State::Off => return Ok(false),
                State::Failed(error) => return Err(error.clone().into()),
                State::Ready(_, changes) => {
                    changes.take(engine);
                    if changes.list.is_empty() {
                        return Ok(progress);
                    }
                    self.begin();
                }
                State::Committing(commit) => {
                    let Poll::Ready(ended) = Pin::new(commit).poll(cx) else {
                        return Ok(progress);
                    };
                    self.state = match ended {
                        Ok((keeper, changes, Ok(()))) => State::Ready(keeper, changes),
                        Ok((_, _, Err(error))) => State::Failed(error),
                        Err(error) => State::Failed(StoreError::new(error)),
                    };
                    if matches!(self.state, State::Ready(..)) {
                        engine.synced();
                        progress = true;
                    }
                }
            }
        }
    }

    fn begin(&mut self) {
        let state = core::mem::replace(&mut self.state, State::Off);
        self.state = match state {
            State::Ready(mut keeper, changes) => State::Committing(tokio::task::spawn_blocking(move || {
                let result = keeper.commit(&changes);
                (keeper, changes, result)
            })),
            other => other,
        };
    }

    /// Whether there is a store.
    pub(crate) const fn is_on(&self) -> bool {
        !matches!(self.state, State::Off)
    }

    /// Whether something is being written.
    pub(crate) const fn is_busy(&self) -> bool {
        matches!(self.state, State::Committing(_))
    }
}

/// Shows the messages that a store holds: those that were taken and whose acknowledgement has not come.
fn for_each_message(
    keeper: &mut dyn Keeper,
    version: Version,
    buffer: &mut [u8],
    mut each: impl FnMut(Key, &mqtt_packet::Publish<'_>),
) -> Result<(), StoreError> {
    let mut from = 0;
    while let Some((key, len)) = keeper.next(from, buffer)? {
        from = key.saturating_add(1);
        let record = buffer.get(..len).unwrap_or_default();
        // Others are identifiers of messages that have arrived, in one or the other direction.
        if let Ok(Some((frame, _))) = Frame::split(record)
            && let Ok(Packet::Publish(publish)) = Packet::decode(frame, version)
        {
            each(key, &publish);
        }
    }
    Ok(())
}

/// The messages that a store holds.
pub(crate) fn messages(
    opener: &Opener,
    version: Version,
    buffer: &mut [u8],
) -> Result<Vec<Message>, StoreError> {
    let mut messages = Vec::new();
    for_each_message(&mut *opener()?, version, buffer, |_, publish| {
        messages.push(Message::whole(publish, &[], None));
    })?;
    Ok(messages)
}
