"""Where mosquitto 2.0 answers otherwise, and why: a short name for each reason, which README.md explains."""

import re

# Mosquitto accepts what the standard forbids.
LAX = [
    (r"with flags", "flags"), (r"a byte too many|with one byte", "rest"), (r"from a client$", "servers_packet"),
    (r"response topic", "response_topic"), (r"a remaining length with a zero", "padded_length"),
    (r"property 01 of", "format_indicator"), (r"shared|\$share", "share_name"),
    (r"connect flags", "will_flags_of_3_1"), (r"without a filter|SUBSCRIBE cut to 2", "no_filter"), (r"reason code", "reason_codes"), (r"user name", "user_name"),
    (r"property 0b$", "servers_property"), (r"without 15", "data_without_method"), (r"level 133", "bridge_of_5"),
]
# Mosquitto refuses what the standard allows, or leaves to the server.
STRICT = [
    (r"^3\.\d.*subscription options", "reserved_options"), (r"U\+0001|U\+FFFF|U\+10FFFF|U\+FEFF", "should_not"),
    (r"\$share", "share_in_3"),
]


def explain(name, expected, said):
    def named(reasons):
        return next((reason for pattern, reason in reasons if re.search(pattern, name)), None)

    ends, they_end = "closed" in expected, any("DISCONNECT" in word or word == "closed" for word in said)
    if ends and they_end:
        if said == ["closed"]:
            return "silent"
        return "other_code"
    if ends:
        return named(LAX)
    if they_end:
        return named(STRICT)
    if any(word.endswith("92") for word in expected):
        return "unknown_identifier"
    if any(word.endswith("10") for word in expected):
        return "no_subscriber"
    return None
