//! Sparse tensors, expanded to dense ones.

use super::external::Folders;
use super::proto::SparseTensorProto;
use super::tensor;
use crate::build::known::{Data, Known};
use crate::error::Refusal;
use std::rc::Rc;

/// The most elements of an expanded tensor. Without a limit a small file could ask for any number of them.
const MAX_DENSE: usize = 1 << 24;

/// The tensor with all its elements. Elements that the file does not list are 0.
///
/// Indices are either positions in the flat tensor, of shape `[count]`, or one index for each axis, of shape `[count, rank]`.
pub fn dense(sparse: &SparseTensorProto, folders: &Folders) -> Result<Known, Refusal> {
    let missing = |what: &str| Refusal::invalid(format!("a sparse tensor without {what}"));
    let values = tensor::elements(sparse.values.as_ref().ok_or_else(|| missing("values"))?, folders)?;
    let indices = tensor::elements(sparse.indices.as_ref().ok_or_else(|| missing("indices"))?, folders)?;
    let (shape, count) = tensor::shape(&sparse.dims)?;
    if count > MAX_DENSE {
        let what = format!("a sparse tensor of {count} elements; at most {MAX_DENSE} are expanded: store it as a dense one");
        return Err(Refusal::unsupported(what));
    }
    let places = places(&indices, values.len(), &shape)?;
    let mut taken = vec![false; count];
    if let Some(twice) = places.iter().find(|&&place| std::mem::replace(&mut taken[place], true)) {
        return Err(Refusal::invalid(format!("a sparse tensor with two values at position {twice}")));
    }
    fn spread<T: Copy + Default>(values: &[T], places: &[usize], count: usize) -> Rc<Vec<T>> {
        let mut all = vec![T::default(); count];
        places.iter().zip(values).for_each(|(&place, &value)| all[place] = value);
        Rc::new(all)
    }
    let data = match &values.data {
        Data::Float(values) => Data::Float(spread(values, &places, count)),
        Data::Int(values) => Data::Int(spread(values, &places, count)),
    };
    Ok(Known { shape, data, ..values })
}

/// The position of each value in the flat tensor.
fn places(indices: &Known, values: usize, shape: &[usize]) -> Result<Vec<usize>, Refusal> {
    let count: usize = shape.iter().product();
    let outside = |index: &[i64]| Refusal::invalid(format!("the index {index:?} of a sparse tensor of shape {shape:?}"));
    let list = indices.as_ints()?;
    match indices.shape[..] {
        [found] if found == values => {
            let place = |&index: &i64| usize::try_from(index).ok().filter(|&i| i < count).ok_or_else(|| outside(&[index]));
            list.iter().map(place).collect()
        }
        [found, rank] if found == values && rank == shape.len() && rank > 0 => {
            let place = |index: &[i64]| {
                let step = |flat: usize, (&i, &extent): (&i64, &usize)| {
                    usize::try_from(i).ok().filter(|&i| i < extent).map(|i| flat * extent + i)
                };
                index.iter().zip(shape).try_fold(0, step).ok_or_else(|| outside(index))
            };
            list.chunks_exact(rank).map(place).collect()
        }
        _ => Err(Refusal::invalid(format!(
            "indices of shape {:?} for {values} values of a sparse tensor of rank {}",
            indices.shape,
            shape.len()
        ))),
    }
}
