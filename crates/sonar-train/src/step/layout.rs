//! The order of the axes of images.

use crate::build::{copy, declare, map_nodes};
use crate::error::TrainError;
use crate::step::signature;
use sonar_ir::TensorType;
use sonar_ir::graph::{Graph, Op};

/// A classifier of images of the shape `image` (height, width, channels). If the images of `model` have the same extents but
/// channels first, as in most ONNX files, its input is transposed. Any other classifier stays as it is.
pub fn channels_last(model: &Graph, image: [usize; 3]) -> Result<Graph, TrainError> {
    let [height, width, channels] = image;
    let found = signature(model)?.image;
    if found == image || found != [channels, height, width] {
        return Ok(model.clone());
    }
    Ok(map_nodes(model, |graph, _, node, operands| match (&node.op, &node.ty.shape[..]) {
        (Op::Input, &[n, c, h, w]) => {
            let ty = TensorType { shape: vec![n, h, w, c] };
            let input = declare(graph, Op::Input, node.name.as_deref().unwrap_or_default(), ty);
            graph.push(Op::Transpose(vec![0, 3, 1, 2]), &[input])
        }
        _ => Ok(copy(graph, node, operands)),
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonar_ir::text::parse_graph;

    #[test]
    fn only_images_with_channels_first_are_transposed() {
        let text = "graph @f(%x: f32[N,3,4,5], param %w: f32[3,2]) { return matmul(reduce_mean(%x) {axes=[2,3]}, %w) }";
        let first = parse_graph(text).unwrap();
        let last = channels_last(&first, [4, 5, 3]).unwrap();
        assert_eq!(signature(&last).unwrap().image, [4, 5, 3]);
        assert_eq!(channels_last(&last, [4, 5, 3]).unwrap().nodes.len(), last.nodes.len());
        assert_eq!(channels_last(&first, [5, 4, 3]).unwrap().nodes.len(), first.nodes.len());
    }
}
