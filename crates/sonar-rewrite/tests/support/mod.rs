//! What the test and the example of extraction share: graphs, and the optimum by integer linear programming.

use good_lp::{Expression, ProblemVariables, Solution, SolverModel, Variable, microlp, variable};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::graph::{Conv2dAttrs, Graph, Init, NodeId, Op, PoolAttrs, TensorType};
use sonar_ir::scalar::{BinaryOp, UnaryOp};
use sonar_ir::space::Space;
use sonar_rewrite::instances::Instance;

/// The cells of NAS-Bench-201, on images of their first stage.
pub fn cells() -> Space {
    let text = include_str!("../../../../ir-examples/spaces/nas-bench-201.sonar");
    let (graphs, _) = text.split_once("graph @stage").expect("cells are defined before stages");
    let text = format!("{graphs}\ngraph @one_cell(%x: f32[N,32,32,16]) {{ return @cell(%x) }}\n");
    Space::parse(&text).expect("the space is well-formed")
}

/// One of these cells.
pub fn cell(space: &Space, rank: u128) -> Graph {
    let candidate = space.nth(rank % space.count()).expect("the rank is that of a candidate");
    space.instantiate(&candidate).expect("the candidate is one of the space's").specialise(1)
}

/// A random graph of residuals and values with several users, of everything that rules look for.
pub fn random_graph(seed: u64) -> Graph {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut graph = Graph::new("random");
    let side = [8, 16, 32][rng.random_range(0..3)];
    let x = graph.input("x", TensorType::fixed(&[1, side, side, 16]));
    let mut values = vec![x];
    let mut params = 0;
    for _ in 0..rng.random_range(5..14) {
        let recent = values.len().saturating_sub(4);
        let x = values[rng.random_range(recent..values.len())];
        let other = values[rng.random_range(0..values.len())];
        let mut param = |shape: &[usize], graph: &mut Graph| {
            params += 1;
            graph.param(format!("p{params}"), shape, Init::He)
        };
        let (op, operands) = match rng.random_range(0..12) {
            0..4 => {
                let k = [1, 1, 3, 3][rng.random_range(0..4)];
                let w = param(&[k, k, 16, 16], &mut graph);
                (Op::Conv2d(Conv2dAttrs { pad: [k / 2; 4], ..Conv2dAttrs::default() }), vec![x, w])
            }
            4 => (Op::Unary(UnaryOp::Relu), vec![x]),
            5 => {
                let norm = [(); 4].map(|()| param(&[16], &mut graph));
                (Op::BatchNorm { eps: 1e-5 }, vec![x, norm[0], norm[1], norm[2], norm[3]])
            }
            6 | 7 => {
                let pool = PoolAttrs { kernel: [3, 3], stride: [1, 1], pad: [1; 4], count_include_pad: false };
                (Op::AvgPool(pool), vec![x])
            }
            8 => (Op::Unary(UnaryOp::Tanh), vec![x]),
            _ => (Op::Binary(BinaryOp::Add), vec![x, other]),
        };
        values.push(graph.push(op, &operands).expect("shapes fit"));
    }
    let mut outputs: Vec<NodeId> = vec![values[values.len() - 1]];
    if rng.random_range(0..3) == 0 {
        outputs.push(values[rng.random_range(0..values.len())]);
    }
    graph.outputs = outputs;
    graph
}

/// The least cost of any solution, as integer linear programming finds it: a variable for each alternative; a class that is
/// needed takes one; cycles are excluded as they appear. In microseconds, so that numbers suit the solver.
pub fn optimum(instance: &Instance) -> f64 {
    let mut cuts: Vec<Vec<(usize, usize)>> = Vec::new();
    loop {
        let mut variables = ProblemVariables::new();
        let taken: Vec<Vec<Variable>> =
            instance.alternatives.iter().map(|mine| mine.iter().map(|_| variables.add(variable().binary())).collect()).collect();
        let any = |class: usize| taken[class].iter().copied().sum::<Expression>();
        let mut total = Expression::from(0.0);
        for (mine, taken) in instance.alternatives.iter().zip(&taken) {
            for ((cost, _), &taken) in mine.iter().zip(taken) {
                total += cost * 1e6 * taken;
            }
        }
        let mut model = variables.minimise(total.clone()).using(microlp);
        for &root in &instance.roots {
            model = model.with(any(root as usize).geq(1));
        }
        for (mine, taken) in instance.alternatives.iter().zip(&taken) {
            for ((_, operands), &taken) in mine.iter().zip(taken) {
                for &operand in operands {
                    model = model.with((any(operand as usize) - taken).geq(0));
                }
            }
        }
        for cut in &cuts {
            let sum: Expression = cut.iter().map(|&(class, k)| taken[class][k]).sum();
            model = model.with(sum.leq(cut.len() as f64 - 1.0));
        }
        let solution = model.solve().expect("every class can be computed");
        let choice: Vec<Option<usize>> =
            taken.iter().map(|mine| mine.iter().position(|&taken| solution.value(taken) > 0.5)).collect();
        match cycle(instance, &choice) {
            Some(cycle) => cuts.push(cycle),
            None => return solution.eval(total),
        }
    }
}

/// A cycle among the classes that a choice needs, as the alternatives on it.
fn cycle(instance: &Instance, choice: &[Option<usize>]) -> Option<Vec<(usize, usize)>> {
    let mut done = vec![false; choice.len()];
    for &root in &instance.roots {
        let mut path: Vec<(usize, usize)> = vec![(root as usize, 0)];
        while let Some((class, next)) = path.last_mut() {
            let k = choice[*class]?;
            match instance.alternatives[*class][k].1.get(*next) {
                Some(&operand) => {
                    *next += 1;
                    let operand = operand as usize;
                    if let Some(start) = path.iter().position(|&(class, _)| class == operand) {
                        return path[start..].iter().map(|&(class, _)| Some((class, choice[class]?))).collect();
                    }
                    if !done[operand] {
                        path.push((operand, 0));
                    }
                }
                None => {
                    done[*class] = true;
                    path.pop();
                }
            }
        }
    }
    None
}
