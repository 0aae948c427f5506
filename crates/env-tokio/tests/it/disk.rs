//! What `TokioDisk` and `TokioFile` promise, on a real file system.

use crate::common::{TempDir, on_env, pattern};
use bytes::Bytes;
use highwater_env::{DirEntry, Disk, Env, File, OpenMode};
use std::io::ErrorKind;

#[test]
fn open_modes_make_empty_or_refuse_as_they_say() {
    let dir = TempDir::new("modes");
    on_env(|env| async move {
        let disk = env.disk();
        let path = dir.join("file");
        for mode in [OpenMode::Read, OpenMode::Write] {
            assert_eq!(disk.open(&path, mode).await.unwrap_err().kind(), ErrorKind::NotFound, "{mode:?}");
        }
        let file = disk.open(&path, OpenMode::CreateNew).await.unwrap();
        assert_eq!(file.path(), &path);
        file.write_at(0, vec![Bytes::from_static(b"water")]).await.unwrap();
        let again = disk.open(&path, OpenMode::CreateNew).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);

        let write = disk.open(&path, OpenMode::Write).await.unwrap();
        assert_eq!(write.len().await.unwrap(), 5);
        write.write_at(5, vec![Bytes::from_static(b"!")]).await.unwrap();
        let read = disk.open(&path, OpenMode::Read).await.unwrap();
        assert_eq!(read.read_at(0, 100).await.unwrap(), &b"water!"[..]);
        read.write_at(0, vec![Bytes::from_static(b"x")]).await.unwrap_err();
        read.set_len(0).await.unwrap_err();
        assert_eq!(read.read_at(0, 100).await.unwrap(), &b"water!"[..]);

        let empty = disk.open(&path, OpenMode::CreateOrTruncate).await.unwrap();
        assert_eq!(empty.len().await.unwrap(), 0);
        disk.open(&dir.join("other"), OpenMode::CreateOrTruncate).await.unwrap();
    });
}

#[test]
fn vectored_writes_land_in_order_inline_and_on_the_pool() {
    let dir = TempDir::new("vectored");
    on_env(|env| async move {
        for (name, length) in [("small", 10_000), ("large", 5 << 20)] {
            let file = env.disk().open(&dir.join(name), OpenMode::CreateNew).await.unwrap();
            let contents = Bytes::from(pattern(length));
            let cuts = [0, 1, 1, length / 3, length / 2, length];
            let buffers = cuts.windows(2).map(|cut| contents.slice(cut[0]..cut[1])).collect();
            file.write_at(3, buffers).await.unwrap();
            assert_eq!(file.len().await.unwrap(), length as u64 + 3);
            let read = file.read_at(0, length + 100).await.unwrap();
            assert!(read[..3] == [0; 3] && read[3..] == contents[..], "{name}");
            file.sync_data().await.unwrap();
        }
    });
}

#[test]
fn concurrent_writes_and_reads_of_disjoint_ranges_do_not_mix() {
    let dir = TempDir::new("concurrent");
    on_env(|env| async move {
        let file = env.disk().open(&dir.join("file"), OpenMode::CreateNew).await.unwrap();
        let mut tasks = Vec::new();
        for part in 0..16u8 {
            let file = file.clone();
            tasks.push(env.spawn("writer", async move {
                let at = u64::from(part) * 100_000;
                for _ in 0..10 {
                    file.write_at(at, vec![Bytes::from(vec![part; 100_000])]).await.unwrap();
                    assert_eq!(file.read_at(at, 100_000).await.unwrap(), vec![part; 100_000]);
                }
            }));
        }
        for task in tasks {
            assert_eq!(task.await, highwater_env::TaskEnd::Done);
        }
    });
}

#[test]
fn lengths_are_cut_grown_and_reserved() {
    let dir = TempDir::new("lengths");
    on_env(|env| async move {
        let path = dir.join("file");
        let file = env.disk().open(&path, OpenMode::CreateNew).await.unwrap();
        file.write_at(0, vec![Bytes::from_static(b"0123456789")]).await.unwrap();
        file.set_len(4).await.unwrap();
        file.set_len(6).await.unwrap();
        assert_eq!(file.read_at(0, 100).await.unwrap(), &b"0123\0\0"[..]);
        file.allocate(0, 1 << 20).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 6);
        let blocks = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(&path).unwrap());
        assert!(blocks * 512 >= 1 << 20, "{blocks} blocks");
    });
}

#[test]
fn positions_beyond_what_a_file_can_have_are_errors() {
    let dir = TempDir::new("positions");
    on_env(|env| async move {
        let file = env.disk().open(&dir.join("file"), OpenMode::CreateNew).await.unwrap();
        for position in [u64::MAX, 1 << 63] {
            file.write_at(position, vec![Bytes::from_static(b"x")]).await.unwrap_err();
            assert_eq!(file.read_at(position, 10).await.unwrap(), Bytes::new());
        }
        assert_eq!(file.len().await.unwrap(), 0);
    });
}

#[test]
fn directories_are_made_listed_renamed_and_removed() {
    let dir = TempDir::new("directories");
    on_env(|env| async move {
        let disk = env.disk();
        let deep = dir.join("a/b");
        disk.create_dir_all(&deep).await.unwrap();
        disk.create_dir_all(&deep).await.unwrap();
        for name in ["a/z", "a/c"] {
            disk.open(&dir.join(name), OpenMode::CreateNew).await.unwrap();
        }
        let bad = std::os::unix::ffi::OsStringExt::from_vec(b"\xff\xfe".to_vec());
        let bad: std::ffi::OsString = bad;
        std::fs::write(dir.join("a").join(bad), b"").unwrap();
        let entry = |name: &str, is_dir| DirEntry { name: name.to_owned(), is_dir };
        let listed = disk.list(&dir.join("a")).await.unwrap();
        assert_eq!(listed, [entry("b", true), entry("c", false), entry("z", false)]);

        disk.rename(&dir.join("a/z"), &dir.join("a/c")).await.unwrap();
        disk.sync_dir(&dir.join("a")).await.unwrap();
        disk.remove_file(&dir.join("a/c")).await.unwrap();
        disk.remove_dir(&deep).await.unwrap();
        assert_eq!(disk.list(&dir.join("a")).await.unwrap(), []);
        let full = disk.remove_dir(&dir.join("a")).await.unwrap_err();
        assert_eq!(full.kind(), ErrorKind::DirectoryNotEmpty);
        assert_eq!(disk.sync_dir(&deep).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(disk.list(&deep).await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_lock_is_held_by_one_and_freed_when_dropped() {
    let dir = TempDir::new("lock");
    on_env(|env| async move {
        let path = dir.join("lock");
        let held = env.disk().lock(&path).await.unwrap();
        let refused = env.disk().lock(&path).await.err().map(|error| error.kind());
        assert_eq!(refused, Some(ErrorKind::WouldBlock));
        drop(held);
        env.disk().lock(&path).await.unwrap();
    });
}

#[test]
fn space_is_that_of_the_file_system() {
    let dir = TempDir::new("space");
    on_env(|env| async move {
        let space = env.disk().space(&dir.join("")).await.unwrap();
        assert!(0 < space.free_bytes && space.free_bytes <= space.total_bytes, "{space:?}");
        assert_eq!(env.disk().space(&dir.join("none")).await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_told_apart() {
    on_env(|env| async move {
        let full = env.disk().open("/dev/full".as_ref(), OpenMode::Write).await.unwrap();
        let error = full.write_at(0, vec![Bytes::from_static(b"x")]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    });
}
