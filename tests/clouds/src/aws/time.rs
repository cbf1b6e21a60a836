//! Times as EC2 writes and signs them, without a calendar of anybody else's.

use isobar_engine_model::quantity::Timestamp;

const DAY_MS: u64 = 86_400_000;

/// `2026-01-01T00:00:00.000Z`
pub(super) fn iso(at: Timestamp) -> String {
    let (year, month, day) = date(at.0 / DAY_MS);
    let ms = at.0 % DAY_MS;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        ms % 1_000
    )
}

/// `Thu, 01 Jan 2026 00:00:00 GMT`
pub(super) fn http(at: Timestamp) -> String {
    let (year, month, day) = date(at.0 / DAY_MS);
    let names = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let name = usize::try_from(month - 1)
        .ok()
        .and_then(|month| names.get(month * 3..month * 3 + 3));
    // 1970-01-01 was a Thursday.
    let mut weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"].into_iter();
    let weekday = weekdays.nth(usize::try_from(at.0 / DAY_MS % 7).unwrap_or_default());
    let time = iso(at);
    let (weekday, name) = (weekday.unwrap_or_default(), name.unwrap_or_default());
    format!("{weekday}, {day:02} {name} {year:04} {} GMT", &time[11..19])
}

/// `2026-01-01T00:00:00Z`, with or without a fraction, or `20260101T000000Z`.
pub(super) fn of_iso(text: &str) -> Option<Timestamp> {
    let digits: String = text
        .strip_suffix('Z')?
        .split('.')
        .next()?
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    let part = |from: usize, to: usize| digits.get(from..to).and_then(|part| part.parse::<u64>().ok());
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let ms = ((part(8, 10)? * 60 + part(10, 12)?) * 60 + part(12, 14)?) * 1_000;
    let days = (0..).take_while(|days| date(*days) < (year, month, day)).count();
    (digits.len() == 14).then(|| Timestamp(u64::try_from(days).unwrap_or_default() * DAY_MS + ms))
}

/// Year, month and day, so many days after 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_and_read_again() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_709_210_096_000, "2024-02-29T12:34:56.000Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso(Timestamp(ms)), text);
            assert_eq!(of_iso(text), Some(Timestamp(ms)));
        }
        assert_eq!(http(Timestamp(1_709_210_096_000)), "Thu, 29 Feb 2024 12:34:56 GMT");
        assert_eq!(of_iso("20240229T123456Z"), Some(Timestamp(1_709_210_096_000)));
        assert_eq!(of_iso("yesterday"), None);
    }
}
