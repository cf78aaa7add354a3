//! Random valid packets of each version. What they borrow is leaked: a test run is short.

use mqtt_packet::{
    Ack, AckKind, Auth, ConnAck, Connect, Delivery, Disconnect, Filters, Packet, PacketId, PacketType,
    PingReq, PingResp, Properties, Property, PropertyId, PropertyPlace, PropertyWriter, Publish, QoS,
    ReasonCode, ReasonCodes, RetainHandling, SubAck, Subscribe, SubscribeFilter, SubscribeFilters,
    SubscribeOptions, TopicFilter, TopicName, UnsubAck, Unsubscribe, Utf8Str, Version, Will,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::wire::ALL;

pub(crate) fn leak<T>(values: Vec<T>) -> &'static [T] {
    values.leak()
}

/// Any string, mostly short.
pub(crate) fn text() -> impl Strategy<Value = Utf8Str<'static>> {
    let character = prop_oneof![4 => prop::char::range(' ', '~'), 1 => any::<char>()];
    let len = prop_oneof![8 => 0..12_usize, 1 => 100..200_usize];
    len.prop_flat_map(move |len| vec(character.clone(), len)).prop_map(|characters| {
        let text: String = characters.into_iter().map(|c| if c == '\0' { '0' } else { c }).collect();
        Utf8Str::new(text.leak()).unwrap()
    })
}

pub(crate) fn topic_name() -> impl Strategy<Value = TopicName<'static>> {
    (text(), text()).prop_map(|(front, back)| {
        let name = format!("{front}/{back}").replace(['#', '+'], "-");
        TopicName::new(name.leak()).unwrap()
    })
}

pub(crate) fn topic_filter() -> impl Strategy<Value = TopicFilter<'static>> {
    let level = prop_oneof![2 => text().prop_map(|text| text.as_str()), 1 => Just("+"), 1 => Just("")];
    let share = option::weighted(0.2, Just("$share/group"));
    (share, vec(level, 1..5), any::<bool>()).prop_map(|(share, levels, all)| {
        let plain = levels.iter().map(|level| match *level {
            "+" => "+".to_owned(),
            level => level.replace(['#', '+', '/'], "-"),
        });
        let last = if all { Some("#".to_owned()) } else { None };
        let levels = share.map(str::to_owned).into_iter().chain(plain).chain(last).collect::<Vec<_>>();
        let filter = levels.join("/");
        let is_empty = filter.is_empty() || filter.ends_with("group/") || filter == "$share/group";
        TopicFilter::new(if is_empty { "a" } else { filter.leak() }).unwrap()
    })
}

pub(crate) fn binary() -> impl Strategy<Value = &'static [u8]> {
    prop_oneof![4 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 100..400)].prop_map(leak)
}

