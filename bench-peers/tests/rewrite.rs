//! Every codec does the whole work: what it read it can write again.

use bench_peers::{Version, cases};

#[test]
fn every_codec_writes_what_it_read() {
    for case in cases() {
        let rewritten = (case.rewritten)();
        let name = format!("{} {}", case.group(), case.peer);
        assert_eq!(rewritten.len(), case.item.frames.len(), "{name}");
        for (written, frame) in rewritten.iter().zip(case.item.frames) {
            if case.item.version == Version::V3_1_1 {
                assert_eq!(written, frame, "{name}");
            } else {
                // Properties in an order of its own, a reason code and an empty property section where they could be
                // left out: that is a codec's choice.
                assert!((frame.len()..=frame.len() + 2).contains(&written.len()), "{name}");
            }
        }
    }
}
