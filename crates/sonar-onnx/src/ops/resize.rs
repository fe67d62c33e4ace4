//! Resizing: a linear function of each axis separately, whose matrix is known at import.
//!
//! Extents and coordinates are computed in 32-bit floating point, as in ONNX Runtime: their rounding decides the
//! extents of the result and which element is nearest.

use super::movement::extents;
use crate::build::known::Known;
use crate::build::{Builder, Value, axes, axis};
use crate::error::Refusal;
use crate::import::call::Call;
use sonar_ir::BinaryOp;

type Results = Result<Vec<Value>, Refusal>;

/// The most elements of the matrix of one axis: 32 MiB of weights, such as 1920 by 3840.
const MAX_MATRIX: usize = 1 << 23;
/// The most elements of a resized axis.
const MAX_EXTENT: usize = 1 << 16;

/// How elements of the result are computed from elements of the operand.
struct Method {
    mode: Mode,
    coordinates: Coordinates,
    /// Which element is the nearest.
    rounding: Rounding,
    /// The parameter of the cubic kernel.
    cubic: f64,
    /// Whether elements beyond the border have no weight. If they have one, they equal the element at the border.
    exclude_outside: bool,
    /// Whether shrinking averages all elements that are merged into one.
    antialias: bool,
    /// The value of elements outside the region of interest.
    extrapolation: f32,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// How an index of the result is mapped to a coordinate in the operand (`coordinate_transformation_mode`).
#[derive(Clone, Copy, PartialEq)]
enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    CropAndResize,
}

/// How a coordinate is rounded to the index of the nearest element (`nearest_mode`).
#[derive(Clone, Copy, PartialEq)]
enum Rounding {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
    /// Up if the axis shrinks, else down: the rule before version 11, where a file cannot choose.
    Unchosen,
}

/// One axis that is resized.
#[derive(Clone, Copy)]
struct Axis {
    from: usize,
    to: usize,
    scale: f32,
    /// Start and end of the region of interest, as fractions of the axis.
    region: (f32, f32),
}

/// The elements of the operand that one element of the result is computed from.
struct Row {
    /// The index in the operand of the first element with a weight. It may be out of range.
    first: i64,
    /// Weights of the elements from the first on; empty if the element of the result is extrapolated.
    weights: Vec<f64>,
}

/// Since version 11. In version 10, arguments are those of `Upsample`.
pub fn resize(b: &mut Builder, call: &Call<'_>) -> Results {
    if call.opset < 11 {
        return upsample(b, call);
    }
    let method = Method {
        mode: mode(&call.text("mode", "nearest")?)?,
        coordinates: coordinates(&call.text("coordinate_transformation_mode", "half_pixel")?)?,
        rounding: rounding(&call.text("nearest_mode", "round_prefer_floor")?)?,
        cubic: f64::from(call.float("cubic_coeff_a", -0.75)?),
        exclude_outside: call.flag("exclude_outside", false)?,
        antialias: call.flag("antialias", false)?,
        extrapolation: call.float("extrapolation_value", 0.0)?,
    };
    let x = call.input(0)?;
    let resized: Vec<usize> = if call.has("axes") {
        let given = call.ints("axes", &[])?;
        axes(&given, x.rank())?;
        given.iter().map(|&a| axis(a, x.rank())).collect::<Result<_, _>>()?
    } else {
        (0..x.rank()).collect()
    };
    let count = resized.len();
    let floats = |index: usize, what: &str, wanted: usize| -> Result<Option<Vec<f32>>, Refusal> {
        let Some(known) = call.known(index)? else { return Ok(None) };
        match known.as_floats()?.to_vec() {
            list if list.is_empty() => Ok(None),
            list if list.len() == wanted => Ok(Some(list)),
            list => Err(Refusal::invalid(format!("{} {what} for {count} axes", list.len()))),
        }
    };
    let sizes = call.known(3)?.map(Known::as_ints).transpose()?.filter(|sizes| !sizes.is_empty()).map(extents).transpose()?;
    let policy = call.text("keep_aspect_ratio_policy", "stretch")?;
    let from: Vec<usize> = resized.iter().map(|&axis| x.shape()[axis]).collect();
    // The scale of an axis and its new extent.
    let scaled: Vec<(f32, usize)> = match (floats(2, "scales", count)?, sizes) {
        (Some(scales), None) => {
            let scaled = scales.iter().zip(&from).map(|(&scale, &from)| Ok((scale, scaled_extent(from, scale)?)));
            scaled.collect::<Result<_, Refusal>>()?
        }
        (None, Some(sizes)) if sizes.len() == count => scales_of(&from, &sizes, &policy)?,
        (None, Some(sizes)) => return Err(Refusal::invalid(format!("{} sizes for {count} axes", sizes.len()))),
        (Some(_), Some(_)) => return Err(Refusal::invalid("expected either scales or sizes, found both")),
        (None, None) => return Err(Refusal::invalid("expected either scales or sizes")),
    };
    let regions = match floats(1, "ends of regions", 2 * count) {
        _ if method.coordinates != Coordinates::CropAndResize => None,
        given => given?,
    };
    let regions = regions.unwrap_or_else(|| [vec![0.0; count], vec![1.0; count]].concat());
    let mut result = x.clone();
    for (i, &axis) in resized.iter().enumerate() {
        let (scale, to) = scaled[i];
        let along = Axis { from: from[i], to, scale, region: (regions[i], regions[count + i]) };
        result = b.resize(&result, axis, &along, &method)?;
    }
    Ok(vec![result])
}

