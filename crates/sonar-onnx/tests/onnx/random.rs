//! Random models against a direct computation in the file's order of axes.

use super::support::*;
use super::windows::Window;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::Tensor;
use sonar_onnx::proto::*;
use sonar_onnx::{ImportError, export_model};

/// A model under construction, with the value that each of its results has.
struct Model {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    /// Names and values, the input first.
    values: Vec<(String, Tensor)>,
}

impl Model {
    fn constant(&mut self, value: &Tensor) -> String {
        let name = format!("w{}", self.constants.len());
        self.constants.push(constant(&name, value));
        name
    }

    fn add(&mut self, op: &str, attributes: &[AttributeProto], args: &[&str], value: Tensor) {
        let name = format!("v{}", self.values.len());
        self.nodes.push(node(op, attributes, args, &[&name]));
        self.values.push((name, value));
    }

    /// One random operator of a value that it already has.
    fn grow(&mut self, r: &mut StdRng) {
        let (name, x) = self.values[r.random_range(0..self.values.len())].clone();
        let shape = x.shape.clone();
        let random = |shape: &[usize], r: &mut StdRng| tabulate(shape, |_| r.random_range(-1.0..1.0));
        match r.random_range(0..11) {
            0 | 1 if shape.len() == 4 => {
                let window = Window::random(r, &shape[2..]);
                let w = random(&[&[r.random_range(1..5), shape[1]], &window.kernel[..]].concat(), r);
                let weight = self.constant(&w);
                self.add("Conv", &window.attributes(), &[&name, &weight], window.conv(&x, &w, 1));
            }
            2 if shape.len() == 4 => {
                let window = Window::random(r, &shape[2..]);
                self.add("MaxPool", &window.attributes(), &[&name], window.max(&x));
            }
            3 if shape.len() == 4 => {
                let window = Window::random(r, &shape[2..]);
                self.add("AveragePool", &window.attributes(), &[&name], window.mean(&x, false));
            }
            4 => self.add("Relu", &[], &[&name], tabulate(&shape, |i| at(&x, i).max(0.0))),
            5 => {
                // Broadcast along some axes.
                let short: Vec<usize> = shape.iter().map(|&n| if r.random() { n } else { 1 }).collect();
                let w = random(&short, r);
                let weight = self.constant(&w);
                let index = |i: &[usize]| i.iter().zip(&short).map(|(&i, &n)| i % n).collect::<Vec<_>>();
                self.add("Mul", &[], &[&name, &weight], tabulate(&shape, |i| at(&x, i) * at(&w, &index(i))));
            }
            6 => {
                let other = self.values.iter().find(|(_, v)| v.shape == shape).expect("it is there itself").clone();
                self.add("Add", &[], &[&name, &other.0], tabulate(&shape, |i| at(&x, i) + at(&other.1, i)));
            }
            7 => {
                let mut order: Vec<usize> = (0..shape.len()).collect();
                for i in (1..order.len()).rev() {
                    order.swap(i, r.random_range(0..=i));
                }
                let list: Vec<i64> = order.iter().map(|&axis| axis as i64).collect();
                let moved: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
                let value = tabulate(&moved, |i| {
                    let mut from = vec![0; i.len()];
                    order.iter().zip(i).for_each(|(&axis, &at)| from[axis] = at);
                    at(&x, &from)
                });
                self.add("Transpose", &[ints("perm", &list)], &[&name], value);
            }
            8 => {
                let axis = r.random_range(0..shape.len());
                let mut twice = shape.clone();
                twice[axis] *= 2;
                let value = tabulate(&twice, |i| {
                    let mut from = i.to_vec();
                    from[axis] %= shape[axis];
                    at(&x, &from)
                });
                self.add("Concat", &[int("axis", axis as i64)], &[&name, &name], value);
            }
            9 => {
                let axis = r.random_range(0..shape.len());
                let mut flat = shape.clone();
                flat[axis] = 1;
                let value = tabulate(&flat, |i| {
                    let mut from = i.to_vec();
                    (0..shape[axis]).map(|k| (from[axis] = k, at(&x, &from)).1).sum::<f64>() / shape[axis] as f64
                });
                self.add("ReduceMean", &[ints("axes", &[axis as i64])], &[&name], value);
            }
            _ => {
                let rows = shape[0];
                let target = [rows as i64, -1];
                let name_of_shape = format!("s{}", self.constants.len());
                self.constants.push(TensorProto {
                    name: name_of_shape.clone(),
                    dims: vec![2],
                    data_type: DataType::Int64 as i32,
                    int64_data: target.to_vec(),
                    ..Default::default()
                });
                let flat = Tensor::new(vec![rows, x.data.len() / rows], x.data.clone());
                self.add("Reshape", &[], &[&name, &name_of_shape], flat);
            }
        }
    }
}

