//! Where the pointers and loop counters of a tile live: in general registers, or in the red zone.

use iced_x86::Register;
use sonar_ir::entity::EntityVec;
use sonar_ir::tile::{Ptr, Tile, TileStmt};

/// The array of pointers, on entry.
pub(super) const ARGUMENTS: Register = Register::RDI;
/// Registers for pointers and loop counters, in order of preference.
pub(super) const GENERAL: [Register; 9] = [
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

/// The place of a pointer or a loop counter.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Home {
    /// Nothing uses it.
    Nowhere,
    Register(Register),
    /// At this displacement from the stack pointer, in the red zone.
    Memory(i64),
}

/// The home of every pointer, and of the counter of every loop depth. Two loops of one depth never run at once, so they share a
/// counter.
pub(super) struct Homes {
    pub(super) pointers: EntityVec<Ptr, Home>,
    pub(super) counters: Vec<Home>,
    /// A register for spilled pointers, if there are any.
    pub(super) scratch: Option<Register>,
}

/// Gives the general registers to the pointers and counters that are used most often; a use counts once for each iteration of the
/// loops around it. The others live in the red zone, which has 16 slots: there are at most 12 pointers and 4 counters.
pub(super) fn assign_homes(tile: &Tile) -> Homes {
    let mut uses = UseCounts { pointers: EntityVec::filled(0.0, tile.pointers), counters: Vec::new() };
    uses.count(&tile.body, 0, 1.0);
    let mut items: Vec<(f64, usize)> = uses.pointers.iter().chain(&uses.counters).copied().zip(0..).collect();
    items.retain(|(weight, _)| *weight > 0.0);
    items.sort_by(|a, b| b.0.total_cmp(&a.0));
    let scratch = (items.len() > GENERAL.len()).then_some(GENERAL[0]);
    let registers = &GENERAL[usize::from(scratch.is_some())..];
    let mut homes = vec![Home::Nowhere; uses.pointers.len() + uses.counters.len()];
    for (rank, (_, item)) in items.into_iter().enumerate() {
        homes[item] = match registers.get(rank) {
            Some(register) => Home::Register(*register),
            None => Home::Memory(-8 * (rank - registers.len() + 1) as i64),
        };
    }
    let counters = homes.split_off(tile.pointers);
    Homes { pointers: homes.into(), counters, scratch }
}

/// How often each pointer and each depth's counter is used.
pub(super) struct UseCounts {
    pub(super) pointers: EntityVec<Ptr, f64>,
    pub(super) counters: Vec<f64>,
}

impl UseCounts {
    pub(super) fn count(&mut self, block: &[TileStmt], depth: usize, weight: f64) {
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
                TileStmt::Advance { ptr, .. } => self.pointers[*ptr] += weight,
                TileStmt::Inst(inst) => {
                    if let Some(addr) = inst.address() {
                        self.pointers[addr.ptr] += weight;
                    }
                }
            }
        }
    }
}
