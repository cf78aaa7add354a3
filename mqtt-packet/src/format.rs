//! What has no smaller form for the crate `defmt`: as people read it, with secrets and payloads left out.

use crate::{
    Filters, FixedHeader, Frame, Framer, Packet, Piece, Properties, Property, PropertyPlace, PropertyWriter,
    ReasonCodes, Role, SharedFilter, SliceSink, SubscribeFilter, SubscribeFilters,
};

macro_rules! as_debug {
    ($($type:ty),*) => {$(
        impl defmt::Format for $type {
            fn format(&self, f: defmt::Formatter<'_>) {
                defmt::write!(f, "{}", defmt::Debug2Format(self));
            }
        }
    )*};
}

as_debug!(
    Filters<'_>,
    FixedHeader,
    Frame<'_>,
    Framer<'_>,
    Packet<'_>,
    Piece<'_>,
    Properties<'_>,
    Property<'_>,
    PropertyPlace,
    PropertyWriter<'_>,
    ReasonCodes<'_>,
    Role,
    SharedFilter<'_>,
    SliceSink<'_>,
    SubscribeFilter<'_>,
    SubscribeFilters<'_>
);
