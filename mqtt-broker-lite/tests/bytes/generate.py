#!/usr/bin/env python3
"""Writes the sequences in this directory anew: what is sent is made here, by an encoder of its own, and what must come
back is first said by the rules below and then recorded, byte by byte.

    generate.py PROGRAM     our broker's, fresh from `cargo build`; mosquitto must be installed

An answer of our broker that the rules do not expect fails; a difference of mosquitto must be explained in DIFFERENCES.
"""

import collections
import concurrent.futures
import contextlib
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from differences import explain

HERE = pathlib.Path(__file__).resolve().parent
V31, V311, V5 = 3, 4, 5
VERSIONS = (V31, V311, V5)
NAMES = {V31: "3.1", V311: "3.1.1", V5: "5.0"}
PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE = 3, 4, 5, 6, 7, 8, 10
PINGREQ, DISCONNECT, AUTH = 12, 14, 15
TYPES = ["reserved", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK",
         "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"]
ACKS = (PUBACK, PUBREC, PUBREL, PUBCOMP)


# --- Packets -----------------------------------------------------------------------------------------------------

def varint(n):
    out = b""
    while True:
        n, digit = n >> 7, n & 127
        out += bytes([digit | (128 if n else 0)])
        if not n:
            return out


def u16(n):
    return n.to_bytes(2, "big")


def string(text):
    text = text.encode() if isinstance(text, str) else text
    return u16(len(text)) + text


def packet(kind, flags, body):
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


def props(version, block=b""):
    return varint(len(block)) + block if version == V5 else b""


def connect(version, client, flags=2, block=b"", payload=b"", name=None, level=None, keep_alive=0):
    name = name if name is not None else ("MQIsdp" if version == V31 else "MQTT")
    level = version if level is None else level
    return packet(1, 0, string(name) + bytes([level, flags]) + u16(keep_alive) + props(version, block)
                  + string(client) + payload)


def publish(version, topic, flags=0, ident=None, payload=b"x", block=b""):
    return packet(PUBLISH, flags, string(topic) + (u16(ident) if ident is not None else b"") + props(version, block)
                  + payload)


def subscribe(version, filters, ident=1, block=b"", flags=2):
    return packet(SUBSCRIBE, flags, u16(ident) + props(version, block)
                  + b"".join(string(name) + bytes([options]) for name, options in filters))


def unsubscribe(version, filters, ident=1, block=b"", flags=2):
    return packet(UNSUBSCRIBE, flags, u16(ident) + props(version, block) + b"".join(map(string, filters)))


def ack(kind, ident, code=None, block=None, flags=None):
    flags = (2 if kind == PUBREL else 0) if flags is None else flags
    tail = b"" if code is None else bytes([code])
    tail += b"" if block is None else varint(len(block)) + block
    return packet(kind, flags, u16(ident) + tail)


PING = packet(PINGREQ, 0, b"")


# --- What came back, in words: only what both brokers are free to agree on -----------------------------------------

