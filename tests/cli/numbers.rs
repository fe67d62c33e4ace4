//! Numbers that are not finite, as a user meets them.

use crate::Scratch;
use crate::command::sonar;

const ROOTS: &str = "graph @roots(%x: f32[1,6]) {
  %relu = relu(%x)
  %root = sqrt(%x)
  return %relu, %root
}
";

#[test]
fn json_names_what_is_not_finite_and_the_check_compares_it() {
    let scratch = Scratch::new();
    let model = scratch.file("roots.sonar", ROOTS);
    let numbers = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 4.0, -4.0, 0.0];
    let input = scratch.file("x.f32", numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
    for target in ["native", "x86-64-v2"] {
        let found = sonar(&["run", &model, "--input", &input, "--target", target, "--check", "1e-6", "--format", "json"]).json();
        assert_eq!(found["relative_error"], 0.0);
        assert_eq!(found["outputs"][0]["data"], serde_json::json!(["NaN", "Infinity", 0.0, 4.0, 0.0, 0.0]));
        assert_eq!(found["outputs"][1]["data"], serde_json::json!(["NaN", "Infinity", "NaN", 2.0, "NaN", 0.0]));
    }
}
