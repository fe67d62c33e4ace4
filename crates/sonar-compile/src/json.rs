//! Numbers in JSON. JSON has no NaN and no infinities, so these are written as the strings `"NaN"`, `"Infinity"` and
//! `"-Infinity"`.

use serde_json::Value;
use sonar_ir::scalar::name_if_not_finite;

/// A number.
pub fn number(value: f64) -> Value {
    name_if_not_finite(value).map_or_else(|| value.into(), Value::from)
}

/// The elements of a tensor.
pub fn numbers(data: &[f32]) -> Value {
    data.iter().map(|&value| number(f64::from(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_has_a_name() {
        let text = numbers(&[1.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]).to_string();
        assert_eq!(text, r#"[1.5,"NaN","Infinity","-Infinity"]"#);
    }
}
