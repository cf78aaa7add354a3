//! A property as a value under its name; Authentication Data is a secret.

use super::Property;
use super::table::with_property_names;
use crate::serialize::{Binary, SECRET};
use serde::{Serialize, Serializer};

macro_rules! form {
    (AuthenticationData $kind:ident $value:ident) => {{
        let _ = $value;
        SECRET
    }};
    ($name:ident Binary $value:ident) => {
        &Binary($value)
    };
    ($name:ident $kind:ident $value:ident) => {
        $value
    };
}

macro_rules! serialize_by_name {
    ($($name:ident $kind:ident)*) => {
        impl Serialize for Property<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let number = self.id() as u32;
                match self {
                    Self::UserProperty(name, value) => {
                        serializer.serialize_newtype_variant("Property", number, "UserProperty", &(name, value))
                    }
                    $(Self::$name(value) => serializer.serialize_newtype_variant(
                        "Property",
                        number,
                        stringify!($name),
                        form!($name $kind value),
                    ),)*
                }
            }
        }
    };
}

with_property_names!(serialize_by_name);
