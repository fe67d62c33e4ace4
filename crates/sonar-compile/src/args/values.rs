//! Parsers for values on the command line.

use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// The largest number of threads that is accepted.
const MAX_THREADS: usize = 1024;

/// Reads a whole number of at least 1.
pub fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_string()),
        Ok(count) => Ok(count),
        Err(_) => Err("expected a whole number of at least 1".to_string()),
    }
}

/// Reads a number of threads.
pub fn parse_threads(text: &str) -> Result<usize, String> {
    let threads = parse_count(text)?;
    if threads <= MAX_THREADS { Ok(threads) } else { Err(format!("must be at most {MAX_THREADS}")) }
}

/// Reads a positive number, such as a latency.
pub fn parse_positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected a number above zero".to_string())
}

/// Reads a share of at least 0 and below 1.
pub fn parse_share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..1.0).contains(number));
    number.ok_or_else(|| "expected a number of at least 0 and below 1, such as 0.1".to_string())
}

/// Reads a number of at least 0, such as a maximum relative error.
pub fn parse_nonnegative(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "expected a number of at least 0, such as 1e-4".to_string())
}

/// A number from 0 to 1, or `exact`, which is 0.
pub fn parse_max_rounding(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        _ if text == "exact" => Ok(0.0),
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1, such as 1e-4, or `exact`".to_string()),
    }
}

/// Reads `90s`, `10m`, `1.5h`, or a plain number of seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(i) => text.split_at(i),
        None => (text, "s"),
    };
    let scale = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit `{unit}`: write a number followed by ms, s, m or h, such as 10m")),
    };
    let seconds =
        number.trim().parse::<f64>().map_err(|_| format!("`{number}` is not a number: write it like 90s, 10m or 1.5h"))? * scale;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|d| !d.is_zero() && d.as_secs_f64() < 1e8)
        .ok_or_else(|| format!("`{text}` is not a length of time above zero"))
}

/// Reads `NAME=EXTENTS`. The name may contain any character.
pub fn parse_shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let form = || "expected NAME=EXTENTS, such as image=1,3,224,224".to_string();
    let (name, extents) = text.rsplit_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(form)?;
    let extents = extents.split(',').map(|e| e.trim().parse().ok().filter(|&e: &usize| e > 0));
    Ok((name.to_string(), extents.collect::<Option<_>>().ok_or_else(form)?))
}

/// [`parse_duration`] for configuration files.
pub fn duration<'de, D: Deserializer<'de>>(file: D) -> Result<Option<Duration>, D::Error> {
    parse_duration(&String::deserialize(file)?).map(Some).map_err(serde::de::Error::custom)
}

/// [`parse_count`] for configuration files.
pub fn count<'de, D: Deserializer<'de>>(file: D) -> Result<Option<usize>, D::Error> {
    parse_count(&usize::deserialize(file)?.to_string()).map(Some).map_err(serde::de::Error::custom)
}

/// [`parse_threads`] for configuration files.
pub fn threads<'de, D: Deserializer<'de>>(file: D) -> Result<Option<usize>, D::Error> {
    parse_threads(&usize::deserialize(file)?.to_string()).map(Some).map_err(serde::de::Error::custom)
}

/// [`parse_positive`] for configuration files.
pub fn positive<'de, D: Deserializer<'de>>(file: D) -> Result<Option<f64>, D::Error> {
    parse_positive(&f64::deserialize(file)?.to_string()).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        assert_eq!(parse_shape("image=1,3,224,224"), Ok(("image".to_string(), vec![1, 3, 224, 224])));
        assert_eq!(parse_shape("x=0:1=8"), Ok(("x=0:1".to_string(), vec![8])));
        for bad in ["", "image", "=1", "image=", "image=1,", "image=0", "image=-1", "image=a", "image=99999999999999999999"] {
            assert!(parse_shape(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(parse_count("7"), Ok(7));
        assert_eq!(parse_threads("1024"), Ok(1024));
        assert_eq!(parse_positive("2.5"), Ok(2.5));
        assert_eq!(parse_nonnegative("0"), Ok(0.0));
        for bad in ["", "0", "-1", "1.5", "x", "99999999999999999999"] {
            assert!(parse_count(bad).is_err(), "{bad} was accepted");
        }
        for bad in ["", "0", "-1", "NaN", "inf", "x"] {
            assert!(parse_positive(bad).is_err(), "{bad} was accepted");
        }
        assert!(parse_threads("1025").is_err() && parse_nonnegative("-1").is_err() && parse_nonnegative("NaN").is_err());
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("10m").unwrap().as_secs(), 600);
        assert_eq!(parse_duration("250ms").unwrap().as_millis(), 250);
        assert_eq!(parse_duration("7").unwrap().as_secs(), 7);
        for bad in ["", "m", "-3s", "5 parsecs", "0s", "NaN", "1e300h"] {
            assert!(parse_duration(bad).is_err(), "{bad} was accepted");
        }
    }
}
