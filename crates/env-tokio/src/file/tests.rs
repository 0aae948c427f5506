#![allow(clippy::unwrap_used)]

use super::*;
use std::fs;

/// A file with `contents`, opened again read-write.
fn file(name: &str, contents: &[u8]) -> (Handle, TokioFile, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let path = std::env::temp_dir().join(format!("highwater-env-tokio-{}-{name}", std::process::id()));
    fs::write(&path, contents).unwrap();
    let fd = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    (runtime.handle().clone(), TokioFile::new(runtime.handle().clone(), path, fd.into()), runtime)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 % 251) as u8).collect()
}

fn check_read(file: &TokioFile, runtime: &Handle, contents: &[u8], position: usize, length: usize) {
    let read = runtime.block_on(file.read_at(position as u64, length)).unwrap();
    let end = contents.len().min(position.saturating_add(length));
    assert_eq!(read, contents.get(position..end).unwrap_or_default(), "{length} bytes at {position}");
}

fn check_reads(file: &TokioFile, runtime: &Handle, contents: &[u8]) {
    for (position, length) in
        [(0, contents.len()), (4095, 70_000), (contents.len() - 5, 100), (1 << 40, 10), (7, 0)]
    {
        check_read(file, runtime, contents, position, length);
    }
}

#[test]
fn reads_from_the_page_cache_need_no_other_thread() {
    let contents = pattern(300_000);
    let (_, file, _runtime) = file("cached", &contents);
    let mut buffer = vec![0; contents.len()];
    // Just written, so in the page cache; file systems that cannot say so are told apart by the flag.
    let count = file.read_cached(&mut buffer, 0).unwrap();
    if file.0.nowait.load(Ordering::Relaxed) {
        assert_eq!((count, buffer), (contents.len(), contents));
    } else {
        assert_eq!(count, 0);
    }
}

#[test]
fn reads_are_whole_where_the_file_system_cannot_read_without_waiting() {
    let contents = pattern(300_000);
    let (runtime, file, _guard) = file("unsupported", &contents);
    file.0.nowait.store(false, Ordering::Relaxed);
    check_reads(&file, &runtime, &contents);
}

#[test]
fn reads_are_whole_whatever_the_page_cache_holds() {
    let contents = pattern(3 << 20);
    let (runtime, file, _guard) = file("evicted", &contents);
    check_reads(&file, &runtime, &contents);
    // Evict all, then all but a middle part: the first is read by the pool, the second by both.
    for keep in [0..0, 1 << 20..2 << 20] {
        runtime.block_on(file.sync_data()).unwrap();
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(file.fd(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
        if !keep.is_empty() {
            check_read(&file, &runtime, &contents, keep.start, keep.len());
        }
        check_reads(&file, &runtime, &contents);
    }
}

#[test]
fn a_read_of_uncached_bytes_says_that_it_has_none_instead_of_waiting() {
    let contents = pattern(8 << 20);
    let (runtime, file, _guard) = file("nowait", &contents);
    runtime.block_on(file.sync_data()).unwrap();
    #[cfg(target_os = "linux")]
    rustix::fs::fadvise(file.fd(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let mut buffer = vec![0; contents.len()];
    let count = file.read_cached(&mut buffer, 0).unwrap();
    // How much was evicted is the kernel's choice (memory file systems evict nothing); that what is returned is
    // right is ours.
    assert_eq!(buffer[..count], contents[..count]);
}

#[test]
fn more_buffers_than_one_call_takes_are_written_in_order() {
    let (runtime, file, _guard) = file("many", b"");
    let contents = pattern(10_000);
    let mut buffers: Vec<Bytes> = contents.chunks(7).map(Bytes::copy_from_slice).collect();
    buffers.insert(3, Bytes::new());
    buffers.push(Bytes::new());
    assert!(buffers.len() > 20 * BUFFERS_PER_CALL);
    runtime.block_on(file.write_at(11, buffers)).unwrap();
    let read = runtime.block_on(file.read_at(0, 1 << 20)).unwrap();
    assert_eq!((&read[..11], &read[11..]), (&[0; 11][..], &contents[..]));
}

/// The largest length that the file system allows a file.
fn largest_length(file: &TokioFile) -> u64 {
    let (mut possible, mut refused) = (0, 1 << 63);
    while refused - possible > 1 {
        let middle = possible + (refused - possible) / 2;
        match rustix::fs::ftruncate(file.fd(), middle) {
            Ok(()) => possible = middle,
            Err(_) => refused = middle,
        }
    }
    rustix::fs::ftruncate(file.fd(), 0).unwrap();
    possible
}

#[test]
fn short_writes_go_on_where_they_stopped() {
    let (runtime, file, _guard) = file("short", b"");
    let largest = largest_length(&file);
    // The kernel takes three bytes, up to the largest length, and says so; the rest must fail and not be forgotten.
    let buffers = vec![Bytes::from_static(b"ab"), Bytes::from_static(b"cdef")];
    let error = write_all(file.fd(), largest - 3, buffers).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(runtime.block_on(file.read_at(largest - 3, 10)).unwrap(), &b"abc"[..]);
}

#[test]
fn a_dropped_change_ends_before_the_next_one_begins() {
    let (runtime, file, _guard) = file("dropped", b"");
    runtime.block_on(async {
        for round in 0..200u8 {
            let large = Bytes::from(vec![round; INLINE_WRITE_BYTES + 1]);
            let mut write = Box::pin(file.write_at(0, vec![large]));
            // Polled once, so that the write is on its way, then dropped.
            std::future::poll_fn(|cx| {
                let _ = write.as_mut().poll(cx);
                std::task::Poll::Ready(())
            })
            .await;
            drop(write);
            file.set_len(0).await.unwrap();
            assert_eq!(file.size().unwrap(), 0, "round {round}");
        }
    });
}
