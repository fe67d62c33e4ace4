//! The transforms of Winograd's minimal filtering F(m × m, 3 × 3), as expressions.
//!
//! With the interpolation points `pᵢ` and the point at infinity, the transform of the weight is `1/Nᵢ · (1, pᵢ, pᵢ²)` with `Nᵢ
//! = Π_{j≠i} (pᵢ − pⱼ)`. The transform of the image has the coefficients of `Π_{j≠i} (x − pⱼ)`. The transform of the result has
//! the powers of the points. For m = 2 the points are 0, 1, −1. For m = 4 they are 0, ±1/√2, ±√2, which round much less than
//! the usual 0, ±1, ±2: Alam et al., "Winograd Convolution for Deep Neural Networks: Efficient Point Selection", 2022.
//!
//! To transform a square, first its columns and then the rows of the result are transformed. Values are given in an order in
//! which they share as much as possible: the sums of two points of opposite sign are computed once, and as few as possible wait
//! in registers.

use sonar_ir::BinaryOp;
use sonar_ir::loops::Expr;
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use crate::loops::build::{add, binary, mul};

/// The transforms of one size of tile.
pub(crate) struct Transform {
    /// Rows and columns of a tile of the result.
    size: usize,
    /// The finite points.
    points: &'static [f64],
    /// The order of the rows of a transformed image.
    image_rows: &'static [usize],
    /// The order of the rows of a result.
    result_rows: &'static [usize],
    image: fn(&[Expr]) -> Vec<Expr>,
    result: fn(&[Expr]) -> Vec<Expr>,
}

static F2: Transform = Transform {
    size: 2,
    points: &[0.0, 1.0, -1.0],
    image_rows: &[0, 1, 2, 3],
    result_rows: &[0, 1],
    image: image2,
    result: result2,
};

static F4: Transform = Transform {
    size: 4,
    points: &[0.0, FRAC_1_SQRT_2, -FRAC_1_SQRT_2, SQRT_2, -SQRT_2],
    image_rows: &[0, 1, 2, 3, 4, 5],
    result_rows: &[0, 2, 1, 3],
    image: image4,
    result: result4,
};

/// The transforms for tiles of `m` × `m`, if they are known.
pub(crate) fn get(m: usize) -> Option<&'static Transform> {
    [&F2, &F4].into_iter().find(|transform| transform.size == m)
}

impl Transform {
    fn side(&self) -> usize {
        self.size + 2
    }

    /// The transformed tile of an image with these elements (by row and column), by matrix number.
    pub(crate) fn image(&self, element: &dyn Fn(usize, usize) -> Expr) -> Vec<(usize, Expr)> {
        let side = self.side();
        let columns: Vec<Vec<Expr>> =
            (0..side).map(|j| (self.image)(&(0..side).map(|i| element(i, j)).collect::<Vec<_>>())).collect();
        let row = |i: usize| (self.image)(&columns.iter().map(|column| column[i].clone()).collect::<Vec<_>>());
        let rows = self.image_rows.iter().map(|&i| row(i).into_iter().enumerate().map(move |(j, value)| (i * side + j, value)));
        rows.flatten().collect()
    }

    /// The tile of the result of a product with these elements (by matrix number), by row and column.
    pub(crate) fn result(&self, element: &dyn Fn(usize) -> Expr) -> Vec<((usize, usize), Expr)> {
        let side = self.side();
        let columns: Vec<Vec<Expr>> =
            (0..side).map(|j| (self.result)(&(0..side).map(|i| element(i * side + j)).collect::<Vec<_>>())).collect();
        let row = |i: usize| (self.result)(&columns.iter().map(|column| column[i].clone()).collect::<Vec<_>>());
        let rows = self.result_rows.iter().map(|&i| row(i).into_iter().enumerate().map(move |(j, value)| ((i, j), value)));
        rows.flatten().collect()
    }

