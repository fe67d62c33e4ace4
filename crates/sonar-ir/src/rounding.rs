//! Rounding on purpose: `(x + c) − c`.

/// Adding a constant of at least this magnitude is taken as rounding on purpose.
const LEAST: f32 = 1024.0;

/// Whether adding this constant is taken as rounding on purpose.
///
/// `(x + c) − c` rounds `x` to a multiple of the distance between neighbouring floating-point numbers near `c`. With
/// `c = 1.5 · 2²³` it rounds to an integer: quantised models use this trick. Below 1024 the distance is at most 2⁻¹⁴, and no model
/// rounds that finely on purpose. A sum with a larger constant is not reordered with other sums. A product in it is rounded before
/// it is added.
///
/// ```
/// use sonar_ir::rounding::rounds_on_purpose;
///
/// assert!(rounds_on_purpose(12_582_912.0) && rounds_on_purpose(-1536.0));
/// assert!(!rounds_on_purpose(3.0));
/// ```
pub fn rounds_on_purpose(constant: f32) -> bool {
    constant.abs() >= LEAST
}