pub(crate) fn property() -> impl Strategy<Value = Property<'static>> {
    use Property::*;
    let flags = select(leak(vec![
        PayloadFormatIndicator as fn(bool) -> Property<'static>,
        RequestProblemInformation,
        RequestResponseInformation,
        MaximumQos,
        RetainAvailable,
        WildcardSubscriptionAvailable,
        SubscriptionIdentifiersAvailable,
        SharedSubscriptionAvailable,
    ]));
    let strings = select(leak(vec![
        ContentType as fn(Utf8Str<'static>) -> Property<'static>,
        AssignedClientIdentifier,
        AuthenticationMethod,
        ResponseInformation,
        ServerReference,
        ReasonString,
    ]));
    let longs = select(leak(vec![
        MessageExpiryInterval as fn(u32) -> Property<'static>,
        SessionExpiryInterval,
        WillDelayInterval,
    ]));
    let shorts = select(leak(vec![ServerKeepAlive as fn(u16) -> Property<'static>, TopicAliasMaximum]));
    let at_least_1 = select(leak(vec![ReceiveMaximum as fn(u16) -> Property<'static>, TopicAlias]));
    let binaries =
        select(leak(vec![CorrelationData as fn(&'static [u8]) -> Property<'static>, AuthenticationData]));
    prop_oneof![
        8 => (flags, any::<bool>()).prop_map(|(property, value)| property(value)),
        6 => (strings, text()).prop_map(|(property, value)| property(value)),
        3 => (longs, any::<u32>()).prop_map(|(property, value)| property(value)),
        2 => (shorts, any::<u16>()).prop_map(|(property, value)| property(value)),
        2 => (at_least_1, 1..=u16::MAX).prop_map(|(property, value)| property(value)),
        2 => (binaries, binary()).prop_map(|(property, value)| property(value)),
        1 => (1..=u32::MAX).prop_map(MaximumPacketSize),
        1 => topic_name().prop_map(ResponseTopic),
        2 => subscription_identifier().prop_map(SubscriptionIdentifier),
        3 => (text(), text()).prop_map(|(name, value)| UserProperty(name, value)),
    ]
}

fn subscription_identifier() -> impl Strategy<Value = u32> {
    prop_oneof![1..=127_u32, 128..=16_383_u32, 16_384..=2_097_151_u32, 2_097_152..=268_435_455_u32]
}

/// Any properties that may stand there together.
pub(crate) fn properties(place: PropertyPlace) -> impl Strategy<Value = Properties<'static>> {
    let count = prop_oneof![1 => Just(0), 2 => 1..20_usize];
    count.prop_flat_map(|count| vec(property(), count)).prop_map(move |wanted| {
        let mut writer = PropertyWriter::new(place, vec![0; 20_000].leak());
        if place == PropertyPlace::of(PacketType::Auth)
            || place == PropertyPlace::of(PacketType::Connect)
                && wanted.iter().any(|property| property.id() == PropertyId::AuthenticationData)
        {
            writer.push(Property::AuthenticationMethod(Utf8Str::new("m").unwrap())).unwrap();
        }
        for property in wanted {
            // What may not stand here, or not again, is left out.
            let _ = writer.push(property);
        }
        writer.finish()
    })
}

/// The same for 5.0, none for 3.x.
fn properties_in(version: Version, packet: PacketType) -> BoxedStrategy<Properties<'static>> {
    match version {
        Version::V5 => properties(PropertyPlace::of(packet)).boxed(),
        _ => Just(Properties::EMPTY).boxed(),
    }
}

pub(crate) fn id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn qos() -> impl Strategy<Value = QoS> {
    select(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][..])
}

pub(crate) fn delivery() -> impl Strategy<Value = Delivery> {
    (0..3, id(), any::<bool>()).prop_map(|(qos, id, dup)| match qos {
        0 => Delivery::AtMostOnce,
        1 => Delivery::AtLeastOnce { id, dup },
        _ => Delivery::ExactlyOnce { id, dup },
    })
}

fn reason_code(version: Version, packet: PacketType) -> BoxedStrategy<ReasonCode> {
    let codes: Vec<_> = (0..=255).map(ReasonCode).filter(|code| code.can_be_told(version, packet)).collect();
    select(codes).boxed()
}

fn will(version: Version) -> impl Strategy<Value = Will<'static>> {
    let properties = match version {
        Version::V5 => properties(PropertyPlace::WILL).boxed(),
        _ => Just(Properties::EMPTY).boxed(),
    };
    (topic_name(), binary(), qos(), any::<bool>(), properties).prop_map(
        |(topic, payload, qos, retain, properties)| Will { topic, payload, qos, retain, properties },
    )
}

fn connect(version: Version) -> impl Strategy<Value = Connect<'static>> {
    let flags = (any::<bool>(), any::<bool>(), any::<u16>());
    let credentials = (option::of(text()), option::of(binary()));
    (flags, text(), option::of(will(version)), credentials, properties_in(version, PacketType::Connect))
        .prop_map(
            move |((bridge, clean_start, keep_alive), client_id, will, (user_name, password), properties)| {
                let client_id = match version {
                    Version::V3_1 if client_id.is_empty() => Utf8Str::new("c").unwrap(),
                    _ => client_id,
                };
                Connect {
                    version,
                    bridge: bridge && version != Version::V5,
                    clean_start: clean_start || client_id.is_empty(),
                    keep_alive,
                    properties,
                    client_id,
                    will,
                    user_name,
                    password: password.filter(|_| user_name.is_some() || version == Version::V5),
                }
            },
        )
}

fn connack(version: Version) -> impl Strategy<Value = ConnAck<'static>> {
    let code = reason_code(version, PacketType::ConnAck);
    (any::<bool>(), code, properties_in(version, PacketType::ConnAck)).prop_map(
        move |(session_present, reason_code, properties)| ConnAck {
            session_present: session_present && !reason_code.is_error() && version != Version::V3_1,
            reason_code,
            properties,
        },
    )
}

pub(crate) fn publish(version: Version) -> impl Strategy<Value = Publish<'static>> {
    let fields = (any::<bool>(), delivery(), topic_name(), any::<bool>());
    (fields, properties_in(version, PacketType::Publish), binary()).prop_map(
        |((retain, delivery, topic, aliased), properties, payload)| {
            let aliased = aliased && properties.contains(PropertyId::TopicAlias);
            let topic = if aliased { TopicName::ALIASED } else { topic };
            Publish { retain, delivery, topic, properties, payload }
        },
    )
}

fn ack(version: Version) -> impl Strategy<Value = Ack<'static>> {
    let kinds = [AckKind::PubAck, AckKind::PubRec, AckKind::PubRel, AckKind::PubComp];
    select(kinds.to_vec()).prop_flat_map(move |kind| {
        let packet = kind.packet_type();
        (id(), reason_code(version, packet), properties_in(version, packet))
            .prop_map(move |(id, reason_code, properties)| Ack { kind, id, reason_code, properties })
    })
}

