//! A plan as machine code, in three stages: code, a model with its weights, and contexts in which it runs.
//!
//! Code and models never change and are shared by all threads. A run changes only its [`Context`].

use crate::emit::loops::parallel_extent;
use crate::error::CodegenError;
use crate::memory::buffer::AlignedBuffer;
use crate::memory::constants;
use crate::memory::placement::{BufferPlace, Placement, place_buffers};
use crate::module::{Code, ProgramEntry, ProgramFunctions};
use crate::run::context::Context;
use crate::target::Target;
use sonar_ir::entity::EntityVec;
use sonar_ir::loops::BufId;
use sonar_ir::plan::{KernelId, Plan, SlotKind};
use sonar_ir::tensor::{Tensor, Values};
use std::borrow::Cow;
use std::sync::Arc;

/// The machine code of a plan, without weights.
pub struct CompiledPlan {
    plan: Plan,
    placement: Placement,
    setups: EntityVec<KernelId, Option<ProgramEntry>>,
    shared: Arc<PlanCode>,
}

/// The code that runs a plan.
pub(crate) struct PlanCode {
    pub calls: Vec<CallCode>,
    /// Elements of each input and output of the caller.
    pub inputs: Vec<usize>,
    pub outputs: Vec<usize>,
    /// Elements of the arena, and of the temporaries of each thread except the first.
    pub arena: usize,
    pub scratch: usize,
    /// How many threads may share a call.
    pub threads: usize,
    /// The owner of the functions.
    _code: Code,
}

/// One call of a kernel.
pub(crate) struct CallCode {
    pub kernel: String,
    pub body: ProgramEntry,
    /// Number of iterations that threads may share.
    pub extent: Option<usize>,
    /// The place of each buffer.
    pub places: EntityVec<BufId, BufferPlace>,
}

/// A model that is ready to run: code, and weights in the order in which the code reads them. Clones share both.
///
/// Any number of threads can run one model at once, each with its own [`Context`].
#[derive(Clone)]
pub struct Model {
    pub(crate) code: Arc<PlanCode>,
    pub(crate) constants: Arc<AlignedBuffer>,
}

impl CompiledPlan {
    /// Compiles a plan for a number of threads. The plan is verified, because code for an invalid one would be unsafe
    /// to run.
    pub fn compile(plan: &Plan, target: &Target, threads: usize) -> Result<CompiledPlan, CodegenError> {
        sonar_ir::verify::plan(plan)?;
        let placement = place_buffers(plan)?;
        let (code, functions) = Code::build(target, |definitions| {
            plan.kernels
                .iter()
                .map(|kernel| definitions.program(kernel))
                .collect::<Result<EntityVec<KernelId, ProgramFunctions>, _>>()
        })?;
        let parallel = plan.kernels.iter().any(|kernel| parallel_extent(kernel).is_some());
        let call = |(call, places): (&sonar_ir::plan::KernelCall, &EntityVec<BufId, BufferPlace>)| CallCode {
            kernel: plan.kernels[call.kernel].name.clone(),
            body: code.program_entry(functions[call.kernel].body),
            extent: parallel_extent(&plan.kernels[call.kernel]),
            places: places.clone(),
        };
        let (inputs, outputs) = boundary(plan);
        let shared = PlanCode {
            calls: plan.calls.iter().zip(&placement.calls).map(call).collect(),
            inputs,
            outputs,
            arena: plan.arena,
            scratch: placement.scratch,
            threads: if parallel { threads.max(1) } else { 1 },
            _code: code,
        };
        let setups = functions.iter().map(|f| f.setup.map(|id| shared._code.program_entry(id))).collect();
        Ok(CompiledPlan { plan: plan.clone(), placement, setups, shared: Arc::new(shared) })
    }

    /// A model with these parameters, by name. Values that the plan does not name are ignored.
    pub fn load(&self, values: &Values) -> Result<Model, CodegenError> {
        self.load_with(|name| match values.get(name) {
            Some(value) => Ok(Cow::Borrowed(value)),
            None => Err(CodegenError::MissingParam(name.to_string())),
        })
    }

    /// A model with the parameters that `value_of` gives by name. A parameter is requested whenever it is copied
    /// or packed. Its value is dropped before the parameters of the next call are requested.
    pub fn load_with<'v, E: From<CodegenError>>(
        &self,
        mut value_of: impl FnMut(&str) -> Result<Cow<'v, Tensor>, E>,
    ) -> Result<Model, E> {
        let constants = constants::fill(&self.plan, &self.placement, &self.setups, &mut value_of)?;
        Ok(Model { code: Arc::clone(&self.shared), constants: Arc::new(constants) })
    }

    /// Elements of each input.
    pub fn input_lengths(&self) -> &[usize] {
        &self.shared.inputs
    }

    /// Elements of each output.
    pub fn output_lengths(&self) -> &[usize] {
        &self.shared.outputs
    }
}

impl Model {
    /// Memory and threads to run the model in.
    pub fn context(&self) -> Result<Context, CodegenError> {
        Context::new(self.clone())
    }

    /// Elements of each input.
    pub fn input_lengths(&self) -> &[usize] {
        &self.code.inputs
    }

    /// Elements of each output.
    pub fn output_lengths(&self) -> &[usize] {
        &self.code.outputs
    }

    /// Bytes of the weights in memory.
    pub fn weight_bytes(&self) -> usize {
        self.constants.len() * size_of::<f32>()
    }
}

/// Lengths of the caller's inputs and outputs, by index. An index without a slot is an empty tensor.
pub(crate) fn boundary(plan: &Plan) -> (Vec<usize>, Vec<usize>) {
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for slot in &plan.slots {
        let (lengths, i) = match slot.kind {
            SlotKind::Input(i) => (&mut inputs, i),
            SlotKind::Output(i) => (&mut outputs, i),
            _ => continue,
        };
        if lengths.len() <= i {
            lengths.resize(i + 1, 0);
        }
        lengths[i] = slot.len();
    }
    (inputs, outputs)
}
