//! Values that are the same at every pixel of an image.

use crate::language::{EGraph, nodes};
use egg::Id;
use sonar_ir::graph::Op;
use std::collections::HashMap;

/// Whether the result of an operator is the same at every pixel of an image, given the same fact for its operands.
pub fn stays_uniform(op: &Op, operands: &[bool]) -> bool {
    let all = operands.iter().all(|&uniform| uniform);
    match op {
        Op::Splat(..) => true,
        // A vector is the same for each pixel after any broadcast; other parameters are not.
        Op::Unary(_) | Op::Broadcast(_) | Op::Binary(_) | Op::BatchNorm { .. } => all,
        Op::FusedSum { .. } => all && op.is_sum(),
        Op::Conv2d(attrs) => operands.first() == Some(&true) && attrs.pad == [0; 4],
        Op::AvgPool(attrs) => all && !(attrs.count_include_pad && attrs.pad != [0; 4]),
        Op::MaxPool(_) => all,
        _ => false,
    }
}

/// Whether a constant class is the same at every pixel of an image.
pub fn is_uniform(egraph: &EGraph, class: Id) -> bool {
    let mut known: HashMap<Id, bool> = HashMap::new();
    let mut stack = vec![(egraph.find(class), false)];
    while let Some((class, done)) = stack.pop() {
        if !done && known.contains_key(&class) {
            continue;
        }
        // The default until an operator gives another result.
        let vector = egraph[class].data.ty.rank() <= 1 || egraph[class].data.splat.is_some();
        if done {
            let uniform = nodes(egraph, class).any(|(op, operands)| {
                let operands: Vec<bool> = operands.iter().map(|id| known.get(&egraph.find(*id)) == Some(&true)).collect();
                stays_uniform(op, &operands)
            });
            known.insert(class, vector || uniform);
        } else {
            known.insert(class, vector);
            stack.push((class, true));
            stack.extend(nodes(egraph, class).flat_map(|(_, operands)| operands.iter().map(|&id| (egraph.find(id), false))));
        }
    }
    known.get(&egraph.find(class)) == Some(&true)
}
