"""A client of paho-mqtt, driven by lines: see `peer.rs` for what they say."""

import ssl
import sys
import threading
import urllib.parse

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

lock = threading.Lock()


def say(*words):
    with lock:
        print("\t".join(str(word) for word in words), flush=True)


def main():
    args = dict(argument.split("=", 1) for argument in sys.argv[1:])
    is_v5 = args["version"] == "5"
    url = urllib.parse.urlparse(args["url"])
    transport = {"ws": "websockets", "wss": "websockets", "unix": "unix"}.get(url.scheme, "tcp")
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=args["id"],
        clean_session=None if is_v5 else args["clean"] == "1",
        protocol={"3": mqtt.MQTTv31, "4": mqtt.MQTTv311, "5": mqtt.MQTTv5}[args["version"]],
        transport=transport,
        reconnect_on_failure=False,
    )
    if transport == "websockets":
        client.ws_set_options(path=url.path)
    if url.scheme in ("mqtts", "wss"):
        client.tls_set(args["ca"], args.get("cert"), args.get("key"), tls_version=ssl.PROTOCOL_TLS_CLIENT)
    if "will" in args:
        client.will_set(args["will"], "gone", qos=1)
    client.on_connect = lambda _client, _data, flags, code, _properties: say(
        "connected", int(flags.session_present)) if not code.is_failure else say("refused", code)
    client.on_subscribe = lambda _client, _data, _id, codes, _properties: say("subscribed", codes[0].value)
    client.on_publish = lambda *_: say("published")
    client.on_message = lambda _client, _data, message: say(
        "message", message.topic, message.qos, int(message.retain), message.payload.decode())
    how = {}
    if is_v5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = int(args["expiry"])
        how = {"clean_start": args["clean"] == "1", "properties": properties}
    client.connect(url.path if transport == "unix" else url.hostname, url.port or 1883, keepalive=60, **how)
    client.loop_start()
    for line in sys.stdin:
        command, *words = line.rstrip("\n").split("\t")
        if command == "subscribe":
            client.subscribe(words[0], int(words[1]))
        elif command == "publish":
            client.publish(words[0], words[3], qos=int(words[1]), retain=words[2] == "1")
        elif command == "disconnect":
            client.disconnect()
            client.loop_stop()
            say("disconnected")
            return


main()
