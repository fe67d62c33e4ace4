//! The shapes of a graph's inputs: from the file, and from the options for extents that the file leaves open.
//!
//! A symbol stands for one extent in all inputs. It is bound by the given shapes; after that, a symbol on the leading axis of an
//! input is bound to the batch.

use super::ImportOptions;
use super::declared::{Extent, declared, floating, show};
use crate::build::elements;
use crate::error::Refusal;
use crate::file::proto::ValueInfoProto;
use std::collections::BTreeMap;

/// The extent that a symbol stands for, and the axis of the input that defines it.
struct Binding<'a> {
    extent: usize,
    input: &'a str,
    axis: usize,
}

/// The shape of every input, or why it has none.
pub fn shapes(inputs: &[&ValueInfoProto], options: &ImportOptions) -> Vec<Result<Vec<usize>, Refusal>> {
    let mut symbols = BTreeMap::new();
    let mut checked: Vec<Result<Option<Vec<Extent<'_>>>, Refusal>> = Vec::new();
    for info in inputs {
        checked.push(extents(info).and_then(|extents| {
            if let (Some(extents), Some(given)) = (&extents, options.shapes.get(&info.name)) {
                bind(&info.name, extents, given, &mut symbols)?;
            }
            Ok(extents)
        }));
    }
    for (info, extents) in inputs.iter().zip(&checked) {
        if let Ok(Some(extents)) = extents
            && let Some(Extent::Symbol(symbol)) = extents.first()
        {
            symbols.entry(*symbol).or_insert(Binding { extent: options.batch, input: &info.name, axis: 0 });
        }
    }
    let shape = |(info, extents): (&&ValueInfoProto, Result<Option<Vec<Extent<'_>>>, Refusal>)| {
        resolve(info, extents?.as_deref(), options, &symbols)
    };
    inputs.iter().zip(checked).map(shape).collect()
}

/// The extents of an input in the file; `None` if the file leaves the rank open.
fn extents(info: &ValueInfoProto) -> Result<Option<Vec<Extent<'_>>>, Refusal> {
    let declared = declared(info).ok_or_else(|| Refusal::unsupported("an input that is no tensor"))?;
    match declared.element {
        Some(element) if floating(element) => Ok(declared.extents),
        Some(other) => Err(Refusal::unsupported(format!("elements of type {other:?} that are not known at import"))),
        None => Err(Refusal::unsupported("an input whose type of elements the file does not tell")),
    }
}

/// Compares the shape given for an input with the one in the file, and binds its symbols.
fn bind<'a>(
    input: &'a str,
    extents: &[Extent<'a>],
    given: &[usize],
    symbols: &mut BTreeMap<&'a str, Binding<'a>>,
) -> Result<(), Refusal> {
    if given.len() != extents.len() {
        return Err(Refusal::invalid(format!("the file gives it {} axes, the options {}", extents.len(), given.len())));
    }
    for (axis, (extent, &given)) in extents.iter().zip(given).enumerate() {
        match *extent {
            // Some exporters write 0 for an open extent.
            Extent::Fixed(0) | Extent::Open => {}
            Extent::Fixed(extent) if extent == given => {}
            Extent::Fixed(extent) => {
                let what = format!("axis {axis} has extent {extent} in the file and {given} in the options");
                return Err(Refusal::invalid(what));
            }
            Extent::Symbol(symbol) => {
                let bound = symbols.entry(symbol).or_insert(Binding { extent: given, input, axis });
                if bound.extent != given {
                    return Err(Refusal::invalid(format!(
                        "axis {axis} is `{symbol}`, which the options make {given} here and {} on axis {} of `{}`: it can \
                         only be one of them",
                        bound.extent, bound.axis, bound.input
                    )));
                }
            }
        }
    }
    Ok(())
}

/// The shape of an input.
fn resolve(
    info: &ValueInfoProto,
    extents: Option<&[Extent<'_>]>,
    options: &ImportOptions,
    symbols: &BTreeMap<&str, Binding<'_>>,
) -> Result<Vec<usize>, Refusal> {
    let given = options.shapes.get(&info.name);
    let shape = match (extents, given) {
        (_, Some(given)) => given.clone(),
        (None, None) => {
            return Err(Refusal::unsupported("an input whose rank the file leaves open: its shape must be given (--shape)"));
        }
        (Some(extents), None) => {
            let extent = |(axis, extent): (usize, &Extent<'_>)| match *extent {
                Extent::Fixed(extent) => Ok(extent),
                Extent::Symbol(symbol) if symbols.contains_key(symbol) => Ok(symbols[symbol].extent),
                Extent::Open if axis == 0 => Ok(options.batch),
                Extent::Symbol(_) | Extent::Open => {
                    let name = if let Extent::Symbol(symbol) = extent { format!(" (`{symbol}`)") } else { String::new() };
                    let (shape, input) = (show(extents), &info.name);
                    Err(Refusal::unsupported(format!(
                        "an input whose axis {axis}{name} has no fixed extent: its shape must be given, as in \
                         --shape {input}={} with numbers",
                        shape.trim_matches(['[', ']'])
                    )))
                }
            };
            extents.iter().enumerate().map(extent).collect::<Result<_, _>>()?
        }
    };
    match elements(&shape) {
        Some(count) if count > 0 => Ok(shape),
        Some(_) => Err(Refusal::unsupported(format!("an input without elements, of shape {shape:?}"))),
        None => Err(Refusal::unsupported(format!("an input of shape {shape:?}"))),
    }
}
