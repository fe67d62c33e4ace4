//! The opcodes of each vector width, and memory operands.

use iced_x86::{Code, MemoryOperand, Register};
use sonar_ir::tile::Reg;

/// The width of vectors, which decides registers and encodings.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Width {
    Avx2,
    Avx512,
}

/// The opcode of each vector instruction.
pub(super) struct Codes {
    pub(super) load: Code,
    pub(super) store: Code,
    pub(super) broadcast: Code,
    pub(super) fma: Code,
    pub(super) add: Code,
    pub(super) sub: Code,
    pub(super) mul: Code,
    pub(super) div: Code,
    pub(super) max: Code,
    pub(super) min: Code,
    pub(super) sqrt: Code,
    pub(super) and: Code,
    pub(super) or: Code,
    pub(super) xor: Code,
    pub(super) shift_left: Code,
    pub(super) shift_right: Code,
    pub(super) shuffle: Code,
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
    pub(super) fn codes(self) -> &'static Codes {
        match self {
            Width::Avx2 => &AVX2,
            Width::Avx512 => &AVX512,
        }
    }

    pub(super) fn register(self, reg: Reg) -> Register {
        match self {
            Width::Avx2 => Register::YMM0 + reg.0,
            Width::Avx512 => Register::ZMM0 + reg.0,
        }
    }
}

pub(super) fn memory(base: Register, displacement: i64) -> MemoryOperand {
    let size = u32::from(displacement != 0);
    MemoryOperand::new(base, Register::None, 1, displacement, size, false, Register::None)
}

/// The operand of a constant. [`Assembler::push_rip`](super::assembler::Assembler::push_rip) fills in its address.
pub(super) fn rip() -> MemoryOperand {
    MemoryOperand::new(Register::RIP, Register::None, 1, 0, 8, false, Register::None)
}

pub(super) fn rip_broadcast() -> MemoryOperand {
    MemoryOperand::new(Register::RIP, Register::None, 1, 0, 8, true, Register::None)
}

/// The lower 32 bits of a 64-bit register, as a register.
pub(super) fn low_half(register: Register) -> Register {
    Register::EAX + (register as u32 - Register::RAX as u32)
}
