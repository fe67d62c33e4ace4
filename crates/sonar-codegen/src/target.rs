//! The processor that machine code is generated for.

use crate::error::CodegenError;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use std::fmt;

/// A processor: an instruction set level, and the model if it is the processor that this process runs on.
///
/// ```
/// use sonar_codegen::Target;
/// let target = Target::parse("x86-64-v3")?;
/// assert_eq!(target.lanes(), 8);
/// assert_eq!(target.to_string(), "x86-64-v3");
/// # Ok::<(), sonar_codegen::CodegenError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub(crate) instruction_set: InstructionSet,
    native: Option<String>,
}

/// Instruction sets that need different code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum InstructionSet {
    /// SSE4.2: 128-bit vectors, no fused multiply-add.
    X86V2,
    /// AVX2 and FMA: 256-bit vectors.
    X86V3,
    /// AVX-512 F, BW, CD, DQ and VL: 512-bit vectors with masks.
    X86V4,
    /// NEON: 128-bit vectors.
    Aarch64,
    /// Scalars only.
    Riscv64,
    /// The vector extension, used at 128 bits.
    Riscv64V,
}

const X86_TRIPLE: &str = "x86_64-unknown-linux-gnu";
const AARCH64_TRIPLE: &str = "aarch64-unknown-linux-gnu";
const RISCV64_TRIPLE: &str = "riscv64gc-unknown-linux-gnu";
const TRIPLES: &str =
    "`x86_64-unknown-linux-gnu`, `aarch64-unknown-linux-gnu`, `riscv64gc-unknown-linux-gnu`, `riscv64gc-unknown-linux-gnu+v`";

impl Target {
    /// A target by name. `native` is this machine; `x86-64-v2` to `x86-64-v4` are the levels of the x86-64 ABI. A
    /// triple is the most basic processor of that architecture (`x86_64` means `x86-64-v2`); `+v` after the RISC-V triple
    /// adds the vector extension.
    pub fn parse(name: &str) -> Result<Target, CodegenError> {
        let instruction_set = match name {
            "native" => return Target::native(),
            "x86-64-v2" | X86_TRIPLE => InstructionSet::X86V2,
            "x86-64-v3" => InstructionSet::X86V3,
            "x86-64-v4" => InstructionSet::X86V4,
            AARCH64_TRIPLE => InstructionSet::Aarch64,
            RISCV64_TRIPLE => InstructionSet::Riscv64,
            "riscv64gc-unknown-linux-gnu+v" => InstructionSet::Riscv64V,
            _ => return Err(CodegenError::UnknownTarget(name.to_string(), TRIPLES)),
        };
        Ok(Target { instruction_set, native: None })
    }

    /// The machine that this process runs on, at the highest level that it supports.
    pub fn native() -> Result<Target, CodegenError> {
        match INSTRUCTION_SETS.into_iter().find(|set| set.runs_here()) {
            Some(instruction_set) => Ok(Target { instruction_set, native: Some(cpu_model()) }),
            None => Err(CodegenError::UnsupportedHost(format!("{} below the lowest known level", std::env::consts::ARCH))),
        }
    }

    /// A target by its architecture (or a level, or `native`) and a processor: `x86-64-v2` to `x86-64-v4`,
    /// `generic` for aarch64, `rv64gc` or `rv64gcv` for RISC-V.
    ///
    /// ```
    /// use sonar_codegen::Target;
    /// let target = Target::with_cpu("x86_64-unknown-linux-gnu", "x86-64-v3")?;
    /// assert_eq!((target.triple(), target.cpu()), ("x86_64-unknown-linux-gnu", "x86-64-v3"));
    /// assert!(Target::with_cpu("aarch64-unknown-linux-gnu", "x86-64-v3").is_err());
    /// # Ok::<(), sonar_codegen::CodegenError>(())
    /// ```
    pub fn with_cpu(name: &str, cpu: &str) -> Result<Target, CodegenError> {
        let triple = Target::parse(name)?.triple();
        let found = INSTRUCTION_SETS.into_iter().find(|set| set.triple() == triple && set.cpu() == cpu);
        let known = || INSTRUCTION_SETS.iter().filter(|set| set.triple() == triple).map(|set| set.cpu()).collect::<Vec<_>>();
        match found {
            Some(instruction_set) => Ok(Target { instruction_set, native: None }),
            None => Err(CodegenError::UnknownCpu { cpu: cpu.to_string(), triple, known: known().join("`, `") }),
        }
    }

