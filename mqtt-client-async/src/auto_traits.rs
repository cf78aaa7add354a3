//! What may go from one thread to another, checked in every combination of features when this is compiled: no carrier
//! may take it away.

use std::time::Duration;

use crate::*;

const fn goes_anywhere<T: Send + Sync + Unpin + 'static>() {}
const fn goes_to_a_task<T: Send + Unpin + 'static>() {}
const fn is_clone<T: Clone>() {}
fn can_be_spawned(_: impl Future + Send) {}

const _: () = {
    goes_anywhere::<Client>();
    goes_anywhere::<Delivery>();
    goes_anywhere::<Subscription>();
    goes_anywhere::<Events>();
    goes_anywhere::<Message>();
    goes_anywhere::<Publish>();
    goes_anywhere::<Topic>();
    goes_anywhere::<PropertyList>();
    goes_anywhere::<LastWill>();
    goes_anywhere::<Subscribe>();
    goes_anywhere::<Options>();
    goes_anywhere::<ConnectValues>();
    goes_anywhere::<Attempt>();
    goes_anywhere::<Carriers>();
    goes_anywhere::<Requests>();
    goes_anywhere::<Report>();
    goes_anywhere::<Figures>();
    goes_anywhere::<Event>();
    goes_anywhere::<Status>();
    goes_anywhere::<Delivered>();
    goes_anywhere::<ConnectionError>();
    goes_anywhere::<PublishError>();
    goes_anywhere::<DeliveryError>();
    goes_anywhere::<SubscribeError>();
    goes_anywhere::<ResponseError>();
    goes_anywhere::<TransportError>();
    goes_anywhere::<ReauthenticateError>();
    goes_anywhere::<AuthenticationError>();
    goes_anywhere::<StoreError>();
    goes_anywhere::<UrlError>();
    is_clone::<Client>();
    is_clone::<Message>();
    is_clone::<Options>();
    // It belongs to one task at a time.
    goes_to_a_task::<Driver>();
    goes_to_a_task::<Box<dyn transport::Carrier>>();
};

#[cfg(feature = "tcp")]
const _: () = goes_anywhere::<transport::Tcp>();
#[cfg(feature = "tls")]
const _: () = goes_anywhere::<(transport::Tls, transport::TlsOptions, transport::TlsError)>();
#[cfg(feature = "ws")]
const _: () = goes_anywhere::<transport::WebSocket>();
#[cfg(all(feature = "unix", unix))]
const _: () = goes_anywhere::<transport::Unix>();
#[cfg(feature = "proxy")]
const _: () = goes_anywhere::<transport::Proxy>();

/// The futures of each handle.
const _: fn(&Client, Options, Requests, Subscription, Events, PropertyList) =
    |client, options, requests, mut stream, mut events, properties| {
        let publish = || Publish::new("a", "");
        can_be_spawned(Client::connect(options));
        can_be_spawned(client.publish(publish()));
        can_be_spawned(client.subscribe("a"));
        can_be_spawned(client.unsubscribe("a", properties.clone()));
        can_be_spawned(client.request(publish(), "b", Duration::ZERO));
        can_be_spawned(client.reauthenticate());
        can_be_spawned(client.shutdown(Duration::ZERO));
        can_be_spawned(client.disconnect_with(ReasonCode::SUCCESS, properties));
        can_be_spawned(client.abort());
        can_be_spawned(client.ended());
        can_be_spawned(Requests::new(client, "b"));
        can_be_spawned(requests.request(publish(), Duration::ZERO));
        can_be_spawned(events.recv());
        can_be_spawned(stream.recv());
        can_be_spawned(stream.unsubscribe());
    };
