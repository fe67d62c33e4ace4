//! Code bytes followed by their constants.

use super::ALIGNMENT;
use crate::error::CodegenError;
use iced_x86::{Code, Encoder, Instruction};

/// Code bytes, with constants after them.
pub(super) struct Assembler {
    encoder: Encoder,
    position: u64,
    constants: Vec<u32>,
    /// For each 32-bit displacement: its byte position, the end of its instruction, and the constant it refers to.
    references: Vec<(usize, u64, usize)>,
}

impl Assembler {
    pub(super) fn new() -> Self {
        Assembler { encoder: Encoder::new(64), position: 0, constants: Vec::new(), references: Vec::new() }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn push(&mut self, instruction: &Instruction) -> Result<(), CodegenError> {
        self.position += self.encoder.encode(instruction, self.position)? as u64;
        Ok(())
    }

    /// Appends an instruction whose memory operand is a constant.
    pub(super) fn push_rip(&mut self, instruction: &mut Instruction, constant: usize) -> Result<(), CodegenError> {
        // The address is not known yet. The displacement takes four bytes in any case.
        instruction.set_memory_displacement64(self.position);
        let start = self.position;
        self.push(instruction)?;
        let displacement = start as usize + self.encoder.get_constant_offsets().displacement_offset();
        self.references.push((displacement, self.position, constant));
        Ok(())
    }

    /// Index of `copies` equal constants.
    pub(super) fn constant(&mut self, value: u32, copies: usize) -> usize {
        self.constants(&vec![value; copies])
    }

    /// Index of a run of constants, aligned to its size.
    pub(super) fn constants(&mut self, values: &[u32]) -> usize {
        let size = values.len();
        let found = (0..self.constants.len()).step_by(size).find(|&i| self.constants.get(i..i + size) == Some(values));
        found.unwrap_or_else(|| {
            self.constants.resize(self.constants.len().next_multiple_of(size), 0);
            self.constants.extend_from_slice(values);
            self.constants.len() - size
        })
    }

    /// Pads with long no-operations so that a loop starts on a 32-byte boundary, which is best for instruction fetch.
    pub(super) fn align_loop(&mut self) {
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

    pub(super) fn jump_back_if_not_zero(&mut self, target: u64) -> Result<(), CodegenError> {
        const SHORT_JUMP: u64 = 2;
        let near = self.position + SHORT_JUMP - target <= 128;
        let code = if near { Code::Jne_rel8_64 } else { Code::Jne_rel32_64 };
        self.push(&Instruction::with_branch(code, target)?)
    }

    /// The code, aligned constants, and displacements between them.
    pub(super) fn finish(mut self) -> Vec<u8> {
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
