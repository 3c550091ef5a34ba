//! The limits of a document and the forms of its names; the schema says the same to other programs.

use std::ops::RangeInclusive;

/// A submitted document is at most 1 MiB.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;
/// A normalised one may be bigger: its defaults are filled in and its aliases expanded.
pub const MAX_NORMALISED_BYTES: usize = 32 * MAX_DOCUMENT_BYTES;
/// What all anchors and aliases of a YAML document may expand to.
pub const MAX_EXPANDED_BYTES: usize = 4 * MAX_DOCUMENT_BYTES;
/// Nesting of lists and objects.
pub const MAX_DEPTH: usize = 64;

pub const MAX_NAME_CHARS: usize = 200;
pub const MAX_LABELS: usize = 64;
pub const MAX_LABEL_NAME_CHARS: usize = 63;
pub const MAX_LABEL_VALUE_CHARS: usize = 255;
pub const MAX_ENV_NAME_CHARS: usize = 256;
pub const MAX_SECRET_NAME_CHARS: usize = 128;
pub const MAX_ARGUMENTS: usize = 10_000;
/// Linux refuses an argument or a variable of 128 KiB and more (MAX_ARG_STRLEN); the name and `=` take their part.
pub const MAX_ARGUMENT_BYTES: usize = 128 * 1024 - 512;

pub const MAX_RETRIES: RangeInclusive<u64> = 0..=1_000;
pub const BASE_SECONDS: RangeInclusive<f64> = 0.0..=86_400.0;
pub const FACTOR: RangeInclusive<f64> = 1.0..=100.0;
pub const MAX_DELAY_SECONDS: RangeInclusive<f64> = 0.0..=604_800.0;
/// Of timeouts and deadlines.
pub const DURATION_MS: RangeInclusive<u64> = 1..=365 * 86_400_000;
/// The same for people.
pub const DURATION_TEXT: RangeInclusive<&str> = "1ms"..="365days";
pub const MEMORY_MIB: RangeInclusive<u64> = 1..=16_777_216;
/// Whole ones: they are given to a command, not divided.
pub const CPUS: RangeInclusive<u64> = 1..=1_024;
pub const CPU_SECONDS: RangeInclusive<u64> = 1..=31_536_000;
pub const OPEN_FILES: RangeInclusive<u64> = 8..=1_048_576;
pub const PROCESSES: RangeInclusive<u64> = 1..=4_194_304;

/// Set by the worker itself.
pub const RESERVED_ENV: [&str; 3] = ["REPLICA_INDEX", "REPLICA_COUNT", "CHECKPOINT_URL"];
pub const RESERVED_ENV_PREFIX: &str = "GRID_";

/// The form of a name, for the check and, as a regular expression, for the schema.
pub struct Form {
    pub what: &'static str,
    pub says: &'static str,
    pub pattern: &'static str,
    pub fits: fn(&str) -> bool,
}

/// Of jobs and tasks.
pub const NAME: Form = Form {
    what: "a name",
    says: "has 1 to 200 characters, none of them a control character, and no blank at its start or end",
    pattern: r"^(?=.{1,200}$)[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$",
    fits: |text| {
        (1..=MAX_NAME_CHARS).contains(&text.chars().count())
            && !text.chars().any(|c| c.is_ascii_control())
            && !text.starts_with(char::is_whitespace)
            && !text.ends_with(char::is_whitespace)
    },
};

pub const LABEL_NAME: Form = Form {
    what: "a label's name",
    says: "has 1 to 63 of letters, digits, '.', '_', '/', '-', and starts and ends with a letter or digit",
    pattern: r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$",
    fits: |text| {
        let bytes = text.as_bytes();
        (1..=MAX_LABEL_NAME_CHARS).contains(&bytes.len())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._/-".contains(byte))
            && bytes[0].is_ascii_alphanumeric()
            && bytes[bytes.len() - 1].is_ascii_alphanumeric()
    },
};

pub const LABEL_VALUE: Form = Form {
    what: "a label's value",
    says: "has at most 255 characters, none of them a control character",
    pattern: r"^[^\x00-\x1f\x7f]{0,255}$",
    fits: |text| text.chars().count() <= MAX_LABEL_VALUE_CHARS && !text.chars().any(|c| c.is_ascii_control()),
};

pub const ENV_NAME: Form = Form {
    what: "a variable's name",
    says: "has 1 to 256 of letters, digits and '_', and starts with no digit",
    pattern: r"^[A-Za-z_][A-Za-z0-9_]{0,255}$",
    fits: |text| {
        let bytes = text.as_bytes();
        (1..=MAX_ENV_NAME_CHARS).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            && !bytes[0].is_ascii_digit()
    },
};

/// A secret is a file of this name, so a path must not fit.
pub const SECRET_NAME: Form = Form {
    what: "a secret's name",
    says: "has 1 to 128 of letters, digits, '.', '_', '-', and starts with a letter, digit or '_'",
    pattern: r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$",
    fits: is_secret_name,
};

/// Whether `text` can be a secret's name (and so a file's, within the folder of secrets).
pub fn is_secret_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=MAX_SECRET_NAME_CHARS).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
        && (bytes[0].is_ascii_alphanumeric() || bytes[0] == b'_')
}

/// Whether only the worker itself sets the variable.
pub fn is_reserved_env(name: &str) -> bool {
    name.starts_with(RESERVED_ENV_PREFIX) || RESERVED_ENV.contains(&name)
}
