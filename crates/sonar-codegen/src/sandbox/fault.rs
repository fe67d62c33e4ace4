//! Faults that a kernel commits on purpose, as wrongly generated code could. Tests check that the rest of the program survives them.

use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::str::FromStr;

/// The fault that a kernel commits, after its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Writes to an unmapped address.
    Segfault,
    /// Executes an illegal instruction.
    IllegalInstruction,
    /// Runs for ever.
    Endless,
    /// Allocates 10 GB.
    Memory,
    /// Calls itself until the stack is full.
    Stack,
    /// Writes a vector after the end of its last argument.
    OutOfBounds,
    /// Gives a wrong number.
    WrongOutput,
}

/// Bytes that [`Fault::Memory`] allocates.
const GREED: usize = 10 << 30;

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 7] = [
        Fault::Segfault,
        Fault::IllegalInstruction,
        Fault::Endless,
        Fault::Memory,
        Fault::Stack,
        Fault::OutOfBounds,
        Fault::WrongOutput,
    ];

    /// The name that it is parsed from.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Segfault => "segfault",
            Fault::IllegalInstruction => "illegal-instruction",
            Fault::Endless => "endless",
            Fault::Memory => "memory",
            Fault::Stack => "stack",
            Fault::OutOfBounds => "out-of-bounds",
            Fault::WrongOutput => "wrong-output",
        }
    }

    /// Commits the fault, after the kernel has written its arguments.
    pub(crate) fn commit(self, arguments: &mut [&mut [f32]]) {
        match self {
            // SAFETY: none: this fault ends the process on purpose.
            Fault::Segfault => unsafe { black_box(std::ptr::dangling_mut::<f32>()).write_volatile(1.0) },
            Fault::IllegalInstruction => illegal_instruction(),
            Fault::Endless => {
                while black_box(true) {
                    std::hint::spin_loop();
                }
            }
            Fault::Memory => {
                black_box(vec![0u8; GREED]);
            }
            Fault::Stack => {
                black_box(descend(0));
            }
            Fault::OutOfBounds => {
                if let Some(last) = arguments.last_mut() {
                    let end = last.as_mut_ptr_range().end;
                    for element in 0..16 {
                        // SAFETY: none: the owner of the memory must detect this write.
                        unsafe { end.add(element).write_volatile(1.0) };
                    }
                }
            }
            Fault::WrongOutput => {
                if let Some(element) = arguments.last_mut().and_then(|last| last.first_mut()) {
                    *element = 2.0 * *element + 1.0;
                }
            }
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Fault, String> {
        let known = || Fault::ALL.map(Fault::name).join(", ");
        Fault::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(|| format!("expected one of {}", known()))
    }
}

fn illegal_instruction() {
    // SAFETY: none: this fault ends the process on purpose.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("ud2");
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("udf #0");
        #[cfg(target_arch = "riscv64")]
        std::arch::asm!("unimp");
    }
}

/// Calls itself until the stack is full.
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 128]);
    if black_box(true) { descend(depth + 1) + frame[0] } else { frame[1] }
}
