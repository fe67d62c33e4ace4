//! Special values: some operators differ only for them.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::graph::{Graph, Op};
use sonar_ir::tensor::{Tensor, Values};

/// Zeros of both signs and denormal numbers.
const TINY: [f32; 8] = [0.0, -0.0, 1e-45, -1e-45, 1e-40, -3e-39, f32::MIN_POSITIVE, -f32::MIN_POSITIVE];
/// Ordinary numbers, huge numbers, and numbers whose sums are rounded to integers.
const FINITE: [f32; 16] = [
    1.0,
    -1.0,
    0.5,
    -2.5,
    3.0,
    0.1,
    -7.0,
    1e-20,
    1e20,
    -1e20,
    3e38,
    f32::MAX,
    f32::MIN,
    12_582_912.0,
    -12_582_912.0,
    8_388_609.0,
];
/// NaN and infinities.
const OTHERS: [f32; 3] = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN];

/// The number of different mixtures in [`values`].
pub const MIXTURES: u64 = 5;

/// Values for all inputs and parameters of a graph: a mixture of ordinary and special numbers. Some mixtures have so few NaN and
/// infinities that most results are numbers.
pub fn values(graph: &Graph, seed: u64) -> Values {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut values = Values::new();
    for node in &graph.nodes {
        let (Op::Input | Op::Param(_), Some(name), Some(shape)) = (&node.op, &node.name, node.ty.extents()) else { continue };
        let count = shape.iter().product();
        let data = (0..count).map(|_| number(&mut rng, seed % MIXTURES)).collect();
        values.insert(name.clone(), Tensor::new(shape, data));
    }
    values
}

fn number(rng: &mut StdRng, mixture: u64) -> f32 {
    let one_of = |rng: &mut StdRng, list: &[f32]| list[rng.random_range(0..list.len())];
    let ordinary = rng.random_range(-2.0f32..2.0);
    // The percentage of each kind.
    let (tiny, finite, others) = match mixture {
        0 => (10, 10, 2),
        1 => (50, 0, 0),
        2 => (20, 60, 0),
        3 => (20, 30, 30),
        _ => (0, 0, 5),
    };
    match rng.random_range(0..100) {
        k if k < tiny => one_of(rng, &TINY),
        k if k < tiny + finite => one_of(rng, &FINITE),
        k if k < tiny + finite + others => one_of(rng, &OTHERS),
        _ => ordinary,
    }
}

/// Whether two numbers are equal bit by bit; the payload of a NaN does not count.
pub fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}
