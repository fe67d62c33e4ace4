//! Convolutions with fewer multiplications: Winograd's minimal filtering.

mod transforms;

use sonar_ir::ReduceOp;
use sonar_ir::loops::{Access, Affine, Bound, BufId, BufferKind, Expr, LoopKind, Program, Reduce, Stmt, Update, Var};

use crate::error::ScheduleError;
use crate::loops::build::{Axes, add, at, axes, flat, fresh_buffer, load, nest, product};
use crate::loops::visit;
use std::sync::Arc;
use transforms::Transform;

/// The name of the loop over strips in the program of [`winograd`], and of the loop around it, over parts of the output
/// channels.
pub(crate) const STRIP: &str = "strip";
pub(crate) const PART: &str = "part";

/// Elements between the matrices of a transformed image. Without a gap, the same element of each matrix would map to the same
/// set of the cache.
const GAP: usize = 16;

/// Computes 3 × 3 convolutions of stride 1 as F(m × m, 3 × 3): Lavin and Gray, "Fast Algorithms for Convolutional Neural
/// Networks", 2016. Tiles of the image are transformed, multiplied by the transformed weight as `(m + 2)²` matrix products, and
/// transformed back. This is done strip by strip; a strip has `rows` rows of tiles.
///
/// ```text
/// for y { for x { for c {                  setup: u[xi, k, c] = G·w·Gᵀ
///   out[y, x, c] = f(Σ image · w)   -->    for strip {
/// } } }                                      for tile { for k { v[xi, tile, k] = Bᵀ·image·B } }
///                                            for xi { for tile { for c { m[xi, tile, c] = Σ v · u } } }
///                                            for tile { for c { out[…] = f(Aᵀ·m·A) } }
///                                          }
/// ```
///
/// The transformed weight is stored in panels of `width` output channels. With several `parts`, everything is inside of a loop
/// over parts of the output channels, and each part transforms the image again. This gives work to threads if there are few
/// strips. Legal for sums of convolutions with dense channels and known weights if `rows` divides the number of rows of tiles,
/// if parts consist of whole panels, and if the image contains what the last tiles read beyond the result. `m` is 2 or 4.
/// Results differ from those of direct convolution by rounding.
pub fn winograd(program: &Program, [m, rows, width, parts]: [usize; 4]) -> Result<Program, ScheduleError> {
    let refuse = |reason: &str| ScheduleError::Illegal { step: "winograd", name: m.to_string(), reason: reason.to_owned() };
    let transform = transforms::get(m).ok_or_else(|| refuse("only tiles of 2 and of 4 are known"))?;
    let (position, conv) = Conv::find(program).ok_or_else(|| refuse("the body is no sum of 3 x 3 convolutions of stride 1"))?;
    let tiles = Tiles::new(&conv, m, rows).ok_or_else(|| refuse("rows of tiles cannot be cut into strips of this height"))?;
    if width == 0 || parts == 0 {
        return Err(refuse("a panel has no columns, or there are no parts"));
    }
    if parts > 1 && !parts.checked_mul(width).is_some_and(|channels| conv.channel.1.is_multiple_of(channels)) {
        return Err(refuse("parts of the output channels are not made of whole panels"));
    }
    if !conv.sources.iter().all(|source| source.covers(&tiles, &conv, program)) {
        return Err(refuse("the image ends before the last tile"));
    }

    let outputs = conv.channel.1 / parts;
    let mut build = Build { program: program.clone(), conv, tiles, transform, width, outputs, part: Affine::default() };
    let (loops, [part, strip]) = build.loops([(PART, parts), (STRIP, build.tiles.strips)]);
    build.part = part;
    let mut inside = Vec::new();
    let mut factors = Vec::new();
    for source in build.conv.sources.clone() {
        let weight = build.weight(&source);
        let image = build.image(&source, &strip, &mut inside);
        factors.push((source.channels, image, weight));
    }
    let product = build.product(&factors, &mut inside);
    build.result(product, &strip, &mut inside);
    let loops: Vec<(Var, usize)> = build.conv.images.into_iter().chain(loops).collect();
    build.program.body.splice(position..=position, nest(&loops, inside)).for_each(drop);
    Ok(build.program)
}

