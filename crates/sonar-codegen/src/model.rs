//! A plan as machine code: every kernel in one module, every tensor in its place, runs without allocation.

use crate::buffer::{AlignedBuffer, aligned};
use crate::emit_loops::parallel_extent;
use crate::error::CodegenError;
use crate::kernel::check_lengths;
use crate::module::{Code, Launch, ProgramFunctions, arguments, layout};
use crate::pool::Pool;
use crate::target::Target;
use sonar_ir::loops::BufferKind;
use sonar_ir::plan::{KernelCall, Plan, SlotKind};
use sonar_ir::tensor::Values;
use std::time::Instant;

/// A compiled plan with its memory.
///
/// [`Model::load`] gives it its parameters, after which [`Model::run`] computes outputs from inputs.
pub struct Model {
    calls: Vec<Call>,
    /// Elements of each input and output of the caller.
    inputs: Vec<usize>,
    outputs: Vec<usize>,
    params: Vec<Param>,
    /// Whether the contents of `weights` and `packed` are those of the caller's parameters.
    loaded: bool,
    pool: Pool,
    /// Parameters and constants.
    weights: AlignedBuffer,
    /// The owners of addresses in `calls`.
    _arena: AlignedBuffer,
    _packed: AlignedBuffer,
    _scratch: AlignedBuffer,
    _code: Code,
}

/// One kernel call with the addresses of its buffers.
struct Call {
    kernel: String,
    body: Launch,
    setup: Option<Launch>,
    /// Buffers whose addresses change with every run, and the caller's tensor they are in.
    bindings: Vec<(usize, Tensor)>,
}

/// A tensor of the caller.
#[derive(Clone, Copy)]
enum Tensor {
    Input(usize),
    Output(usize),
}

/// A parameter in the weights.
struct Param {
    name: String,
    shape: Vec<usize>,
    offset: usize,
}

/// How long one call of a plan took.
#[derive(Clone, Debug, PartialEq)]
pub struct CallTime {
    /// Name of the kernel.
    pub kernel: String,
    /// The shortest of the repetitions.
    pub seconds: f64,
}

impl Model {
    /// Compiles a plan for a number of threads. The plan is verified, because code for an invalid one would be unsafe
    /// to run.
    pub fn compile(plan: &Plan, target: &Target, threads: usize) -> Result<Model, CodegenError> {
        sonar_ir::verify::plan(plan)?;
        let (code, functions) = Code::build(target, |definitions| {
            plan.kernels.iter().map(|kernel| definitions.program(kernel)).collect::<Result<Vec<_>, _>>()
        })?;
        let parallel = plan.kernels.iter().any(|kernel| parallel_extent(kernel).is_some());
        let pool = Pool::new(if parallel { threads.max(1) } else { 1 })?;

        let (places, weights, params) = place_weights(plan);
        let arena = AlignedBuffer::new(plan.arena);
        let size = |kind| move |call: &KernelCall| layout(&plan.kernels[call.kernel], kind).1;
        let packed = AlignedBuffer::new(plan.calls.iter().map(size(BufferKind::Packed)).sum());
        // The first thread's temporaries are in the arena; every other thread needs room for one call at a time.
        let scratch_len = plan.calls.iter().map(size(BufferKind::Temp)).max().unwrap_or(0);
        let scratch = AlignedBuffer::new(scratch_len * (pool.threads() - 1));

        let mut calls = Vec::with_capacity(plan.calls.len());
        let mut packed_end = 0;
        for call in &plan.calls {
            let program = &plan.kernels[call.kernel];
            let ProgramFunctions { setup, body } = functions[call.kernel];
            let mut body = Launch::new(program, code.program_entry(body), pool.threads());
            let mut setup = setup.map(|id| Launch::new(program, code.program_entry(id), 1));
            let mut bindings = Vec::new();
            for launch in setup.iter_mut().chain([&mut body]) {
                bindings.clear();
                for (buffer, &slot) in arguments(program).zip(&call.args) {
                    match plan.slots[slot].kind {
                        SlotKind::Input(i) => bindings.push((buffer, Tensor::Input(i))),
                        SlotKind::Output(i) => bindings.push((buffer, Tensor::Output(i))),
                        SlotKind::Param(_) | SlotKind::Const(_) => launch.set(buffer, weights.at(places[slot])),
                        SlotKind::Arena { offset } => launch.set(buffer, arena.at(offset)),
                    }
                }
                for (buffer, offset) in layout(program, BufferKind::Packed).0 {
                    launch.set(buffer, packed.at(packed_end + offset));
                }
                for (buffer, offset) in layout(program, BufferKind::Temp).0 {
                    launch.set_for(0, buffer, arena.at(call.scratch + offset));
                    for thread in 1..launch.threads() {
                        launch.set_for(thread, buffer, scratch.at((thread - 1) * scratch_len + offset));
                    }
                }
            }
            packed_end += layout(program, BufferKind::Packed).1;
            calls.push(Call { kernel: program.name.clone(), body, setup, bindings });
        }
        Ok(Model {
            calls,
            inputs: boundary(plan, |kind| if let SlotKind::Input(i) = kind { Some(*i) } else { None }),
            outputs: boundary(plan, |kind| if let SlotKind::Output(i) = kind { Some(*i) } else { None }),
            loaded: params.is_empty() && calls_without_setup(plan),
            params,
            pool,
            weights,
            _arena: arena,
            _packed: packed,
            _scratch: scratch,
            _code: code,
        })
    }

