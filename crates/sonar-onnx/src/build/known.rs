//! Tensors that are known at import: weights, and the integers of shape arithmetic.
//!
//! Every primitive of [`crate::build`] computes their result at import. So shapes that a file calculates are plain numbers
//! before any operator of the IR is made.

use crate::build::elements;
use crate::error::Refusal;
use crate::file::proto::DataType;
use std::rc::Rc;

/// The most elements of a tensor that import computes itself; larger ones are left to constant folding.
pub const MAX_COMPUTED: usize = 1 << 20;

/// A tensor whose elements are known at import.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Extents, in the file's order.
    pub shape: Vec<usize>,
    /// Elements, last axis fastest.
    pub data: Data,
    /// The type of the elements, if they are integers.
    pub int: Int,
    /// Its name in the file, if it is an initializer.
    pub name: Option<Rc<str>>,
}

/// Types of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Int {
    /// Truth values, 0 and 1.
    Bool,
    /// Signed, of 4 bits.
    I4,
    /// Unsigned, of 4 bits.
    U4,
    /// Signed, of 8 bits.
    I8,
    /// Unsigned, of 8 bits.
    U8,
    /// Signed, of 16 bits.
    I16,
    /// Unsigned, of 16 bits.
    U16,
    /// Signed, of 32 bits.
    I32,
    /// Unsigned, of 32 bits.
    U32,
    /// Signed, of 64 bits.
    I64,
    /// Unsigned 64-bit; only 63 bits are supported.
    U64,
}

impl Int {
    /// The integer type for a type of the file, if it is an integer type.
    pub fn of(ty: DataType) -> Option<Int> {
        Some(match ty {
            DataType::Bool => Int::Bool,
            DataType::Int4 => Int::I4,
            DataType::Uint4 => Int::U4,
            DataType::Int8 => Int::I8,
            DataType::Uint8 => Int::U8,
            DataType::Int16 => Int::I16,
            DataType::Uint16 => Int::U16,
            DataType::Int32 => Int::I32,
            DataType::Uint32 => Int::U32,
            DataType::Int64 => Int::I64,
            DataType::Uint64 => Int::U64,
            _ => return None,
        })
    }

    /// A number wrapped to this type: bits that do not fit are dropped.
    pub fn wrap(self, v: i64) -> i64 {
        match self {
            Int::Bool => i64::from(v != 0),
            Int::I4 => (v << 60) >> 60,
            Int::U4 => v & 15,
            Int::I8 => i64::from(v as i8),
            Int::U8 => i64::from(v as u8),
            Int::I16 => i64::from(v as i16),
            Int::U16 => i64::from(v as u16),
            Int::I32 => i64::from(v as i32),
            Int::U32 => i64::from(v as u32),
            Int::I64 | Int::U64 => v,
        }
    }
}

/// Elements of a known tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Numbers of any floating-point type.
    Float(Rc<Vec<f32>>),
    /// Numbers of any integer type.
    Int(Rc<Vec<i64>>),
}

impl Known {
    /// Numbers of this shape.
    pub fn floats(shape: Vec<usize>, data: Vec<f32>) -> Self {
        Known { shape, data: Data::Float(Rc::new(data)), int: Int::I64, name: None }
    }

    /// 64-bit integers of this shape.
    pub fn ints(shape: Vec<usize>, data: Vec<i64>) -> Self {
        Known { shape, data: Data::Int(Rc::new(data)), int: Int::I64, name: None }
    }

    /// Integers of this shape and type; bits that do not fit the type are dropped.
    pub fn typed(int: Int, shape: Vec<usize>, data: impl IntoIterator<Item = i64>) -> Self {
        Known { int, ..Known::ints(shape, data.into_iter().map(|v| int.wrap(v)).collect()) }
    }

    /// The elements as floating-point numbers; integers are converted.
    pub fn to_floats(&self) -> Known {
        match &self.data {
            Data::Float(_) => self.clone(),
            Data::Int(data) => Known::floats(self.shape.clone(), data.iter().map(|&v| v as f32).collect()),
        }
    }