/// The properties of a sum of convolutions that determine the parameters of [`winograd`].
pub(crate) struct Filterable {
    /// Rows and columns of the result.
    pub(crate) result: [usize; 2],
    /// Number of output channels, and total number of input channels of all images.
    pub(crate) channels: [usize; 2],
    /// Number of images.
    pub(crate) images: usize,
    /// Names of the weights.
    pub(crate) weights: Vec<String>,
}

/// The sum of convolutions, if [`winograd`] can compute the program with tiles of this size.
pub(crate) fn filterable(program: &Program, m: usize) -> Option<Filterable> {
    let (_, conv) = Conv::find(program)?;
    let tiles = Tiles::new(&conv, m, 1)?;
    let name = |source: &Source| program.buffers[source.weight].name.clone();
    conv.sources.iter().all(|source| source.covers(&tiles, &conv, program)).then(|| Filterable {
        result: [conv.y.1, conv.x.1],
        channels: [conv.channel.1, conv.sources.iter().map(|source| source.channels).sum()],
        images: conv.images.map_or(1, |n| n.1),
        weights: conv.sources.iter().map(name).collect(),
    })
}

/// A nest that is a sum of convolutions.
struct Conv {
    /// Loop over images, if there are several.
    images: Option<(Var, usize)>,
    y: (Var, usize),
    x: (Var, usize),
    channel: (Var, usize),
    sources: Vec<Source>,
    reduce: Reduce,
}

/// One convolution of the sum.
#[derive(Clone)]
struct Source {
    image: BufId,
    /// The address of the first element, as a function of the loop over images.
    start: Affine,
    /// Strides of rows and of pixels.
    strides: [i64; 2],
    channels: usize,
    weight: BufId,
    /// Strides of kernel rows, of kernel columns, and of input channels.
    weight_strides: [i64; 3],
    weight_start: i64,
}

/// The division of the result into tiles.
struct Tiles {
    /// Rows and columns of a tile.
    size: usize,
    /// Rows of tiles in a strip, and tiles in a row.
    grid: [usize; 2],
    strips: usize,
    /// Rows and columns of the result in the last tiles, if these are not full.
    rest: [usize; 2],
}

impl Conv {
    /// The convolutions of a body, and the index of their statement.
    fn find(program: &Program) -> Option<(usize, Conv)> {
        program.body.iter().enumerate().find_map(|(i, stmt)| Some((i, Conv::of(program, stmt)?)))
    }

    fn of(program: &Program, stmt: &Stmt) -> Option<Conv> {
        let mut loops = Vec::new();
        let mut inner = stmt;
        while let Stmt::For { var, extent, kind: LoopKind::Serial, body } = inner {
            loops.push((*var, *extent));
            inner = match body.as_slice() {
                [only] => only,
                _ => return None,
            };
        }
        let Stmt::Reduce(reduce) = inner else { return None };
        let (images, [y, x, channel]) = match loops[..] {
            [y, x, c] => (None, [y, x, c]),
            [n, y, x, c] => (Some(n), [y, x, c]),
            _ => return None,
        };
        let mut conv = Conv { images, y, x, channel, sources: vec![], reduce: reduce.clone() };
        conv.sources = reduce.updates.iter().map(|update| conv.source(program, update)).collect::<Option<_>>()?;
        (!conv.sources.is_empty() && reduce.target.index.coefficient(channel.0) == 1).then_some(conv)
    }