    /// Copies the parameters by name and packs them. Values that the model does not name are ignored.
    pub fn load(&mut self, values: &Values) -> Result<(), CodegenError> {
        for Param { name, shape, .. } in &self.params {
            let value = values.get(name).ok_or_else(|| CodegenError::MissingParam(name.clone()))?;
            if value.shape != *shape || value.data.len() != shape.iter().product::<usize>() {
                let (name, expected, found) = (name.clone(), shape.clone(), value.shape.clone());
                return Err(CodegenError::ParamShape { name, expected, found });
            }
        }
        for param in &self.params {
            self.weights.write(param.offset, &values[&param.name].data);
        }
        for setup in self.calls.iter().filter_map(|call| call.setup.as_ref()) {
            // SAFETY: the plan was verified when this was compiled; a setup reads only weights.
            unsafe { setup.run(&mut self.pool) };
        }
        self.loaded = true;
        Ok(())
    }

    /// Computes the outputs from the inputs, both in the order of the graph.
    pub fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), CodegenError> {
        self.bind(inputs, outputs)?;
        for call in &self.calls {
            // SAFETY: the plan was verified when this was compiled, and the arguments by `bind`.
            unsafe { call.body.run(&mut self.pool) };
        }
        Ok(())
    }

    /// Runs as [`Model::run`] does, several times, and tells how long each call takes.
    pub fn profile(
        &mut self,
        inputs: &[&[f32]],
        outputs: &mut [&mut [f32]],
        repetitions: usize,
    ) -> Result<Vec<CallTime>, CodegenError> {
        self.bind(inputs, outputs)?;
        let unknown = |call: &Call| CallTime { kernel: call.kernel.clone(), seconds: f64::INFINITY };
        let mut times: Vec<CallTime> = self.calls.iter().map(unknown).collect();
        for _ in 0..repetitions.max(1) {
            for (call, time) in self.calls.iter().zip(&mut times) {
                let start = Instant::now();
                // SAFETY: as in `run`.
                unsafe { call.body.run(&mut self.pool) };
                time.seconds = time.seconds.min(start.elapsed().as_secs_f64());
            }
        }
        Ok(times)
    }

    /// Elements of each input.
    pub fn input_lengths(&self) -> &[usize] {
        &self.inputs
    }

    /// Elements of each output.
    pub fn output_lengths(&self) -> &[usize] {
        &self.outputs
    }

    /// Checks the caller's tensors and sets their addresses.
    fn bind(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), CodegenError> {
        check_lengths("input", self.inputs.iter().copied(), inputs.iter().map(|input| input.len()))?;
        check_lengths("output", self.outputs.iter().copied(), outputs.iter().map(|output| output.len()))?;
        if !self.loaded {
            return Err(CodegenError::NotLoaded);
        }
        for call in &mut self.calls {
            for &(buffer, tensor) in &call.bindings {
                call.body.set(
                    buffer,
                    match tensor {
                        // Kernels only read their inputs, which the verifier checks.
                        Tensor::Input(i) => inputs[i].as_ptr().cast_mut(),
                        Tensor::Output(i) => outputs[i].as_mut_ptr(),
                    },
                );
            }
        }
        Ok(())
    }
}

fn calls_without_setup(plan: &Plan) -> bool {
    plan.calls.iter().all(|call| plan.kernels[call.kernel].setup.is_empty())
}

/// Lays parameters and constants end to end: where each slot is (0 for other slots), the buffer with the constants in
/// it, and the parameters.
fn place_weights(plan: &Plan) -> (Vec<usize>, AlignedBuffer, Vec<Param>) {
    let mut places = Vec::with_capacity(plan.slots.len());
    let mut params = Vec::new();
    let mut end = 0;
    for slot in &plan.slots {
        let offset = end;
        match &slot.kind {
            SlotKind::Param(name) => params.push(Param { name: name.clone(), shape: slot.shape.clone(), offset }),
            SlotKind::Const(_) => {}
            _ => {
                places.push(0);
                continue;
            }
        }
        places.push(offset);
        end += aligned(slot.len());
    }
    let mut weights = AlignedBuffer::new(end);
    for (slot, place) in plan.slots.iter().zip(&places) {
        if let SlotKind::Const(values) = &slot.kind {
            weights.write(*place, values);
        }
    }
    (places, weights, params)
}

/// Lengths of the caller's inputs or outputs, by their number. A number that no slot has is an empty tensor.
fn boundary(plan: &Plan, number: impl Fn(&SlotKind) -> Option<usize>) -> Vec<usize> {
    let mut lengths = Vec::new();
    for slot in &plan.slots {
        if let Some(i) = number(&slot.kind) {
            if lengths.len() <= i {
                lengths.resize(i + 1, 0);
            }
            lengths[i] = slot.len();
        }
    }
    lengths
}
