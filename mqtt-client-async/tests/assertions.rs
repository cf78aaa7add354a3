//! What holds for every combination of features, checked when this is compiled.

use mqtt_client_async::*;

const fn goes_anywhere<T: Send + Sync + Unpin + 'static>() {}
const fn is_clone<T: Clone>() {}
const fn can_be_spawned<F: Future + Send>(_: &F) {}

const _: () = {
    goes_anywhere::<Client>();
    goes_anywhere::<Delivery>();
    goes_anywhere::<Subscription>();
    goes_anywhere::<Events>();
    goes_anywhere::<Message>();
    goes_anywhere::<Publish>();
    goes_anywhere::<Subscribe>();
    goes_anywhere::<Options>();
    goes_anywhere::<Carriers>();
    goes_anywhere::<Requests>();
    goes_anywhere::<Report>();
    goes_anywhere::<Event>();
    goes_anywhere::<ConnectionError>();
    goes_anywhere::<PublishError>();
    goes_anywhere::<DeliveryError>();
    goes_anywhere::<SubscribeError>();
    goes_anywhere::<ResponseError>();
    goes_anywhere::<ReauthenticateError>();
    goes_anywhere::<StoreError>();
    is_clone::<Client>();
    is_clone::<Message>();
    is_clone::<Options>();
};

const fn is_send<T: Send + Unpin + 'static>() {}

/// The driver belongs to one task at a time.
const _: () = is_send::<Driver>();

#[tokio::test]
async fn a4_32_every_future_can_be_spawned() {
    let options = Options::with_transport(std::sync::Arc::new(Nowhere)).no_reconnect();
    let (client, driver) = Client::new(options.clone());
    drop(driver);
    let patience = std::time::Duration::ZERO;
    can_be_spawned(&Client::connect(options));
    can_be_spawned(&client.publish(Publish::new("a", "")));
    can_be_spawned(&client.subscribe("a"));
    can_be_spawned(&client.shutdown(patience));
    can_be_spawned(&client.disconnect_with(ReasonCode::SUCCESS, PropertyList::new()));
    can_be_spawned(&client.abort());
    can_be_spawned(&client.ended());
    can_be_spawned(&client.reauthenticate());
    can_be_spawned(&client.request(Publish::new("a", ""), "b", patience));
    can_be_spawned(&client.messages().recv());
    can_be_spawned(&client.events().recv());
    can_be_spawned(&client.messages().unsubscribe());
}

#[derive(Debug)]
struct Nowhere;

#[async_trait::async_trait]
impl transport::Transport for Nowhere {
    async fn connect(&self) -> Result<Box<dyn transport::Carrier>, TransportError> {
        Err(TransportError::new("nowhere", std::io::ErrorKind::NotFound.into()))
    }
}
