//! Tiles to x86-64 machine code with 256-bit (AVX2, FMA) or 512-bit (AVX-512) vectors.
//!
//! The code is a System V leaf function of one argument, the array of pointers. It uses only registers that the caller
//! saves and the red zone below the stack pointer, and ends in `vzeroupper`. Constants follow the code and are addressed
//! relative to the instruction pointer, so the bytes are position-independent.
//!
//! Masked instructions use a mask register with AVX-512. With AVX2 a masked load takes its mask from the constants, and a
//! masked store is put together from stores of 16, 8 and 4 bytes, because masked stores are slow on some processors.

use crate::error::CodegenError;
use crate::tile_alloc::{allocate, register_count};
use iced_x86::{Code, Encoder, Instruction, MemoryOperand, Register};
use sonar_ir::scalar::{BinaryOp, UnaryOp};
use sonar_ir::tile::{Addr, BitsOp, Inst, Ptr, Reg, Tile, TileStmt};

/// Alignment that the code needs, in bytes.
pub(crate) const ALIGNMENT: u64 = 64;

/// Machine code of a tile of 8 or 16 lanes.
pub(crate) fn emit(tile: &Tile) -> Result<Vec<u8>, CodegenError> {
    let width = match tile.lanes {
        8 => Width::Avx2,
        16 => Width::Avx512,
        lanes => return Err(unsupported(tile, format!("{lanes} lanes"))),
    };
    check(tile, &tile.body, 0)?;
    let tile = allocate(&legalise(tile, width), Tile::registers(tile.lanes))?;
    let mut emitter =
        Emitter { tile: &tile, width, codes: width.codes(), asm: Assembler::new(), places: assign_places(&tile), scratch: None };
    emitter.prologue()?;
    emitter.block(&tile.body, 0)?;
    emitter.asm.push(&Instruction::with(Code::VEX_Vzeroupper))?;
    emitter.asm.push(&Instruction::with(Code::Retnq))?;
    Ok(emitter.asm.finish())
}

fn unsupported(tile: &Tile, reason: impl Into<String>) -> CodegenError {
    CodegenError::Unsupported { name: tile.name.clone(), reason: reason.into() }
}

/// Refuses what the emitter cannot express.
fn check(tile: &Tile, block: &[TileStmt], depth: usize) -> Result<(), CodegenError> {
    if tile.tail >= tile.lanes || tile.pointers > Tile::MAX_POINTERS || depth > Tile::MAX_DEPTH {
        return Err(unsupported(tile, format!("tail {}, {} pointers, loop depth {depth}", tile.tail, tile.pointers)));
    }
    for stmt in block {
        match stmt {
            TileStmt::Loop { trips: 0, .. } => return Err(unsupported(tile, "a loop of no iterations")),
            TileStmt::Loop { body, .. } => check(tile, body, depth + 1)?,
            TileStmt::Advance { ptr, .. } => check_pointer(tile, *ptr)?,
            TileStmt::Inst(inst) => {
                if let Some(addr) = inst.address() {
                    check_pointer(tile, addr.ptr)?;
                }
                if matches!(inst, Inst::Load { masked: true, .. } | Inst::Store { masked: true, .. }) && tile.tail == 0 {
                    return Err(unsupported(tile, "a masked instruction without a tail"));
                }
            }
        }
    }
    Ok(())
}

fn check_pointer(tile: &Tile, ptr: Ptr) -> Result<(), CodegenError> {
    if (ptr.0 as usize) < tile.pointers { Ok(()) } else { Err(unsupported(tile, format!("no pointer {}", ptr.0))) }
}

/// Splits what the instruction set lacks: AVX2 cannot broadcast a memory operand within a multiply-add.
fn legalise(tile: &Tile, width: Width) -> Tile {
    fn block(stmts: &[TileStmt], temporary: Reg) -> Vec<TileStmt> {
        let mut result = Vec::with_capacity(stmts.len());
        for stmt in stmts {
            match stmt {
                TileStmt::Loop { trips, body } => {
                    result.push(TileStmt::Loop { trips: *trips, body: block(body, temporary) });
                }
                TileStmt::Inst(Inst::FmaBroadcast { acc, addr, b }) => {
                    result.push(TileStmt::Inst(Inst::Broadcast { dst: temporary, addr: *addr }));
                    result.push(TileStmt::Inst(Inst::Fma { acc: *acc, a: temporary, b: *b }));
                }
                other => result.push(other.clone()),
            }
        }
        result
    }
    match width {
        Width::Avx512 => tile.clone(),
        Width::Avx2 => Tile { body: block(&tile.body, Reg(register_count(&tile.body) as u32)), ..tile.clone() },
    }
}

