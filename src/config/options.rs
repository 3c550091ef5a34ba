//! How a component declares its options: one list with type, default and documentation of every key.

use std::collections::BTreeMap;

use figment::Figment;

use super::{Origin, Problem, Setting, Shape, find};

/// A key of a section.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// What it means, from its doc comment.
    pub doc: &'static str,
    /// What may be written, in words.
    pub expected: fn() -> String,
    /// How it is written in environment and flags.
    pub shape: Shape,
    /// Its default as shown to people.
    pub default: fn() -> serde_json::Value,
}

/// All sections and keys that there are.
#[derive(Debug)]
pub struct Schema {
    /// Name and meaning.
    pub sections: &'static [(&'static str, &'static str)],
    /// Section and key.
    pub keys: Vec<(&'static str, &'static Key)>,
}

impl Schema {
    pub(super) fn shape(&self, section: &str, key: &str) -> Option<Shape> {
        let found = self
            .keys
            .iter()
            .find(|(in_section, in_key)| *in_section == section && in_key.name == key);
        found.map(|(_, key)| key.shape)
    }
}

/// A section of the configuration; implemented by [`options!`](crate::options).
pub trait Options: Default {
    const KEYS: &'static [Key];
    /// Overwrites each key that a layer sets; problems go to the reader.
    fn read(&mut self, section: &str, reader: &mut Reader<'_>);
    /// Values as shown to people, secrets hidden.
    fn show(&self) -> Vec<(&'static str, serde_json::Value)>;
}

/// Declares the options of a component: a struct, its defaults, its documentation and how it is read, in one place.
///
/// ```text
/// options! {
///     /// What the publisher may use.
///     pub struct PublisherOptions {
///         /// How many events may be under way to the broker.
///         in_flight: u32 = 10_000,
///     }
/// }
/// ```
#[macro_export]
macro_rules! options {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[doc = $doc:literal])+ $key:ident: $ty:ty = $default:expr,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $key: $ty,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl $crate::config::Options for $name {
            const KEYS: &'static [$crate::config::Key] = &[$($crate::config::Key {
                name: stringify!($key),
                doc: concat!($($doc),+),
                expected: <$ty as $crate::config::Setting>::expected,
                shape: <$ty as $crate::config::Setting>::SHAPE,
                default: || $crate::config::Setting::show(&<Self as Default>::default().$key),
            }),*];

            fn read(&mut self, section: &str, reader: &mut $crate::config::Reader<'_>) {
                $(reader.read(section, stringify!($key), &mut self.$key);)*
            }

            fn show(&self) -> Vec<(&'static str, serde_json::Value)> {
                vec![$((stringify!($key), $crate::config::Setting::show(&self.$key))),*]
            }
        }
    };
}

/// Reads values out of the merged layers, gathering problems and origins.
pub struct Reader<'a> {
    figment: &'a Figment,
    origins: BTreeMap<String, Origin>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(figment: &'a Figment) -> Self {
        Self {
            figment,
            origins: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// Puts the value of `section.key` into `target`, when some layer has it.
    pub fn read<T: Setting>(&mut self, section: &str, key: &str, target: &mut T) {
        let path = format!("{section}.{key}");
        let Some((value, origin)) = find(self.figment, &path) else {
            return;
        };
        match T::read(&value) {
            Ok(read) => *target = read,
            Err(what) => {
                let origin = origin.clone();
                self.problems.push(Problem {
                    key: path.clone(),
                    origin,
                    what,
                });
            }
        }
        if let Some(entries) = value.as_dict() {
            for (entry, value) in entries {
                let origin = self
                    .figment
                    .get_metadata(value.tag())
                    .map_or(Origin::Default, Origin::of);
                self.origins.insert(format!("{path}.{entry}"), origin);
            }
        }
        self.origins.insert(path, origin);
    }

    pub(crate) fn finish(self) -> (BTreeMap<String, Origin>, Vec<Problem>) {
        (self.origins, self.problems)
    }
}
