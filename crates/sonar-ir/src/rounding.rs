//! Rounding on purpose: `(x + c) − c`.

/// The least magnitude of a constant that is taken to be added for the sake of rounding.
const LEAST: f32 = 1024.0;

/// Whether adding a constant is taken to round on purpose.
///
/// `(x + c) − c` rounds `x` to a multiple of the distance between two floating-point numbers near `c`. With `c = 1.5 · 2²³` that is
/// rounding to an integer, a trick that quantised models use. Below 1024 the distance is at most 2⁻¹⁴, which no model means. A sum
/// with a larger constant is not reordered with others, and a product in it is rounded before it is added.
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