    /// The transformed weight with these elements (by row and column), by matrix number.
    pub(crate) fn weight(&self, element: &dyn Fn(usize, usize) -> Expr) -> Vec<(usize, Expr)> {
        let side = self.side();
        let columns: Vec<Vec<Expr>> = (0..3).map(|j| self.weights(&[0, 1, 2].map(|i| element(i, j)))).collect();
        let row = |i: usize| self.weights(&[0, 1, 2].map(|j: usize| columns[j][i].clone()));
        (0..side).flat_map(|i| row(i).into_iter().enumerate().map(move |(j, value)| (i * side + j, value))).collect()
    }

    /// The transform of three weights.
    fn weights(&self, w: &[Expr; 3]) -> Vec<Expr> {
        let finite = self.points.iter().map(|&p| {
            let others = self.points.iter().filter(|&&other| other != p);
            let scale: f64 = 1.0 / others.map(|other| p - other).product::<f64>();
            if p == 0.0 {
                return times(scale, &w[0]);
            }
            let sum = add(times(scale, &w[0]), times(scale * p, &w[1]));
            add(sum, times(scale * p * p, &w[2]))
        });
        finite.chain([w[2].clone()]).collect()
    }
}

/// `x` times a constant.
fn times(factor: f64, x: &Expr) -> Expr {
    mul(Expr::Const(factor as f32), x.clone())
}

/// `x + factor · y`.
fn plus(x: &Expr, factor: f64, y: &Expr) -> Expr {
    add(x.clone(), times(factor, y))
}

fn difference(x: &Expr, y: &Expr) -> Expr {
    binary(BinaryOp::Sub, x.clone(), y.clone())
}

/// `x² − 1`, `x² + x`, `x² − x` and `x³ − x`.
fn image2(d: &[Expr]) -> Vec<Expr> {
    vec![difference(&d[2], &d[0]), plus(&d[2], 1.0, &d[1]), difference(&d[2], &d[1]), difference(&d[3], &d[1])]
}

fn result2(m: &[Expr]) -> Vec<Expr> {
    let (sum, less) = (plus(&m[1], 1.0, &m[2]), difference(&m[1], &m[2]));
    vec![plus(&m[0], 1.0, &sum), plus(&less, 1.0, &m[3])]
}

/// With p = 1/√2 and q = √2: `(x² − p²)(x² − q²)`, `x(x ± p)(x² − q²)`, `x(x ± q)(x² − p²)`, `x(x² − p²)(x² − q²)`.
fn image4(d: &[Expr]) -> Vec<Expr> {
    const P: f64 = FRAC_1_SQRT_2;
    const Q: f64 = SQRT_2;
    let (near, near_odd) = (plus(&d[4], -Q * Q, &d[2]), plus(&d[3], -Q * Q, &d[1]));
    let (far, far_odd) = (plus(&d[4], -P * P, &d[2]), plus(&d[3], -P * P, &d[1]));
    vec![
        plus(&plus(&d[4], -P * P - Q * Q, &d[2]), P * P * Q * Q, &d[0]),
        plus(&near, P, &near_odd),
        plus(&near, -P, &near_odd),
        plus(&far, Q, &far_odd),
        plus(&far, -Q, &far_odd),
        plus(&plus(&d[5], -P * P - Q * Q, &d[3]), P * P * Q * Q, &d[1]),
    ]
}

fn result4(m: &[Expr]) -> Vec<Expr> {
    const P: f64 = FRAC_1_SQRT_2;
    const Q: f64 = SQRT_2;
    let (near, near_odd) = (plus(&m[1], 1.0, &m[2]), difference(&m[1], &m[2]));
    let (far, far_odd) = (plus(&m[3], 1.0, &m[4]), difference(&m[3], &m[4]));
    vec![
        plus(&plus(&m[0], 1.0, &near), 1.0, &far),
        plus(&times(P, &near_odd), Q, &far_odd),
        plus(&times(P * P, &near), Q * Q, &far),
        plus(&plus(&m[5], P * P * P, &near_odd), Q * Q * Q, &far_odd),
    ]
}