/// Versions 7 to 10: scales only, and element `i` is computed from `i / scale`. They are an attribute in versions 7 and 8.
pub fn upsample(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let method = Method {
        mode: mode(&call.text("mode", "nearest")?)?,
        coordinates: Coordinates::Asymmetric,
        rounding: Rounding::Unchosen,
        cubic: -0.75,
        exclude_outside: false,
        antialias: false,
        extrapolation: 0.0,
    };
    let scales = match call.known(1)? {
        Some(known) => known.as_floats()?.to_vec(),
        None => call.floats("scales")?.ok_or_else(|| Refusal::invalid("argument 2, the scales, is missing"))?.to_vec(),
    };
    if scales.len() != x.rank() {
        return Err(Refusal::invalid(format!("{} scales for a tensor of rank {}", scales.len(), x.rank())));
    }
    let mut result = x.clone();
    for (axis, &scale) in scales.iter().enumerate() {
        let from = x.shape()[axis];
        let along = Axis { from, to: scaled_extent(from, scale)?, scale, region: (0.0, 1.0) };
        result = b.resize(&result, axis, &along, &method)?;
    }
    Ok(vec![result])
}

fn mode(name: &str) -> Result<Mode, Refusal> {
    match name {
        "nearest" => Ok(Mode::Nearest),
        // Version 7 of `Upsample` supports images only.
        "linear" | "bilinear" => Ok(Mode::Linear),
        "cubic" => Ok(Mode::Cubic),
        other => Err(Refusal::unsupported(format!("the mode `{other}`"))),
    }
}

fn coordinates(name: &str) -> Result<Coordinates, Refusal> {
    match name {
        "half_pixel" => Ok(Coordinates::HalfPixel),
        "half_pixel_symmetric" => Ok(Coordinates::HalfPixelSymmetric),
        "pytorch_half_pixel" => Ok(Coordinates::PytorchHalfPixel),
        "align_corners" => Ok(Coordinates::AlignCorners),
        "asymmetric" => Ok(Coordinates::Asymmetric),
        "tf_crop_and_resize" => Ok(Coordinates::CropAndResize),
        other => Err(Refusal::unsupported(format!("coordinates `{other}`"))),
    }
}