fn options(version: Version) -> impl Strategy<Value = SubscribeOptions> {
    let handlings = [RetainHandling::SendAtSubscribe, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
    (qos(), any::<bool>(), any::<bool>(), select(handlings.to_vec())).prop_map(
        move |(qos, no_local, retain_as_published, retain_handling)| match version {
            Version::V5 => SubscribeOptions { qos, no_local, retain_as_published, retain_handling },
            _ => SubscribeOptions::new(qos),
        },
    )
}

fn subscribe(version: Version) -> impl Strategy<Value = Subscribe<'static>> {
    let filters = vec((topic_filter(), options(version)), 1..8).prop_map(|filters| {
        let entry = |(filter, options): (TopicFilter<'static>, SubscribeOptions)| {
            let no_local = options.no_local && filter.shared() == Ok(None);
            SubscribeFilter { filter, options: SubscribeOptions { no_local, ..options } }
        };
        SubscribeFilters::new(leak(filters.into_iter().map(entry).collect()))
    });
    (id(), properties_in(version, PacketType::Subscribe), filters)
        .prop_map(|(id, properties, filters)| Subscribe { id, properties, filters })
}

fn unsubscribe(version: Version) -> impl Strategy<Value = Unsubscribe<'static>> {
    let filters = vec(topic_filter(), 1..8).prop_map(|filters| Filters::new(leak(filters)));
    (id(), properties_in(version, PacketType::Unsubscribe), filters)
        .prop_map(|(id, properties, filters)| Unsubscribe { id, properties, filters })
}

fn codes(version: Version, packet: PacketType) -> impl Strategy<Value = ReasonCodes<'static>> {
    // 3.x has one code for every refusal.
    let code = reason_code(version, packet).prop_map(move |code| match version {
        Version::V5 => code.0,
        _ if code.is_error() => 0x80,
        _ => code.0,
    });
    vec(code, 1..10).prop_map(|codes| ReasonCodes::new(leak(codes)))
}

fn suback(version: Version) -> impl Strategy<Value = SubAck<'static>> {
    (id(), properties_in(version, PacketType::SubAck), codes(version, PacketType::SubAck))
        .prop_map(|(id, properties, reason_codes)| SubAck { id, properties, reason_codes })
}

fn unsuback(version: Version) -> impl Strategy<Value = UnsubAck<'static>> {
    (id(), properties_in(version, PacketType::UnsubAck), codes(version, PacketType::UnsubAck)).prop_map(
        move |(id, properties, reason_codes)| match version {
            Version::V5 => UnsubAck { id, properties, reason_codes },
            _ => UnsubAck::new(id, &[]),
        },
    )
}

fn disconnect(version: Version) -> impl Strategy<Value = Disconnect<'static>> {
    let code = reason_code(version, PacketType::Disconnect);
    (code, properties_in(version, PacketType::Disconnect))
        .prop_map(|(reason_code, properties)| Disconnect { reason_code, properties })
}

fn auth() -> impl Strategy<Value = Auth<'static>> {
    let code = reason_code(Version::V5, PacketType::Auth);
    (code, properties(PropertyPlace::of(PacketType::Auth)))
        .prop_map(|(reason_code, properties)| Auth { reason_code, properties })
}

/// Any packet of this version.
pub(crate) fn packet(version: Version) -> BoxedStrategy<Packet<'static>> {
    let both = prop_oneof![
        connect(version).prop_map(Packet::Connect),
        connack(version).prop_map(Packet::ConnAck),
        publish(version).prop_map(Packet::Publish),
        ack(version).prop_map(Packet::Ack),
        subscribe(version).prop_map(Packet::Subscribe),
        suback(version).prop_map(Packet::SubAck),
        unsubscribe(version).prop_map(Packet::Unsubscribe),
        unsuback(version).prop_map(Packet::UnsubAck),
        Just(Packet::PingReq(PingReq)),
        Just(Packet::PingResp(PingResp)),
        disconnect(version).prop_map(Packet::Disconnect),
    ];
    match version {
        Version::V5 => prop_oneof![10 => both, 1 => auth().prop_map(Packet::Auth)].boxed(),
        _ => both.boxed(),
    }
}

/// A version that this build speaks.
pub(crate) fn version() -> impl Strategy<Value = Version> {
    select(ALL.into_iter().filter(|version| version.is_supported()).collect::<Vec<_>>())
}

/// A version and a packet of it.
pub(crate) fn any_packet() -> impl Strategy<Value = (Version, Packet<'static>)> {
    version().prop_flat_map(|version| (Just(version), packet(version)))
}