def split(data):
    packets = []
    while data:
        length, shift, at = 0, 0, 1
        while True:
            length |= (data[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if not data[at - 1] & 128:
                break
        packets.append(data[:at + length])
        data = data[at + length:]
    return packets


def skeleton(version, data):
    words = []
    for one in split(data):
        kind, body = one[0] >> 4, one[1:]
        while body[0] & 128:
            body = body[1:]
        body = body[1:]
        if kind == 2:
            words.append(f"CONNACK {body[0]} {body[1]:02x}")
        elif kind == DISCONNECT:
            words.append(f"DISCONNECT {body[0] if body else 0:02x}")
        elif kind == AUTH:
            words.append(f"AUTH {body[0] if body else 0:02x}")
        elif kind in ACKS:
            words.append(f"{TYPES[kind]} {body[:2].hex()} {body[2] if len(body) > 2 else 0:02x}")
        elif kind in (9, 11):
            # No broker has properties in these.
            words.append(f"{TYPES[kind]} {body[:2].hex()} {body[3 if version == V5 else 2:].hex()}".rstrip())
        elif kind == PUBLISH:
            words.append(f"PUBLISH {one.hex()}")
        else:
            words.append(TYPES[kind])
    return words


# --- Cases -----------------------------------------------------------------------------------------------------------

Step = collections.namedtuple("Step", "client version sends expects")
Case = collections.namedtuple("Case", "file name steps")
cases = []


def case(file, name, *steps, closes=False):
    """`steps`: client, version, bytes, and what is expected in words; a connection that stays answers a ping."""
    made = [Step(client, version, sends, list(expects)) for client, version, sends, expects in steps]
    if not closes:
        last = made[-1]
        made.append(Step(last.client, last.version, PING, ["PINGRESP"]))
    cases.append(Case(file, name, made))


def connected(version, **more):
    """A client of its own, and its first step."""
    name = f"c{len(cases)}"
    return name, ("a", version, connect(version, name, **more), ["CONNACK 0 00"])


def refusal(version, code):
    return [f"DISCONNECT {code:02x}", "closed"] if version == V5 else ["closed"]


def after_connect(file, name, version, sends, expects=None, error=None):
    """One packet on a fresh connection: it is answered so, or ends the connection with this code."""
    _, first = connected(version)
    expected = refusal(version, error) if error is not None else expects or []
    case(file, f"{NAMES[version]}: {name}", first, ("a", version, sends, expected), closes="closed" in expected)


MALFORMED, PROTOCOL = 0x81, 0x82


def fixed_headers():
    for version in VERSIONS:
        topic = f"f{version}"
        good = {
            PUBACK: (ack(PUBACK, 9), []), PUBREC: (ack(PUBREC, 9), None), PUBREL: (ack(PUBREL, 9), None),
            PUBCOMP: (ack(PUBCOMP, 9), []), SUBSCRIBE: (subscribe(version, [(topic, 0)]), ["SUBACK 0001 00"]),
            UNSUBSCRIBE: (unsubscribe(version, [topic]), ["UNSUBACK 0001" + (" 11" if version == V5 else "")]),
            PINGREQ: (PING, ["PINGRESP"]), DISCONNECT: (packet(DISCONNECT, 0, b""), ["closed"]),
        }
        not_found = "92" if version == V5 else "00"
        good[PUBREC] = (good[PUBREC][0], [f"PUBREL 0009 {not_found}"])
        good[PUBREL] = (good[PUBREL][0], [f"PUBCOMP 0009 {not_found}"])
        for kind, (sends, expects) in good.items():
            right = 2 if kind in (PUBREL, SUBSCRIBE, UNSUBSCRIBE) else 0
            for flags in range(16):
                is_right = flags == right or version == V31
                after_connect("fixed_header", f"{TYPES[kind]} with flags {flags:04b}", version,
                              bytes([kind << 4 | flags]) + sends[1:], expects, None if is_right else MALFORMED)
        for flags in range(16):
            name = f"c{len(cases)}"
            sends = bytes([0x10 | flags]) + connect(version, name)[1:]
            if flags == 0 or version == V31:
                case("fixed_header", f"{NAMES[version]}: CONNECT with flags {flags:04b}",
                     ("a", version, sends, ["CONNACK 0 00"]))
            else:
                refused = ["CONNACK 0 81", "closed"] if version == V5 else ["closed"]
                case("fixed_header", f"{NAMES[version]}: CONNECT with flags {flags:04b}",
                     ("a", version, sends, refused), closes=True)
        for flags in range(16):
            qos, dup = flags >> 1 & 3, flags >> 3
            sends = publish(version, f"pf{version}", flags & 14, 7 if qos else None)
            code = "10" if version == V5 else "00"
            answer = {0: [], 1: [f"PUBACK 0007 {code}"], 2: [f"PUBREC 0007 {code}"], 3: None}[qos]
            if flags & 1:
                # A topic of its own, removed again: what is retained would be seen by others.
                sends = publish(version, f"pr{version}{flags}", flags, 7 if qos else None, b"")
            wrong = qos == 3 or qos == 0 and dup
            # 3.1 says nothing about DUP at QoS 0.
            wrong = wrong and not (version == V31 and qos == 0)
            after_connect("fixed_header", f"PUBLISH with flags {flags:04b}", version, sends, answer,
                          MALFORMED if wrong else None)
        for kind in (0, 2, 9, 11, 13) + ((AUTH,) if version != V5 else ()):
            for body in (b"", b"\0\0", b"\0\x01\0"):
                after_connect("fixed_header", f"{TYPES[kind]} of {len(body)} bytes from a client", version,
                              packet(kind, 0, body), error=MALFORMED if kind in (0, AUTH) else PROTOCOL)
        for kind in range(16):
            if kind != 1:
                sends = packet(kind, 2 if kind in (6, 8, 10) else 0, b"\0\x01\0")
                case("fixed_header", f"{NAMES[version]}: {TYPES[kind]} before CONNECT",
                     ("a", version, sends, ["closed"]), closes=True)


def lengths():
    for version in VERSIONS:
        whole = {
            "PUBLISH of QoS 0": publish(version, "l", 0), "PUBLISH of QoS 1": publish(version, "l", 2, 1, b""),
            "PUBLISH of QoS 2": publish(version, "l", 4, 1, b""),
            "PUBACK": ack(PUBACK, 1), "PUBREC": ack(PUBREC, 1), "PUBREL": ack(PUBREL, 1), "PUBCOMP": ack(PUBCOMP, 1),
            "SUBSCRIBE": subscribe(version, [("l", 0)]), "UNSUBSCRIBE": unsubscribe(version, ["l"]),
        }
        for name, sends in whole.items():
            body = sends[2:]
            shortest_publish = {0: 3 + (version == V5), 1: len(body), 2: len(body)}
            for length in range(len(body)):
                cut = bytes([sends[0], length]) + body[:length]
                if name == "PUBLISH of QoS 0" and length >= shortest_publish[0]:
                    continue
                # Nothing is missing but filters.
                is_empty = "SUBSCRIBE" in name and length == (3 if version == V5 else 2)
                after_connect("length", f"{name} cut to {length} of {len(body)} bytes", version, cut,
                              error=PROTOCOL if is_empty else MALFORMED)
        for name, sends in (("PINGREQ", PING), ("DISCONNECT", packet(DISCONNECT, 0, b""))):
            if name == "DISCONNECT" and version == V5:
                continue
            after_connect("length", f"{name} with one byte", version, bytes([sends[0], 1, 0]), error=MALFORMED)
        for kind in ACKS:
            if version != V5:
                after_connect("length", f"{TYPES[kind]} with a byte too many", version,
                              packet(kind, 2 if kind == PUBREL else 0, b"\0\x01\0"), error=MALFORMED)
        after_connect("length", "SUBSCRIBE with a byte too many", version,
                      packet(SUBSCRIBE, 2, subscribe(version, [("l", 0)])[2:] + b"\0"), error=MALFORMED)
        after_connect("length", "UNSUBSCRIBE with a byte too many", version,
                      packet(UNSUBSCRIBE, 2, unsubscribe(version, ["l"])[2:] + b"\0"), error=MALFORMED)
        after_connect("length", "SUBSCRIBE without a filter", version, subscribe(version, []), error=PROTOCOL)
        after_connect("length", "UNSUBSCRIBE without a filter", version, unsubscribe(version, []), error=PROTOCOL)
        for digits in ("80808080", "ffffffff"):
            after_connect("length", f"a remaining length of five bytes {digits}", version,
                          bytes.fromhex("30" + digits + "01"), error=MALFORMED)
        padded = b"\xc0\x80\x00"
        after_connect("length", "a remaining length with a zero more than it needs", version, padded,
                      ["PINGRESP"], MALFORMED if version == V5 else None)
        for name, sends in (("PUBLISH", publish(version, "l", 2, 0)), ("SUBSCRIBE", subscribe(version, [("l", 0)], 0)),
                            ("UNSUBSCRIBE", unsubscribe(version, ["l"], 0)), ("PUBREL", ack(PUBREL, 0)),
                            ("PUBACK", ack(PUBACK, 0)), ("PUBREC", ack(PUBREC, 0)), ("PUBCOMP", ack(PUBCOMP, 0))):
            after_connect("length", f"{name} with packet identifier 0", version, sends,
                          error=PROTOCOL if version == V5 else MALFORMED)
        for length in range(len(connect(version, "c")) - 2):
            whole_connect = connect(version, "c")
            cut = bytes([0x10, length]) + whole_connect[2:2 + length]
            told = version == V5 and length > 6
            case("length", f"{NAMES[version]}: CONNECT cut to {length} of {len(whole_connect) - 2} bytes",
                 ("a", version, cut, ["CONNACK 0 81", "closed"] if told else ["closed"]), closes=True)
        case("length", f"{NAMES[version]}: CONNECT with a byte too many",
             ("a", version, packet(1, 0, connect(version, "c")[2:] + b"\0"),
              ["CONNACK 0 81", "closed"] if version == V5 else ["closed"]), closes=True)


def connects():
    for version in VERSIONS:
        for flags in range(256):
            name = f"c{len(cases)}"
            has_will, qos, retain = flags >> 2 & 1, flags >> 3 & 3, flags >> 5 & 1
            has_password, has_user = flags >> 6 & 1, flags >> 7 & 1
            payload = b""
            if has_will:
                payload += props(version) + string(f"w{name}") + string("")
            payload += (string("u") if has_user else b"") + (string("p") if has_password else b"")
            wrong = flags & 1 or qos == 3 or not has_will and (qos or retain)
            wrong = wrong or has_password and not has_user and version != V5
            # 3.1 leaves the lowest bit unused.
            if version == V31:
                wrong = qos == 3 or not has_will and (qos or retain) or has_password and not has_user
            sends = connect(version, name, flags, payload=payload)
            title = f"{NAMES[version]}: connect flags {flags:08b}"
            if wrong:
                refused = ["CONNACK 0 81", "closed"] if version == V5 else ["closed"]
                case("connect", title, ("a", version, sends, refused), closes=True)
            else:
                case("connect", title, ("a", version, sends, ["CONNACK 0 00"]),
                     ("a", version, packet(DISCONNECT, 0, b""), ["closed"]), closes=True)
    for protocol in ("MQTT", "MQIsdp", "mqtt", "MQTTX", "MQT", "", "HTTP"):
        for level in (0, 1, 2, 3, 4, 5, 6, 7, 127, 131, 132, 133, 255):
            # What has a level behind 4 is written as 5.0 would be.
            version = V5 if level in (5, 6, 7) else V311
            if protocol == "MQIsdp" and level == 3:
                version = V31
            sends = connect(version, f"c{len(cases)}", name=protocol, level=level)
            title = f"protocol {protocol!r} level {level}"
            is_known = protocol == "MQTT" and level in (4, 5, 132) or protocol == "MQIsdp" and level in (3, 131)
            if is_known:
                case("connect", title, ("a", version, sends, ["CONNACK 0 00"]))
            elif protocol in ("MQTT", "MQIsdp"):
                case("connect", title, ("a", version, sends, ["CONNACK 0 01", "closed"]), closes=True)
            else:
                case("connect", title, ("a", version, sends, ["closed"]), closes=True)
    for version in VERSIONS:
        if version != V5:
            sends = connect(version, "", flags=0)
            case("connect", f"{NAMES[version]}: no client identifier and a session to keep",
                 ("a", version, sends, ["CONNACK 0 02", "closed"]), closes=True)
        name, first = connected(version)
        case("connect", f"{NAMES[version]}: a second CONNECT", first,
             ("a", version, connect(version, name), refusal(version, PROTOCOL)), closes=True)
        name, first = connected(version)
        case("connect", f"{NAMES[version]}: another connection takes over", first,
             ("b", version, connect(version, name), ["CONNACK 0 00"]),
             ("a", version, b"", refusal(version, 0x8E)), closes=True)
        name, first = connected(version, flags=0, block=b"\x11\0\0\0\x09")
        case("connect", f"{NAMES[version]}: a session is present", first,
             ("a", version, packet(DISCONNECT, 0, b""), ["closed"]),
             # 3.1 does not say so.
             ("b", version, connect(version, name, 0), ["CONNACK 0 00" if version == V31 else "CONNACK 1 00"]),
             ("b", version, packet(DISCONNECT, 0, b""), ["closed"]),
             ("c", version, connect(version, name, 2), ["CONNACK 0 00"]))


# --- Strings ---------------------------------------------------------------------------------------------------------

STRINGS = [
    ("U+0000", b"a\0b", False), ("an overlong U+0000", b"\xc0\x80", False), ("an overlong slash", b"\xc0\xaf", False),
    ("a surrogate", b"\xed\xa0\x80", False), ("the last surrogate", b"\xed\xbf\xbf", False),
    ("a lone continuation", b"\x80", False), ("a cut sequence", b"a\xe2\x82", False), ("U+110000", b"\xf4\x90\x80\x80", False),
    ("the byte FE", b"\xfe", False), ("Latin-1", b"caf\xe9", False),
    ("U+FEFF", b"\xef\xbb\xbfa", True), ("U+10FFFF", b"\xf4\x8f\xbf\xbf", True), ("a space", b"a b", True),
    ("two bytes", "ü".encode(), True), ("three bytes", "語".encode(), True), ("four bytes", "😀".encode(), True),
    ("U+0001", b"a\x01", True), ("U+FFFF", b"\xef\xbf\xbf", True),
]


def strings():
    for version in VERSIONS:
        for what, text, is_good in STRINGS:
            refused = ["CONNACK 0 81", "closed"] if version == V5 else ["closed"]
            tail = f"c{len(cases)}".encode()
            own = text + f"/{len(cases)}".encode()
            for field, sends in (
                ("client identifier", connect(version, tail + text)),
                ("user name", connect(version, tail + b"u", 0x82, payload=string(text))),
                ("will topic", connect(version, tail + b"w", 6, payload=props(version) + string(own) + string(""))),
            ):
                title = f"{NAMES[version]}: {what} in a {field}"
                expects = ["CONNACK 0 00"] if is_good else refused
                # The session ends well: a will would be seen by others.
                bye = [("a", version, packet(DISCONNECT, 0, b""), ["closed"])] if is_good else []
                case("strings", title, ("a", version, sends, expects), *bye, closes=True)
            after_connect("strings", f"{what} in a topic name", version, publish(version, own), [],
                          None if is_good else MALFORMED)
            after_connect("strings", f"{what} in a topic filter", version, subscribe(version, [(own + b"/s", 0)]),
                          ["SUBACK 0001 00"], None if is_good else MALFORMED)
            after_connect("strings", f"{what} in a filter to unsubscribe", version, unsubscribe(version, [text]),
                          ["UNSUBACK 0001" + (" 11" if version == V5 else "")], None if is_good else MALFORMED)
    for what, text, is_good in STRINGS:
        for field, ident in (("content type", 3), ("response topic", 8)):
            after_connect("strings", f"{what} in a {field}", V5, publish(V5, "s", block=bytes([ident]) + string(text)), [],
                          None if is_good else MALFORMED)
        for field, block in (("name", string(text) + string("v")), ("value", string("n") + string(text))):
            after_connect("strings", f"{what} in the {field} of a user property", V5, publish(V5, "s", block=b"\x26" + block),
                          [], None if is_good else MALFORMED)
        after_connect("strings", f"{what} in a reason string", V5, ack(PUBACK, 9, 0, b"\x1f" + string(text)), [],
                      None if is_good else MALFORMED)


# --- Properties and reason codes of 5.0 ------------------------------------------------------------------------------

U32 = b"\0\0\0\x0a"
VALUES = {
    0x01: b"\x01", 0x02: U32, 0x03: string("x"), 0x08: string("x"), 0x09: string("x"), 0x0B: b"\x05", 0x11: U32,
    0x12: string("x"), 0x13: u16(5), 0x15: string("x"), 0x16: string("x"), 0x17: b"\x01", 0x18: U32, 0x19: b"\x01",
    0x1A: string("x"), 0x1C: string("x"), 0x1F: string("x"), 0x21: u16(9), 0x22: u16(9), 0x23: u16(1), 0x24: b"\x01",
    0x25: b"\x01", 0x26: string("n") + string("v"), 0x27: b"\0\0\x10\0", 0x28: b"\x01", 0x29: b"\x01", 0x2A: b"\x01",
}
ALLOWED = {
    "CONNECT": (0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27),
    "a will": (0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26),
    "PUBLISH": (0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26),
    "PUBACK": (0x1F, 0x26), "PUBREC": (0x1F, 0x26), "PUBREL": (0x1F, 0x26), "PUBCOMP": (0x1F, 0x26),
    "SUBSCRIBE": (0x0B, 0x26), "UNSUBSCRIBE": (0x26,), "DISCONNECT": (0x11, 0x1F, 0x26),
    "AUTH": (0x15, 0x16, 0x1F, 0x26),
}
# Valid in the packet, but only from a server.
SERVERS = {"PUBLISH": (0x0B,), "DISCONNECT": (0x1C,)}
# Which the standard calls protocol errors, and which values it does not know.
WRONG_VALUES = {
    0x01: [b"\x02", b"\xff"], 0x0B: [b"\x00"], 0x17: [b"\x02"], 0x19: [b"\x02"], 0x21: [u16(0)], 0x23: [u16(0)],
    0x27: [b"\0\0\0\0"],
}
CUT = {0x01: b"", 0x02: b"\0\0\0", 0x03: b"\0\x05x", 0x08: b"\0", 0x09: b"\0\x05x", 0x0B: b"\xff", 0x11: b"\0\0",
       0x15: b"\0\x09x", 0x16: b"\0\x09x", 0x17: b"", 0x18: b"\0", 0x19: b"", 0x1F: b"\0\x09x", 0x21: b"\0",
       0x22: b"\0", 0x23: b"\0", 0x26: string("n") + b"\0\x09v", 0x27: b"\0\0\0"}


def with_properties(place, block):
    """The packet, and what it is answered with where all is well."""
    kind = TYPES.index(place) if place in TYPES else 0
    if kind in ACKS:
        answer = {PUBREC: ["PUBREL 0009 92"], PUBREL: ["PUBCOMP 0009 92"]}.get(kind, [])
        return ack(kind, 9, 0, block), answer
    return {
        "PUBLISH": (publish(V5, "p", block=block), []),
        "SUBSCRIBE": (subscribe(V5, [("p/none", 0)], block=block), ["SUBACK 0001 00"]),
        "UNSUBSCRIBE": (unsubscribe(V5, ["p/none"], block=block), ["UNSUBACK 0001 11"]),
        "DISCONNECT": (packet(DISCONNECT, 0, b"\0" + varint(len(block)) + block), ["closed"]),
        "AUTH": (packet(AUTH, 0, b"\x19" + varint(len(block)) + block), ["DISCONNECT 82", "closed"]),
    }[place]


def property_case(place, what, block, error):
    if place in ("CONNECT", "a will"):
        name = f"c{len(cases)}"
        if place == "CONNECT":
            sends = connect(V5, name, block=block)
        else:
            sends = connect(V5, name, 6, payload=varint(len(block)) + block + string(f"w{name}") + string(""))
        if error:
            case("properties", f"{place} with {what}",
                 ("a", V5, sends, [f"CONNACK 0 {error:02x}", "closed"]), closes=True)
        else:
            case("properties", f"{place} with {what}", ("a", V5, sends, ["CONNACK 0 00"]),
                 ("a", V5, packet(DISCONNECT, 0, b""), ["closed"]), closes=True)
        return
    sends, expects = with_properties(place, block)
    # DISCONNECT must not make a session last that was to end.
    first_block = b"\x11\0\0\0\x09" if place == "DISCONNECT" else b""
    _, first = connected(V5, block=first_block)
    expects = [f"DISCONNECT {error:02x}", "closed"] if error else expects
    case("properties", f"{place} with {what}", first, ("a", V5, sends, expects), closes="closed" in expects)


def properties():
    for place, allowed in ALLOWED.items():
        for ident in VALUES:
            block = bytes([ident]) + VALUES[ident]
            title = f"property {ident:02x}"
            if place == "CONNECT" and ident == 0x15:
                property_case(place, title, block, 0x8C)
            elif place == "CONNECT" and ident == 0x16:
                property_case(place, title + " without 15", block, PROTOCOL)
            elif ident in allowed:
                property_case(place, title, block, None)
            else:
                property_case(place, title, block, PROTOCOL if ident in SERVERS.get(place, ()) else MALFORMED)
            if ident in allowed and ident != 0x26:
                # A second alias changes nothing about the packet being wrong.
                property_case(place, title + " twice", block * 2, PROTOCOL)
            if ident in allowed and ident in CUT:
                property_case(place, title + " cut off", bytes([ident]) + CUT[ident], MALFORMED)
            for value in WRONG_VALUES.get(ident, []) if ident in allowed else []:
                error = 0x94 if ident == 0x23 else PROTOCOL
                property_case(place, f"{title} of {value.hex()}", bytes([ident]) + value, error)
        property_case(place, "a user property twice", (b"\x26" + VALUES[0x26]) * 2, None)
        for unknown in (b"\0", b"\x04\0", b"\x7f\0", b"\x80\x01\0", b"\xff\xff\xff\xff\x7f"):
            property_case(place, f"the unknown property {unknown.hex()}", unknown, MALFORMED)


# Which codes a client may use where, as the standard's table has them.
CODES = {
    PUBACK: (0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99),
    PUBREC: (0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99),
    PUBREL: (0x00, 0x92), PUBCOMP: (0x00, 0x92),
    DISCONNECT: (0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99),
}
EVERY_CODE = (0x00, 0x01, 0x02, 0x03, 0x04, 0x10, 0x11, 0x18, 0x19, *range(0x80, 0xA4), 0xFF)


def reason_codes():
    for kind, allowed in CODES.items():
        for code in EVERY_CODE:
            title = f"{TYPES[kind]} with reason code {code:02x}"
            if kind == DISCONNECT:
                _, first = connected(V5)
                sends = packet(DISCONNECT, 0, bytes([code]))
                # The standard lists two of them inconsistently.
                error = None if code in allowed or code in (0x8C, 0x9B) else PROTOCOL
                expects = ["closed"] if error is None else [f"DISCONNECT {error:02x}", "closed"]
                case("reason_codes", title, first, ("a", V5, sends, expects), closes=True)
                continue
            expects = {PUBREC: ["PUBREL 0009 92"] if code < 0x80 else [], PUBREL: ["PUBCOMP 0009 92"]}.get(kind, [])
            after_connect("reason_codes", title, V5, ack(kind, 9, code), expects,
                          None if code in allowed else PROTOCOL)
    for code in (0x00, 0x18, 0x19, 0x80):
        after_connect("reason_codes", f"AUTH with reason code {code:02x} where there is no method", V5,
                      packet(AUTH, 0, bytes([code])), error=PROTOCOL)


# --- Topics, subscriptions, messages -----------------------------------------------------------------------------------

FILTERS = [("#", 1), ("+", 1), ("/", 1), ("//", 1), ("a/+/b", 1), ("+/+", 1), ("a/#", 1), ("+/#", 1), ("/#", 1), ("$x/#", 1),
           ("", 0), ("a#", 0), ("#/a", 0), ("a/#/b", 0), ("a+", 0), ("+a", 0), ("a/b+", 0), ("a/+b/c", 0), ("##", 0), ("a/##", 0),
           ("++", 0)]
SHARED = [("$share/g/a", 1), ("$share/g/#", 1), ("$share/g//", 1), ("$share", 1), ("$shared/g", 1), ("$share/g", 0),
          ("$share//a", 0), ("$share/g/", 0), ("$share/+/a", 0), ("$share/#/a", 0), ("$share/g+/a", 0), ("$share/", 0),
          ("$share/g/a#", 0)]


def topics():
    for version in VERSIONS:
        for name, is_good in FILTERS:
            sends = subscribe(version, [(name, 0)])
            after_connect("topics", f"SUBSCRIBE to {name!r}", version, sends, ["SUBACK 0001 00"],
                          None if is_good else 0x8F)
            after_connect("topics", f"UNSUBSCRIBE from {name!r}", version, unsubscribe(version, [name]),
                          ["UNSUBACK 0001" + (" 11" if version == V5 else "")], None if is_good else 0x8F)
        for name, is_good in SHARED:
            # To 3.x what is no shared subscription is a filter like others.
            is_good = is_good or version != V5 and name not in ("$share/g/a#", "$share/g+/a", "$share/#/a")
            after_connect("topics", f"SUBSCRIBE to {name!r}", version, subscribe(version, [(name, 0)]),
                          ["SUBACK 0001 00"], None if is_good else 0x8F)
        for topic, is_good in (("/", 1), ("a//b", 1), ("$x", 1), ("", 0), ("#", 0), ("a/+", 0), ("a#", 0), ("+", 0)):
            error = None if is_good else 0x90
            if topic == "" and version == V5:
                error = PROTOCOL
            after_connect("topics", f"PUBLISH to {topic!r}", version, publish(version, topic), [], error)
            payload = props(version) + string(topic) + string("")
            if topic == "" or not is_good:
                refused = ["CONNACK 0 90", "closed"] if version == V5 else ["closed"]
                case("topics", f"{NAMES[version]}: a will for {topic!r}",
                     ("a", version, connect(version, f"c{len(cases)}", 6, payload=payload), refused), closes=True)
        for options in range(256):
            if version != V5:
                good = options < 3 or version == V31 and options & 3 != 3
            else:
                good = options & 3 != 3 and options >> 4 & 3 != 3 and not options >> 6
            code = f"{options & 3:02x}"
            error = None if good else MALFORMED if version != V5 or options >> 6 else PROTOCOL
            after_connect("subscribe_options", f"subscription options {options:08b}", version,
                          subscribe(version, [("so/none", options)]), [f"SUBACK 0001 {code}"], error)
        many = [("a/1", 0), ("a/2", 1), ("a/3", 2)]
        after_connect("topics", "three filters in one SUBSCRIBE", version, subscribe(version, many), ["SUBACK 0001 000102"])
    for options, error in ((0x04, PROTOCOL), (0x05, PROTOCOL), (0x01, None)):
        after_connect("topics", f"a shared subscription with options {options:08b}", V5,
                      subscribe(V5, [("$share/g/a", options)]), ["SUBACK 0001 01"], error)


def messages():
    for version in VERSIONS:
        for theirs in VERSIONS:
            for qos in range(3):
                for granted in range(3):
                    topic = f"m{len(cases)}"
                    name, first = connected(version)
                    given = min(qos, granted)
                    code = "00"
                    done = {0: [], 1: [f"PUBACK 0007 {code}"], 2: [f"PUBREC 0007 {code}"]}[qos]
                    comes = publish(version, topic, given << 1, 1 if given else None, b"hello")
                    case("messages", f"QoS {qos} of {NAMES[theirs]} to QoS {granted} of {NAMES[version]}",
                         first, ("a", version, subscribe(version, [(topic, granted)]), [f"SUBACK 0001 0{granted}"]),
                         ("b", theirs, connect(theirs, name + "b"), ["CONNACK 0 00"]),
                         ("b", theirs, publish(theirs, topic, qos << 1, 7 if qos else None, b"hello"), done),
                         # Mosquitto hands a message of QoS 2 on when it is released, ours when it came.
                         *([("b", theirs, ack(PUBREL, 7), ["PUBCOMP 0007 00"])] if qos == 2 else []),
                         ("b", theirs, PING, ["PINGRESP"]),
                         ("a", version, b"", [f"PUBLISH {comes.hex()}"]))
        for handling in range(3) if version == V5 else (None,):
            topic = f"m{len(cases)}"
            options = (handling or 0) << 4
            _, first = connected(version)
            kept = publish(version, topic, 1, None, b"kept")
            expects = ["SUBACK 0001 00"] + ([f"PUBLISH {kept.hex()}"] if handling != 2 else [])
            again = ["SUBACK 0001 00"] + ([f"PUBLISH {kept.hex()}"] if handling in (0, None) else [])
            case("messages", f"{NAMES[version]}: a retained message, handling {handling}",
                 first, ("a", version, kept, []), ("a", version, PING, ["PINGRESP"]),
                 ("a", version, subscribe(version, [(topic, options)]), expects),
                 ("a", version, subscribe(version, [(topic, options)]), again),
                 ("a", version, publish(version, topic, 1, None, b""), [f"PUBLISH {publish(version, topic, 0, None, b'').hex()}"]))
        topic = f"m{len(cases)}"
        name, first = connected(version)
        will = props(version) + string(topic) + string("gone")
        case("messages", f"{NAMES[version]}: a will", first,
             ("a", version, subscribe(version, [(topic, 0)]), ["SUBACK 0001 00"]),
             ("b", version, connect(version, name + "b", 6, payload=will), ["CONNACK 0 00"]),
             ("b", version, packet(0, 0, b""), refusal(version, MALFORMED)),
             ("a", version, b"", [f"PUBLISH {publish(version, topic, 0, None, b'gone').hex()}"]))
        name, first = connected(version)
        case("messages", f"{NAMES[version]}: no will after DISCONNECT", first,
             ("a", version, subscribe(version, [(topic + "n", 0)]), ["SUBACK 0001 00"]),
             ("b", version, connect(version, name + "b", 6, payload=props(version) + string(topic + "n") + string("gone")),
              ["CONNACK 0 00"]),
             ("b", version, packet(DISCONNECT, 0, b""), ["closed"]), ("a", version, PING, ["PINGRESP"]), closes=True)
        _, first = connected(version)
        repeat = publish(version, f"m{len(cases)}", 12, 7)
        code = "10" if version == V5 else "00"
        case("messages", f"{NAMES[version]}: QoS 2 repeated, released, repeated", first,
             ("a", version, publish(version, f"m{len(cases)}", 4, 7), [f"PUBREC 0007 {code}"]),
             ("a", version, repeat, ["PUBREC 0007 00"]),
             ("a", version, ack(PUBREL, 7), ["PUBCOMP 0007 00"]),
             ("a", version, ack(PUBREL, 7), ["PUBCOMP 0007 92" if version == V5 else "PUBCOMP 0007 00"]))
    for alias, error in ((1, None), (32, None), (33, 0x94), (65535, 0x94)):
        after_connect("messages", f"topic alias {alias}", V5, publish(V5, "al", block=b"\x23" + u16(alias)), [], error)
    after_connect("messages", "a topic alias that was not set", V5, publish(V5, "", block=b"\x23\0\1"), error=PROTOCOL)
    _, first = connected(V5)
    came = publish(V5, "aliased", payload=b"x").hex()
    case("messages", "a topic by its alias", first, ("a", V5, subscribe(V5, [("aliased", 0)]), ["SUBACK 0001 00"]),
         ("a", V5, publish(V5, "aliased", block=b"\x23\0\1"), [f"PUBLISH {came}"]),
         ("a", V5, publish(V5, "", block=b"\x23\0\1"), [f"PUBLISH {came}"]))
    for topic in ("a/+", "#", "a#"):
        after_connect("messages", f"response topic {topic!r}", V5, publish(V5, "r", block=b"\x08" + string(topic)),
                      error=PROTOCOL)


# --- Talking ---------------------------------------------------------------------------------------------------------

class Peer:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.buffer = b""

    def answer(self, wanted, patience):
        """The next packets: as many as are wanted, or to the end, or until nothing more comes."""
        packets = sum(word != "closed" for word in wanted)
        self.socket.settimeout(patience)
        closed = False
        while not closed and (self.whole() < packets or "closed" in wanted):
            try:
                more = self.socket.recv(65536)
            except TimeoutError:
                break
            except ConnectionError:
                more = b""
            closed = not more
            self.buffer += more
        data, self.buffer = self.buffer, b""
        return data, closed

    def whole(self):
        try:
            return len(split(self.buffer))
        except IndexError:
            return 0


def play(one, port, patience):
    """The answers to each step: bytes, and words."""
    peers, answers = {}, []
    for step in one.steps:
        peer = peers.setdefault(step.client, None) or Peer(port)
        peers[step.client] = peer
        try:
            peer.socket.sendall(step.sends)
        except ConnectionError:
            pass
        data, closed = peer.answer(step.expects, patience)
        answers.append((data, skeleton(step.version, data) + (["closed"] if closed else [])))
        if closed and step.client == one.steps[-1].client and step is not one.steps[-1]:
            following = one.steps[one.steps.index(step) + 1:]
            if not any(later.client != step.client for later in following):
                break
    for peer in peers.values():
        peer.socket.close()
    return answers


@contextlib.contextmanager
def brokers():
    """Both, each on a free port."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    ours, mosquitto = ports
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        config.write(f"listener {mosquitto} 127.0.0.1\nallow_anonymous true\nmax_topic_alias 32\n")
        config.flush()
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        started = [
            subprocess.Popen([sys.argv[1], "--listen", f"mqtt://127.0.0.1:{ours}", "--in-memory", "--log", "off"],
                             stderr=subprocess.DEVNULL),
            subprocess.Popen([program, "-c", config.name], stderr=subprocess.DEVNULL),
        ]
        try:
            for port in ports:
                for _ in range(100):
                    try:
                        socket.create_connection(("127.0.0.1", port)).close()
                        break
                    except ConnectionError:
                        time.sleep(0.1)
            yield ports
        finally:
            for process in started:
                process.terminate()


def main():
    for make in (fixed_headers, lengths, connects, strings, properties, reason_codes, topics, messages):
        make()
    with brokers() as (ours, mosquitto), concurrent.futures.ThreadPoolExecutor(8) as pool:
        our_answers = list(pool.map(lambda one: play(one, ours, 2), cases))
        their_answers = list(pool.map(lambda one: play(one, mosquitto, 0.7), cases))
    files, wrong, unexplained = collections.defaultdict(list), 0, 0
    for one, mine, theirs in zip(cases, our_answers, their_answers):
        expected = [step.expects for step in one.steps]
        got = [words for _, words in mine]
        if got != expected:
            wrong += 1
            print(f"OURS {one.name}\n   expected {expected}\n   got      {got}")
            continue
        script = []
        for step, (data, words) in zip(one.steps, mine):
            script.append(f"{step.client}{step.version}>{step.sends.hex()}")
            script.append(f"{step.client}{step.version}<{data.hex()}{'!' if 'closed' in words else ''}")
        said = [words for _, words in theirs]
        difference = "="
        if said != expected:
            at = next((i for i, (a, b) in enumerate(zip(said, expected)) if a != b), len(said))
            words = ", ".join(said[at]) if at < len(said) and said[at] else "nothing"
            reason = explain(one.name, expected[at], said[at] if at < len(said) else [])
            if reason is None:
                unexplained += 1
                print(f"MOSQUITTO {one.name}\n   expected {expected}\n   got      {said}")
            difference = f"{reason}: step {at + 1}: {words}"
        files[one.file].append("\t".join([one.name, " ".join(script), difference]))
    print(f"{len(cases)} sequences, {wrong} where ours is wrong, {unexplained} differences without an explanation")
    for name, lines in files.items():
        (HERE / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    sys.exit(bool(wrong or unexplained))


main()
