//! How people read a property: binary data by its length, and nothing of a secret.

use super::Property;
use super::table::with_property_names;
use core::fmt;

macro_rules! form {
    (AuthenticationData $kind:ident $value:ident) => {{
        let _ = $value;
        format_args!("***")
    }};
    ($name:ident Binary $value:ident) => {
        format_args!("{} bytes", $value.len())
    };
    ($name:ident $kind:ident $value:ident) => {
        $value
    };
}

macro_rules! debug_by_name {
    ($($name:ident $kind:ident)*) => {
        impl fmt::Debug for Property<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name(value) => {
                        f.debug_tuple(stringify!($name)).field(&form!($name $kind value)).finish()
                    })*
                    Self::UserProperty(name, value) => {
                        f.debug_tuple("UserProperty").field(name).field(value).finish()
                    }
                }
            }
        }
    };
}

with_property_names!(debug_by_name);
