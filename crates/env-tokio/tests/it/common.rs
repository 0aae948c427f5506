//! What the tests of this crate share.

use highwater_env_tokio::{TokioEnv, run};
use std::future::Future;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// A directory of one test, removed with all it holds when the test ends.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a test on two workers.
pub fn on_env<F: Future>(test: impl FnOnce(TokioEnv) -> F) -> F::Output {
    run(NonZeroUsize::new(2), test).unwrap()
}

/// Bytes in which no two places nearby look alike.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32)
        .flat_map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(length)
        .collect()
}
