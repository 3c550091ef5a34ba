//! Times below the millisecond: what reads lines knows milliseconds, and VictoriaLogs orders lines by time alone. So lines
//! on their way there are numbered in the digits below, and keep the order in which they were written.

/// Nanoseconds of a millisecond.
pub const NS_PER_MS: i64 = 1_000_000;
/// More than a batch of 1 MiB has lines.
const LINES: u64 = 25_000;
const BATCHES: u64 = NS_PER_MS as u64 / LINES;
/// How a line begins as JSON, up to its milliseconds.
const BEGIN: &[u8] = br#"{"@timestamp":""#;
const TIME: usize = "2026-01-31T10:00:00.123".len();

/// The digits of the line at this place of a batch: the same however often the batch is sent, never 0.
pub fn below_ms(batch: u64, place: usize) -> u32 {
    let place = (place as u64 + 1).min(LINES - 1);
    u32::try_from(batch % BATCHES * LINES + place).unwrap_or(0)
}

/// Writes the digits into the line that begins there in `json`; one that does not begin with its time stays as it is.
pub fn number(json: &mut Vec<u8>, begin: usize, below_ms: u32) {
    let line = &json[begin..];
    let at = BEGIN.len() + TIME;
    if line.starts_with(BEGIN) && line.get(at) == Some(&b'Z') {
        let at = begin + at;
        json.splice(at..at, format!("{below_ms:06}").into_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_rise_within_a_batch_and_over_those_of_a_while() {
        let of = |batch| (0..10_000).map(move |place| below_ms(batch, place));
        let all: Vec<u32> = (0..40).flat_map(of).collect();
        assert!(all.is_sorted_by(|a, b| a < b) && all[0] > 0);
        assert!(all.iter().all(|digits| *digits < 1_000_000));
        assert_eq!(below_ms(7, 0), below_ms(47, 0));
    }

    #[test]
    fn only_a_time_of_milliseconds_gets_them() {
        let mut json = b"x\n{\"@timestamp\":\"2026-01-31T10:00:00.123Z\",\"message\":\"a\"}".to_vec();
        number(&mut json, 2, 17);
        assert_eq!(
            json,
            b"x\n{\"@timestamp\":\"2026-01-31T10:00:00.123000017Z\",\"message\":\"a\"}"
        );
        let before = json.clone();
        number(&mut json, 2, 18);
        number(&mut json, 0, 18);
        assert_eq!(json, before);
    }
}
