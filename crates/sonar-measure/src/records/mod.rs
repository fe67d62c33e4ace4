//! The memory of all measurements: SQLite tables of trials, verdicts and networks, and of what they are keyed by, shared by all
//! searches on a machine.
//!
//! A record whose insertion returned is safe from the death of the process (write-ahead log, `synchronous=NORMAL`); it may
//! be lost with the power of the machine until [`Records::checkpoint`]. Several processes may use one file: each insertion
//! is a transaction, and a process waits for another up to [`BUSY_TIMEOUT`]. Every row has a checksum, so that damage to the file
//! is noticed when it is read.
//!
//! | file | what it holds |
//! |---|---|
//! | `record` | what is recorded, as values |
//! | `database` | a file of SQLite, and its keys |
//! | `rows` | how a record is stored in a row, with a checksum |
//! | `older` | records of older versions |
//! | `schema` | the tables, and how a file of an older version is brought up |
//! | `store` | [`Records`]: adding, and asking for the best |
//! | `exchange` | records as lines of JSON, and those of other files |
//! | `care` | checking and pruning |
//! | `salvage` | what can be read of a damaged file |

mod care;
mod database;
mod exchange;
mod older;
mod record;
mod rows;
mod salvage;
mod schema;
mod store;

pub use care::{Counts, Pruned};
pub use database::BUSY_TIMEOUT;
pub use exchange::Added;
pub use record::{Contender, Key, Known, NetworkRecord, Record, Setting, Trial, Verdict, digest, unix_time};
pub use salvage::{Salvaged, salvage};
pub use schema::SCHEMA_VERSION;
pub use store::Records;
