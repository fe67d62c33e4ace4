//! Fills a temporary with a padded, dilated or otherwise prepared copy of an image.

use sonar_ir::NodeId;
use sonar_ir::loops::{Affine, Bound, BufId, BufferKind, Expr, Stmt};

use super::Lower;
use crate::loops::build::{at, load, nest};
use crate::lowering::layout::{address, dense_strides};

/// An image or another tensor in memory.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) buffer: BufId,
    /// The address of its first element.
    pub(super) offset: i64,
    /// The stride of each axis: between images, rows, pixels, and channels.
    pub(super) strides: Vec<i64>,
}

/// The position of an image in a larger one: pixel `(y, x)` goes to `(y · step + offset)`, in each direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    /// Offset in height and width. Negative values crop.
    pub(super) offset: [i64; 2],
    /// Distance between neighbouring pixels.
    pub(super) step: [usize; 2],
    /// Height and width of the larger image.
    pub(super) extent: [usize; 2],
}

impl Image {
    /// A whole buffer, the last axis fastest.
    pub(super) fn dense(buffer: BufId, shape: &[usize]) -> Self {
        Image { buffer, offset: 0, strides: dense_strides(shape) }
    }

    /// The address of an element.
    pub(super) fn index(&self, index: &[Affine]) -> Affine {
        address(self.offset, &self.strides, index)
    }

    /// An element.
    pub(super) fn load(&self, index: &[Affine]) -> Expr {
        load(self.buffer, self.index(index))
    }
}

impl Placement {
    /// The pixels in one direction that are inside of the larger image: `first..end`.
    fn visible(&self, direction: usize, pixels: usize) -> (i64, i64) {
        let (offset, step) = (self.offset[direction], self.step[direction] as i64);
        let first = (-offset).max(0).div_euclid(step) + i64::from((-offset).max(0).rem_euclid(step) != 0);
        let end =
            ((self.extent[direction] as i64 - 1 - offset).div_euclid(step) + 1).clamp(first, pixels.max(first as usize) as i64);
        (first, end)
    }
}

