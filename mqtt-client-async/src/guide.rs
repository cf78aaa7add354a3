//! How to use it: a tour, what dropping a future means, sessions and reconnects, and the way from rumqttc.
//!
//! # A tour
//!
//! ```no_run
//! use std::time::Duration;
//! use mqtt_client_async::*;
//!
//! # #[cfg(feature = "tcp")]
//! # async fn tour() -> Result<(), Box<dyn std::error::Error>> {
//! // To which server, as whom.
//! let options = Options::new("mqtt://user:password@localhost:1883")?
//!     .client_id("plant-1")
//!     .session(Duration::from_secs(3600))
//!     .will(LastWill::new(Publish::new("plant/1/state", "lost").retain(true)));
//! let client = Client::connect(options).await?;
//!
//! // A stream of messages, routed by topic filter, with a bound and a policy for when it is slow.
//! let wanted = Subscribe::new(QoS::AtLeastOnce).to("plant/1/set/#").capacity(100, 1 << 20);
//! let mut commands = client.subscribe(wanted).await?;
//! for granted in commands.granted() {
//!     println!("{}: {}", granted.filter, granted.reason_code);
//! }
//!
//! // Handles can be cloned and used from anywhere, also from inside of the loop that receives.
//! let publisher = client.clone();
//! tokio::spawn(async move {
//!     while let Some(command) = commands.recv().await {
//!         let answer = Publish::new("plant/1/done", command.payload_bytes()).qos(QoS::AtLeastOnce);
//!         match publisher.publish(answer).await {
//!             Ok(delivery) => println!("{:?}", delivery.await),
//!             Err(error) => println!("not taken: {error}"),
//!         }
//!     }
//! });
//!
//! // What happens to the connection, in its order.
//! let mut events = client.events();
//! tokio::spawn(async move {
//!     while let Some(event) = events.recv().await {
//!         println!("{event:?}");
//!     }
//! });
//!
//! // Deliver what was taken, say goodbye, and know what is left.
//! let report = client.shutdown(Duration::from_secs(5)).await;
//! println!("{} delivered, {} unknown", report.delivered, report.pending);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/async_reliable.rs` in the repository is a worker that loses nothing, `examples/async_store.rs` a session that
//! outlives its program, and its neighbours show requests, TLS, WebSocket and a transport of one's own.
//!
//! Messages can be acknowledged by hand ([`Subscribe::manual`](crate::Subscribe::manual),
//! [`Message::acknowledge`](crate::Message::acknowledge)), answered ([`Message::reply`](crate::Message::reply),
//! [`Requests`](crate::Requests)), and carried by anything ([`transport`](crate::transport)). With `tracing`, the target
//! `mqtt_client_async::packet` at level trace tells every packet in words, without payloads and secrets.
//!
//! # What dropping a future means
//!
//! No state of the protocol lives in a future of yours, so each of them can stand in a `select!` or a timeout.
//!
//! | future | dropped before it is ready |
//! |---|---|
//! | [`Client::connect`](crate::Client::connect) | the attempt ends |
//! | [`Client::publish`](crate::Client::publish) | the message is not sent |
//! | [`Delivery`](crate::Delivery) | the message goes on; await `&mut delivery` to come back to it |
//! | [`Client::subscribe`](crate::Client::subscribe) | there is no subscription; the server is told if it knows of it |
//! | [`Subscription::recv`](crate::Subscription::recv), [`Events::recv`](crate::Events::recv) | nothing is lost |
//! | [`Subscription::unsubscribe`](crate::Subscription::unsubscribe) | the subscription ends all the same |
//! | [`Client::request`](crate::Client::request), [`Requests::request`](crate::Requests::request) | the request may have been sent; its response is dropped |
//! | [`Client::shutdown`](crate::Client::shutdown), [`disconnect_with`](crate::Client::disconnect_with), [`abort`](crate::Client::abort) | the client ends all the same |
//! | [`Client::reauthenticate`](crate::Client::reauthenticate) | the authentication goes on |
//! | [`Client::ended`](crate::Client::ended) | nothing |
//! | [`Driver`](crate::Driver) | the connection is closed without DISCONNECT, and everything that waits ends |
//!
//! # What has a bound
//!
//! | wait | bound |
//! |---|---|
//! | an attempt to connect: hook, name, TCP, TLS, WebSocket, CONNACK | [`connect_timeout`](crate::Options::connect_timeout), 30 s |
//! | for room in the queue; SUBACK, UNSUBACK, authentication again | [`request_timeout`](crate::Options::request_timeout), 30 s |
//! | for what becomes of a message | [`delivery_timeout`](crate::Options::delivery_timeout), 5 min |
//! | for PINGRESP | [`response_timeout`](crate::Options::response_timeout), 10 s |
//! | for a server that takes no bytes | [`write_timeout`](crate::Options::write_timeout), 30 s |
//!
//! | memory | bound | when it is full |
//! |---|---|---|
//! | messages that the engine has not taken | [`queue`](crate::Options::queue) | `publish` waits, `try_publish` says [`Full`](crate::PublishError::Full) |
//! | unacknowledged messages out | [`memory`](crate::Options::memory) | they wait in the queue |
//! | messages in a stream | [`capacity`](crate::Subscribe::capacity) | [`Overflow`](crate::Overflow) |
//! | one message that comes in | [`max_message_size`](crate::Options::max_message_size) | it is passed over, with an event |
//! | events in a stream | 256 | the oldest give way to [`Missed`](crate::Event::Missed) |
//!
//! # Sessions and reconnects
//!
//! A client connects again when its connection ends, as its [`ReconnectPolicy`](crate::ReconnectPolicy) says; by default
//! after a random part of a delay that grows from 1 second to 2 minutes, and not where the server refused for a reason
//! that will not change. [`BeforeConnect`](crate::BeforeConnect) may bring fresh credentials or another server first;
//! names are looked up each time.
//!
//! - **Subscriptions** outlive connections. Where the server resumed the session (`session_present`) nothing is said;
//!   where it did not, the client subscribes again in front of everything else. What is refused then is reported as
//!   [`SubscriptionLost`](crate::Event::SubscriptionLost).
//! - **Messages of QoS 1 and 2** that were sent and not acknowledged are sent again in a resumed session, with their
//!   Packet Identifiers and in their order. Where the session is lost, their deliveries end with
//!   [`Loss::SessionLost`](crate::Loss::SessionLost): they may have arrived or not. What was not sent at all goes out in
//!   the next session.
//! - **Messages of QoS 0** that were on their way are lost with the connection, and their deliveries say so.
//! - **What is published meanwhile** follows the [`OfflinePolicy`](crate::OfflinePolicy).
//! - **Messages to be acknowledged by hand** whose connection has ended come again; acknowledging the old ones does
//!   nothing.
//!
//! Without [`session`](crate::Options::session) each connection has a session of its own.
//!
//! ## Beyond the process
//!
//! With a [`store`](crate::Options::store) the session outlives the program too, also one that is killed: a message of QoS
//! 1 or 2 that was handed to the session is in the file before it is sent, and the next run of the program sends it again
//! with its Packet Identifier; an identifier of a message of QoS 2 that came in is in the file before PUBREC says so. What
//! is published without a connection is kept, too. Should the server have lost the session, the next run publishes what an
//! earlier one had taken once more, so it may arrive twice then; what this run had taken ends with
//! [`Loss::SessionLost`](crate::Loss::SessionLost), and the program decides.
//!
//! What a message waits for in the queue is not kept: await the [`Delivery`](crate::Delivery), or look before the next start
//! at [`stored_messages`](crate::Options::stored_messages). And messages that a server has kept for the session come with
//! the connection: make the streams first ([`Client::new`](crate::Client::new),
//! [`messages`](crate::Client::messages), then spawn the driver).
//!
//! # Authentication by exchange
//!
//! With an [`Authenticator`](crate::Authenticator) CONNECT names its method, AUTH carries challenge and answer, and nothing
//! else is said before the client's side is content with the server, too.
//! [`Client::reauthenticate`](crate::Client::reauthenticate) does it again on the open connection.
//! `examples/async_scram.rs` has both sides of SCRAM-SHA-256.
//!
//! # From rumqttc
//!
//! | rumqttc | here |
//! |---|---|
//! | `MqttOptions::new(id, host, port)` | `Options::new("mqtt://host:port")?.client_id(id)` |
//! | `AsyncClient::new(options, 10)` and a loop around `eventloop.poll()` | `Client::connect(options).await?`; nothing to poll |
//! | the module `v5` | `.version(Version::V5)`, the default; `Version::V3_1_1` for the other |
//! | `set_clean_session(false)` | `.session(duration)` |
//! | `set_last_will(LastWill::new(..))` | `.will(LastWill::new(Publish::new(..)))` |
//! | `set_inflight(n)`, channel capacity | `.memory(..)`, `.queue(messages, bytes)` |
//! | `set_max_packet_size(..)` | `.max_message_size(..)` |
//! | `set_manual_acks(true)`, `client.ack(&publish)` | `Subscribe::manual()`, `message.acknowledge()` |
//! | `set_transport(Transport::Tls(..))` | `mqtts://` and `Options::with_carriers` |
//! | `client.publish(topic, qos, retain, payload)` | `client.publish(Publish::new(topic, payload).qos(qos).retain(retain))`, which returns a `Delivery` |
//! | `Event::Incoming(Packet::PubAck(..))` | `delivery.await` |
//! | `client.subscribe(filter, qos)` | the same, which returns a `Subscription` |
//! | `Event::Incoming(Packet::Publish(..))` | `subscription.recv()`; `client.messages()` for all |
//! | an error of `poll()`, and polling again | `client.events()`; `.reconnect(policy)` |
//! | `client.disconnect()` | `client.shutdown(patience)` |