    /// The architecture, its vendor, system and binary interface, as compilers name them.
    pub fn triple(&self) -> &'static str {
        self.instruction_set.triple()
    }

    /// The most basic processor of the architecture that has everything the code uses, by a name that [`Target::with_cpu`] accepts.
    pub fn cpu(&self) -> &'static str {
        self.instruction_set.cpu()
    }

    /// Instruction set extensions that the code may use, as Linux names them.
    pub fn features(&self) -> &'static [&'static str] {
        match self.instruction_set {
            InstructionSet::X86V2 => &["sse4_2", "popcnt"],
            InstructionSet::X86V3 => &["sse4_2", "popcnt", "avx", "avx2", "fma", "bmi1", "bmi2", "abm"],
            InstructionSet::X86V4 => &[
                "sse4_2", "popcnt", "avx", "avx2", "fma", "bmi1", "bmi2", "abm", "avx512f", "avx512bw", "avx512cd", "avx512dq",
                "avx512vl",
            ],
            InstructionSet::Aarch64 => &["fp", "asimd"],
            InstructionSet::Riscv64 => &["i", "m", "a", "f", "d", "c"],
            InstructionSet::Riscv64V => &["i", "m", "a", "f", "d", "c", "v"],
        }
    }

    /// The target for all processors of this level, including this machine: its code does not depend on the machine where it
    /// was compiled.
    #[must_use]
    pub fn portable(&self) -> Target {
        Target { instruction_set: self.instruction_set, native: None }
    }

    /// How many `f32` a vector register holds.
    pub fn lanes(&self) -> usize {
        match self.instruction_set {
            InstructionSet::X86V3 => 8,
            InstructionSet::X86V4 => 16,
            InstructionSet::X86V2 | InstructionSet::Aarch64 | InstructionSet::Riscv64 | InstructionSet::Riscv64V => 4,
        }
    }

    /// Whether the target is the machine that this process runs on, and not only its level.
    pub fn is_native(&self) -> bool {
        self.native.is_some()
    }

    /// Whether this process can run code for the target.
    pub fn runs_here(&self) -> bool {
        self.instruction_set.runs_here()
    }

    /// Identifies the processor that a measurement is valid for. It is the level and, if the target is this machine, what
    /// distinguishes its processor: name, family, model, stepping, the sizes of its caches, and a digest of its vector extensions.
    pub fn key(&self) -> String {
        match &self.native {
            Some(model) => format!("{} ({model})", self.instruction_set.name()),
            None => self.instruction_set.name().to_string(),
        }
    }

    /// Whether vectors of this width can be emitted.
    pub(crate) fn supports_lanes(&self, lanes: usize) -> bool {
        match lanes {
            4 => true,
            8 => matches!(self.instruction_set, InstructionSet::X86V3 | InstructionSet::X86V4),
            16 => self.instruction_set == InstructionSet::X86V4,
            _ => false,
        }
    }

    /// Whether a fused multiply-add is one instruction.
    pub(crate) fn has_fma(&self) -> bool {
        self.instruction_set != InstructionSet::X86V2
    }

    /// Whether the target has 128-bit vectors.
    pub(crate) fn has_vectors(&self) -> bool {
        self.instruction_set != InstructionSet::Riscv64
    }

    /// Cranelift's description of the target, for position-independent code if `pic` is set.
    pub(crate) fn isa(&self, pic: bool) -> Result<OwnedTargetIsa, CodegenError> {
        let backend = |e: &dyn fmt::Display| CodegenError::Backend(format!("{}: {e}", self.instruction_set.name()));
        let mut flags = settings::builder();
        for (name, value) in [
            // The optimiser moves every operation to the place where its value is needed. A tile's operations are in an order that
            // suits the registers; another order would spill.
            ("opt_level", "none"),
            ("is_pic", if pic { "true" } else { "false" }),
            ("use_colocated_libcalls", "false"),
            ("unwind_info", "false"),
            ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
        ] {
            flags.set(name, value).map_err(|e| backend(&e))?;
        }
        let features: &[&str] = match self.instruction_set {
            InstructionSet::X86V2 | InstructionSet::X86V3 | InstructionSet::X86V4 => &[self.instruction_set.name()],
            InstructionSet::Aarch64 | InstructionSet::Riscv64 => &[],
            InstructionSet::Riscv64V => &["has_v"],
        };
        let mut builder = match self.native {
            Some(_) => cranelift_native::builder().map_err(|e| backend(&e))?,
            None => cranelift_codegen::isa::lookup_by_name(self.instruction_set.triple()).map_err(|e| backend(&e))?,
        };
        for feature in features {
            builder.enable(feature).map_err(|e| backend(&e))?;
        }
        builder.finish(settings::Flags::new(flags)).map_err(|e| backend(&e))
    }
}