/// Which vector registers and encodings are used.
#[derive(Clone, Copy, PartialEq)]
enum Width {
    Avx2,
    Avx512,
}

/// The opcode of each vector instruction.
struct Codes {
    load: Code,
    store: Code,
    broadcast: Code,
    fma: Code,
    add: Code,
    sub: Code,
    mul: Code,
    div: Code,
    max: Code,
    min: Code,
    sqrt: Code,
    and: Code,
    or: Code,
    xor: Code,
    shift_left: Code,
    shift_right: Code,
    shuffle: Code,
}

static AVX2: Codes = Codes {
    load: Code::VEX_Vmovups_ymm_ymmm256,
    store: Code::VEX_Vmovups_ymmm256_ymm,
    broadcast: Code::VEX_Vbroadcastss_ymm_m32,
    fma: Code::VEX_Vfmadd231ps_ymm_ymm_ymmm256,
    add: Code::VEX_Vaddps_ymm_ymm_ymmm256,
    sub: Code::VEX_Vsubps_ymm_ymm_ymmm256,
    mul: Code::VEX_Vmulps_ymm_ymm_ymmm256,
    div: Code::VEX_Vdivps_ymm_ymm_ymmm256,
    max: Code::VEX_Vmaxps_ymm_ymm_ymmm256,
    min: Code::VEX_Vminps_ymm_ymm_ymmm256,
    sqrt: Code::VEX_Vsqrtps_ymm_ymmm256,
    and: Code::VEX_Vandps_ymm_ymm_ymmm256,
    or: Code::VEX_Vorps_ymm_ymm_ymmm256,
    xor: Code::VEX_Vxorps_ymm_ymm_ymmm256,
    shift_left: Code::VEX_Vpslld_ymm_ymm_imm8,
    shift_right: Code::VEX_Vpsrld_ymm_ymm_imm8,
    shuffle: Code::VEX_Vshufps_ymm_ymm_ymmm256_imm8,
};

static AVX512: Codes = Codes {
    load: Code::EVEX_Vmovups_zmm_k1z_zmmm512,
    store: Code::EVEX_Vmovups_zmmm512_k1z_zmm,
    broadcast: Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32,
    fma: Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
    add: Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er,
    sub: Code::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er,
    mul: Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er,
    div: Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er,
    max: Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae,
    min: Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae,
    sqrt: Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er,
    and: Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32,
    or: Code::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32,
    xor: Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32,
    shift_left: Code::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8,
    shift_right: Code::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8,
    shuffle: Code::EVEX_Vshufps_zmm_k1z_zmm_zmmm512b32_imm8,
};

impl Width {
    fn codes(self) -> &'static Codes {
        match self {
            Width::Avx2 => &AVX2,
            Width::Avx512 => &AVX512,
        }
    }

    fn register(self, reg: Reg) -> Register {
        match self {
            Width::Avx2 => Register::YMM0 + reg.0,
            Width::Avx512 => Register::ZMM0 + reg.0,
        }
    }
}

/// The predicate "greater than, ordered, quiet" of a vector comparison.
const GREATER: i32 = 0x1e;
/// The order of four parts of a vector in which halves change places.
const HALVES: u32 = 0b01_00_11_10;
/// The order of four parts of a vector in which neighbours change places.
const NEIGHBOURS: u32 = 0b10_11_00_01;
/// The mask of the first `tail` lanes.
const TAIL_MASK: Register = Register::K1;
/// The mask of a comparison's result.
const COMPARE_MASK: Register = Register::K2;
/// The array of pointers, on entry.
const ARGUMENTS: Register = Register::RDI;
/// Registers for pointers and loop counters, in order of preference.
const GENERAL: [Register; 9] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RSI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    ARGUMENTS,
];

/// Where a pointer or a loop counter lives.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Nothing uses it.
    Nowhere,
    Register(Register),
    /// At this displacement from the stack pointer, in the red zone.
    Memory(i64),
}

/// The place of every pointer and of the counter of every loop depth. Two loops of one depth never run at once, so they
/// share a counter.
struct Places {
    pointers: Vec<Place>,
    counters: Vec<Place>,
    /// A register that holds spilled pointers for a moment; only if something is spilled.
    scratch: Option<Register>,
}