    fn source(&self, program: &Program, update: &Update) -> Option<Source> {
        let [(ky, 3), (kx, 3), (k, channels)] = update.loops[..] else { return None };
        let Expr::Binary(sonar_ir::BinaryOp::Mul, a, b) = &update.value else { return None };
        let (Expr::Load(image), Expr::Load(weight)) = (&**a, &**b) else { return None };
        let (of_image, of_weight) = (|v: Var| image.index.coefficient(v), |v: Var| weight.index.coefficient(v));
        let (y, x, c) = (self.y.0, self.x.0, self.channel.0);
        let moves = of_image(y) == of_image(ky) && of_image(x) == of_image(kx) && of_image(k) == 1 && of_image(c) == 0;
        let still = [y, x].into_iter().chain(self.images.map(|n| n.0)).all(|v| of_weight(v) == 0) && of_weight(c) == 1;
        let known = program.buffers[weight.buffer].kind == BufferKind::Input;
        let fits = update.op == ReduceOp::Sum && moves && still && known && of_image(x) > 0 && of_image(y) > 0;
        fits.then(|| Source {
            image: image.buffer,
            start: [y, x, ky, kx, k].into_iter().fold(image.index.clone(), |index, v| index.substitute(v, &Affine::default())),
            strides: [of_image(y), of_image(x)],
            channels,
            weight: weight.buffer,
            weight_strides: [of_weight(ky), of_weight(kx), of_weight(k)],
            weight_start: weight.index.offset,
        })
    }
}

impl Tiles {
    fn new(conv: &Conv, size: usize, rows: usize) -> Option<Tiles> {
        let [down, across] = [conv.y.1, conv.x.1].map(|extent| extent.div_ceil(size));
        let fits = rows > 0 && down.is_multiple_of(rows);
        fits.then(|| Tiles {
            size,
            grid: [rows, across],
            strips: down / rows,
            rest: [conv.y.1, conv.x.1].map(|extent| extent % size),
        })
    }

    /// Number of tiles in a strip.
    fn count(&self) -> usize {
        self.grid[0] * self.grid[1]
    }
}

impl Source {
    /// Whether the image contains everything that the tiles read, each row within its own row.
    fn covers(&self, tiles: &Tiles, conv: &Conv, program: &Program) -> bool {
        let reach = |count: usize| (count * tiles.size + 2) as i64;
        let [row, pixel] = self.strides;
        let image = conv.images.map_or(program.buffers[self.image].len as i64, |n| self.start.coefficient(n.0));
        let start = self.start.offset;
        reach(tiles.grid[1]) * pixel <= row && reach(tiles.strips * tiles.grid[0]) * row + start <= image
    }
}

/// The new program under construction.
struct Build {
    program: Program,
    conv: Conv,
    tiles: Tiles,
    transform: &'static Transform,
    width: usize,
    /// Number of output channels of a part.
    outputs: usize,
    /// The part.
    part: Affine,
}

impl Build {
    /// Number of matrices of a transformed tile.
    fn matrices(&self) -> usize {
        (self.tiles.size + 2).pow(2)
    }

    fn buffer(&mut self, name: &str, len: usize, kind: BufferKind) -> BufId {
        fresh_buffer(&mut self.program, name, len, kind)
    }

    /// Loops with these names and extents, and the index of each.
    fn loops<const N: usize>(&mut self, named: [(&str, usize); N]) -> (Vec<(Var, usize)>, [Affine; N]) {
        let Axes { loops, index } = axes(&mut self.program, &named.map(|(name, _)| name), &named.map(|(_, extent)| extent));
        let mut index = index.into_iter();
        (loops, named.map(|_| index.next().unwrap_or_default()))
    }

    /// Panels of some output channels: the first channel, the number of panels, and their width.
    fn panels(&self, channels: usize) -> Vec<(usize, usize, usize)> {
        let (full, rest) = (channels / self.width, channels % self.width);
        let parts = [(0, full, self.width), (full * self.width, 1, rest)];
        parts.into_iter().filter(|&(_, panels, wide)| panels * wide > 0).collect()
    }

    /// The address of an element of a transformed weight: its matrix, its panel counted from a first channel, and its position
    /// in the panel.
    fn weight_index(&self, channels: usize, [matrix, panel, k, c]: [Affine; 4], first: usize, wide: usize) -> Affine {
        let panel = flat(&[1, channels, wide], &[panel, k, c]).shift((first * channels) as i64);
        matrix.scale((channels * self.conv.channel.1) as i64).add(&panel)
    }

