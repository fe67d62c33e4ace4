//! Checkpoints: one file with the whole state of a training run. After a crash, the file is either the old one or the new one,
//! never half of one.
//!
//! Layout: eight bytes of magic, the length of the header (u64, little-endian), the header (JSON), the numbers of the state
//! (f32, little-endian, tensor after tensor), and the SHA-256 of everything before it.

use crate::error::{CheckpointProblem, TrainError};
use crate::trainer::curve::{Divergence, Epoch, Partial};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;

const MAGIC: &[u8; 8] = b"SONARCK2";
const DIGEST: usize = 32;

/// Everything that a run needs to continue as if it had not stopped.
pub(crate) struct Checkpoint {
    pub header: Header,
    /// One vector for each state tensor.
    pub state: Vec<Vec<f32>>,
}

/// The data of a checkpoint except the tensors.
#[derive(Serialize, Deserialize)]
pub(crate) struct Header {
    /// The identity of the run: network, data and configuration.
    pub run: String,
    /// One entry for each completed epoch.
    pub curve: Vec<Epoch>,
    /// The part of the next epoch that is done.
    #[serde(default)]
    pub partial: Partial,
    /// Where the run diverged, if it did.
    pub divergence: Option<Divergence>,
    /// Number of elements of each state tensor.
    pub lengths: Vec<usize>,
}

/// Writes a checkpoint and replaces an older one at `path`. The new file is complete and on disk before it gets this name.
pub(crate) fn write(path: &Path, header: &Header, state: &[&[f32]]) -> Result<(), TrainError> {
    let json = serde_json::to_vec(header).map_err(|e| TrainError::Io { action: "write", path: path.into(), source: e.into() })?;
    let mut bytes = Vec::with_capacity(8 + 8 + json.len() + 4 * header.lengths.iter().sum::<usize>() + DIGEST);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(json.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&json);
    bytes.extend(state.iter().copied().flatten().flat_map(|v| v.to_le_bytes()));
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    sonar_files::replace(path, &bytes).map_err(|source| TrainError::Io { action: "write", path: path.into(), source })
}

/// Reads a checkpoint.
pub(crate) fn read(path: &Path) -> Result<Checkpoint, TrainError> {
    let bytes = std::fs::read(path).map_err(|source| TrainError::Io { action: "read", path: path.into(), source })?;
    parse(&bytes).map_err(|problem| TrainError::Checkpoint { path: path.into(), problem })
}

fn parse(bytes: &[u8]) -> Result<Checkpoint, CheckpointProblem> {
    use CheckpointProblem::{Damaged, Format};
    let head = &bytes[..bytes.len().min(MAGIC.len())];
    if !MAGIC.starts_with(head) {
        return Err(Format);
    }
    let (body, digest) = bytes.split_at_checked(bytes.len().saturating_sub(DIGEST)).ok_or(Damaged)?;
    if Sha256::digest(body)[..] != *digest {
        return Err(Damaged);
    }
    let rest = body.get(MAGIC.len()..).ok_or(Damaged)?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or(Damaged)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| Damaged)?;
    let (json, numbers) = rest.split_at_checked(length).ok_or(Damaged)?;
    let header: Header = serde_json::from_slice(json).map_err(|_| Damaged)?;
    let total = header.lengths.iter().try_fold(0usize, |sum, &l| sum.checked_add(l)).ok_or(Damaged)?;
    if total.checked_mul(4) != Some(numbers.len()) {
        return Err(Damaged);
    }
    let mut numbers = numbers.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b));
    let state = header.lengths.iter().map(|&l| numbers.by_ref().take(l).collect()).collect();
    Ok(Checkpoint { header, state })
}