/// Gives the general registers to what is used most often, counting the iterations of the enclosing loops. The rest
/// lives in the red zone: at most 12 pointers and 4 counters less 8 registers, of its 16 slots.
fn assign_places(tile: &Tile) -> Places {
    let mut uses = Uses { pointers: vec![0.0; tile.pointers], counters: Vec::new() };
    uses.count(&tile.body, 0, 1.0);
    let mut items: Vec<(f64, usize)> = uses.pointers.iter().chain(&uses.counters).copied().zip(0..).collect();
    items.retain(|(weight, _)| *weight > 0.0);
    items.sort_by(|a, b| b.0.total_cmp(&a.0));
    let scratch = (items.len() > GENERAL.len()).then_some(GENERAL[0]);
    let registers = &GENERAL[usize::from(scratch.is_some())..];
    let mut places = vec![Place::Nowhere; uses.pointers.len() + uses.counters.len()];
    for (rank, (_, item)) in items.into_iter().enumerate() {
        places[item] = match registers.get(rank) {
            Some(register) => Place::Register(*register),
            None => Place::Memory(-8 * (rank - registers.len() + 1) as i64),
        };
    }
    let counters = places.split_off(tile.pointers);
    Places { pointers: places, counters, scratch }
}

/// How often each pointer and each depth's counter is used.
struct Uses {
    pointers: Vec<f64>,
    counters: Vec<f64>,
}

impl Uses {
    fn count(&mut self, block: &[TileStmt], depth: usize, weight: f64) {
        for stmt in block {
            match stmt {
                TileStmt::Loop { trips: 1, body } => self.count(body, depth, weight),
                TileStmt::Loop { trips, body } => {
                    let weight = weight * f64::from(*trips);
                    if self.counters.len() <= depth {
                        self.counters.resize(depth + 1, 0.0);
                    }
                    self.counters[depth] += weight;
                    self.count(body, depth + 1, weight);
                }
                TileStmt::Advance { ptr, .. } => self.pointers[ptr.0 as usize] += weight,
                TileStmt::Inst(inst) => {
                    if let Some(addr) = inst.address() {
                        self.pointers[addr.ptr.0 as usize] += weight;
                    }
                }
            }
        }
    }
}

struct Emitter<'t> {
    tile: &'t Tile,
    width: Width,
    codes: &'static Codes,
    asm: Assembler,
    places: Places,
    /// The spilled pointer that the scratch register holds.
    scratch: Option<Ptr>,
}