#[test]
fn random_models_agree_with_a_direct_computation() {
    for seed in 0..300 {
        let mut r = StdRng::seed_from_u64(seed);
        let shape = [r.random_range(1..3), r.random_range(1..4), r.random_range(3..7), r.random_range(3..7)];
        let x = tabulate(&shape, |_| r.random_range(-1.0..1.0));
        let mut built = Model { nodes: vec![], constants: vec![], values: vec![("x".to_string(), x.clone())] };
        for _ in 0..r.random_range(1..8) {
            built.grow(&mut r);
            if built.values.iter().any(|(_, v)| v.data.len() > 20_000) {
                break;
            }
        }
        let names: Vec<&str> = built.values[1..].iter().map(|(name, _)| name.as_str()).collect();
        let mut model = model(13, &[("x", &shape)], built.constants, built.nodes, &names);
        let graph = model.graph.as_mut().expect("it has a graph");
        graph.value_info = built.values.iter().map(|(name, v)| info(name, Some(&v.shape))).collect();
        for i in (1..graph.node.len()).rev() {
            graph.node.swap(i, r.random_range(0..=i));
        }
        let there = imported(&model).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let found = outputs(&there, std::slice::from_ref(&x));
        let expected: Vec<Tensor> = built.values[1..].iter().map(|(_, v)| v.clone()).collect();
        same(&format!("seed {seed}"), &found, &expected);
        // The same once more, after the graph has become a file.
        let file = export_model(&there.graph, &there.weights).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let again = outputs(&imported(&file).unwrap_or_else(|e| panic!("seed {seed}: {e}")), &[x]);
        same(&format!("seed {seed}, exported"), &again, &expected);
        let (what, broken) = broken(&mut r, &model);
        assert!(matches!(imported(&broken), Err(ImportError::Problems(_))), "seed {seed}: {what} is not refused");
    }
}

/// A right model with one thing that makes it invalid.
fn broken(r: &mut StdRng, model: &ModelProto) -> (&'static str, ModelProto) {
    let mut model = model.clone();
    let graph = model.graph.as_mut().expect("it has a graph");
    let chosen = r.random_range(0..graph.node.len());
    let what = match r.random_range(0..8) {
        0 => {
            let copy = NodeProto { name: String::new(), ..graph.node[chosen].clone() };
            graph.node.push(copy);
            "a result that is computed twice"
        }
        1 => {
            graph.node.iter_mut().for_each(|node| node.name = "same".to_string());
            graph.node.push(NodeProto { name: "same".to_string(), ..node("Neg", &[], &["x"], &["other"]) });
            "a name of several nodes"
        }
        2 => {
            graph.node[chosen].output[0] = "x".to_string();
            "a result with the name of the input"
        }
        3 => {
            let result = graph.node[chosen].output[0].clone();
            graph.node[chosen].input[0] = result;
            "a node that reads its own result"
        }
        4 => {
            drop(graph.node.remove(chosen));
            "an output that nothing computes"
        }
        5 => {
            let input = graph.input[0].clone();
            graph.input.push(input);
            "two inputs of one name"
        }
        6 => {
            let at = r.random_range(0..graph.value_info.len());
            let declared = graph.value_info[at].r#type.as_mut().and_then(|t| t.tensor_type.as_mut()).expect("a tensor");
            let shape = declared.shape.as_mut().expect("it has a rank");
            match r.random() {
                true => shape.dim.push(DimensionProto { value: Some(Dimension::DimValue(1)) }),
                false => shape.dim[0].value = Some(Dimension::DimValue(12_345)),
            }
            "a shape that contradicts"
        }
        _ => {
            let at = r.random_range(0..graph.value_info.len());
            let declared = graph.value_info[at].r#type.as_mut().and_then(|t| t.tensor_type.as_mut()).expect("a tensor");
            declared.elem_type = DataType::Int64 as i32;
            "a type that contradicts"
        }
    };
    (what, model)
}
