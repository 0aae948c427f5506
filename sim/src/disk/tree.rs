//! The disk's state: files and directories by inode, and the directory operations that no sync has made durable.

use super::content::FileNode;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};

/// Names a file or directory for as long as anything refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ino(pub(super) u64);

const ROOT: Ino = Ino(0);

#[derive(Clone, Debug, Default)]
pub(super) struct DirNode {
    pub(super) live: BTreeMap<String, Ino>,
    pub(super) durable: BTreeMap<String, Ino>,
}

#[derive(Clone, Debug)]
pub(super) enum Inode {
    File(FileNode),
    Dir(DirNode),
}

/// A name in a directory.
pub(super) type Entry = (Ino, String);

/// A pending change of directories: a creation has only `to`, a removal only `from`, a rename both.
#[derive(Clone, Debug)]
pub(super) struct DirOp {
    seq: u64,
    ino: Ino,
    from: Option<Entry>,
    to: Option<Entry>,
    /// Directories that were synced since; a rename needs both of its own.
    synced: BTreeSet<Ino>,
}

impl DirOp {
    fn touches(&self, dir: Ino) -> bool {
        self.entries().any(|entry| entry.0 == dir)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.from.iter().chain(&self.to)
    }
}

/// The whole content of a disk: what is durable, and what is pending. Cloning it shares the pages.
#[derive(Clone, Debug)]
pub struct DiskState {
    pub(super) inodes: BTreeMap<Ino, Inode>,
    pub(super) dir_ops: Vec<DirOp>,
    next_ino: u64,
    seq: u64,
}

impl Default for DiskState {
    fn default() -> Self {
        let inodes = BTreeMap::from([(ROOT, Inode::Dir(DirNode::default()))]);
        Self { inodes, dir_ops: Vec::new(), next_ino: 1, seq: 0 }
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} does not exist", path.display()))
}

fn components(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => match name.to_str() {
                Some(name) => names.push(name.to_owned()),
                None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is not UTF-8")),
            },
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "only plain paths are simulated"));
            }
        }
    }
    Ok(names)
}

