//! The fields of one csv record (RFC 4180, as leniently as the `csv` crate reads it), and their way back.

use bytes::Bytes;

/// The fields of the record `whole[from..to]`. A field without doubled quotes is a slice of the buffer.
pub(super) fn split(whole: &Bytes, from: usize, to: usize, delimiter: u8, fields: &mut Vec<Bytes>) {
    fields.clear();
    let mut at = from;
    loop {
        let (field, next) = if at < to && whole[at] == b'"' {
            quoted(whole, at + 1, to, delimiter)
        } else {
            let end = memchr::memchr(delimiter, &whole[at..to]).map_or(to, |offset| at + offset);
            (whole.slice(at..end), end)
        };
        fields.push(field);
        if next >= to {
            return;
        }
        at = next + 1;
        if at == to {
            fields.push(Bytes::new());
            return;
        }
    }
}

/// A field whose text begins behind its opening quote at `from`: the field, and where the delimiter or the end is.
fn quoted(whole: &Bytes, from: usize, to: usize, delimiter: u8) -> (Bytes, usize) {
    let mut owned: Vec<u8> = Vec::new();
    let mut at = from;
    loop {
        let Some(close) = memchr::memchr(b'"', &whole[at..to]).map(|offset| at + offset) else {
            // No closing quote before the end of the file: the rest is the field.
            owned.extend_from_slice(&whole[at..to]);
            return (Bytes::from(owned), to);
        };
        let behind = close + 1;
        if behind < to && whole[behind] == b'"' {
            owned.extend_from_slice(&whole[at..behind]);
            at = behind + 1;
            continue;
        }
        if owned.is_empty() && (behind == to || whole[behind] == delimiter) {
            return (whole.slice(from..close), behind);
        }
        // What stands between the closing quote and the delimiter belongs to the field, as it is.
        let end = memchr::memchr(delimiter, &whole[behind..to]).map_or(to, |offset| behind + offset);
        owned.extend_from_slice(&whole[at..close]);
        owned.extend_from_slice(&whole[behind..end]);
        return (Bytes::from(owned), end);
    }
}

/// Appends one field, quoted where it must be; `only` says that the record has no other field (an empty line would be
/// no record).
pub(super) fn write_field(out: &mut Vec<u8>, field: &[u8], delimiter: u8, only: bool) {
    let plain = memchr::memchr3(b'"', b'\n', b'\r', field).is_none() && memchr::memchr(delimiter, field).is_none();
    if plain && !(only && field.is_empty()) {
        out.extend_from_slice(field);
        return;
    }
    out.push(b'"');
    let mut rest = field;
    while let Some(at) = memchr::memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=at]);
        out.push(b'"');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