impl Emitter<'_> {
    /// Puts pointers into their places. The register of the argument array is overwritten last.
    fn prologue(&mut self) -> Result<(), CodegenError> {
        let argument = |i: usize| memory(ARGUMENTS, 8 * i as i64);
        let mut last = None;
        for (i, place) in self.places.pointers.clone().into_iter().enumerate() {
            match place {
                Place::Nowhere => {}
                Place::Register(ARGUMENTS) => last = Some(i),
                Place::Register(register) => {
                    self.asm.push(&Instruction::with2(Code::Mov_r64_rm64, register, argument(i))?)?;
                }
                Place::Memory(at) => {
                    let scratch = self.scratch_register()?;
                    self.asm.push(&Instruction::with2(Code::Mov_r64_rm64, scratch, argument(i))?)?;
                    self.asm.push(&Instruction::with2(Code::Mov_rm64_r64, memory(Register::RSP, at), scratch)?)?;
                }
            }
        }
        if let Some(i) = last {
            self.asm.push(&Instruction::with2(Code::Mov_r64_rm64, ARGUMENTS, argument(i))?)?;
        }
        if self.width == Width::Avx512 && self.tile.tail > 0 {
            // From memory, because every general register may hold a pointer by now.
            let constant = self.asm.constant((1 << self.tile.tail) - 1, 1);
            self.asm.push_rip(&mut Instruction::with2(Code::VEX_Kmovw_kr_km16, TAIL_MASK, rip())?, constant)?;
        }
        Ok(())
    }

    fn scratch_register(&self) -> Result<Register, CodegenError> {
        self.places.scratch.ok_or_else(|| CodegenError::Backend("a pointer was spilled without a scratch register".into()))
    }

    fn block(&mut self, block: &[TileStmt], depth: usize) -> Result<(), CodegenError> {
        for stmt in block {
            match stmt {
                TileStmt::Loop { trips: 1, body } => self.block(body, depth)?,
                TileStmt::Loop { trips, body } => self.repeat(*trips, body, depth)?,
                TileStmt::Advance { ptr, by } => self.advance(*ptr, *by)?,
                TileStmt::Inst(inst) => self.inst(inst)?,
            }
        }
        Ok(())
    }

    fn repeat(&mut self, trips: u32, body: &[TileStmt], depth: usize) -> Result<(), CodegenError> {
        let counter = self.places.counters.get(depth).copied().unwrap_or(Place::Nowhere);
        let trips = i32::try_from(trips).map_err(|_| unsupported(self.tile, format!("{trips} iterations")))?;
        match counter {
            Place::Nowhere => return Err(CodegenError::Backend("a loop has no counter".into())),
            Place::Register(register) => {
                self.asm.push(&Instruction::with2(Code::Mov_r32_imm32, low_half(register), trips)?)?;
            }
            Place::Memory(at) => {
                self.asm.push(&Instruction::with2(Code::Mov_rm32_imm32, memory(Register::RSP, at), trips)?)?;
            }
        }
        self.scratch = None;
        if !body.iter().any(|stmt| matches!(stmt, TileStmt::Loop { .. })) {
            self.asm.align_loop();
        }
        let head = self.asm.position();
        self.block(body, depth + 1)?;
        match counter {
            Place::Nowhere => {}
            Place::Register(register) => self.asm.push(&Instruction::with1(Code::Dec_rm32, low_half(register))?)?,
            Place::Memory(at) => self.asm.push(&Instruction::with1(Code::Dec_rm32, memory(Register::RSP, at))?)?,
        }
        self.scratch = None;
        self.asm.jump_back_if_not_zero(head)
    }

    fn advance(&mut self, ptr: Ptr, by: i32) -> Result<(), CodegenError> {
        let bytes = self.bytes(by)?;
        let code = |near, far| if i8::try_from(bytes).is_ok() { near } else { far };
        match self.places.pointers[ptr.0 as usize] {
            Place::Nowhere => Ok(()),
            Place::Register(register) => {
                let code = code(Code::Add_rm64_imm8, Code::Add_rm64_imm32);
                self.asm.push(&Instruction::with2(code, register, bytes)?)
            }
            Place::Memory(at) => {
                if self.scratch == Some(ptr) {
                    self.scratch = None;
                }
                let code = code(Code::Add_rm64_imm8, Code::Add_rm64_imm32);
                self.asm.push(&Instruction::with2(code, memory(Register::RSP, at), bytes)?)
            }
        }
    }

    fn bytes(&self, elements: i32) -> Result<i32, CodegenError> {
        elements.checked_mul(4).ok_or_else(|| unsupported(self.tile, format!("an offset of {elements} elements")))
    }

    /// The memory operand of an address, `extra` bytes further on; a spilled pointer is loaded first.
    fn address(&mut self, addr: Addr, extra: i64) -> Result<MemoryOperand, CodegenError> {
        let offset = i64::from(self.bytes(addr.offset)?) + extra;
        match self.places.pointers[addr.ptr.0 as usize] {
            Place::Register(register) => Ok(memory(register, offset)),
            Place::Memory(at) => {
                let scratch = self.scratch_register()?;
                if self.scratch != Some(addr.ptr) {
                    self.asm.push(&Instruction::with2(Code::Mov_r64_rm64, scratch, memory(Register::RSP, at))?)?;
                    self.scratch = Some(addr.ptr);
                }
                Ok(memory(scratch, offset))
            }
            Place::Nowhere => Err(CodegenError::Backend("a pointer has no place".into())),
        }
    }

    fn inst(&mut self, inst: &Inst) -> Result<(), CodegenError> {
        let r = |reg: Reg| self.width.register(reg);
        let codes = self.codes;
        match *inst {
            Inst::Const { dst, value } => {
                if value.to_bits() == 0 {
                    return self.asm.push(&Instruction::with3(codes.xor, r(dst), r(dst), r(dst))?);
                }
                let mut broadcast = Instruction::with2(codes.broadcast, r(dst), rip())?;
                let constant = self.asm.constant(value.to_bits(), 1);
                self.asm.push_rip(&mut broadcast, constant)
            }
            Inst::Load { dst, addr, masked } => self.load(dst, addr, masked),
            Inst::Store { src, addr, masked } => self.store(src, addr, masked),
            Inst::Broadcast { dst, addr } => {
                let dst = r(dst);
                let address = self.address(addr, 0)?;
                self.asm.push(&Instruction::with2(codes.broadcast, dst, address)?)
            }
            Inst::Copy { dst, a } if dst == a => Ok(()),
            Inst::Copy { dst, a } => self.asm.push(&Instruction::with2(codes.load, r(dst), r(a))?),
            Inst::Unary { op, dst, a } => self.unary(op, r(dst), r(a)),
            Inst::Binary { op, dst, a, b } => {
                let code = match op {
                    BinaryOp::Add => codes.add,
                    BinaryOp::Sub => codes.sub,
                    BinaryOp::Mul => codes.mul,
                    BinaryOp::Div => codes.div,
                    BinaryOp::Max => codes.max,
                    BinaryOp::Min => codes.min,
                };
                self.asm.push(&Instruction::with3(code, r(dst), r(a), r(b))?)
            }
            Inst::Bits { op, dst, a, constant } => match op {
                BitsOp::Shl => self.asm.push(&Instruction::with3(codes.shift_left, r(dst), r(a), constant)?),
                BitsOp::Shr => self.asm.push(&Instruction::with3(codes.shift_right, r(dst), r(a), constant)?),
                BitsOp::And => self.with_constant(codes.and, r(dst), r(a), constant),
                BitsOp::Or => self.with_constant(codes.or, r(dst), r(a), constant),
            },
            Inst::Fill { dst, a, value } => self.fill(r(dst), r(a), value),
            Inst::Swap { dst, a, distance } => {
                let (code, order) = match (self.width, distance) {
                    (Width::Avx512, 8) => (Code::EVEX_Vshuff32x4_zmm_k1z_zmm_zmmm512b32_imm8, HALVES),
                    (Width::Avx512, 4) => (Code::EVEX_Vshuff32x4_zmm_k1z_zmm_zmmm512b32_imm8, NEIGHBOURS),
                    (Width::Avx2, 4) => (Code::VEX_Vperm2f128_ymm_ymm_ymmm256_imm8, 1),
                    (_, 2) => (codes.shuffle, HALVES),
                    (_, 1) => (codes.shuffle, NEIGHBOURS),
                    _ => return Err(unsupported(self.tile, format!("swapping lanes {distance} apart"))),
                };
                self.asm.push(&Instruction::with4(code, r(dst), r(a), r(a), order)?)
            }
            Inst::StoreFirst { src, addr } => self.store_low(src, addr, 0, 1),
            Inst::Fma { acc, a, b } => self.asm.push(&Instruction::with3(codes.fma, r(acc), r(a), r(b))?),
            Inst::FmaBroadcast { acc, addr, b } => {
                let (acc, b) = (r(acc), r(b));
                let mut address = self.address(addr, 0)?;
                address.is_broadcast = true;
                self.asm.push(&Instruction::with3(codes.fma, acc, b, address)?)
            }
        }
    }

    fn load(&mut self, dst: Reg, addr: Addr, masked: bool) -> Result<(), CodegenError> {
        let dst = self.width.register(dst);
        let address = self.address(addr, 0)?;
        match (masked, self.width) {
            (false, _) => self.asm.push(&Instruction::with2(self.codes.load, dst, address)?),
            (true, Width::Avx512) => {
                let mut load = Instruction::with2(self.codes.load, dst, address)?;
                load.set_op_mask(TAIL_MASK);
                load.set_zeroing_masking(true);
                self.asm.push(&load)
            }
            (true, Width::Avx2) => {
                let mask: Vec<u32> = (0..8).map(|lane| if lane < self.tile.tail { u32::MAX } else { 0 }).collect();
                let constant = self.asm.constants(&mask);
                self.asm.push_rip(&mut Instruction::with2(self.codes.load, dst, rip())?, constant)?;
                self.asm.push(&Instruction::with3(Code::VEX_Vmaskmovps_ymm_ymm_m256, dst, dst, address)?)
            }
        }
    }

    fn store(&mut self, src: Reg, addr: Addr, masked: bool) -> Result<(), CodegenError> {
        let vector = self.width.register(src);
        match (masked, self.width) {
            (false, _) => {
                let address = self.address(addr, 0)?;
                self.asm.push(&Instruction::with2(self.codes.store, address, vector)?)
            }
            (true, Width::Avx512) => {
                let address = self.address(addr, 0)?;
                let mut store = Instruction::with2(self.codes.store, address, vector)?;
                store.set_op_mask(TAIL_MASK);
                self.asm.push(&store)
            }
            (true, Width::Avx2) if self.tile.tail <= 4 => self.store_low(src, addr, 0, self.tile.tail),
            (true, Width::Avx2) => {
                self.store_low(src, addr, 0, 4)?;
                let swap_halves = Instruction::with4(Code::VEX_Vperm2f128_ymm_ymm_ymmm256_imm8, vector, vector, vector, 1)?;
                self.asm.push(&swap_halves)?;
                self.store_low(src, addr, 16, self.tile.tail - 4)?;
                self.asm.push(&swap_halves)
            }
        }
    }

    /// Stores the first 1 to 4 lanes, `extra` bytes after an address.
    fn store_low(&mut self, src: Reg, addr: Addr, extra: i64, count: usize) -> Result<(), CodegenError> {
        let low = Register::XMM0 + src.0;
        let address = self.address(addr, extra)?;
        let first = match count {
            1 if self.width == Width::Avx512 => Code::EVEX_Vmovss_m32_k1_xmm,
            1 => Code::VEX_Vmovss_m32_xmm,
            2 | 3 => Code::VEX_Vmovlps_m64_xmm,
            _ => Code::VEX_Vmovups_xmmm128_xmm,
        };
        self.asm.push(&Instruction::with2(first, address, low)?)?;
        if count == 3 {
            let third = self.address(addr, extra + 8)?;
            self.asm.push(&Instruction::with3(Code::VEX_Vextractps_rm32_xmm_imm8, third, low, 2)?)?;
        }
        Ok(())
    }

    /// `dst` = the first `tail` lanes of `a`, and `value` in the others.
    fn fill(&mut self, dst: Register, a: Register, value: f32) -> Result<(), CodegenError> {
        let of_lanes = |inside: u32, outside: u32| -> Vec<u32> {
            (0..self.tile.lanes).map(|lane| if lane < self.tile.tail { inside } else { outside }).collect()
        };
        let (mask, rest) = (of_lanes(u32::MAX, 0), of_lanes(0, value.to_bits()));
        let mask = self.asm.constants(&mask);
        self.asm.push_rip(&mut Instruction::with3(self.codes.and, dst, a, rip())?, mask)?;
        let rest = self.asm.constants(&rest);
        self.asm.push_rip(&mut Instruction::with3(self.codes.or, dst, dst, rip())?, rest)
    }

    fn unary(&mut self, op: UnaryOp, dst: Register, a: Register) -> Result<(), CodegenError> {
        const SIGN: u32 = 1 << 31;
        match op {
            UnaryOp::Relu => self.with_constant(self.codes.max, dst, a, 0),
            UnaryOp::Neg => self.with_constant(self.codes.xor, dst, a, SIGN),
            UnaryOp::Abs => self.with_constant(self.codes.and, dst, a, !SIGN),
            UnaryOp::Sqrt => self.asm.push(&Instruction::with2(self.codes.sqrt, dst, a)?),
            UnaryOp::Step => self.step(dst, a),
            _ => Err(unsupported(self.tile, format!("`{op}` is not a vector instruction"))),
        }
    }

    fn step(&mut self, dst: Register, a: Register) -> Result<(), CodegenError> {
        let one = 1f32.to_bits();
        match self.width {
            Width::Avx2 => {
                let zero = self.asm.constant(0, 8);
                let code = Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8;
                self.asm.push_rip(&mut Instruction::with4(code, dst, a, rip(), GREATER)?, zero)?;
                self.with_constant(self.codes.and, dst, dst, one)
            }
            Width::Avx512 => {
                let zero = self.asm.constant(0, 1);
                let one = self.asm.constant(one, 1);
                let code = Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
                self.asm.push_rip(&mut Instruction::with4(code, COMPARE_MASK, a, rip_broadcast(), GREATER)?, zero)?;
                let mut broadcast = Instruction::with2(self.codes.broadcast, dst, rip())?;
                broadcast.set_op_mask(COMPARE_MASK);
                broadcast.set_zeroing_masking(true);
                self.asm.push_rip(&mut broadcast, one)
            }
        }
    }

    /// `dst = code(a, value in every lane)`.
    fn with_constant(&mut self, code: Code, dst: Register, a: Register, value: u32) -> Result<(), CodegenError> {
        let (operand, copies) = match self.width {
            Width::Avx2 => (rip(), 8),
            Width::Avx512 => (rip_broadcast(), 1),
        };
        let constant = self.asm.constant(value, copies);
        self.asm.push_rip(&mut Instruction::with3(code, dst, a, operand)?, constant)
    }
}

