//! A file that appears under its name only when it is whole.
//!
//! Must stay true: it is written beside its name and renamed at the end; what is not finished leaves nothing behind, and
//! what was there under the name stays.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file while it is written. Dropped before its end, it is taken away.
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    beside: PathBuf,
    to: BufWriter<File>,
}

impl WholeFile {
    /// `mode`: who may do what with it, less what the process takes away from every file.
    ///
    /// # Errors
    /// When nothing can be written beside the path.
    pub fn create(path: &Path, mode: u32) -> io::Result<Self> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".part-{}", std::process::id()));
        let beside = PathBuf::from(beside);
        // One of a process that was killed, and had the same number.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = File::options().write(true).create_new(true).mode(mode).open(&beside)?;
        Ok(Self {
            path: path.to_owned(),
            beside,
            to: BufWriter::new(file),
        })
    }

    /// It is whole: from now on it has its name.
    ///
    /// # Errors
    /// When it cannot be stored; then it is taken away.
    pub fn finish(mut self) -> io::Result<()> {
        self.to.flush()?;
        self.to.get_ref().sync_all()?;
        fs::rename(&self.beside, &self.path)
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        // Once it has its name, there is none beside it.
        drop(fs::remove_file(&self.beside));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_appears_when_it_is_whole_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.csv");
        fs::write(&path, "before").unwrap();
        let mut broken = WholeFile::create(&path, 0o600).unwrap();
        broken.write_all(b"half").unwrap();
        drop(broken);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        let mut whole = WholeFile::create(&path, 0o600).unwrap();
        whole.write_all(b"after").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        whole.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