impl fmt::Display for Target {
    /// The name that [`Target::parse`] takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.native.is_some() { "native" } else { self.instruction_set.name() })
    }
}

/// All instruction sets, the highest of each architecture first.
const INSTRUCTION_SETS: [InstructionSet; 6] = [
    InstructionSet::X86V4,
    InstructionSet::X86V3,
    InstructionSet::X86V2,
    InstructionSet::Aarch64,
    InstructionSet::Riscv64V,
    InstructionSet::Riscv64,
];

impl InstructionSet {
    fn triple(self) -> &'static str {
        match self {
            InstructionSet::X86V2 | InstructionSet::X86V3 | InstructionSet::X86V4 => X86_TRIPLE,
            InstructionSet::Aarch64 => AARCH64_TRIPLE,
            InstructionSet::Riscv64 | InstructionSet::Riscv64V => RISCV64_TRIPLE,
        }
    }

    fn cpu(self) -> &'static str {
        match self {
            InstructionSet::X86V2 | InstructionSet::X86V3 | InstructionSet::X86V4 => self.name(),
            InstructionSet::Aarch64 => "generic",
            InstructionSet::Riscv64 => "rv64gc",
            InstructionSet::Riscv64V => "rv64gcv",
        }
    }

    fn name(self) -> &'static str {
        match self {
            InstructionSet::X86V2 => "x86-64-v2",
            InstructionSet::X86V3 => "x86-64-v3",
            InstructionSet::X86V4 => "x86-64-v4",
            InstructionSet::Aarch64 => AARCH64_TRIPLE,
            InstructionSet::Riscv64 => RISCV64_TRIPLE,
            InstructionSet::Riscv64V => "riscv64gc-unknown-linux-gnu+v",
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn runs_here(self) -> bool {
        let v2 = is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("popcnt");
        let v3 = v2
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt");
        match self {
            InstructionSet::X86V2 => v2,
            InstructionSet::X86V3 => v3,
            InstructionSet::X86V4 => {
                v3 && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512cd")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            InstructionSet::Aarch64 | InstructionSet::Riscv64 | InstructionSet::Riscv64V => false,
        }
    }

    /// The vector extension of RISC-V is not detected: `native` means the base instruction set there.
    #[cfg(not(target_arch = "x86_64"))]
    fn runs_here(self) -> bool {
        match self {
            InstructionSet::Aarch64 => cfg!(target_arch = "aarch64"),
            InstructionSet::Riscv64 => cfg!(target_arch = "riscv64"),
            _ => false,
        }
    }
}

/// Identifies this processor, or is `unknown`.
fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cache = |level: usize| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{level}/size");
        std::fs::read_to_string(path).map_or(String::new(), |size| size.trim().to_string())
    };
    describe_cpu(&info, [cache(0), cache(2), cache(3)])
}

