//! Generated code as text, for any target.

use crate::error::CodegenError;
use crate::module::{Definitions, Listing, Source};
use crate::target::Target;
use cranelift_module::default_libcall_names;
use cranelift_object::{ObjectBuilder, ObjectModule};
use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction};
use sonar_ir::loops::Program;
use std::fmt::Write;

/// The Cranelift IR of a program: its loops, and its tiles if Cranelift compiles them.
pub fn clif(program: &Program, target: &Target) -> Result<String, CodegenError> {
    let mut text = String::new();
    for Listing { name, source } in listings(program, target)? {
        match source {
            Source::Cranelift { clif, .. } => text.push_str(&format!("; {name}\n{clif}\n")),
            Source::Bytes(bytes) => text.push_str(&format!("; {name}: {} bytes, assembled without Cranelift\n\n", bytes.len())),
        }
    }
    Ok(text)
}

/// The instructions of a program: its tiles, then its loops.
pub fn asm(program: &Program, target: &Target) -> Result<String, CodegenError> {
    let mut text = String::new();
    for Listing { name, source } in listings(program, target)? {
        let body = match source {
            Source::Cranelift { assembly, .. } => assembly,
            Source::Bytes(bytes) => disassemble(&bytes),
        };
        text.push_str(&format!("{name}:\n{body}\n"));
    }
    Ok(text)
}

fn listings(program: &Program, target: &Target) -> Result<Vec<Listing>, CodegenError> {
    sonar_ir::verify::program(program)?;
    let builder = ObjectBuilder::new(target.isa(false)?, program.name.as_str(), default_libcall_names())?;
    let mut definitions = Definitions::new(ObjectModule::new(builder), target, true);
    definitions.program(program)?;
    Ok(definitions.listing.unwrap_or_default())
}

/// Instructions up to the return, in the notation of the GNU assembler; the constants after it are omitted.
fn disassemble(bytes: &[u8]) -> String {
    let mut decoder = Decoder::new(64, bytes, DecoderOptions::NONE);
    let mut formatter = GasFormatter::new();
    let (mut text, mut line) = (String::new(), String::new());
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        line.clear();
        formatter.format(&instruction, &mut line);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:6x}  {line}", instruction.ip());
        if instruction.code() == iced_x86::Code::Retnq {
            break;
        }
    }
    text
}