fn rounding(name: &str) -> Result<Rounding, Refusal> {
    match name {
        "round_prefer_floor" => Ok(Rounding::PreferFloor),
        "round_prefer_ceil" => Ok(Rounding::PreferCeil),
        "floor" => Ok(Rounding::Floor),
        "ceil" => Ok(Rounding::Ceil),
        other => Err(Refusal::invalid(format!("the rounding `{other}`"))),
    }
}

/// The extent that an axis is scaled to: the product in 32-bit floating point, rounded down.
fn scaled_extent(from: usize, scale: f32) -> Result<usize, Refusal> {
    let to = (from as f32 * scale).floor();
    if !(1.0..1e9).contains(&to) {
        return Err(Refusal::invalid(format!("an axis of extent {from} scaled by {scale}")));
    }
    Ok(to as usize)
}

/// The scale and the extent of each axis, for the sizes in the file and its policy (`keep_aspect_ratio_policy`).
fn scales_of(from: &[usize], sizes: &[usize], policy: &str) -> Result<Vec<(f32, usize)>, Refusal> {
    if sizes.contains(&0) || from.contains(&0) {
        return Err(Refusal::invalid(format!("the sizes {sizes:?} from {from:?}")));
    }
    let ratios = sizes.iter().zip(from).map(|(&to, &from)| to as f32 / from as f32);
    let one = match policy {
        "stretch" => return Ok(ratios.zip(sizes.iter().copied()).collect()),
        "not_larger" => ratios.fold(f32::INFINITY, f32::min),
        "not_smaller" => ratios.fold(0.0, f32::max),
        other => return Err(Refusal::invalid(format!("the policy `{other}`"))),
    };
    // Halves are rounded up.
    Ok(from.iter().map(|&from| (one, ((from as f32 * one).round() as usize).max(1))).collect())
}

impl Builder {
    /// The value with one axis resized.
    fn resize(&mut self, value: &Value, axis: usize, along: &Axis, method: &Method) -> Result<Value, Refusal> {
        // Without scaling every coordinate is kept, unless there is a region of interest.
        if along.from == along.to && along.scale == 1.0 && along.region == (0.0, 1.0) {
            return Ok(value.clone());
        }
        if along.to > MAX_EXTENT || along.from.saturating_mul(along.to) > MAX_MATRIX {
            return Err(Refusal::unsupported(format!(
                "resizing an axis from {} to {} takes a matrix of more than {MAX_MATRIX} weights or {MAX_EXTENT} rows: resize in two \
                 steps, or before the model runs",
                along.from, along.to
            )));
        }
        let rows: Vec<Row> = (0..along.to).map(|i| row(i, along, method)).collect();
        let last = along.from as i64 - 1;
        let single = |row: &Row| match &row.weights[..] {
            [weight] if *weight == 1.0 => Some(row.first.clamp(0, last) as usize),
            _ => None,
        };
        if let Some(rows) = rows.iter().map(single).collect::<Option<Vec<_>>>() {
            let factor = along.to / along.from;
            if factor > 1 && rows.iter().copied().eq((0..along.to).map(|i| i / factor)) {
                return self.repeat(value, axis, factor);
            }
            return self.rows(value, axis, &rows);
        }
        let mut matrix = vec![0.0; along.from * along.to];
        let mut outside = vec![0.0; along.to];
        for (column, row) in rows.iter().enumerate() {
            if row.weights.is_empty() {
                outside[column] = method.extrapolation;
            }
            for (at, weight) in (row.first..).zip(&row.weights) {
                matrix[at.clamp(0, last) as usize * along.to + column] += *weight as f32;
            }
        }
        let mut to_last: Vec<usize> = (0..value.rank()).filter(|&other| other != axis).collect();
        to_last.push(axis);
        let mut back: Vec<usize> = (0..value.rank() - 1).collect();
        back.insert(axis, value.rank() - 1);
        let moved = self.transpose(value, &to_last)?;
        let lead = moved.shape()[..value.rank() - 1].to_vec();
        let flat = self.reshape(&moved, &[lead.iter().product(), along.from])?;
        let product = self.matmul(&flat, &Value::Known(Known::floats(vec![along.from, along.to], matrix)))?;
        let result = match outside.iter().all(|&v| v == 0.0) {
            true => product,
            false => self.binary(BinaryOp::Add, &product, &Value::Known(Known::floats(vec![along.to], outside)))?,
        };
        let result = self.reshape(&result, &[&lead[..], &[along.to]].concat())?;
        self.transpose(&result, &back)
    }
}

