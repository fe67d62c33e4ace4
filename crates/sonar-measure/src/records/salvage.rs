//! Recovers the readable part of a damaged file, whatever the damage.
//!
//! It relies neither on SQLite nor on the structure of the file. Every byte is tried as the start of a row, in SQLite's record
//! format (<https://www.sqlite.org/fileformat.html#record_format>), and a record is accepted if its checksum is correct. So
//! rows are found in all pages that are left, including those of the write-ahead log. A key is found in its table or in the
//! index of the table. The checksum of a record tells which key belongs to it.

use super::older::{BroughtUp, OldTrial, bring_up, old_checksum};
use super::record::{Key, Record};
use super::rows::{NetworkRow, Stored, TrialRow, VerdictRow};
use super::store::Records;
use crate::error::MeasureError;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The result of [`salvage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// Number of records in the new file.
    pub records: usize,
    /// Number of rows that look like records but are incomplete or unreadable, or whose key is lost.
    pub damaged: usize,
}

/// Page size of every record file.
const PAGE: usize = 4096;
/// Size of the header before a page in the write-ahead log, in bytes.
const FRAME_HEADER: usize = 24;
/// Size of the header of the write-ahead log, in bytes.
const LOG_HEADER: usize = 32;
/// The most columns of a row.
const COLUMNS: usize = 9;
/// Upper bound of the size of a row, in bytes.
const LONGEST: usize = 1 << 20;

/// A column of a row.
#[derive(Debug, PartialEq)]
enum Column {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
}

/// All pages of a file and of its log, and the latest version of each page by number.
struct Pages {
    images: Vec<Vec<u8>>,
    latest: HashMap<u32, usize>,
}

/// Copies every undamaged record to a new file, which must not exist. The source may be damaged, and may have this version or
/// the one before.
pub fn salvage(from: &Path, to: &Path) -> Result<Salvaged, MeasureError> {
    if to.exists() {
        let kind = std::io::ErrorKind::AlreadyExists;
        return Err(std::io::Error::new(kind, format!("{} exists, and is not overwritten", to.display())).into());
    }
    let pages = Pages::read(from)?;
    let keys = pages.keys();
    let trials = pages.records(&keys, is_trial, trial_of);
    let verdicts = pages.records(&keys, is_verdict, verdict_of);
    let networks = pages.records(&keys, is_network, network_of);
    let (old, lost) = pages.old_trials(&keys);
    let BroughtUp { records: old, unreadable } = bring_up(old);

    let records = Records::open(to)?;
    let found = [trials.0, verdicts.0, networks.0, old].concat();
    records.database().transaction(|| found.iter().try_for_each(|record| records.add(record)))?;
    records.checkpoint()?;
    Ok(Salvaged { records: found.len(), damaged: trials.1 + verdicts.1 + networks.1 + lost + unreadable })
}

/// Keys by row number. If a page exists in several versions, a row may have several keys.
type Keys = HashMap<i64, HashSet<Key>>;

impl Pages {
    fn read(path: &Path) -> Result<Pages, MeasureError> {
        let mut pages = Pages { images: Vec::new(), latest: HashMap::new() };
        // The last page may be incomplete.
        for (index, page) in std::fs::read(path)?.chunks(PAGE).enumerate() {
            pages.push(index as u32 + 1, page);
        }
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        if let Ok(log) = std::fs::read(PathBuf::from(log)) {
            for frame in log.get(LOG_HEADER..).unwrap_or_default().chunks(FRAME_HEADER + PAGE) {
                if let (Some(number), Some(page)) = (frame.get(..4), frame.get(FRAME_HEADER..)) {
                    pages.push(number.iter().fold(0, |n, &byte| n << 8 | u32::from(byte)), page);
                }
            }
        }
        Ok(pages)
    }

    fn push(&mut self, number: u32, page: &[u8]) {
        self.latest.insert(number, self.images.len());
        let mut image = page.to_vec();
        image.resize(PAGE, 0);
        self.images.push(image);
    }

    fn keys(&self) -> Keys {
        let mut keys = Keys::new();
        let tabled = self.rows(true, is_key).filter_map(|cell| key_of(&cell));
        let indexed = self.rows(false, is_indexed_key).filter_map(|cell| indexed_key_of(&cell));
        for (row, key) in tabled.chain(indexed) {
            keys.entry(row).or_default().insert(key);
        }
        keys
    }

    /// The records of one kind in order, and the number of damaged rows.
    fn records<R: Stored>(
        &self,
        keys: &Keys,
        fits: fn(&[u64]) -> bool,
        row_of: fn((i64, Vec<Column>)) -> Option<R>,
    ) -> (Vec<Record>, usize) {
        let mut records: HashMap<(i64, i64), Record> = HashMap::new();
        let mut damaged = HashSet::new();
        for row in self.rows(true, fits).filter_map(row_of) {
            let (id, key) = row.place();
            let place = (id, row.sum());
            match keys.get(&key).into_iter().flatten().find_map(|key| row.record(key).ok()) {
                Some(record) => drop(records.insert(place, record)),
                None => drop(damaged.insert(place)),
            }
        }
        damaged.retain(|place| !records.contains_key(place));
        let mut records: Vec<((i64, i64), Record)> = records.into_iter().collect();
        records.sort_by_key(|(place, _)| *place);
        (records.into_iter().map(|(_, record)| record).collect(), damaged.len())
    }

    /// The trials of version 2 in order, and the number of damaged rows.
    fn old_trials(&self, keys: &Keys) -> (Vec<OldTrial>, usize) {
        let mut trials: HashMap<(i64, i64), OldTrial> = HashMap::new();
        let mut damaged = HashSet::new();
        for (id, columns) in self.rows(true, is_old_trial) {
            let Some(OldRow { key, sum, outcome, trial }) = old_trial_of(columns) else { continue };
            let with_key = |key: &Key| {
                let trial = OldTrial { key: key.clone(), ..trial.clone() };
                (old_checksum(&trial, &outcome) == sum).then_some(trial)
            };
            match keys.get(&key).into_iter().flatten().find_map(with_key) {
                Some(trial) => drop(trials.insert((id, sum), trial)),
                None => drop(damaged.insert((id, sum))),
            }
        }
        damaged.retain(|place| !trials.contains_key(place));
        let mut trials: Vec<((i64, i64), OldTrial)> = trials.into_iter().collect();
        trials.sort_by_key(|(place, _)| *place);
        (trials.into_iter().map(|(_, trial)| trial).collect(), damaged.len())
    }

    /// Everything that may be a row with column types accepted by `fits`.
    fn rows(&self, numbered: bool, fits: fn(&[u64]) -> bool) -> impl Iterator<Item = (i64, Vec<Column>)> + '_ {
        let places = self.images.iter().flat_map(|image| (0..PAGE).map(move |at| (image, at)));
        places.filter_map(move |(image, at)| self.row(image, at, numbered, fits))
    }

    /// The row that starts at a byte of a page. Its number is 0 in an index.
    fn row(&self, image: &[u8], at: usize, numbered: bool, fits: fn(&[u64]) -> bool) -> Option<(i64, Vec<Column>)> {
        let (length, at) = varint(image, at)?;
        let (number, at) = if numbered { varint(image, at)? } else { (0, at) };
        let length = usize::try_from(length).ok().filter(|&length| length < LONGEST)?;

        // The types of all columns are in the first part of the row, which is on this page.
        let (header, mut next) = varint(image, at)?;
        let end = at.checked_add(usize::try_from(header).ok().filter(|&header| header <= length.min(64))?)?;
        let (mut kinds, mut count) = ([0; COLUMNS], 0);
        while next < end {
            (*kinds.get_mut(count)?, next) = varint(image, next)?;
            count += 1;
        }
        let kinds = &kinds[..count];
        if next != end || !fits(kinds) {
            return None;
        }
        let payload = self.payload(image, at, length, numbered)?;
        let mut rest = payload.get(end - at..)?;
        let columns = kinds.iter().map(|&kind| column(kind, &mut rest)).collect::<Option<_>>()?;
        rest.is_empty().then_some((number as i64, columns))
    }

    /// The bytes of a row. If they do not fit into the page, the rest is on a chain of other pages.
    fn payload(&self, image: &[u8], at: usize, length: usize, table: bool) -> Option<Vec<u8>> {
        let (most, least) = (if table { PAGE - 35 } else { (PAGE - 12) * 64 / 255 - 23 }, (PAGE - 12) * 32 / 255 - 23);
        if length <= most {
            return Some(image.get(at..at + length)?.to_vec());
        }
        let surplus = least + (length - least) % (PAGE - 4);
        let local = if surplus <= most { surplus } else { least };
        let mut payload = image.get(at..at + local)?.to_vec();
        let mut next = u32::from_be_bytes(image.get(at + local..at + local + 4)?.try_into().ok()?);
        while payload.len() < length {
            let page = &self.images[*self.latest.get(&next)?];
            next = u32::from_be_bytes(page[..4].try_into().ok()?);
            payload.extend(&page[4..4 + (length - payload.len()).min(PAGE - 4)]);
        }
        Some(payload)
    }
}

/// A number of one to nine bytes, most significant first, and the position after it.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for i in 0..8 {
        let byte = *bytes.get(at + i)?;
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((value, at + i + 1));
        }
    }
    Some((value << 8 | u64::from(*bytes.get(at + 8)?), at + 9))
}

/// Takes a column of a type from the front of the bytes.
fn column(kind: u64, rest: &mut &[u8]) -> Option<Column> {
    let mut take = |len: usize| {
        let (bytes, others) = rest.split_at_checked(len)?;
        *rest = others;
        Some(bytes)
    };
    let integer = |bytes: &[u8]| {
        let first = i64::from(*bytes.first()? as i8);
        Some(bytes[1..].iter().fold(first, |value, &byte| value << 8 | i64::from(byte)))
    };
    Some(match kind {
        0 => Column::Null,
        1..=4 => Column::Integer(integer(take(kind as usize)?)?),
        5 => Column::Integer(integer(take(6)?)?),
        6 => Column::Integer(integer(take(8)?)?),
        7 => Column::Real(f64::from_be_bytes(take(8)?.try_into().ok()?)),
        8 | 9 => Column::Integer(kind as i64 - 8),
        _ if kind >= 13 && kind % 2 == 1 => {
            let bytes = take(usize::try_from((kind - 13) / 2).ok()?)?;
            Column::Text(String::from_utf8_lossy(bytes).into_owned())
        }
        _ => return None,
    })
}

fn text(kind: u64) -> bool {
    kind >= 13 && kind % 2 == 1
}

fn integer(kind: u64) -> bool {
    matches!(kind, 1..=6 | 8 | 9)
}

/// Numbers without a fraction are stored as integers.
fn number(kind: u64) -> bool {
    kind == 7 || integer(kind)
}

fn is_key(kinds: &[u64]) -> bool {
    matches!(*kinds, [0, a, b, c, d, e, f] if text(a) && text(b) && integer(c) && text(d) && text(e) && integer(f))
}

fn is_indexed_key(kinds: &[u64]) -> bool {
    matches!(*kinds, [a, b, c, d, e, f] if text(a) && text(b) && integer(c) && text(d) && text(e) && integer(f))
}

fn is_trial(kinds: &[u64]) -> bool {
    matches!(*kinds, [0, key, schedule, outcome, median, seconds, at, sum]
        if integer(key) && text(schedule) && text(outcome) && (median == 0 || number(median))
            && number(seconds) && number(at) && integer(sum))
}

fn is_verdict(kinds: &[u64]) -> bool {
    matches!(*kinds, [0, key, setting, contenders, seconds, at, sum]
        if integer(key) && text(setting) && text(contenders) && number(seconds) && number(at) && integer(sum))
}

fn is_network(kinds: &[u64]) -> bool {
    matches!(*kinds, [0, key, won, graph, samples, at, sum]
        if integer(key) && integer(won) && text(graph) && text(samples) && number(at) && integer(sum))
}

fn is_old_trial(kinds: &[u64]) -> bool {
    matches!(*kinds, [0, key, schedule, outcome, median, confirmed, seconds, at, sum]
        if integer(key) && text(schedule) && text(outcome) && (median == 0 || number(median)) && integer(confirmed)
            && number(seconds) && number(at) && integer(sum))
}

fn key_of((row, columns): &(i64, Vec<Column>)) -> Option<(i64, Key)> {
    let [_, task, target, threads, compiler, cache, _] = columns.as_slice() else { return None };
    Some((*row, key([task, target, threads, compiler, cache])?))
}

fn indexed_key_of((_, columns): &(i64, Vec<Column>)) -> Option<(i64, Key)> {
    let [task, target, threads, compiler, cache, Column::Integer(row)] = columns.as_slice() else { return None };
    Some((*row, key([task, target, threads, compiler, cache])?))
}

fn key(columns: [&Column; 5]) -> Option<Key> {
    let [Column::Text(task), Column::Text(target), Column::Integer(threads), Column::Text(compiler), Column::Text(cache)] =
        columns
    else {
        return None;
    };
    let (task, target, compiler) = (task.clone(), target.clone(), compiler.clone());
    Some(Key { task, target, threads: usize::try_from(*threads).ok()?, compiler, cache: cache.parse().ok()? })
}

fn real(column: &Column) -> Option<f64> {
    match *column {
        Column::Real(value) => Some(value),
        Column::Integer(value) => Some(value as f64),
        _ => None,
    }
}

fn trial_of((id, columns): (i64, Vec<Column>)) -> Option<TrialRow> {
    let [_, Column::Integer(key), Column::Text(schedule), Column::Text(outcome), median, seconds, at, Column::Integer(sum)] =
        columns.as_slice()
    else {
        return None;
    };
    let (schedule, outcome) = (schedule.clone(), outcome.clone());
    Some(TrialRow { id, key: *key, schedule, outcome, median: real(median), seconds: real(seconds)?, at: real(at)?, sum: *sum })
}

fn verdict_of((id, columns): (i64, Vec<Column>)) -> Option<VerdictRow> {
    let [_, Column::Integer(key), Column::Text(setting), Column::Text(contenders), seconds, at, Column::Integer(sum)] =
        columns.as_slice()
    else {
        return None;
    };
    let (setting, contenders) = (setting.clone(), contenders.clone());
    Some(VerdictRow { id, key: *key, setting, contenders, seconds: real(seconds)?, at: real(at)?, sum: *sum })
}

fn network_of((id, columns): (i64, Vec<Column>)) -> Option<NetworkRow> {
    let [_, Column::Integer(key), Column::Integer(won), Column::Text(graph), Column::Text(samples), at, Column::Integer(sum)] =
        columns.as_slice()
    else {
        return None;
    };
    let (graph, samples) = (graph.clone(), samples.clone());
    Some(NetworkRow { id, key: *key, won: *won, graph, samples, at: real(at)?, sum: *sum })
}

/// A row of a trial of version 2. Its key is not known yet.
struct OldRow {
    key: i64,
    sum: i64,
    outcome: String,
    trial: OldTrial,
}

fn old_trial_of(columns: Vec<Column>) -> Option<OldRow> {
    let [
        _,
        Column::Integer(key),
        Column::Text(schedule),
        Column::Text(outcome),
        _,
        Column::Integer(confirmed),
        seconds,
        at,
        Column::Integer(sum),
    ] = columns.as_slice()
    else {
        return None;
    };
    let no_key =
        Key { task: String::new(), target: String::new(), threads: 0, compiler: String::new(), cache: Default::default() };
    let trial = OldTrial {
        key: no_key,
        schedule: schedule.clone(),
        outcome: serde_json::from_str(outcome).ok()?,
        confirmed: *confirmed == 1,
        seconds: real(seconds)?,
        at: real(at)?,
    };
    Some(OldRow { key: *key, sum: *sum, outcome: outcome.clone(), trial })
}
