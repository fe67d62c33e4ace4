//! The database of all measurements: SQLite tables of trials, verdicts, networks, and their keys. All searches on a machine
//! share it.
//!
//! A record survives a crash of the process once its insertion has returned (write-ahead log, `synchronous=NORMAL`). A power
//! failure may lose it until [`Records::checkpoint`]. Several processes may use one file. Each insertion is a transaction, and
//! a process waits for another process up to [`BUSY_TIMEOUT`]. Every row has a checksum, so damage to the file is detected when
//! it is read.
//!
//! | file | what it holds |
//! |---|---|
//! | `record` | the kinds of records, as values |
//! | `database` | an SQLite file and its keys |
//! | `rows` | how records are stored in rows, with checksums |
//! | `older` | records of older versions |
//! | `schema` | the tables, and migration of files of older versions |
//! | `store` | [`Records`]: adds records and returns the best |
//! | `exchange` | export and import as lines of JSON, and merging of files |
//! | `care` | checking and pruning |
//! | `salvage` | recovers the readable part of a damaged file |

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