    /// The transformed weight of a source, computed once.
    fn weight(&mut self, source: &Source) -> BufId {
        let buffer = self.buffer("u", self.matrices() * source.channels * self.conv.channel.1, BufferKind::Packed);
        for (first, panels, wide) in self.panels(self.conv.channel.1) {
            let (loops, [panel, k, c]) = self.loops([("u_panel", panels), ("u_k", source.channels), ("u_c", wide)]);
            let [row, column, channel] = source.weight_strides;
            let element = |i: usize, j: usize| {
                let place = panel.scale(wide as i64).add(&c).add(&k.scale(channel));
                let start = source.weight_start + i as i64 * row + j as i64 * column + first as i64;
                load(source.weight, place.shift(start))
            };
            let stores = self.transform.weight(&element).into_iter().map(|(matrix, value)| {
                let place = [Affine::constant(matrix as i64), panel.clone(), k.clone(), c.clone()];
                Stmt::Store { target: at(buffer, self.weight_index(source.channels, place, first, wide)), value }
            });
            let stmts = nest(&loops, stores.collect());
            self.program.setup.extend(stmts);
        }
        buffer
    }

    /// Stride between the matrices of a transformed strip, in elements.
    fn matrix_len(&self, channels: usize) -> usize {
        self.tiles.count() * channels + GAP
    }

    /// The transformed strip of a source's image.
    fn image(&mut self, source: &Source, strip: &Affine, out: &mut Vec<Stmt>) -> BufId {
        let matrix = self.matrix_len(source.channels);
        let buffer = self.buffer("v", self.matrices() * matrix, BufferKind::Temp);
        let [rows, across] = self.tiles.grid;
        let (loops, [y, x, k]) = self.loops([("v_y", rows), ("v_x", across), ("v_k", source.channels)]);
        let size = self.tiles.size as i64;
        let [row, pixel] = source.strides;
        let element = |i: usize, j: usize| {
            let y = strip.scale(rows as i64).add(&y).scale(size).shift(i as i64);
            let x = x.scale(size).shift(j as i64);
            load(source.image, source.start.add(&y.scale(row)).add(&x.scale(pixel)).add(&k))
        };
        let place = flat(&[rows, across, source.channels], &[y.clone(), x.clone(), k.clone()]);
        let stores = self
            .transform
            .image(&element)
            .into_iter()
            .map(|(number, value)| Stmt::Store { target: at(buffer, place.clone().shift((number * matrix) as i64)), value });
        out.extend(nest(&loops, stores.collect()));
        buffer
    }

    /// The matrix products of the transformed images (with their channels) and the transformed weights, summed over the
    /// sources.
    fn product(&mut self, factors: &[(usize, BufId, BufId)], out: &mut Vec<Stmt>) -> BufId {
        let outputs = self.outputs;
        let matrix = self.matrix_len(outputs);
        let buffer = self.buffer("m", self.matrices() * matrix, BufferKind::Temp);
        for (first, panels, wide) in self.panels(outputs) {
            let named = [("m_xi", self.matrices()), ("m_panel", panels), ("m_t", self.tiles.count()), ("m_c", wide)];
            let (loops, [xi, panel, tile, c]) = self.loops(named);
            let updates = factors.iter().map(|&(channels, image, weight)| {
                let (reduced, [k]) = self.loops([("m_k", channels)]);
                let image_at = xi.scale(self.matrix_len(channels) as i64).add(&tile.scale(channels as i64)).add(&k);
                let place = [xi.clone(), panel.add(&self.part.scale(panels as i64)), k, c.clone()];
                let weight = load(weight, self.weight_index(channels, place, first, wide));
                product(reduced, load(image, image_at), weight)
            });
            let updates = updates.collect();
            let place = panel.scale(wide as i64).add(&c).shift(first as i64);
            let target = at(buffer, xi.scale(matrix as i64).add(&tile.scale(outputs as i64)).add(&place));
            let reduce = Reduce { target, init: Expr::Const(0.0), updates, finish: Expr::Acc };
            out.extend(nest(&loops, vec![Stmt::Reduce(reduce)]));
        }
        buffer
    }