fn memory(base: Register, displacement: i64) -> MemoryOperand {
    let size = u32::from(displacement != 0);
    MemoryOperand::new(base, Register::None, 1, displacement, size, false, Register::None)
}

/// A constant; [`Assembler::push_rip`] fills in where it is.
fn rip() -> MemoryOperand {
    MemoryOperand::new(Register::RIP, Register::None, 1, 0, 8, false, Register::None)
}

fn rip_broadcast() -> MemoryOperand {
    MemoryOperand::new(Register::RIP, Register::None, 1, 0, 8, true, Register::None)
}

/// The 32-bit register within a 64-bit one.
fn low_half(register: Register) -> Register {
    Register::EAX + (register as u32 - Register::RAX as u32)
}

/// Code bytes, with constants after them.
struct Assembler {
    encoder: Encoder,
    position: u64,
    constants: Vec<u32>,
    /// Byte of each 32-bit displacement, end of its instruction, and the constant it refers to.
    references: Vec<(usize, u64, usize)>,
}

impl Assembler {
    fn new() -> Self {
        Assembler { encoder: Encoder::new(64), position: 0, constants: Vec::new(), references: Vec::new() }
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn push(&mut self, instruction: &Instruction) -> Result<(), CodegenError> {
        self.position += self.encoder.encode(instruction, self.position)? as u64;
        Ok(())
    }

    /// Appends an instruction whose memory operand is a constant.
    fn push_rip(&mut self, instruction: &mut Instruction, constant: usize) -> Result<(), CodegenError> {
        // Any target will do for now: the displacement always takes four bytes.
        instruction.set_memory_displacement64(self.position);
        let start = self.position;
        self.push(instruction)?;
        let displacement = start as usize + self.encoder.get_constant_offsets().displacement_offset();
        self.references.push((displacement, self.position, constant));
        Ok(())
    }

    /// Index of `copies` equal constants.
    fn constant(&mut self, value: u32, copies: usize) -> usize {
        self.constants(&vec![value; copies])
    }

    /// Index of a run of constants, aligned to its size.
    fn constants(&mut self, values: &[u32]) -> usize {
        let size = values.len();
        let found = (0..self.constants.len()).step_by(size).find(|&i| self.constants.get(i..i + size) == Some(values));
        found.unwrap_or_else(|| {
            self.constants.resize(self.constants.len().next_multiple_of(size), 0);
            self.constants.extend_from_slice(values);
            self.constants.len() - size
        })
    }

    /// Pads with long no-operations so that a loop starts on a 32-byte boundary, as instruction fetch likes it.
    fn align_loop(&mut self) {
        const NOPS: [&[u8]; 9] = [
            &[0x90],
            &[0x66, 0x90],
            &[0x0f, 0x1f, 0x00],
            &[0x0f, 0x1f, 0x40, 0x00],
            &[0x0f, 0x1f, 0x44, 0x00, 0x00],
            &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
            &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
            &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
            &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
        ];
        let mut padding = (self.position.next_multiple_of(32) - self.position) as usize;
        while padding > 0 {
            let nop = NOPS[padding.min(NOPS.len()) - 1];
            nop.iter().for_each(|byte| self.encoder.write_u8(*byte));
            self.position += nop.len() as u64;
            padding -= nop.len();
        }
    }

    fn jump_back_if_not_zero(&mut self, target: u64) -> Result<(), CodegenError> {
        const SHORT_JUMP: u64 = 2;
        let near = self.position + SHORT_JUMP - target <= 128;
        let code = if near { Code::Jne_rel8_64 } else { Code::Jne_rel32_64 };
        self.push(&Instruction::with_branch(code, target)?)
    }

    /// The code, aligned constants, and displacements between them.
    fn finish(mut self) -> Vec<u8> {
        let mut bytes = self.encoder.take_buffer();
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0xcc);
        let pool = bytes.len();
        for (at, end, constant) in self.references {
            let displacement = (pool + 4 * constant) as i64 - end as i64;
            bytes[at..at + 4].copy_from_slice(&(displacement as i32).to_le_bytes());
        }
        bytes.extend(self.constants.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }
}