impl Lower<'_> {
    /// The operand itself if it is in memory and needs no placement, else a temporary filled with it. `prologue` is applied to
    /// each element.
    pub(super) fn placed(
        &mut self,
        name: &str,
        id: NodeId,
        place: Placement,
        background: f32,
        prologue: Option<&dyn Fn(Expr) -> Expr>,
    ) -> Image {
        let shape = self.shape(id);
        let [n, h, w, c] = [shape[0], shape[1], shape[2], shape[3]];
        // Without a copy, rows and columns at the end that no window reads may be missing from the placement.
        let in_place = place.offset == [0, 0] && place.step == [1, 1] && place.extent[0] <= h && place.extent[1] <= w;
        if in_place && prologue.is_none() && self.in_memory(id) {
            return self.node_input(id);
        }
        let place = if in_place { Placement { extent: [h, w], ..place } } else { place };
        self.fill(name, [n, h, w, c], place, background, &mut |lower, index| {
            let value = lower.value(id, index);
            prologue.map_or(value.clone(), |f| f(value))
        })
    }

    /// The same for a transposed image with planar channels, which is read or copied in its planar layout.
    pub(super) fn placed_planes(
        &mut self,
        name: &str,
        planes: NodeId,
        place: Placement,
        prologue: Option<&dyn Fn(Expr) -> Expr>,
    ) -> Image {
        let shape = self.shape(planes);
        let [n, c, h, w] = [shape[0], shape[1], shape[2], shape[3]];
        let source = self.node_input(planes);
        let [image, plane, row, pixel] = source.strides[..] else { unreachable!("planes have four axes") };
        let in_place = place.offset == [0, 0] && place.extent[0] <= h && place.extent[1] <= w && prologue.is_none();
        if in_place {
            return Image { strides: vec![image, row, pixel, plane], ..source };
        }
        // Each plane is an image of one channel.
        let images = [n * c, h, w, 1];
        let layout = self.layout(planes).reshaped(&shape, &images);
        let layout = layout.unwrap_or_else(|| unreachable!("planes that lie otherwise are no views"));
        let source = Image { strides: layout.strides, ..source };
        let copy = self.fill(name, images, place, 0.0, &mut |_, index| {
            let value = source.load(index);
            prologue.map_or(value.clone(), |f| f(value))
        });
        let [h, w] = place.extent.map(|extent| extent as i64);
        Image { buffer: copy.buffer, offset: 0, strides: vec![c as i64 * h * w, w, 1, h * w] }
    }

    /// A new temporary of shape `[n, extent, c]`: `value` at the placed pixels of an image, `background` elsewhere.
    pub(super) fn fill(
        &mut self,
        name: &str,
        [n, h, w, c]: [usize; 4],
        place: Placement,
        background: f32,
        value: &mut dyn FnMut(&mut Self, &[Affine]) -> Expr,
    ) -> Image {
        let [height, width] = place.extent;
        let shape = [n, height, width, c];
        let buffer = self.builder.buffer(name, shape.iter().product(), BufferKind::Temp);
        self.fill_buffer(name, Image::dense(buffer, &shape), [n, h, w, c], place, background, value)
    }

    /// Like [`fill`](Self::fill), for a given buffer.
    pub(super) fn fill_buffer(
        &mut self,
        name: &str,
        image: Image,
        [n, h, w, c]: [usize; 4],
        place: Placement,
        background: f32,
        value: &mut dyn FnMut(&mut Self, &[Affine]) -> Expr,
    ) -> Image {
        let [height, width] = place.extent;
        let ((y0, y1), (x0, x1)) = (place.visible(0, h), place.visible(1, w));
        let whole = (y0, y1, x0, x1) == (0, height as i64, 0, width as i64) && place.step == [1, 1] && (h, w) == (height, width);
        if whole {
            let axes = self.named_axes(name, &["n", "y", "x", "c"], &[n, h, w, c]);
            let value = value(self, &axes.index);
            let store = Stmt::Store { target: at(image.buffer, image.index(&axes.index)), value };
            self.emit_flat(&axes, vec![store]);
            return image;
        }
        let rows = self.named_axes(name, &["n", "y"], &[n, height]);
        let row = image.index(&[rows.index[0].clone(), rows.index[1].clone(), Affine::default(), Affine::default()]);
        if place.step != [1, 1] {
            let blank = self.blank(name, "row", &image, &row, 0, width, background);
            self.emit(nest(&rows.loops, blank));
            let (oy, ox) = ((y1 - y0) as usize, (x1 - x0) as usize);
            if oy * ox > 0 {
                let axes = self.named_axes(name, &["m", "v", "u", "c"], &[n, oy, ox, c]);
                let source: Vec<Affine> = vec![
                    axes.index[0].clone(),
                    axes.index[1].clone().shift(y0),
                    axes.index[2].clone().shift(x0),
                    axes.index[3].clone(),
                ];
                let target = [
                    axes.index[0].clone(),
                    source[1].scale(place.step[0] as i64).shift(place.offset[0]),
                    source[2].scale(place.step[1] as i64).shift(place.offset[1]),
                    axes.index[3].clone(),
                ];
                let value = value(self, &source);
                let store = Stmt::Store { target: at(image.buffer, image.index(&target)), value };
                self.emit(nest(&axes.loops, vec![store]));
            }
            return image;
        }
        // Row `y` of the temporary holds row `y - offset` of the image, between margins. Rows outside are background.
        let (left, right) = (x0 + place.offset[1], x1 + place.offset[1]);
        let (top, bottom) = (y0 + place.offset[0], y1 + place.offset[0]);
        let mut inside = self.blank(name, "left", &image, &row, 0, left as usize, background);
        let pixels = self.named_axes(name, &["x", "c"], &[(x1 - x0) as usize, c]);
        let source = [
            rows.index[0].clone(),
            rows.index[1].clone().shift(-place.offset[0]),
            pixels.index[0].clone().shift(x0),
            pixels.index[1].clone(),
        ];
        let target = [rows.index[0].clone(), rows.index[1].clone(), pixels.index[0].clone().shift(left), pixels.index[1].clone()];
        if x1 > x0 {
            let value = value(self, &source);
            let store = Stmt::Store { target: at(image.buffer, image.index(&target)), value };
            inside.extend(nest(&pixels.loops, vec![store]));
        }
        inside.extend(self.blank(name, "right", &image, &row, right as usize, width, background));
        let y = rows.index[1].clone();
        let mut body = Vec::new();
        if top > 0 {
            let blank = self.blank(name, "top", &image, &row, 0, width, background);
            body.extend(guarded(&y, 0, top, blank));
        }
        if bottom > top {
            if (top, bottom) == (0, height as i64) {
                body.extend(inside);
            } else {
                body.extend(guarded(&y, top, bottom, inside));
            }
        }
        if bottom < height as i64 {
            let blank = self.blank(name, "bottom", &image, &row, 0, width, background);
            body.extend(guarded(&y, bottom.max(top), height as i64, blank));
        }
        self.emit(nest(&rows.loops, body));
        self.flatten(&pixels);
        image
    }

    /// Fills pixels `from..to` of the row that starts at `row` with one value.
    #[allow(clippy::too_many_arguments)]
    fn blank(&mut self, name: &str, part: &str, image: &Image, row: &Affine, from: usize, to: usize, value: f32) -> Vec<Stmt> {
        if from >= to {
            return vec![];
        }
        let c = image.strides[2];
        let axes = self.named_axes(name, &[part], &[(to - from) * c as usize]);
        let target = row.add(&axes.index[0]).shift(from as i64 * c);
        nest(&axes.loops, vec![Stmt::Store { target: at(image.buffer, target), value: Expr::Const(value) }])
    }

    /// Axes with variables named `name_axis`.
    pub(super) fn named_axes(&mut self, name: &str, axes: &[&str], shape: &[usize]) -> crate::loops::build::Axes {
        let names: Vec<String> = axes.iter().map(|axis| format!("{name}_{axis}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.builder.axes(&names, shape)
    }
}

/// Guards `body` by `low <= y < high`. Needs no guard if `y` is a constant.
fn guarded(y: &Affine, low: i64, high: i64, body: Vec<Stmt>) -> Vec<Stmt> {
    if !y.terms.is_empty() {
        return vec![Stmt::If { bounds: vec![Bound { expr: y.clone(), low, high }], body }];
    }
    if (low..high).contains(&y.offset) { body } else { vec![] }
}