    /// The result of a strip: full tiles, and partial tiles at the edge of the result.
    fn result(&mut self, product: BufId, strip: &Affine, out: &mut Vec<Stmt>) {
        let Tiles { size, grid: [rows, _], strips, rest } = self.tiles;
        let whole = rows - usize::from(rest[0] > 0);
        self.rows(product, strip, (0, whole), size, out);
        if rest[0] == 0 {
            return;
        }
        // Only the last strip has an incomplete last row of tiles.
        let last = strips as i64 - 1;
        for (low, high, height) in [(0, last, size), (last, last + 1, rest[0])] {
            let mut stmts = Vec::new();
            self.rows(product, strip, (whole, 1), height, &mut stmts);
            match (strips, low < high) {
                (1, true) => out.extend(stmts),
                (_, true) => out.push(Stmt::If { bounds: vec![Bound { expr: strip.clone(), low, high }], body: stmts }),
                (_, false) => {}
            }
        }
    }

    /// Some rows of tiles from a first one on. Only `height` rows of the result are kept.
    fn rows(&mut self, product: BufId, strip: &Affine, rows: (usize, usize), height: usize, out: &mut Vec<Stmt>) {
        let Tiles { size, grid: [_, across], rest, .. } = self.tiles;
        let full = across - usize::from(rest[1] > 0);
        for (columns, width) in [((0, full), size), ((full, 1), rest[1])] {
            if rows.1 > 0 && columns.1 > 0 && width > 0 {
                out.extend(self.block(product, strip, rows, columns, [height, width]));
            }
        }
    }

    /// A block of tiles. Of each tile, `kept` rows and columns are stored.
    fn block(
        &mut self,
        product: BufId,
        strip: &Affine,
        rows: (usize, usize),
        columns: (usize, usize),
        kept: [usize; 2],
    ) -> Vec<Stmt> {
        let outputs = self.outputs;
        let matrix = self.matrix_len(outputs);
        let Tiles { size, grid: [in_strip, across], .. } = self.tiles;
        let (loops, [y, x, c]) = self.loops([("o_y", rows.1), ("o_x", columns.1), ("o_c", outputs)]);
        let (y, x) = (y.shift(rows.0 as i64), x.shift(columns.0 as i64));
        let place = flat(&[in_strip, across, outputs], &[y.clone(), x.clone(), c.clone()]);
        let element = |number: usize| load(product, place.clone().shift((number * matrix) as i64));
        let results = self.transform.result(&element).into_iter().filter(|((i, j), _)| *i < kept[0] && *j < kept[1]);
        let stores = results.map(|((i, j), value)| {
            let y = strip.scale(in_strip as i64).add(&y).scale(size as i64).shift(i as i64);
            let x = x.scale(size as i64).shift(j as i64);
            let c = self.part.scale(outputs as i64).add(&c);
            // The epilogue still refers to the original loops. The value does not, and stays shared.
            let mut before = [Stmt::Reduce(Reduce { updates: vec![], ..self.conv.reduce.clone() })];
            for (var, by) in [(self.conv.y.0, &y), (self.conv.x.0, &x), (self.conv.channel.0, &c)] {
                visit::substitute(&mut before, var, by);
            }
            before.map(|stmt| match stmt {
                Stmt::Reduce(Reduce { target, init, finish, .. }) => {
                    Stmt::Store { target, value: with_accumulator(&finish, &add(value.clone(), init)) }
                }
                other => other,
            })
        });
        nest(&loops, stores.flatten().collect())
    }
}

/// An expression in which a value replaces the accumulator.
fn with_accumulator(expr: &Expr, value: &Expr) -> Expr {
    let of = |e: &Expr| Arc::new(with_accumulator(e, value));
    match expr {
        Expr::Acc => value.clone(),
        Expr::Const(_) | Expr::Load(Access { .. }) => expr.clone(),
        Expr::Unary(op, a) => Expr::Unary(*op, of(a)),
        Expr::Binary(op, a, b) => Expr::Binary(*op, of(a), of(b)),
        Expr::Guard { bounds, value, otherwise } => {
            Expr::Guard { bounds: bounds.clone(), value: of(value), otherwise: *otherwise }
        }
        Expr::Select { left, right, value, otherwise } => {
            Expr::Select { left: of(left), right: of(right), value: of(value), otherwise: of(otherwise) }
        }
    }
}
