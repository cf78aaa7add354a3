//! A packet in one line, the same that `generate.js` makes of the packets of the other codec: strings and bytes in
//! hex, properties by number and in order.

use mqtt_packet::{Connect, Packet, Properties, Property, ReasonCode, SubscribeFilter, Version};

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn value(property: Property<'_>) -> String {
    use Property::*;
    match property {
        PayloadFormatIndicator(flag) | RequestProblemInformation(flag) => u8::from(flag).to_string(),
        RequestResponseInformation(flag) | MaximumQos(flag) => u8::from(flag).to_string(),
        RetainAvailable(flag) | WildcardSubscriptionAvailable(flag) => u8::from(flag).to_string(),
        SubscriptionIdentifiersAvailable(flag) => u8::from(flag).to_string(),
        SharedSubscriptionAvailable(flag) => u8::from(flag).to_string(),
        ServerKeepAlive(number) | ReceiveMaximum(number) => number.to_string(),
        TopicAliasMaximum(number) | TopicAlias(number) => number.to_string(),
        MessageExpiryInterval(number) | SessionExpiryInterval(number) => number.to_string(),
        WillDelayInterval(number) | MaximumPacketSize(number) => number.to_string(),
        SubscriptionIdentifier(number) => number.to_string(),
        ContentType(text) | AssignedClientIdentifier(text) => hex(text.as_bytes()),
        AuthenticationMethod(text) | ResponseInformation(text) => hex(text.as_bytes()),
        ServerReference(text) | ReasonString(text) => hex(text.as_bytes()),
        ResponseTopic(topic) => hex(topic.as_bytes()),
        CorrelationData(bytes) | AuthenticationData(bytes) => hex(bytes),
        UserProperty(name, value) => format!("{}:{}", hex(name.as_bytes()), hex(value.as_bytes())),
    }
}

fn said_properties(properties: &Properties<'_>) -> Vec<String> {
    let mut said: Vec<_> = properties
        .iter()
        .map(|property| format!("{:02x}={}", property.id() as u8, value(property)))
        .collect();
    said.sort();
    said
}

fn connect(connect: &Connect<'_>) -> Vec<String> {
    let mut fields = vec![
        format!("version={}", connect.version.level()),
        format!("bridge={}", u8::from(connect.bridge)),
        format!("clean={}", u8::from(connect.clean_start)),
        format!("keepalive={}", connect.keep_alive),
        format!("client={}", hex(connect.client_id.as_bytes())),
    ];
    if let Some(will) = connect.will {
        let (topic, payload) = (hex(will.topic.as_bytes()), hex(will.payload));
        fields.push(format!("will={topic},{payload},{},{}", will.qos as u8, u8::from(will.retain)));
        fields
            .extend(said_properties(&will.properties).into_iter().map(|property| format!("will{property}")));
    }
    fields.extend(connect.user_name.map(|name| format!("user={}", hex(name.as_bytes()))));
    fields.extend(connect.password.map(|password| format!("password={}", hex(password))));
    fields
}

fn subscription(SubscribeFilter { filter, options }: SubscribeFilter<'_>) -> String {
    let (no_local, retain) = (u8::from(options.no_local), u8::from(options.retain_as_published));
    let handling = options.retain_handling as u8;
    format!("filter={},{},{no_local},{retain},{handling}", hex(filter.as_bytes()), options.qos as u8)
}

/// The return code that 3.x has for this reason.
fn return_code(code: ReasonCode, version: Version) -> u8 {
    match (version, code.0) {
        (Version::V5, code) => code,
        (_, 0x84) => 1,
        (_, 0x85) => 2,
        (_, 0x88) => 3,
        (_, 0x86) => 4,
        (_, 0x87) => 5,
        (_, code) => code,
    }
}

fn codes(codes: impl Iterator<Item = ReasonCode>) -> impl Iterator<Item = String> {
    codes.map(|code| format!("code={}", code.0))
}

/// The line.
pub(crate) fn said(packet: &Packet<'_>, version: Version) -> String {
    let mut parts = vec![format!("{:?}", packet.packet_type()).to_lowercase()];
    let properties = match packet {
        Packet::Connect(packet) => {
            parts.extend(connect(packet));
            packet.properties
        }
        Packet::ConnAck(packet) => {
            parts.push(format!("session={}", u8::from(packet.session_present)));
            parts.push(format!("code={}", return_code(packet.reason_code, version)));
            packet.properties
        }
        Packet::Publish(packet) => {
            parts.push(format!("topic={}", hex(packet.topic.as_bytes())));
            parts.push(format!("qos={}", packet.delivery.qos() as u8));
            if let Some(id) = packet.delivery.id() {
                parts.push(format!("id={id} dup={}", u8::from(packet.delivery.dup())));
            }
            parts.push(format!("retain={} payload={}", u8::from(packet.retain), hex(packet.payload)));
            packet.properties
        }
        Packet::Ack(packet) => {
            parts.push(format!("id={} code={}", packet.id, packet.reason_code.0));
            packet.properties
        }
        Packet::Subscribe(packet) => {
            parts.push(format!("id={}", packet.id));
            parts.extend(packet.filters.iter().map(subscription));
            packet.properties
        }
        Packet::SubAck(packet) => {
            parts.push(format!("id={}", packet.id));
            parts.extend(codes(packet.reason_codes.iter()));
            packet.properties
        }
        Packet::Unsubscribe(packet) => {
            parts.push(format!("id={}", packet.id));
            parts.extend(packet.filters.iter().map(|filter| format!("filter={}", hex(filter.as_bytes()))));
            packet.properties
        }
        Packet::UnsubAck(packet) => {
            parts.push(format!("id={}", packet.id));
            parts.extend(codes(packet.reason_codes.iter()));
            packet.properties
        }
        Packet::PingReq(_) | Packet::PingResp(_) => Properties::EMPTY,
        Packet::Disconnect(packet) => {
            parts.push(format!("code={}", packet.reason_code.0));
            packet.properties
        }
        Packet::Auth(packet) => {
            parts.push(format!("code={}", packet.reason_code.0));
            packet.properties
        }
    };
    parts.extend(said_properties(&properties));
    parts.join(" ")
}