    /// A single number, of rank 0.
    pub fn float(value: f32) -> Self {
        Known::floats(vec![], vec![value])
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Float(data) => data.len(),
            Data::Int(data) => data.len(),
        }
    }

    /// The elements, if they are floating-point numbers.
    pub fn as_floats(&self) -> Result<&Rc<Vec<f32>>, Refusal> {
        match &self.data {
            Data::Float(data) => Ok(data),
            Data::Int(_) => Err(Refusal::unsupported("integers where floating-point numbers are computed")),
        }
    }

    /// The elements themselves, if they are floating-point numbers; they are copied only if they are shared.
    pub fn into_floats(self) -> Result<Vec<f32>, Refusal> {
        let floats = Rc::clone(self.as_floats()?);
        drop(self);
        Ok(Rc::unwrap_or_clone(floats))
    }

    /// The elements, if they are integers.
    pub fn as_ints(&self) -> Result<&[i64], Refusal> {
        match &self.data {
            Data::Int(data) => Ok(data),
            Data::Float(_) => Err(Refusal::invalid("expected integers, found floating-point numbers")),
        }
    }

    /// The value of all elements, if they are floating-point, all equal, and there is at least one.
    pub fn uniform(&self) -> Option<f32> {
        let Data::Float(data) = &self.data else { return None };
        let first = *data.first()?;
        data.iter().all(|v| v.to_bits() == first.to_bits()).then_some(first)
    }

    /// The same elements under another shape.
    pub fn reshaped(&self, shape: Vec<usize>) -> Known {
        Known { shape, ..self.clone() }
    }

    /// For every index into `shape`, element `index` of the result is the operand's element at `offset + Σ index · strides`.
    pub fn gather(&self, shape: &[usize], strides: &[isize], offset: usize) -> Known {
        /// Elements of the last axis that are moved together. They fill one cache line of the result and come from as many places.
        const BLOCK: usize = 16;
        fn pick<T: Copy + Default>(data: &[T], shape: &[usize], strides: &[isize], offset: usize) -> Rc<Vec<T>> {
            let count: usize = shape.iter().product();
            let Some(((&columns, &across), outer)) = shape.last().zip(strides.last()).zip(shape.len().checked_sub(1)) else {
                return Rc::new(vec![data[offset]]);
            };
            let mut result = vec![T::default(); count];
            let mut places = vec![columns; outer];
            for axis in (1..outer).rev() {
                places[axis - 1] = places[axis] * shape[axis];
            }
            // The other axes in the order in which their elements lie in the operand.
            let mut order: Vec<usize> = (0..outer).collect();
            order.sort_by_key(|&axis| std::cmp::Reverse(strides[axis].unsigned_abs()));
            for first in (0..columns).step_by(BLOCK) {
                let block = first..columns.min(first + BLOCK);
                let mut index = vec![0; outer];
                let (mut from, mut to) = (offset as isize, 0);
                for _ in 0..count / columns.max(1) {
                    for column in block.clone() {
                        result[to + column] = data[(from + column as isize * across) as usize];
                    }
                    for &axis in order.iter().rev() {
                        index[axis] += 1;
                        from += strides[axis];
                        to += places[axis];
                        if index[axis] < shape[axis] {
                            break;
                        }
                        from -= strides[axis] * shape[axis] as isize;
                        to -= places[axis] * shape[axis];
                        index[axis] = 0;
                    }
                }
            }
            Rc::new(result)
        }
        let data = match &self.data {
            Data::Float(data) => Data::Float(pick(data, shape, strides, offset)),
            Data::Int(data) => Data::Int(pick(data, shape, strides, offset)),
        };
        Known { shape: shape.to_vec(), data, int: self.int, name: None }
    }

    /// The given indices of an axis, in any order.
    pub fn rows(&self, axis: usize, rows: &[usize]) -> Result<Known, Refusal> {
        let mut shape = self.shape.clone();
        shape[axis] = rows.len();
        let count = elements(&shape).filter(|&count| count <= MAX_COMPUTED.max(self.len()));
        count.ok_or_else(|| Refusal::unsupported(format!("choosing {} parts of a constant", rows.len())))?;
        let inner: usize = self.shape[axis + 1..].iter().product();
        let outer: usize = self.shape[..axis].iter().product();
        let source = (0..outer).flat_map(|o| rows.iter().map(move |row| (o * self.shape[axis] + row) * inner));
        let data = match &self.data {
            Data::Float(data) => Data::Float(Rc::new(source.flat_map(|at| &data[at..at + inner]).copied().collect())),
            Data::Int(data) => Data::Int(Rc::new(source.flat_map(|at| &data[at..at + inner]).copied().collect())),
        };
        Ok(Known { shape, data, int: self.int, name: None })
    }

    /// Distances of neighbours along each axis.
    pub fn strides(&self) -> Vec<isize> {
        let mut strides = vec![1; self.shape.len()];
        for axis in (1..self.shape.len()).rev() {
            strides[axis - 1] = strides[axis] * self.shape[axis] as isize;
        }
        strides
    }

    /// Axis `i` of the result is axis `permutation[i]` of this one.
    pub fn transposed(&self, permutation: &[usize]) -> Known {
        if permutation.iter().copied().eq(0..permutation.len()) {
            return self.clone();
        }
        let strides = self.strides();
        let shape: Vec<usize> = permutation.iter().map(|&axis| self.shape[axis]).collect();
        let strides: Vec<isize> = permutation.iter().map(|&axis| strides[axis]).collect();
        Known { name: self.name.clone(), ..self.gather(&shape, &strides, 0) }
    }

    /// Repeated along axes of extent 1, and along new leading axes, to a shape that it broadcasts to.
    pub fn broadcast(&self, shape: &[usize]) -> Known {
        if self.shape == shape {
            return self.clone();
        }
        let missing = shape.len() - self.shape.len();
        let own = self.strides();
        let stride = |axis: usize| if axis < missing || self.shape[axis - missing] == 1 { 0 } else { own[axis - missing] };
        self.gather(shape, &(0..shape.len()).map(stride).collect::<Vec<_>>(), 0)
    }

    /// Concatenates tensors along an axis; they have the same type and the same extent in every other axis.
    pub fn concat(parts: &[&Known], axis: usize, shape: Vec<usize>) -> Result<Known, Refusal> {
        fn join<T: Copy>(parts: &[(&[T], usize)], outer: usize) -> Vec<T> {
            (0..outer).flat_map(|i| parts.iter().flat_map(move |(data, len)| &data[i * len..][..*len])).copied().collect()
        }
        let outer: usize = shape[..axis].iter().product();
        let row = |part: &Known| part.shape[axis..].iter().product();
        if parts.iter().all(|p| matches!(p.data, Data::Int(_))) {
            let ints = parts.iter().map(|p| Ok((p.as_ints()?, row(p)))).collect::<Result<Vec<_>, Refusal>>()?;
            return Ok(Known::typed(parts[0].int, shape, join(&ints, outer)));
        }
        let floats = parts.iter().map(|p| Ok((&p.as_floats()?[..], row(p)))).collect::<Result<Vec<_>, Refusal>>()?;
        Ok(Known::floats(shape, join(&floats, outer)))
    }

    /// A function of every element, computed in double precision or in 64-bit integers.
    pub fn map(&self, float: impl Fn(f64) -> f64, int: impl Fn(i64) -> i64) -> Known {
        let data = match &self.data {
            Data::Float(data) => Data::Float(Rc::new(data.iter().map(|&v| float(f64::from(v)) as f32).collect())),
            Data::Int(data) => Data::Int(Rc::new(data.iter().map(|&v| self.int.wrap(int(v))).collect())),
        };
        Known { shape: self.shape.clone(), data, int: self.int, name: None }
    }

    /// A function of two elements, with NumPy broadcasting to `shape`; both are of one type.
    pub fn zip(
        &self,
        other: &Known,
        shape: &[usize],
        float: impl Fn(f64, f64) -> f64,
        int: impl Fn(i64, i64) -> Option<i64>,
    ) -> Result<Known, Refusal> {
        let (a, b) = (self.broadcast(shape), other.broadcast(shape));
        let data = match (&a.data, &b.data) {
            (Data::Float(a), Data::Float(b)) => {
                Data::Float(Rc::new(a.iter().zip(&b[..]).map(|(&a, &b)| float(f64::from(a), f64::from(b)) as f32).collect()))
            }
            (Data::Int(a), Data::Int(b)) => {
                let values = a.iter().zip(&b[..]).map(|(&a, &b)| int(a, b).map(|v| self.int.wrap(v)));
                let values: Vec<i64> =
                    values.collect::<Option<_>>().ok_or_else(|| Refusal::invalid("a division of integers by zero"))?;
                if self.int == Int::U64 && values.iter().any(|&v| v < 0) {
                    return Err(Refusal::unsupported("unsigned integers of more than 63 bits"));
                }
                Data::Int(Rc::new(values))
            }
            _ => return Err(Refusal::invalid("one operand has integers, the other floating-point numbers")),
        };
        Ok(Known { shape: shape.to_vec(), data, int: self.int, name: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_elements() {
        let x = Known::ints(vec![2, 3], vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(x.transposed(&[1, 0]), Known::ints(vec![3, 2], vec![1, 4, 2, 5, 3, 6]));
        assert_eq!(x.gather(&[2, 2], &[3, -2], 2), Known::ints(vec![2, 2], vec![3, 1, 6, 4]));
        assert_eq!(Known::ints(vec![2, 1], vec![7, 8]).broadcast(&[2, 2]), Known::ints(vec![2, 2], vec![7, 7, 8, 8]));
        let joined = Known::concat(&[&x, &x], 1, vec![2, 6]).unwrap();
        assert_eq!(joined.as_ints().unwrap(), [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6]);
    }

    #[test]
    fn types_do_not_mix() {
        let (int, float) = (Known::ints(vec![], vec![1]), Known::float(1.0));
        assert!(int.zip(&float, &[], |a, _| a, |a, _| Some(a)).is_err());
        assert!(int.zip(&int, &[], |a, _| a, |_, _| None).is_err());
    }
}
