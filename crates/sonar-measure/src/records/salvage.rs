//! What can be read of a damaged file, whatever is wrong with it.
//!
//! Neither SQLite nor the structure of the file is relied on: every byte is tried as the beginning of a row, in the record format of
//! SQLite (<https://www.sqlite.org/fileformat.html#record_format>), and a trial counts if its checksum is right. So rows are found in
//! whatever pages are left, those of the write-ahead log included. A key is found in its table or in the index of that; which one
//! belongs to a trial, the checksum of the trial tells.

use super::{Key, Records, Stored, Trial};
use crate::error::MeasureError;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// What [`salvage`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// Trials that are in the new file.
    pub trials: usize,
    /// Rows that look like trials and are not whole, or whose key is lost.
    pub damaged: usize,
}

/// Of every file of records.
const PAGE: usize = 4096;
/// Bytes before a page in the write-ahead log.
const FRAME_HEADER: usize = 24;
/// Bytes before the first of them.
const LOG_HEADER: usize = 32;
/// No row has more columns.
const COLUMNS: usize = 9;
/// A row is shorter than this.
const LONGEST: usize = 1 << 20;

/// A column of a row.
#[derive(Debug, PartialEq)]
enum Column {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
}

/// All pages of a file and of its log, and for each number which of them is the latest.
struct Pages {
    images: Vec<Vec<u8>>,
    latest: HashMap<u32, usize>,
}

/// Copies every trial that is whole from a file, damaged or not, to a new one, which must not exist.
pub fn salvage(from: &Path, to: &Path) -> Result<Salvaged, MeasureError> {
    if to.exists() {
        let kind = std::io::ErrorKind::AlreadyExists;
        return Err(std::io::Error::new(kind, format!("{} exists, and is not overwritten", to.display())).into());
    }
    let pages = Pages::read(from)?;
    let mut keys: HashMap<i64, HashSet<Key>> = HashMap::new();
    for cell in pages.rows(true, is_key) {
        if let Some((row, key)) = key_of(&cell) {
            keys.entry(row).or_default().insert(key);
        }
    }
    for cell in pages.rows(false, is_indexed_key) {
        if let Some((row, key)) = indexed_key_of(&cell) {
            keys.entry(row).or_default().insert(key);
        }
    }

    let mut trials: HashMap<(i64, i64), Trial> = HashMap::new();
    let mut damaged = HashSet::new();
    for cell in pages.rows(true, is_trial) {
        let Some(stored) = stored_of(cell) else { continue };
        let place = (stored.id, stored.sum);
        match keys.get(&stored.key).into_iter().flatten().find_map(|key| stored.trial(key)) {
            Some(trial) => drop(trials.insert(place, trial)),
            None => drop(damaged.insert(place)),
        }
    }
    damaged.retain(|place| !trials.contains_key(place));

    let records = Records::open(to)?;
    let mut trials: Vec<((i64, i64), Trial)> = trials.into_iter().collect();
    trials.sort_by_key(|(place, _)| *place);
    records.transaction(|| trials.iter().try_for_each(|(_, trial)| records.insert(trial)))?;
    records.checkpoint()?;
    Ok(Salvaged { trials: trials.len(), damaged: damaged.len() })
}

impl Pages {
    fn read(path: &Path) -> Result<Pages, MeasureError> {
        let mut pages = Pages { images: Vec::new(), latest: HashMap::new() };
        // The last page may be cut.
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

    /// Everything that may be a row whose columns are of the kinds that `fits` accepts.
    fn rows(&self, numbered: bool, fits: fn(&[u64]) -> bool) -> impl Iterator<Item = (i64, Vec<Column>)> + '_ {
        let places = self.images.iter().flat_map(|image| (0..PAGE).map(move |at| (image, at)));
        places.filter_map(move |(image, at)| self.row(image, at, numbered, fits))
    }

    /// The row that begins at a byte of a page; its number is 0 if it is one of an index.
    fn row(&self, image: &[u8], at: usize, numbered: bool, fits: fn(&[u64]) -> bool) -> Option<(i64, Vec<Column>)> {
        let (length, at) = varint(image, at)?;
        let (number, at) = if numbered { varint(image, at)? } else { (0, at) };
        let length = usize::try_from(length).ok().filter(|&length| length < LONGEST)?;

        // All kinds of columns are in the first part of the row, which is on this page.
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

    /// The bytes of a row; those that do not fit into the page are on a chain of other pages.
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

/// A number of one to nine bytes, the most significant first, and where it ends.
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

/// Takes a column of a kind from the front of bytes.
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

fn stored_of((id, columns): (i64, Vec<Column>)) -> Option<Stored> {
    let real = |column: &Column| match *column {
        Column::Real(value) => Some(value),
        Column::Integer(value) => Some(value as f64),
        _ => None,
    };
    let [
        _,
        Column::Integer(key),
        Column::Text(schedule),
        Column::Text(outcome),
        median,
        Column::Integer(confirmed),
        seconds,
        at,
        Column::Integer(sum),
    ] = columns.as_slice()
    else {
        return None;
    };
    Some(Stored {
        id,
        key: *key,
        schedule: schedule.clone(),
        outcome: outcome.clone(),
        median: real(median),
        confirmed: *confirmed,
        seconds: real(seconds)?,
        at: real(at)?,
        sum: *sum,
    })
}