impl DiskState {
    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// The sequence number of the newest operation.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    pub(super) fn file(&self, ino: Ino) -> io::Result<&FileNode> {
        match self.inodes.get(&ino) {
            Some(Inode::File(file)) => Ok(file),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "the file is gone")),
        }
    }

    pub(super) fn file_mut(&mut self, ino: Ino) -> io::Result<&mut FileNode> {
        match self.inodes.get_mut(&ino) {
            Some(Inode::File(file)) => Ok(file),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "the file is gone")),
        }
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (Ino, &FileNode)> {
        self.inodes.iter().filter_map(|(&ino, inode)| match inode {
            Inode::File(file) => Some((ino, file)),
            Inode::Dir(_) => None,
        })
    }

    fn dir(&self, ino: Ino) -> Option<&DirNode> {
        match self.inodes.get(&ino) {
            Some(Inode::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    fn dir_mut(&mut self, ino: Ino) -> &mut DirNode {
        match self.inodes.get_mut(&ino) {
            Some(Inode::Dir(dir)) => dir,
            _ => unreachable!("callers pass the number of a directory"),
        }
    }

    fn walk(&self, names: &[String], path: &Path) -> io::Result<Ino> {
        names.iter().try_fold(ROOT, |at, name| match self.dir(at) {
            Some(dir) => dir.live.get(name).copied().ok_or_else(|| not_found(path)),
            None => {
                Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} passes a file", path.display())))
            }
        })
    }

    /// What stands at a path.
    pub(super) fn lookup(&self, path: &Path) -> io::Result<Ino> {
        self.walk(&components(path)?, path)
    }

    pub(super) fn lookup_dir(&self, path: &Path) -> io::Result<(Ino, &DirNode)> {
        let ino = self.lookup(path)?;
        match self.dir(ino) {
            Some(dir) => Ok((ino, dir)),
            None => {
                Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is a file", path.display())))
            }
        }
    }

    pub(super) fn is_dir(&self, ino: Ino) -> bool {
        self.dir(ino).is_some()
    }

    /// The directory and name of a path, whether or not the name exists.
    fn entry(&self, path: &Path) -> io::Result<Entry> {
        let mut names = components(path)?;
        let name =
            names.pop().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path is empty"))?;
        let dir = self.walk(&names, path)?;
        match self.dir(dir) {
            Some(_) => Ok((dir, name)),
            None => {
                Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} passes a file", path.display())))
            }
        }
    }

    fn change(&mut self, ino: Ino, from: Option<Entry>, to: Option<Entry>) {
        if let Some((dir, name)) = &from {
            self.dir_mut(*dir).live.remove(name);
        }
        if let Some((dir, name)) = &to {
            self.dir_mut(*dir).live.insert(name.clone(), ino);
        }
        let seq = self.next_seq();
        self.dir_ops.push(DirOp { seq, ino, from, to, synced: BTreeSet::new() });
    }

    fn add(&mut self, entry: Entry, inode: Inode) -> Ino {
        let ino = Ino(self.next_ino);
        self.next_ino += 1;
        self.inodes.insert(ino, inode);
        self.change(ino, None, Some(entry));
        ino
    }

    /// Makes an empty file whose name does not exist yet.
    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<Ino> {
        let entry = self.entry(path)?;
        Ok(self.add(entry, Inode::File(FileNode::default())))
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut at = ROOT;
        for name in components(path)? {
            let Some(dir) = self.dir(at) else {
                return Err(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    format!("{} passes a file", path.display()),
                ));
            };
            at = match dir.live.get(&name) {
                Some(&next) => next,
                None => self.add((at, name), Inode::Dir(DirNode::default())),
            };
        }
        if self.is_dir(at) {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is a file", path.display())))
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ino = self.lookup(from)?;
        let source = self.entry(from)?;
        let target = self.entry(to)?;
        if source == target {
            return Ok(());
        }
        let target_dir = self.dir(target.0).and_then(|dir| dir.live.get(&target.1)).copied();
        if let Some(existing) = target_dir {
            let kind = match (self.dir(ino), self.dir(existing)) {
                (Some(_), Some(dir)) if !dir.live.is_empty() => Some(io::ErrorKind::DirectoryNotEmpty),
                (Some(_), None) => Some(io::ErrorKind::NotADirectory),
                (None, Some(_)) => Some(io::ErrorKind::IsADirectory),
                _ => None,
            };
            if let Some(kind) = kind {
                return Err(io::Error::new(kind, format!("{} is in the way", to.display())));
            }
        }
        self.change(ino, Some(source), Some(target));
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.lookup(path)?;
        if self.is_dir(ino) {
            return Err(io::Error::new(
                io::ErrorKind::IsADirectory,
                format!("{} is a directory", path.display()),
            ));
        }
        let entry = self.entry(path)?;
        self.change(ino, Some(entry), None);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let (ino, dir) = self.lookup_dir(path)?;
        if !dir.live.is_empty() {
            let text = format!("{} is not empty", path.display());
            return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, text));
        }
        let entry = self.entry(path)?;
        self.change(ino, Some(entry), None);
        Ok(())
    }

    /// Applies one operation to the durable directories. There are no hard links: wherever the file stood before, it
    /// stands there no more.
    pub(super) fn apply_durable(&mut self, op: &DirOp) {
        for inode in self.inodes.values_mut() {
            if let Inode::Dir(dir) = inode {
                dir.durable.retain(|_, &mut ino| ino != op.ino);
            }
        }
        if let Some((dir, name)) = &op.to
            && let Some(Inode::Dir(dir)) = self.inodes.get_mut(dir)
        {
            dir.durable.insert(name.clone(), op.ino);
        }
    }

    /// Picks the operations that a sync of `dir` makes durable, and takes them out of the pending ones: those of the
    /// directory up to `upto`, and earlier ones that they build on.
    pub(super) fn take_dir_ops(&mut self, dir: Ino, upto: u64) -> Vec<DirOp> {
        let mut settled: Vec<bool> = Vec::with_capacity(self.dir_ops.len());
        for op in &mut self.dir_ops {
            if op.seq <= upto && op.touches(dir) {
                op.synced.insert(dir);
            }
            settled.push(
                op.seq <= upto && op.touches(dir) && op.entries().all(|entry| op.synced.contains(&entry.0)),
            );
        }
        for later in (0..settled.len()).rev() {
            for earlier in 0..later {
                let (first, second) = (&self.dir_ops[earlier], &self.dir_ops[later]);
                let related = first.ino == second.ino
                    || first.entries().any(|entry| second.entries().any(|other| other == entry));
                if settled[later] && related {
                    settled[earlier] = true;
                }
            }
        }
        let mut taken = Vec::new();
        let mut index = 0;
        self.dir_ops.retain(|op| {
            let take = settled[index];
            index += 1;
            if take {
                taken.push(op.clone());
            }
            !take
        });
        taken
    }

    /// Forgets inodes that nothing refers to.
    pub(super) fn collect(&mut self, open: impl Fn(Ino) -> bool) {
        let mut used: BTreeSet<Ino> = self.dir_ops.iter().map(|op| op.ino).collect();
        used.insert(ROOT);
        for inode in self.inodes.values() {
            if let Inode::Dir(dir) = inode {
                used.extend(dir.live.values());
                used.extend(dir.durable.values());
            }
        }
        self.inodes.retain(|&ino, _| used.contains(&ino) || open(ino));
    }

    /// Makes the durable state the live one, as after a power loss.
    pub(super) fn restart_from_durable(&mut self) {
        self.dir_ops.clear();
        for inode in self.inodes.values_mut() {
            match inode {
                Inode::Dir(dir) => dir.live = dir.durable.clone(),
                Inode::File(file) => {
                    file.revert();
                    file.late_error = false;
                }
            }
        }
        self.collect(|_| false);
    }

    /// Every file by path, in the live view or in the durable one.
    pub(super) fn paths(&self, durable: bool) -> Vec<(String, Ino)> {
        let mut out = Vec::new();
        let mut open = vec![(String::new(), ROOT)];
        while let Some((prefix, ino)) = open.pop() {
            let Some(dir) = self.dir(ino) else { continue };
            for (name, &child) in if durable { &dir.durable } else { &dir.live } {
                let path = format!("{prefix}/{name}");
                match self.inodes.get(&child) {
                    Some(Inode::Dir(_)) => open.push((path, child)),
                    Some(Inode::File(_)) => out.push((path, child)),
                    None => {}
                }
            }
        }
        out.sort();
        out
    }

    /// What stands at a path in the durable view.
    pub(super) fn lookup_durable(&self, path: &Path) -> Option<Ino> {
        let names = components(path).ok()?;
        names.iter().try_fold(ROOT, |at, name| self.dir(at)?.durable.get(name).copied())
    }

    /// The names in a directory of the durable view.
    pub(super) fn durable_names(&self, path: &Path) -> Vec<String> {
        let dir = self.lookup_durable(path).and_then(|ino| self.dir(ino));
        dir.map(|dir| dir.durable.keys().cloned().collect()).unwrap_or_default()
    }

    /// The path of the first directory of that name in the durable view.
    pub(super) fn durable_dir(&self, wanted: &str) -> Option<String> {
        let mut open = vec![(String::new(), ROOT)];
        while let Some((prefix, ino)) = open.pop() {
            for (name, &child) in &self.dir(ino)?.durable {
                if self.is_dir(child) {
                    let path = format!("{prefix}/{name}");
                    if name == wanted {
                        return Some(path);
                    }
                    open.push((path, child));
                }
            }
        }
        None
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.files().map(|(_, file)| file.used_bytes()).sum()
    }
}
