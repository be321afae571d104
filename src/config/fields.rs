//! Writes a table of settings once: its type, its defaults, its keys and their descriptions.

/// One key as the example shows it.
pub struct Entry {
    /// Its name in the file.
    pub key: &'static str,
    /// The field's own documentation.
    pub doc: &'static str,
    /// Its value in TOML; nothing where it is unset.
    pub value: Option<toml::Value>,
}

/// A table of the file.
pub trait Table {
    /// Every key that may stand in it.
    const KEYS: &'static [&'static str];
    /// What the table is for.
    const DOC: &'static str;
    /// Its keys with the values held.
    fn entries(&self) -> Vec<Entry>;
}

macro_rules! table {
    (
        $(#[doc = $about:literal])+
        $name:ident {
            $( $(#[doc = $doc:literal])+ $(#[serde($($serde:tt)*)])? $key:ident: $kind:ty = $default:expr, )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $( $(#[doc = $doc])+ $(#[serde($($serde)*)])? pub $key: $kind, )*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $( $key: $default, )* }
            }
        }

        impl $crate::config::fields::Table for $name {
            const KEYS: &'static [&'static str] = &[$( stringify!($key), )*];
            const DOC: &'static str = concat!($( $about, "\n", )+);
            fn entries(&self) -> Vec<$crate::config::fields::Entry> {
                vec![$( $crate::config::fields::Entry {
                    key: stringify!($key),
                    doc: concat!($( $doc, "\n", )+),
                    value: toml::Value::try_from(&self.$key).ok(),
                }, )*]
            }
        }
    };
}

pub(super) use table;
