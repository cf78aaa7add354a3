//! The codecs. Each decodes the shared frames; what it encodes is what it decoded, so no packet is built by hand.

mod mountain;
mod mqttrs;
mod ours;
mod protocol_core;
mod rmqtt;
mod rumqttc;

use crate::case::Case;
use crate::vectors::items;

/// Every codec with every item that it can do, grouped by item.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for item in items() {
        for peer in
            [ours::cases, rumqttc::cases, mqttrs::cases, protocol_core::cases, rmqtt::cases, mountain::cases]
        {
            cases.extend(peer(&item));
        }
    }
    cases
}