/// The processor of a `/proc/cpuinfo`, with caches of these sizes. Virtual machines hide names: different processors may have the same
/// name but differ in the other fields. Only the flags of vector extensions count, because others change with the version of the system.
fn describe_cpu(info: &str, caches: [String; 3]) -> String {
    let field = |name: &str| {
        info.lines().find_map(|l| l.split_once(':').filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()))
    };
    let Some(name) = field("model name").or_else(|| field("CPU part")).or_else(|| field("uarch")) else {
        return "unknown".to_string();
    };
    let mut parts = vec![name.to_string()];
    for key in ["cpu family", "model", "stepping"] {
        parts.extend(field(key).map(|value| format!("{} {value}", key.trim_start_matches("cpu "))));
    }
    let sizes: Vec<String> = caches.into_iter().filter(|size| !size.is_empty()).collect();
    if !sizes.is_empty() {
        parts.push(format!("caches {}", sizes.join("+")));
    }
    if let Some(flags) = field("flags").or_else(|| field("Features")).or_else(|| field("isa")) {
        const VECTORS: [&str; 8] = ["sse", "avx", "fma", "f16c", "amx", "bmi", "asimd", "sve"];
        let mut vectors: Vec<&str> = flags.split_whitespace().filter(|f| VECTORS.iter().any(|v| f.starts_with(v))).collect();
        vectors.sort_unstable();
        parts.push(format!("vectors {:08x}", fnv(vectors.join(" ").as_bytes())));
    }
    parts.join(", ")
}

/// A short digest (FNV-1a, 32 bits).
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for name in ["x86-64-v2", "x86-64-v3", "x86-64-v4", AARCH64_TRIPLE, RISCV64_TRIPLE, "riscv64gc-unknown-linux-gnu+v"] {
            let target = Target::parse(name).unwrap();
            assert_eq!(target.to_string(), name);
            assert_eq!(Target::parse(&target.to_string()).unwrap(), target);
            assert!(target.isa(false).is_ok(), "{name}");
        }
        assert!(matches!(Target::parse("x86-64-v9"), Err(CodegenError::UnknownTarget(..))));
    }

    #[test]
    fn native_runs_here() {
        let native = Target::native().unwrap();
        assert!(native.runs_here());
        assert_eq!(Target::parse("native").unwrap(), native);
        assert!(native.key().len() > native.instruction_set.name().len());
    }

    #[test]
    fn processors_that_are_called_alike_differ() {
        let info = |name: &str, model: &str, stepping: &str, flags: &str| {
            format!("model name\t: {name}\ncpu family\t: 6\nmodel\t\t: {model}\nstepping\t: {stepping}\nflags\t\t: fpu {flags}\n")
        };
        let caches = |l2: &str| ["32K", l2, "32768K"].map(String::from);
        let described = |info: &str| describe_cpu(info, caches("1024K"));
        let this = described(&info("Xeon", "85", "7", "avx2 avx512f avx512_vnni"));
        assert!(this.starts_with("Xeon, family 6, model 85, stepping 7, caches 32K+1024K+32768K, vectors "), "{this}");
        let others = [
            described(&info("Xeon Gold", "85", "7", "avx2 avx512f avx512_vnni")),
            described(&info("Xeon", "106", "7", "avx2 avx512f avx512_vnni")),
            described(&info("Xeon", "85", "4", "avx2 avx512f avx512_vnni")),
            described(&info("Xeon", "85", "7", "avx2 avx512f")),
            describe_cpu(&info("Xeon", "85", "7", "avx2 avx512f avx512_vnni"), caches("2048K")),
        ];
        assert!(others.iter().all(|other| *other != this), "{others:#?}");
        // The order of flags, and mitigations of the system, do not make another processor.
        assert_eq!(described(&info("Xeon", "85", "7", "avx512_vnni ibrs avx512f avx2")), this);
        assert_eq!(describe_cpu("", caches("1024K")), "unknown");
    }
}