/// The elements of the operand for element `i` of the result.
fn row(i: usize, along: &Axis, method: &Method) -> Row {
    let x = coordinate(i as f32, along, method.coordinates);
    if method.coordinates == Coordinates::CropAndResize && !(0.0..=along.from as f32 - 1.0).contains(&x) {
        return Row { first: 0, weights: vec![] };
    }
    if method.mode == Mode::Nearest {
        let nearest = match method.rounding {
            Rounding::PreferFloor => (x - 0.5).ceil(),
            Rounding::PreferCeil => x.round(),
            Rounding::Ceil => x.ceil(),
            Rounding::Unchosen if along.scale < 1.0 => x.ceil(),
            Rounding::Floor | Rounding::Unchosen => x.floor(),
        };
        return Row { first: nearest as i64, weights: vec![1.0] };
    }
    let x = f64::from(x);
    // With antialiasing, the kernel is stretched if the axis shrinks.
    let stretch = if method.antialias { f64::from(along.scale.min(1.0)) } else { 1.0 };
    let (reach, kernel): (f64, &dyn Fn(f64) -> f64) = match method.mode {
        Mode::Linear => (1.0, &|t| (1.0 - t.abs()).max(0.0)),
        _ => (2.0, &|t| cubic(t.abs(), method.cubic)),
    };
    let reach = reach / stretch;
    let first = (x - reach).floor() as i64 + 1;
    let end = (x + reach).ceil() as i64;
    let inside = |at: i64| at >= 0 && at < along.from as i64;
    let mut weights: Vec<f64> = (first..end.max(first + 1)).map(|at| kernel((at as f64 - x) * stretch)).collect();
    if method.exclude_outside {
        let excluded = (first..).zip(&mut weights).filter(|(at, _)| !inside(*at));
        excluded.for_each(|(_, weight)| *weight = 0.0);
    }
    let total: f64 = weights.iter().sum();
    if method.exclude_outside || method.antialias {
        weights.iter_mut().for_each(|weight| *weight /= total);
    }
    Row { first, weights }
}

/// The cubic convolution kernel with parameter `a` (Keys, 1981), at distance `t`.
fn cubic(t: f64, a: f64) -> f64 {
    if t <= 1.0 {
        ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
    } else if t < 2.0 {
        ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a
    } else {
        0.0
    }
}

/// The coordinate in the operand of element `i` of the result.
///
/// It uses the given scale, not the ratio of the extents, which are rounded. The "length of the result" in the standard's formulas
/// is the extent of the result.
fn coordinate(i: f32, along: &Axis, coordinates: Coordinates) -> f32 {
    let (from, to, scale) = (along.from as f32, along.to as f32, along.scale);
    let half_pixel = (i + 0.5) / scale - 0.5;
    match coordinates {
        Coordinates::HalfPixel => half_pixel,
        Coordinates::HalfPixelSymmetric => from / 2.0 * (1.0 - to / (scale * from)) + half_pixel,
        Coordinates::PytorchHalfPixel if along.to > 1 => half_pixel,
        Coordinates::AlignCorners if along.to > 1 => i * (from - 1.0) / (to - 1.0),
        Coordinates::PytorchHalfPixel | Coordinates::AlignCorners => 0.0,
        Coordinates::Asymmetric => i / scale,
        Coordinates::CropAndResize => {
            let (start, end) = along.region;
            match along.to {
                1 => 0.5 * (start + end) * (from - 1.0),
                _ => start * (from - 1.0) + i * (end - start) * (from - 1.0) / (to - 1.0),
            }
        }
    }
}
